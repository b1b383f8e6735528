"""Sections of the report on errors: by view and keypoint, shares of correct keypoints, reliability of likelihoods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from mvtrain.evaluation.error_tables import ALL, OCCLUDED, VISIBLE, errors_by_view, in_view_order
from mvtrain.evaluation.evaluation import Evaluation, held_out_split
from mvtrain.evaluation.fits_to_labels import calibration_errors
from mvtrain.metrics import OCCLUDED_SOURCE
from mvtrain.model.error_bars import NOT_FITTED, ErrorBars
from mvtrain.model.likelihood import ConfidenceMap, describe_likelihood
from mvtrain.report.html import (
    FAINT,
    SET_COLORS,
    Section,
    figure,
    figure_html,
    go,
    grid,
    heading,
    join_parts,
    number,
    paragraph,
    plain,
    sentence,
    significant,
    table,
)

_SCALE = [[0.0, "#f5f9ff"], [0.35, "#9ecae9"], [0.7, "#3182bd"], [1.0, "#08306b"]]
_ROW_HEIGHT = 26
_KNOWN = {"truth": "true points", "labels": "triangulated labels"}
"""Names of the points that 3D errors are distances to."""

_LARGEST_SHARE = 0.3
_LISTED_SHARES = (0.02, 0.05, 0.1, 0.2)
_HEIGHT = 380


def errors_section(
    evaluation: Evaluation, errors: pd.DataFrame, errors_3d: pd.DataFrame, error_bars: ErrorBars | None = None
) -> Section:
    """Show the errors of visible and of occluded keypoints, by view and by keypoint.

    Args:
        evaluation: Evaluation that the tables are of.
        errors: Table from `evaluate.error_tables.error_table`.
        errors_3d: Table from `evaluate.error_tables.error_3d_table`.
        error_bars: Error bars in 3D that the evaluation has, if they were fitted to labels.
    """
    held_out = held_out_split(evaluation)
    beside = ", and between prediction and known place of occluded keypoints" if _has_occluded(errors) else ""
    height = 150 + _ROW_HEIGHT * len(evaluation.keypoint_names)
    parts = [
        heading("By view"),
        _view_table(errors),
        heading("By keypoint"),
        figure_html(draw_heat_map(evaluation, errors), "error-heat-map", height),
        *_occluded_heat_map(evaluation, errors, height),
        _keypoint_table(evaluation, errors, errors_3d, held_out),
    ]
    if len(errors_3d):
        parts += [heading("In 3D"), _table_3d(errors_3d, error_bars)]
    else:
        parts.append(paragraph("No errors in 3D: the project has no calibration of two views or more.", "note"))
    return Section(
        anchor="errors",
        title="Error by view and keypoint",
        how_to_read=(
            f"Distances in px of the stored images between prediction and visible label{beside}. The median is the "
            "usual error, the 95 % column a large one. Mean pose: errors of a predictor that gives the same pose for "
            "every image."
        ),
        body_html=join_parts(parts),
    )


def _has_occluded(errors: pd.DataFrame) -> bool:
    """Return True if the table has errors of occluded keypoints."""
    return bool((errors["error"] == "occluded").any())


def _view_table(errors: pd.DataFrame) -> Markup:
    """Render the errors by split, view and visibility."""
    has_occluded = _has_occluded(errors)
    rows = []
    for row in errors_by_view(errors).to_dict("records"):
        names = [row["split"], row["view"], *([row["visibility"]] if has_occluded else [])]
        figures = (row["mean"], row["median"], row["percentile_95"], row["mean_pose"])
        rows.append([*names, str(row["count"]), *map(number, figures)])
    names = ["split", "view", *(["visibility"] if has_occluded else [])]
    head = (*names, "count", "mean", "median", "95 %", "mean pose")
    caption = paragraph(sentence(OCCLUDED_SOURCE), "caption") if has_occluded else Markup()
    return table("errors-by-view", head, rows, num_text_columns=len(names)) + caption


def _occluded_heat_map(evaluation: Evaluation, errors: pd.DataFrame, height: int) -> list[Markup]:
    """Render the heat map of occluded keypoints; an empty list without any."""
    if not _has_occluded(errors):
        return []
    return [figure_html(draw_heat_map(evaluation, errors, OCCLUDED), "error-heat-map-occluded", height)]


def draw_heat_map(evaluation: Evaluation, errors: pd.DataFrame, visibility: str = VISIBLE) -> go.Figure:
    """Draw medians by keypoint (rows) and view (columns), with a button for each split.

    Args:
        evaluation: Evaluation that the table is of.
        errors: Table from `evaluate.error_tables.error_table`.
        visibility: Keypoints that the figure shows: `visible` or `occluded`.
    """
    chosen = errors[errors["error"] == {VISIBLE: "label", OCCLUDED: "occluded"}[visibility]]
    columns, rows = (*evaluation.view_names, ALL), (*evaluation.keypoint_names, ALL)
    medians = {
        str(split): part.pivot(index="keypoint", columns="view", values="median").reindex(index=rows, columns=columns)
        for split, part in chosen.groupby("split", sort=False)
    }
    if not medians:
        return figure("no visible label")
    held_out = held_out_split(evaluation)
    shown = held_out if held_out in medians else next(iter(medians))
    drawn = figure(_title(shown, visibility))
    largest = float(max(np.nanmax(values.to_numpy()) for values in medians.values()))
    for split, values in medians.items():
        drawn.add_heatmap(
            x=[plain(name) for name in columns],
            y=[plain(name) for name in rows],
            z=values.to_numpy(),
            name=split,
            visible=split == shown,
            texttemplate="%{z:.1f}",
            colorscale=_SCALE,
            zmin=0,
            zmax=largest,
            xgap=2,
            ygap=2,
            showscale=False,
            hovertemplate="%{y}, %{x}: %{z:.2f} px<extra></extra>",
        )
    drawn.update_yaxes(autorange="reversed", showgrid=False, type="category")
    drawn.update_xaxes(side="top", showgrid=False, type="category")
    drawn.update_layout(margin={"t": 124, "b": 10}, updatemenus=[_split_buttons(list(medians), shown, visibility)])
    return drawn


def _title(split: str, visibility: str) -> str:
    return f"median error in px, {split} split" + (", occluded keypoints" if visibility == OCCLUDED else "")


def _split_buttons(splits: list[str], shown: str, visibility: str) -> dict[str, Any]:
    buttons = [
        {
            "label": split,
            "method": "update",
            "args": [
                {"visible": [name == split for name in splits]},
                {"title.text": _title(split, visibility)},
            ],
        }
        for split in splits
    ]
    place = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "pad": {"b": 48}}
    return {"type": "buttons", "direction": "right", "active": splits.index(shown), "buttons": buttons, **place}


def _keypoint_table(evaluation: Evaluation, errors: pd.DataFrame, errors_3d: pd.DataFrame, split: str) -> Markup:
    found = errors[errors["split"] == split].set_index(["error", "view", "keypoint"])
    found_3d = errors_3d[errors_3d["split"] == split].set_index(["against", "keypoint"])["median"].to_dict()
    against = "truth" if evaluation.truth_3d is not None else "labels"
    figures = {name: found[name].to_dict() for name in ("median", "mean", "percentile_95")}

    def cell(statistic: str, kind: str, view: str, keypoint: str) -> str:
        return number(figures[statistic].get((kind, view, keypoint), np.nan))

    kinds = {"label": "all"}
    if _has_occluded(errors[errors["split"] == split]):
        kinds["occluded"] = "occluded"
    rows = [
        [
            keypoint,
            *(cell("median", "label", view, keypoint) for view in evaluation.view_names),
            *(cell(statistic, kind, ALL, keypoint) for kind in kinds for statistic in figures),
            significant(found_3d.get((against, keypoint), np.nan)),
        ]
        for keypoint in (*evaluation.keypoint_names, ALL)
    ]
    titles = [title for name in kinds.values() for title in (f"{name}: median", "mean", "95 %")]
    head = ("keypoint", *evaluation.view_names, *titles, "3D: median")
    occluded = "" if "occluded" not in kinds else "Occluded: as in the table by view, over all views. "
    caption = paragraph(
        f"The {split} split: visible labels, medians by view. {occluded}3D: distance to the {_KNOWN[against]}, in the "
        "calibration's unit.",
        "caption",
    )
    return table("errors-by-keypoint", head, rows) + caption


def _table_3d(errors_3d: pd.DataFrame, error_bars: ErrorBars | None) -> Markup:
    rows = []
    for row in errors_3d[errors_3d["keypoint"] == ALL].to_dict("records"):
        shares = [str(row["known"]), f"{100 * row['count'] / row['known']:.1f} %"]
        figures = [significant(row[name]) for name in ("mean", "median", "percentile_95")]
        covered = f"{100 * row['coverage_90']:.0f} %"
        rows.append([row["split"], _KNOWN[row["against"]], *shares, *figures, covered])
    head = ("split", "distance to the", "points", "predicted", "mean", "median", "95 %", "in 90 % interval")
    meaning = NOT_FITTED if error_bars is None else error_bars.describe()
    caption = paragraph(
        "In the calibration's unit. Predicted: share of the known points that at least two views agree about. In 90 % "
        "interval: share of the coordinates that lie within 1.64 stated standard deviations; 90 % is right, less is "
        f"overconfident. {sentence(meaning)}",
        "caption",
    )
    return table("errors-3d", head, rows, num_text_columns=2) + caption


def reliability_section(
    pck: pd.DataFrame, calibration: pd.DataFrame, share: float, confidence_map: ConfidenceMap | None
) -> Section:
    """Show the share of correct keypoints, and how often a keypoint of some likelihood is correct.

    Args:
        pck: Table from `evaluate.error_tables.pck_table`.
        calibration: Table from `fits_to_labels.calibration_table`.
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
