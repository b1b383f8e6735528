"""An evaluation as tables on the console."""

from __future__ import annotations

import pandas as pd
from rich.console import Console
from rich.table import Table

from mvtrain.data.splits import SET_NAMES
from mvtrain.evaluation.tables import ALL


def print_errors(console: Console, errors: pd.DataFrame) -> None:
    """Pixel error of visible labels per split and view, beside the mean pose's.

    Args:
        console: where to.
        errors: from `tables.error_table`.
    """
    console.print("\nerror in px of the labelled images, visible labels only; mean pose: the same pose for every frame")
    table = _table(("set", "view"), ("labels", "mean error", "median", "95 %", "mean pose", "times better"))
    overall = errors[errors["keypoint"] == ALL]
    baselines = overall[overall["error"] == "mean_pose"].set_index(["split", "view"])["mean"].to_dict()
    found = overall[overall["error"] == "label"]
    for row in found.to_dict("records"):
        baseline = baselines.get((row["split"], row["view"]))
        compared = ("", "") if baseline is None else (f"{baseline:.2f}", _ratio(baseline, row["mean"]))
        is_last = row["view"] == ALL
        view = "[bold]all[/]" if is_last else str(row["view"])
        figures = (f"{row['mean']:.2f}", f"{row['median']:.2f}", f"{row['percentile_95']:.2f}", *compared)
        table.add_row(row["split"], view, str(row["count"]), *figures, end_section=is_last)
    console.print(table)


def print_keypoints(console: Console, errors: pd.DataFrame) -> None:
    """Median pixel error per keypoint and split (but that of unused moments), of visible and of hidden ones."""
    chosen = errors[(errors["view"] == ALL) & errors["error"].isin(["label", "hidden"])]
    splits = [split for split in SET_NAMES if split != "unused" and (chosen["split"] == split).any()]
    console.print("\nmedian error in px by keypoint; hidden: where other views' labels say that it is")
    columns = [f"{split} {kind}" for split in splits for kind in ("visible", "hidden")]
    table = _table(("keypoint",), columns)
    medians = chosen.set_index(["split", "error", "keypoint"])["median"].to_dict()
    for keypoint in dict.fromkeys(chosen["keypoint"]):
        cells = [medians.get((split, kind, keypoint)) for split in splits for kind in ("label", "hidden")]
        table.add_row(keypoint, *("" if cell is None else f"{cell:.2f}" for cell in cells))
    console.print(table)


def print_errors_3d(console: Console, errors_3d: pd.DataFrame) -> None:
    """The 3D error of triangulated predictions per split, and how many of the known points they give.

    Args:
        console: where to.
        errors_3d: from `tables.error_3d_table`; without a row nothing is printed.
    """
    overall = errors_3d[errors_3d["keypoint"] == ALL]
    names = {"truth": "the true 3D", "labels": "the triangulated labels"}
    for against in ("labels", "truth"):
        chosen = overall[overall["against"] == against]
        if chosen.empty:
            continue
        console.print(f"\n3D error of triangulated predictions against {names[against]}, in the calibration's unit")
        table = _table(("set",), ("points", "predicted", "mean", "median", "95 %"))
        for row in chosen.to_dict("records"):
            figures = (f"{value:.4g}" for value in (row["mean"], row["median"], row["percentile_95"]))
            table.add_row(row["split"], str(row["known"]), f"{row['count'] / row['known']:.1%}", *figures)
        console.print(table)


def print_consistency(console: Console, errors: pd.DataFrame) -> None:
    """Reprojection error per split; nothing without calibration."""
    chosen = errors[(errors["error"] == "reprojection") & (errors["view"] == ALL) & (errors["keypoint"] == ALL)]
    if chosen.empty:
        return
    console.print("\nreprojection error in px of the frame: how far views are from what all of them triangulate to")
    table = _table(("set",), ("points", "mean", "median", "95 %"))
    for row in chosen.to_dict("records"):
        table.add_row(
            row["split"], str(row["count"]), *(f"{v:.2f}" for v in (row["mean"], row["median"], row["percentile_95"]))
        )
    console.print(table)


def print_calibration(console: Console, summary: pd.DataFrame, share: float) -> None:
    """What likelihoods say beside what came true, on moments that were not learned from.

    Args:
        console: where to.
        summary: from `confidence.calibration_errors`.
        share: of the subject's size that likelihoods are about.
    """
    console.print(
        f"\nlikelihood as the probability of lying within {share:.3g} of the subject's size; calibration error: mean "
        "difference between said and true",
    )
    table = _table(("set", "confidence", "points"), ("count", "said", "true", "calibration error"))
    held_out = summary[summary["split"].isin(["validation", "test"])]
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
    console.print(table)


def _table(names: tuple[str, ...], figures: tuple[str, ...] | list[str]) -> Table:
    table = Table()
    for name in names:
        table.add_column(name)
    for name in figures:
        table.add_column(name, justify="right")
    return table


def _ratio(baseline: float, mean: float) -> str:
    return f"{baseline / mean:.2f}" if mean > 0 else "inf"
