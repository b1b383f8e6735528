"""Learning curves as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from mvgeom.files import replace_file
from mvtrain.training.metrics_log import FILE_NAME

PANELS = {
    "loss": ("loss", "heatmap", "val_loss"),
    "error in px": ("pixel_error", "val_pixel_error", "val_reprojection_error"),
    "3D error, world units": ("val_error_3d",),
    "learning rate": ("learning_rate_backbone", "learning_rate_head"),
    "share of masked patches": ("mask_ratio",),
}


def draw_learning_curves(run_dir: Path) -> None:
    """Draw `metrics.csv` as `learning_curves.png`; without rows there is no picture."""
    path = run_dir / FILE_NAME
    if not path.exists():
        return
    table = pd.read_csv(path)
    panels = {
        title: [name for name in names if name in table and table[name].notna().any()]
        for title, names in PANELS.items()
    }
    panels = {title: names for title, names in panels.items() if names}
    if not panels:
        return
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(8, 2.2 * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        for axis, (title, names) in zip(axes, panels.items(), strict=True):
            for name in names:
                rows = table[name].notna()
                axis.plot(
                    table["epoch"][rows],
                    table[name][rows],
                    label=name,
                    marker="o" if rows.sum() < 30 else None,
                    markersize=3,
                )
            axis.set_ylabel(title)
            axis.grid(alpha=0.3)
            # Errors and losses fall by factors.
            positive = all((table[name].dropna() > 0).all() for name in names)
            axis.set_yscale("log" if positive and title != "share of masked patches" else "linear")
            axis.legend(frameon=False)
        axes[-1].set_xlabel("epoch")
        replace_file(run_dir / "learning_curves.png", lambda temporary: figure.savefig(temporary, dpi=120))
