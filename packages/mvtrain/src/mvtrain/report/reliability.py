"""The section of correct keypoints (PCK) and of what likelihoods are worth."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup

from mvtrain.evaluate.error_tables import ALL, OCCLUDED, in_view_order
from mvtrain.evaluate.likelihood_fit import calibration_errors
from mvtrain.model.likelihood import ConfidenceMap, describe_likelihood
from mvtrain.report.html import Section, grid, heading, join_parts, number, paragraph, sentence, table
from mvtrain.report.plots import FAINT, SET_COLORS, figure, figure_html, go

_LARGEST_SHARE = 0.3
_LISTED_SHARES = (0.02, 0.05, 0.1, 0.2)
_HEIGHT = 380


def reliability_section(
    pck: pd.DataFrame, calibration: pd.DataFrame, share: float, confidence_map: ConfidenceMap | None
) -> Section:
    """How many keypoints are found, and whether likelihoods say which.

    Args:
        pck: from `evaluation.tables.pck_table`.
        calibration: from `evaluation.confidence.calibration_table`.
        share: of the subject's size that likelihoods are about.
        confidence_map: the run's calibration of confidence, None without one.
    """
    plots = [
        figure_html(_correct(pck), "pck", _HEIGHT),
        figure_html(_reliability(calibration, share), "reliability", _HEIGHT),
    ]
    meaning = paragraph(sentence(describe_likelihood(confidence_map)), "caption")
    tables = [
        heading("Keypoints found"),
        _pck_table(pck),
        heading("Likelihood"),
        _likelihood_table(calibration),
        meaning,
    ]
    return Section(
        anchor="reliability",
        title="Correct keypoints and likelihood",
        how_to_read=(
            "First the share of keypoints whose prediction is nearer than a distance: of visible labels, and of "
            "occluded keypoints where their place is known. Then, of the keypoints with some likelihood, the share "
            f"found within {100 * share:.3g} % of the subject's size, hidden ones included: on the diagonal a "
            "likelihood is what it says, below it the network is too sure of itself."
        ),
        body_html=join_parts([grid(plots), *tables]),
    )


def _correct(pck: pd.DataFrame) -> go.Figure:
    drawn = figure(
        "keypoints found (PCK)",
        xaxis={"title_text": "distance, % of the subject's size", "range": [0, 100 * _LARGEST_SHARE]},
        yaxis={"title_text": "% of the keypoints", "range": [0, 102]},
        showlegend=True,
    )
    overall = pck[(pck["view"] == ALL) & (pck["keypoint"] == ALL) & (pck["unit"] == "share")]
    for (split, visibility), curve in overall.groupby(["split", "visibility"], sort=False):
        is_occluded = visibility == OCCLUDED
        drawn.add_scatter(
            x=100 * curve["threshold"].to_numpy(),
            y=100 * curve["pck"].to_numpy(),
            name=f"{split}, occluded" if is_occluded else str(split),
            mode="lines",
            line={"color": SET_COLORS[str(split)], "width": 2, "dash": "dash" if is_occluded else "solid"},
            hovertemplate="%{y:.1f} % within %{x:.0f} %",
        )
    return drawn


def _reliability(calibration: pd.DataFrame, share: float) -> go.Figure:
    drawn = figure(
        "likelihood and truth",
        xaxis={"title_text": "likelihood", "range": [0, 1]},
        yaxis={"title_text": f"share within {100 * share:.3g} %", "range": [0, 1.02]},
        showlegend=True,
    )
    diagonal = {"color": FAINT, "dash": "dot", "width": 1}
    drawn.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=diagonal, showlegend=False, hoverinfo="skip")
    chosen = calibration[(calibration["points"] == ALL) & calibration["split"].isin(["validation", "test"])]
    for (split, confidence), bins in chosen.groupby(["split", "confidence"], sort=False):
        drawn.add_scatter(
            x=bins["predicted"].to_numpy(),
            y=bins["observed"].to_numpy(),
            name=f"{split}, {confidence}",
            mode="lines+markers",
            line={"color": SET_COLORS[str(split)], "width": 2, "dash": "dash" if confidence == "raw" else "solid"},
            customdata=bins["count"].to_numpy(),
            hovertemplate="said %{x:.2f}, true %{y:.2f}, %{customdata} keypoints",
        )
    return drawn


def _pck_table(pck: pd.DataFrame) -> Markup:
    chosen = pck[(pck["keypoint"] == ALL) & (pck["unit"] == "share") & pck["threshold"].isin(_LISTED_SHARES)]
    has_occluded = (chosen["visibility"] == OCCLUDED).any()
    rows = []
    for (split, view, visibility), part in in_view_order(chosen).groupby(["split", "view", "visibility"], sort=False):
        found = dict(zip(part["threshold"], part["pck"], strict=True))
        names = [str(split), str(view), *([str(visibility)] if has_occluded else [])]
        rows.append([*names, str(part["count"].iloc[0]), *(f"{100 * found[each]:.1f} %" for each in _LISTED_SHARES)])
    names = ["set", "view", *(["visibility"] if has_occluded else [])]
    head = (*names, "count", *(f"within {100 * each:g} %" for each in _LISTED_SHARES))
    return table("pck-table", head, rows, num_text_columns=len(names))


def _likelihood_table(calibration: pd.DataFrame) -> Markup:
    rows = [
        [
            row["split"],
            row["confidence"],
            row["points"],
            str(row["count"]),
            *(number(row[name], 3) for name in ("predicted", "observed", "calibration_error")),
        ]
        for row in calibration_errors(calibration).to_dict("records")
    ]
    head = ("set", "confidence", "keypoints", "number", "said", "true", "calibration error")
    return table("likelihood-table", head, rows, num_text_columns=3)
