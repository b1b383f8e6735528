"""The section of errors by view and keypoint: a heat map, and tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mvtrain.evaluation.evaluation import Evaluation
from mvtrain.evaluation.tables import ALL
from mvtrain.report.held_out import held_out_set
from mvtrain.report.html import Section, number, paragraph, significant, table
from mvtrain.report.plots import figure, figure_html, go, plain

_SCALE = [[0.0, "#f5f9ff"], [0.35, "#9ecae9"], [0.7, "#3182bd"], [1.0, "#08306b"]]
_ROW_HEIGHT = 26
_KNOWN = {"truth": "true points", "labels": "triangulated labels"}
"""What 3D errors are distances to."""


def errors_section(evaluation: Evaluation, errors: pd.DataFrame, errors_3d: pd.DataFrame) -> Section:
    """How far predictions are from labels, by view and by keypoint.

    Args:
        evaluation: that the tables are of.
        errors: from `evaluation.tables.error_table`.
        errors_3d: from `evaluation.tables.error_3d_table`.
    """
    held_out = held_out_set(evaluation)
    height = 150 + _ROW_HEIGHT * len(evaluation.keypoint_names)
    parts = [
        "<h3>By view</h3>",
        _view_table(errors),
        "<h3>By keypoint</h3>",
        figure_html(draw_heat_map(evaluation, errors), "error-heat-map", height),
        _keypoint_table(evaluation, errors, errors_3d, held_out),
    ]
    if len(errors_3d):
        parts += ["<h3>In 3D</h3>", _table_3d(errors_3d)]
    else:
        parts.append(paragraph("No errors in 3D: the project has no calibration of two views or more.", "note"))
    return Section(
        anchor="errors",
        title="Error by view and keypoint",
        how_to_read=(
            "Distances in px of the stored images between prediction and visible label: the median is the usual "
            "case, the 95 % column the bad one; mean pose is what a predictor gets that says the same for every image."
        ),
        body_html="\n".join(parts),
    )


def _view_table(errors: pd.DataFrame) -> str:
    overall = errors[errors["keypoint"] == ALL]
    baselines = overall[overall["error"] == "mean_pose"].set_index(["split", "view"])["mean"].to_dict()
    rows = []
    for row in overall[overall["error"] == "label"].to_dict("records"):
        baseline = baselines.get((row["split"], row["view"]), np.nan)
        figures = (row["mean"], row["median"], row["percentile_95"], baseline)
        rows.append([row["split"], row["view"], str(row["count"]), *map(number, figures)])
    head = ("set", "view", "labels", "mean", "median", "95 %", "mean pose")
    return table("errors-by-view", head, rows, num_text_columns=2)


def draw_heat_map(evaluation: Evaluation, errors: pd.DataFrame) -> go.Figure:
    """Median by keypoint (rows) and view (columns), a button for each set."""
    labelled = errors[errors["error"] == "label"]
    columns, rows = (*evaluation.view_names, ALL), (*evaluation.keypoint_names, ALL)
    medians = {
        str(split): part.pivot(index="keypoint", columns="view", values="median").reindex(index=rows, columns=columns)
        for split, part in labelled.groupby("split", sort=False)
    }
    if not medians:
        return figure("no visible label")
    held_out = held_out_set(evaluation)
    shown = held_out if held_out in medians else next(iter(medians))
    drawn = figure(f"median error in px, {shown} set")
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
    drawn.update_layout(margin={"t": 124, "b": 10}, updatemenus=[_set_buttons(list(medians), shown)])
    return drawn


def _set_buttons(splits: list[str], shown: str) -> dict[str, Any]:
    buttons = [
        {
            "label": split,
            "method": "update",
            "args": [
                {"visible": [name == split for name in splits]},
                {"title.text": f"median error in px, {split} set"},
            ],
        }
        for split in splits
    ]
    place = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "pad": {"b": 48}}
    return {"type": "buttons", "direction": "right", "active": splits.index(shown), "buttons": buttons, **place}


def _keypoint_table(evaluation: Evaluation, errors: pd.DataFrame, errors_3d: pd.DataFrame, split: str) -> str:
    found = errors[errors["split"] == split].set_index(["error", "view", "keypoint"])
    found_3d = errors_3d[errors_3d["split"] == split].set_index(["against", "keypoint"])["median"].to_dict()
    against = "truth" if evaluation.truth_3d is not None else "labels"
    figures = {name: found[name].to_dict() for name in ("median", "mean", "percentile_95")}

    def cell(statistic: str, kind: str, view: str, keypoint: str) -> str:
        return number(figures[statistic].get((kind, view, keypoint), np.nan))

    rows = [
        [
            keypoint,
            *(cell("median", "label", view, keypoint) for view in evaluation.view_names),
            *(cell(statistic, "label", ALL, keypoint) for statistic in ("median", "mean", "percentile_95")),
            cell("median", "hidden", ALL, keypoint),
            significant(found_3d.get((against, keypoint), np.nan)),
        ]
        for keypoint in (*evaluation.keypoint_names, ALL)
    ]
    head = ("keypoint", *evaluation.view_names, "all: median", "mean", "95 %", "hidden: median", "3D: median")
    caption = paragraph(
        f"The {split} set; by view medians. Hidden: distance to where the labels of other views say that a keypoint "
        f"without visible label is. 3D: distance to the {_KNOWN[against]}, in the calibration's unit.",
        "caption",
    )
    return table("errors-by-keypoint", head, rows) + caption


def _table_3d(errors_3d: pd.DataFrame) -> str:
    rows = []
    for row in errors_3d[errors_3d["keypoint"] == ALL].to_dict("records"):
        shares = [str(row["known"]), f"{100 * row['count'] / row['known']:.1f} %"]
        figures = [significant(row[name]) for name in ("mean", "median", "percentile_95")]
        rows.append([row["split"], _KNOWN[row["against"]], *shares, *figures])
    head = ("set", "distance to the", "points", "predicted", "mean", "median", "95 %")
    caption = paragraph(
        "In the calibration's unit. Predicted: points of known place that at least two views agree about.", "caption"
    )
    return table("errors-3d", head, rows, num_text_columns=2) + caption
