"""The picture of an evaluation: curves of correct keypoints, and whether likelihoods are what they say."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mvgeom.files import replace_file
from mvtrain.evaluation.tables import ALL, OCCLUDED

_COLORS = {"train": "tab:gray", "validation": "tab:blue", "test": "tab:orange", "unused": "tab:green"}
_LARGEST_SHARE = 0.3
_PIXEL_TICKS = (0.5, 1, 2, 5, 10, 20, 50)


def draw_evaluation(path: Path, pck: pd.DataFrame, calibration: pd.DataFrame, share: float) -> None:
    """Write the PNG.

    Args:
        path: of the PNG.
        pck: from `tables.pck_table`.
        calibration: from `confidence.calibration_table`.
        share: of the subject's size that likelihoods are about.
    """
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(13, 4), layout="constrained")
        in_px, in_size, reliable = figure.subplots(1, 3)
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
    chosen = calibration[(calibration["points"] == "all") & calibration["split"].isin(["validation", "test"])]
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
        ylabel=f"within {share:.3g} of the subject's size, hidden ones as well",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
