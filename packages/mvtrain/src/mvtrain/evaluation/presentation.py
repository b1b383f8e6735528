"""Console tables and the figure of an evaluation."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mvgeom.files import replace_file
from mvtrain.evaluation.error_tables import ALL, OCCLUDED, errors_by_view
from mvtrain.metrics import OCCLUDED_SOURCE
from mvtrain.project.held_out import EVALUATED_SPLITS, HELD_OUT_SPLITS

_COLORS = {
    "train": "tab:gray",
    "validation": "tab:blue",
    "test": "tab:orange",
    "unused": "tab:green",
    **dict(zip(HELD_OUT_SPLITS, ("tab:red", "tab:purple"), strict=True)),
}
_UNSEEN = ("validation", "test", *HELD_OUT_SPLITS)
"""Splits that say whether likelihoods are right: no network was trained on them."""
_LARGEST_SHARE = 0.3
_PIXEL_TICKS = (0.5, 1, 2, 5, 10, 20, 50)
_FOLDED_WIDTH = 8
"""Least width, in characters, of a column whose names are folded."""


def print_errors(console: Console, errors: pd.DataFrame) -> None:
    """Print the pixel error of visible and of occluded keypoints per split and view, beside the mean pose's.

    Args:
        console: Console to print on.
        errors: Table from `error_tables.error_table`.
    """
    found = errors_by_view(errors)
    has_occluded = (found["visibility"] == OCCLUDED).any()
    restriction = "" if has_occluded else ", visible labels only"
    console.print(f"\nerror in px of the labeled images{restriction}; mean pose: the same pose for every frame")
    if has_occluded:
        console.print(OCCLUDED_SOURCE)
    names = ("split", "view", "visibility") if has_occluded else ("split", "view")
    table = _table(names, ("count", "mean\nerror", "median", "95 %", "mean\npose", "times\nbetter"))
    splits = found["split"].to_list()
    for place, row in enumerate(found.to_dict("records")):
        baseline = row["mean_pose"]
        compared = (f"{baseline:.2f}", _ratio(baseline, row["mean"])) if np.isfinite(baseline) else ("", "")
        view = Text("all", style="bold") if row["view"] == ALL else str(row["view"])
        head = (row["split"], view, row["visibility"]) if has_occluded else (row["split"], view)
        figures = (f"{row['mean']:.2f}", f"{row['median']:.2f}", f"{row['percentile_95']:.2f}", *compared)
        is_last = splits[place + 1 : place + 2] != [row["split"]]
        table.add_row(*head, str(row["count"]), *figures, end_section=is_last)
    _print_table(console, table)


def print_keypoints(console: Console, errors: pd.DataFrame) -> None:
    """Print the median pixel error per keypoint and split (but that of unused frames), visible beside occluded."""
    kinds = {"label": "visible", "occluded": "occluded"}
    chosen = errors[(errors["view"] == ALL) & errors["error"].isin(list(kinds)) & (errors["split"] != "unused")]
    shown = set(zip(chosen["split"], chosen["error"], strict=True))
    columns = [(split, kind) for split in EVALUATED_SPLITS for kind in kinds if (split, kind) in shown]
    console.print("\nmedian error in px by keypoint")
    table = _table(("keypoint",), [f"{split}\n{kinds[kind]}" for split, kind in columns])
    medians = chosen.set_index(["split", "error", "keypoint"])["median"].to_dict()
    names = [name for name in dict.fromkeys(chosen["keypoint"]) if name != ALL]
    for keypoint in (*names, ALL):
        cells = [medians.get((split, kind, keypoint)) for split, kind in columns]
        table.add_row(keypoint, *("" if cell is None else f"{cell:.2f}" for cell in cells))
    _print_table(console, table)


def print_errors_3d(console: Console, errors_3d: pd.DataFrame) -> None:
    """Print the 3D error of triangulated predictions per split, and the share of known keypoints with a prediction.

    Args:
        console: Console to print on.
        errors_3d: Table from `error_tables.error_3d_table`; without a row nothing is printed.
    """
    overall = errors_3d[errors_3d["keypoint"] == ALL]
    names = {"truth": "the true 3D", "labels": "the triangulated labels"}
    for against in ("labels", "truth"):
        chosen = overall[overall["against"] == against]
        if chosen.empty:
            continue
        console.print(f"\n3D error of triangulated predictions against {names[against]}, in world units")
        table = _table(("split",), ("keypoints", "predicted", "mean", "median", "95 %", "in 90 %\ninterval"))
        for row in chosen.to_dict("records"):
            figures = (f"{value:.4g}" for value in (row["mean"], row["median"], row["percentile_95"]))
            shares = f"{row['count'] / row['known']:.1%}", f"{row['coverage_90']:.0%}"
            table.add_row(row["split"], str(row["known"]), shares[0], *figures, shares[1])
        _print_table(console, table)


def print_consistency(console: Console, errors: pd.DataFrame) -> None:
    """Print the reprojection error per split; nothing without calibration."""
    chosen = errors[(errors["error"] == "reprojection") & (errors["view"] == ALL) & (errors["keypoint"] == ALL)]
    if chosen.empty:
        return
    console.print("\nreprojection error in full-image px: distance to the projection of the triangulated point")
    table = _table(("split",), ("keypoints", "mean", "median", "95 %"))
    for row in chosen.to_dict("records"):
        table.add_row(
            row["split"], str(row["count"]), *(f"{v:.2f}" for v in (row["mean"], row["median"], row["percentile_95"]))
        )
    _print_table(console, table)


def print_calibration(console: Console, summary: pd.DataFrame, share: float) -> None:
    """Print predicted and observed shares of found keypoints, on frames that were not trained on.

    Args:
        console: Console to print on.
        summary: Table from `fits_to_labels.calibration_errors`.
        share: Share of the subject's size within which a keypoint counts as found.
    """
    console.print(
        f"\nlikelihood as the probability of lying within {share:.3g} of the subject's size; calibration error: mean "
        "difference between predicted and observed",
    )
    table = _table(("split", "confidence", "keypoints"), ("count", "predicted", "observed", "calibration\nerror"))
    held_out = summary[summary["split"].isin(_UNSEEN)]
    for row in held_out.to_dict("records"):
        figures = (f"{value:.3f}" for value in (row["predicted"], row["observed"], row["calibration_error"]))
        table.add_row(
            row["split"],
            row["confidence"],
            row["points"],
            str(row["count"]),
            *figures,
            end_section=row["points"] == "all",
        )
    _print_table(console, table)


def _table(names: tuple[str, ...], figures: tuple[str, ...] | list[str]) -> Table:
    """Make a table whose columns of views and keypoints may be folded, and no other."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name not in ("view", "keypoint"))
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _print_table(console: Console, table: Table) -> None:
    """Print a table without cutting any cell; if nothing else helps, its lines are longer than the console."""
    fixed = [column for column in table.columns if column.no_wrap]
    folded = len(table.columns) - len(fixed)
    lines = [[line for cell in (column.header, *column.cells) for line in str(cell).splitlines()] for column in fixed]
    content = sum(max(map(cell_len, cells), default=0) for cells in lines) + folded * _FOLDED_WIDTH
    gaps = len(table.columns) - 1
    # Two columns apart, or else one.
    if content + 2 * gaps > console.width:
        table.padding = (0, 0)
    if content + gaps > console.width:
        table.width = content + gaps
    console.print(table, crop=False)


def _ratio(baseline: float, mean: float) -> str:
    return f"{baseline / mean:.2f}" if mean > 0 else "inf"


def draw_evaluation(path: Path, pck: pd.DataFrame, calibration: pd.DataFrame, share: float) -> None:
    """Draw the percentages of correct keypoints and the reliability of likelihoods as a PNG.

    Args:
        path: Path of the PNG.
        pck: Table from `error_tables.pck_table`.
        calibration: Table from `fits_to_labels.calibration_table`.
        share: Share of the subject's size within which a keypoint counts as found.
    """
    with matplotlib.rc_context({"font.size": 9}):
        # Fixed margins, in inches: a layout that measures all texts takes longer than drawing them.
        figure = Figure(figsize=(13, 4))
        in_px, in_size, reliable = figure.subplots(1, 3)
        figure.subplots_adjust(left=0.55 / 13, right=1 - 0.15 / 13, bottom=0.5 / 4, top=1 - 0.15 / 4, wspace=0.22)
        _draw_pck(in_px, pck, "px", "distance to the keypoint in px")
        in_px.set_xscale("log")
        in_px.set_xticks(_PIXEL_TICKS, labels=map(str, _PIXEL_TICKS))
        in_px.minorticks_off()
        _draw_pck(in_size, pck, "share", "distance to the keypoint / size of the subject")
        in_size.set_xlim(0, _LARGEST_SHARE)
        _draw_reliability(reliable, calibration, share)
        replace_file(path, lambda temporary: figure.savefig(temporary, dpi=120))


def _draw_pck(axes: Axes, pck: pd.DataFrame, unit: str, label: str) -> None:
    overall = pck[(pck["unit"] == unit) & (pck["view"] == ALL) & (pck["keypoint"] == ALL)]
    for (split, visibility), curve in overall.groupby(["split", "visibility"], sort=False):
        is_occluded = visibility == OCCLUDED
        axes.plot(
            curve["threshold"],
            curve["pck"],
            color=_COLORS[str(split)],
            linestyle="--" if is_occluded else "-",
            label=f"{split}, occluded" if is_occluded else str(split),
        )
    axes.set(xlabel=label, ylabel="share of keypoints found", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def _draw_reliability(axes: Axes, calibration: pd.DataFrame, share: float) -> None:
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    chosen = calibration[(calibration["points"] == "all") & calibration["split"].isin(_UNSEEN)]
    for (split, confidence), bins in chosen.groupby(["split", "confidence"], sort=False):
        axes.plot(
            bins["predicted"],
            bins["observed"],
            color=_COLORS[str(split)],
            linestyle="--" if confidence == "raw" else "-",
            marker="o",
            markersize=3,
            label=f"{split}, {confidence}",
        )
    axes.set(
        xlabel="likelihood",
        ylabel=f"share within {share:.3g} of the subject's size, hidden included",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
