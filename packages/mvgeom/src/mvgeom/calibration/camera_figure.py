"""Figure of one camera's residuals over its image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mvgeom._subset import spread_subset
from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.figure_fonts import any_script
from mvgeom.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_residuals"]

_MAX_ARROWS = 4_000
_ARROW_SHARE = 0.04
"""Length of a typical arrow, as a fraction of the longer side of the image."""


@any_script()
def draw_residuals(name: str, size: Floats, points: Floats, residuals: Floats) -> Figure:
    """Draw residuals: left as enlarged arrows from each point to its projection, right all from one origin.

    Arrows with one common direction in a region indicate a lens or pose error; arrows in random directions indicate
    noise.

    Args:
        name: Name of the camera.
        size: (2,) image width and height in px.
        points: (N, 2) observed points in full-image px; NaN is missing.
        residuals: (N, 2) projection minus point in px; NaN is missing.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    there = seen_corners(points) & seen_corners(residuals)
    points, residuals = points[there], residuals[there]
    lengths = np.linalg.norm(residuals, axis=1)
    typical = float(np.median(lengths)) if len(lengths) else 1.0
    drawn = spread_subset(len(points), _MAX_ARROWS)
    figure = Figure(figsize=(12, 6))
    FigureCanvasAgg(figure)
    image, cloud = figure.subplots(1, 2, width_ratios=(3, 2))
    enlarged = _nice(_ARROW_SHARE * size.max() / max(typical, 1e-9))
    shown: Any = image.quiver(
        *points[drawn].T,
        *residuals[drawn].T,
        lengths[drawn],
        angles="xy",
        scale_units="xy",
        scale=1 / enlarged,
        width=0.002,
        cmap="viridis",
        clim=(0, max(3 * typical, 1e-9)),
    )
    figure.colorbar(shown, ax=image, label="px", shrink=0.8)
    image.set(xlim=(-0.5, size[0] - 0.5), ylim=(size[1] - 0.5, -0.5), aspect="equal")
    image.set_title(f"{counted(len(points), 'point')}; arrows enlarged {enlarged:g} times", fontsize=9)

    reach = max(float(np.percentile(lengths, 99)) if len(lengths) else 1.0, 1e-9)
    cloud.scatter(*residuals.T, s=3, alpha=0.4, linewidths=0)
    cloud.axhline(0, color="#9a9a9a", linewidth=0.5)
    cloud.axvline(0, color="#9a9a9a", linewidth=0.5)
    cloud.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal", xlabel="x (px)", ylabel="y (px)")
    rms = float(np.sqrt((lengths**2).mean())) if len(lengths) else float("nan")
    cloud.set_title(f"residuals: rms {rms:.3g} px, median {typical:.3g} px", fontsize=9)
    figure.suptitle(name, x=0.02, ha="left", fontsize=11)
    figure.tight_layout()
    return figure


def _nice(value: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20, 50, ... that does not exceed the value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(factor for factor in (1, 2, 5) if factor * power <= value * (1 + 1e-9)) * power)
