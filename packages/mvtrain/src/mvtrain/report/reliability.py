"""Section of the report: share of correct keypoints (PCK), and reliability of the likelihoods."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup

from mvtrain.evaluation.error_tables import ALL, OCCLUDED, in_view_order
from mvtrain.evaluation.likelihood_fit import calibration_errors
from mvtrain.model.likelihood import ConfidenceMap, describe_likelihood
from mvtrain.report.html import Section, grid, heading, join_parts, number, paragraph, sentence, table
from mvtrain.report.plots import FAINT, SET_COLORS, figure, figure_html, go

_LARGEST_SHARE = 0.3
_LISTED_SHARES = (0.02, 0.05, 0.1, 0.2)
_HEIGHT = 380


def reliability_section(
    pck: pd.DataFrame, calibration: pd.DataFrame, share: float, confidence_map: ConfidenceMap | None
) -> Section:
    """Show the share of correct keypoints, and how often a keypoint of some likelihood is correct.

    Args:
        pck: Table from `evaluate.error_tables.pck_table`.
        calibration: Table from `evaluate.likelihood_fit.calibration_table`.
        share: Distance that likelihoods refer to, as a share of the subject's size.
        confidence_map: The run's calibration of its confidence, None without one.
    """
    plots = [
        figure_html(_draw_pck(pck), "pck", _HEIGHT),
        figure_html(_draw_reliability(calibration, share), "reliability", _HEIGHT),
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
            "First figure: the share of keypoints with an error below a distance, for visible labels and for occluded "
            "keypoints with a known place. Second figure: of the keypoints with some likelihood, the share found "
            f"within {100 * share:.3g} % of the subject's size, hidden ones included. On the diagonal the likelihood "
            "equals that share; below it the network is overconfident."
        ),
        body_html=join_parts([grid(plots), *tables]),
    )


def _draw_pck(pck: pd.DataFrame) -> go.Figure:
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


def _draw_reliability(calibration: pd.DataFrame, share: float) -> go.Figure:
    drawn = figure(
        "likelihood and share found",
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
            hovertemplate="likelihood %{x:.2f}, found %{y:.2f}, %{customdata} keypoints",
        )
    return drawn


def _pck_table(pck: pd.DataFrame) -> Markup:
    """Render the share of keypoints found within some distances."""
    chosen = pck[(pck["keypoint"] == ALL) & (pck["unit"] == "share") & pck["threshold"].isin(_LISTED_SHARES)]
    has_occluded = (chosen["visibility"] == OCCLUDED).any()
    rows = []
    for (split, view, visibility), part in in_view_order(chosen).groupby(["split", "view", "visibility"], sort=False):
        found = dict(zip(part["threshold"], part["pck"], strict=True))
        names = [str(split), str(view), *([str(visibility)] if has_occluded else [])]
        rows.append([*names, str(part["count"].iloc[0]), *(f"{100 * found[each]:.1f} %" for each in _LISTED_SHARES)])
    names = ["split", "view", *(["visibility"] if has_occluded else [])]
    head = (*names, "count", *(f"within {100 * each:g} %" for each in _LISTED_SHARES))
    return table("pck-table", head, rows, num_text_columns=len(names))


def _likelihood_table(calibration: pd.DataFrame) -> Markup:
    """Render the mean likelihood beside the share found."""
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
    head = ("split", "confidence", "keypoints", "count", "mean likelihood", "share found", "calibration error")
    return table("likelihood-table", head, rows, num_text_columns=3)
