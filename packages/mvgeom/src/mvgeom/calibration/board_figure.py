"""Figure of one camera's boards over its image, with what they cover and where the lens ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.bundle import Booleans
from mvgeom.calibration.selection import coverage_cells
from mvgeom.cameras import CameraGroup
from mvgeom.figure_fonts import any_script
from mvgeom.lens_reach import rays_on_grid
from mvgeom.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_boards"]


@any_script()
def draw_boards(camera: CameraGroup, points: Floats, used: Booleans) -> Figure:
    """Draw the outlines of boards, from early (dark) to late (bright); gray and dashed if they were left out.

    Cells of the image without a board are shaded, and so is the part in which the lens has no viewing ray (red).

    Args:
        camera: The one camera.
        points: (F, K, 2) board corners in full-image px; NaN is missing.
        used: (F,) booleans, true for boards that were adjusted.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    width, height = camera.sizes[0]
    figure = Figure(figsize=(8, 0.9 + 8 * height / width))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    around = (-0.5, width - 0.5, height - 0.5, -0.5)
    cells = coverage_cells(np.where(used[:, None, None], points, np.nan)[None], camera.sizes)[0].any(axis=0)
    side = round(len(cells) ** 0.5)
    _shade(axes, ~cells.reshape(side, side), around, (0.45, 0.5, 0.6, 0.28))
    lost = np.isnan(rays_on_grid(camera)[0, ..., 0])
    _shade(axes, lost, around, (0.8, 0.1, 0.1, 0.45))
    frames = np.flatnonzero(seen_corners(points).sum(-1) >= 4)
    colors = colormaps["viridis"](np.linspace(0, 0.95, max(len(frames), 2)))
    for number, frame in enumerate(frames):
        corners = points[frame][seen_corners(points[frame])]
        hull = cv2.convexHull(corners.astype(np.float32)).reshape(-1, 2)
        style = {"color": colors[number], "lw": 0.8} if used[frame] else {"color": "0.5", "lw": 0.8, "ls": "--"}
        axes.plot(*np.concatenate([hull, hull[:1]]).T, **style)
    axes.set(xlim=around[:2], ylim=around[2:], aspect="equal")
    shown = [Patch(color=(0.45, 0.5, 0.6, 0.28), label=f"no board ({100 * (1 - cells.mean()):.0f} %)")]
    if lost.any():
        shown.append(Patch(color=(0.8, 0.1, 0.1, 0.45), label=f"no viewing ray ({100 * lost.mean():.1f} %)"))
    axes.legend(handles=shown, loc="upper right", fontsize=8)
    left_out = int((~used[frames]).sum())
    used_boards = counted(len(frames) - left_out, "board")
    title = f"{camera.names[0]}: {used_boards}" + (f", {left_out} left out" if left_out else "")
    axes.set_title(title, fontsize=10, loc="left")
    figure.tight_layout()
    return figure


def _shade(axes: object, where: Booleans, extent: tuple[float, ...], color: tuple[float, ...]) -> None:
    """Color the parts of an image in which a grid over it is true."""
    layer = np.zeros((*where.shape, 4))
    layer[where] = color
    axes.imshow(layer, extent=extent, aspect="auto", interpolation="nearest")  # type: ignore[attr-defined]
