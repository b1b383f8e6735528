"""Reprojection error of predictions over the time of a recording, one line per way of predicting it.

    uv run mvtrain predict RUN ../shared/data/human4/videos --output boxes
    uv run mvtrain predict RUN ../shared/data/human4/videos --output track --track
    uv run python benchmarks/reprojection_over_time.py boxes/balancing_3d.csv track/balancing_3d.csv \
        --fps 60 --out docs/images/human4_reprojection.png

Consistency of the views, not accuracy: where it jumps, some view sees something else.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

mpl.use("Agg")
import matplotlib.pyplot as plt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+", help="<session>_3d.csv, named in the figure by their folders")
    parser.add_argument("--fps", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    for path in arguments.tables:
        errors = pd.read_csv(path, header=[0, 1, 2], index_col=0).xs("error", axis=1, level=2).to_numpy()
        low, median, high = np.nanpercentile(errors, [25, 50, 75], axis=1)
        time = np.arange(len(errors)) / arguments.fps
        (line,) = axes.plot(time, median, label=path.parent.name)
        axes.fill_between(time, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        print(
            f"{path.parent.name}: median {np.nanmedian(errors):.1f} px, 95 % {np.nanpercentile(errors, 95):.1f} px, "
            f"keypoints without 3D {np.isnan(errors).mean():.1%} of {errors.size}, "
            f"worst frame {np.nanargmax(median)} ({np.nanmax(median):.1f} px)"
        )
    axes.set(xlabel="time (s)", ylabel="reprojection error (px)", ylim=(0, None))
    axes.legend(title="median and quartiles", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(arguments.out, dpi=110)


if __name__ == "__main__":
    main()
