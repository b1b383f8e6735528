"""Figure of a rig: positions and frusta of the cameras, world axes, scale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.figure_fonts import any_script
from mvgeom.files import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "SNAP_DEGREES",
    "Floats",
    "draw_rig",
    "focus",
    "frustum_corners",
    "frustum_depth",
    "quiet_azimuth",
    "save_rig_figure",
    "upright_rotation",
]

Floats = npt.NDArray[np.float64]

SNAP_DEGREES = 30
"""A world axis this close to the cameras' common "up" direction is drawn upright."""

_AXIS_COLORS = ("#d62728", "#2ca02c", "#1f77b4")
_GREY = "#9a9a9a"
_CAPTION: Any = {"fontsize": 9, "color": "#555555"}


@any_script()
def save_rig_figure(cameras: CameraGroup, path: str | Path, title: str = "") -> None:
    """Draw the rig and save it as PNG, PDF or SVG, depending on the suffix.

    Raises:
        InputError: `unknown-format`, if matplotlib cannot write the suffix; `unwritable-file`, if the folder does not
            exist.
    """
    path = Path(path)
    figure = draw_rig(cameras, title)
    known = figure.canvas.get_supported_filetypes()
    kind = path.suffix.lower().removeprefix(".")
    if kind not in known:
        raise InputError(
            f"{path}: unsupported figure format, expected {', '.join('.' + each for each in sorted(known))}",
            code="unknown-format",
            path=path,
        )
    replace_file(path, lambda temporary: figure.savefig(temporary, format=kind, dpi=150))


@any_script()
def draw_rig(cameras: CameraGroup, title: str = "") -> Figure:
    """Draw the rig in perspective and from above: frusta with names, world axes, common viewing point, scale.

    The upright direction is the world axis nearest to the up direction of most cameras, or that direction itself if no
    axis is near.

    Args:
        cameras: Cameras of one rig, NumPy.
        title: Title above the figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    upright = upright_rotation(cameras)
    centers = cameras.centers @ upright.T
    target = focus(cameras) @ upright.T
    frusta = [(points @ upright.T) for points in frustum_corners(cameras, frustum_depth(cameras))]
    axes_end = upright.T * _nice(_extent(cameras) / 8)
    colors = _colors(len(cameras))

    figure = Figure(figsize=(14, 6.5))
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    perspective: Any = figure.add_axes((-0.01, -0.12, 0.54, 1.16), projection="3d")
    above = figure.add_axes((0.57, 0.06, 0.36, 0.84))
    _draw_perspective(perspective, cameras, centers, frusta, target, axes_end, colors)
    _draw_from_above(above, cameras, centers, frusta, target, axes_end, colors)
    return figure


def focus(cameras: CameraGroup) -> Floats:
    """Find the world point (3,) nearest to all optical axes; the center of the cameras if the axes are parallel."""
    direction = cameras.rotation[:, 2]
    across = np.eye(3) - direction[:, :, None] * direction[:, None, :]
    matrix = across.sum(axis=0)
    if np.linalg.cond(matrix) > 1e4:
        return np.asarray(cameras.centers.mean(axis=0))
    return np.asarray(np.linalg.solve(matrix, (across @ cameras.centers[..., None]).sum(axis=0)[:, 0]))


def upright_rotation(cameras: CameraGroup) -> Floats:
    """Find the rotation (3, 3) of the world that makes the third coordinate point up, as in the cameras' images."""
    up = -cameras.rotation[:, 1].sum(axis=0)  # image rows count downward
    length = float(np.linalg.norm(up))
    if length < 0.2 * len(cameras):  # cameras that look straight down or up do not define an up direction
        return np.eye(3)
    up = up / length
    nearest = np.zeros(3)
    axis = int(np.abs(up).argmax())
    nearest[axis] = np.sign(up[axis])
    if abs(up[axis]) > np.cos(np.deg2rad(SNAP_DEGREES)):
        up = nearest
    first = np.eye(3)[(axis + 1) % 3]
    first = first - (first @ up) * up
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(up, first), up])


def frustum_corners(cameras: CameraGroup, depth: float) -> list[Floats]:
    """Return world points (5, 3) per camera: its center and the corners of its undistorted image at this depth."""
    frusta = []
    for view in range(len(cameras)):
        width, height = cameras.sizes[view]
        corners = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])
        rays = np.linalg.solve(cameras.matrix[view], np.column_stack([corners, np.ones(4)]).T).T
        local = np.vstack([np.zeros(3), rays * depth])
        frusta.append(np.asarray((local - cameras.translation[view]) @ cameras.rotation[view]))
    return frusta


def _draw_perspective(
    axes: Any,
    cameras: CameraGroup,
    centers: Floats,
    frusta: list[Floats],
    target: Floats,
    axes_end: Floats,
    colors: list[Any],
) -> None:
    from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection

    everything = np.vstack([centers, np.vstack(frusta), target, np.zeros(3)])
    low, high = everything.min(axis=0), everything.max(axis=0)
    step = _nice((high - low)[:2].max() / 8)
    floor = low[2]
    start, stop = np.floor(low / step) * step, np.ceil(high / step) * step
    grid = [[(x, start[1], floor), (x, stop[1], floor)] for x in np.arange(start[0], stop[0] + step / 2, step)]
    grid += [[(start[0], y, floor), (stop[0], y, floor)] for y in np.arange(start[1], stop[1] + step / 2, step)]
    axes.add_collection3d(Line3DCollection(grid, colors="#dddddd", linewidths=0.6))

    for name, frustum, color in zip(cameras.names, frusta, colors, strict=True):
        apex, corners = frustum[0], frustum[1:]
        faces = [[apex, corners[side], corners[(side + 1) % 4]] for side in range(4)] + [list(corners)]
        axes.add_collection3d(
            Poly3DCollection(faces, facecolors=[(*color[:3], 0.15)], edgecolors=[color], linewidths=1)
        )
        axes.plot(*corners[:2].T, color=color, linewidth=3)  # the upper edge of the image
        axes.plot(*np.stack([apex, target]).T, color=color, linewidth=0.7, linestyle=":")
        axes.plot(*np.stack([apex, [*apex[:2], floor]]).T, color=_GREY, linewidth=0.6)
        axes.text(apex[0], apex[1], apex[2] + 0.4 * step, name, color=color, weight="bold", ha="center")
    for axis, (end, color) in enumerate(zip(axes_end, _AXIS_COLORS, strict=True)):
        axes.plot(*np.stack([np.zeros(3), end]).T, color=color, linewidth=2.5)
        axes.text(*(1.15 * end), "xyz"[axis], color=color, weight="bold")

    axes.set_xlim(start[0], stop[0])
    axes.set_ylim(start[1], stop[1])
    axes.set_zlim(floor, high[2])
    axes.view_init(elev=22, azim=quiet_azimuth(centers - target))
    axes.set_axis_off()
    corners = np.array([(x, y, z) for x in (start[0], stop[0]) for y in (start[1], stop[1]) for z in (floor, high[2])])
    _fill(axes, np.vstack([everything, corners[::2]]), [*(stop - start)[:2], max(high[2] - floor, 1e-9)])
    caption = f"one cell of the grid: {step:g} (the calibration's unit); thick edge: top of the image"
    axes.figure.text(0.26, 0.92, caption, ha="center", **_CAPTION)


def _fill(axes: Any, points: Floats, box_aspect: list[float]) -> None:
    """Zoom and shift a 3D plot until the points fill its area; by default matplotlib leaves wide margins or clips."""
    from mpl_toolkits.mplot3d.proj3d import proj_transform

    place = axes.get_position()
    zoom = 1.0
    for _ in range(3):  # in perspective, one step is not sufficient
        axes.set_box_aspect(box_aspect, zoom=zoom)
        axes.apply_aspect()
        flat = np.stack(proj_transform(*points.T, axes.get_proj())[:2], axis=-1)
        inside = axes.transAxes.inverted().transform(axes.transData.transform(flat))
        low, high = inside.min(axis=0), inside.max(axis=0)
        zoom *= 0.88 / float((high - low).max())
    shift = (0.5 - (low + high) / 2) * 0.88 / float((high - low).max()) * [place.width, place.height]
    axes.set_box_aspect(box_aspect, zoom=zoom)
    axes.set_position((place.x0 + shift[0], place.y0 + shift[1], place.width, place.height))
    for artist in axes.get_children():
        artist.set_clip_on(False)


def _draw_from_above(
    axes: Any,
    cameras: CameraGroup,
    centers: Floats,
    frusta: list[Floats],
    target: Floats,
    axes_end: Floats,
    colors: list[Any],
) -> None:
    labeled: list[Floats] = []
    size = float(np.linalg.norm(np.ptp(np.vstack([centers, *frusta])[:, :2], axis=0)))
    for name, center, frustum, color in zip(cameras.names, centers, frusta, colors, strict=True):
        outline = _hull(frustum[:, :2])
        axes.fill(*outline.T, facecolor=(*color[:3], 0.2), edgecolor=color, linewidth=1)
        axes.plot([center[0], target[0]], [center[1], target[1]], color=color, linewidth=0.7, linestyle=":")
        axes.plot(*center[:2], "o", color=color, markersize=4)
        away = (center - frustum[1:].mean(axis=0))[:2]
        away = away / max(float(np.linalg.norm(away)), 0.02 * size)
        line = sum(float(np.linalg.norm(center[:2] - other)) < 0.08 * size for other in labeled)
        labeled.append(center[:2])
        axes.annotate(
            f"{name}\nheight {float(f'{center[2]:.3g}'):,.10g}",
            center[:2],
            xytext=14 * away - [0, 24 * line],
            textcoords="offset points",
            color=color,
            weight="bold",
            fontsize=9,
            ha="left" if away[0] > 0.4 else "right" if away[0] < -0.4 else "center",
            va="bottom" if away[1] > 0.4 else "top" if away[1] < -0.4 else "center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1},
        )
    axes.plot(*target[:2], "+", color="black", markersize=11)
    for axis, (end, color) in enumerate(zip(axes_end, _AXIS_COLORS, strict=True)):
        if np.linalg.norm(end[:2]) > 0.3 * np.linalg.norm(end):
            axes.annotate("", end[:2], xytext=(0, 0), arrowprops={"arrowstyle": "->", "color": color, "lw": 2})
            axes.update_datalim([(0, 0), 1.3 * end[:2]])
            axes.text(*(1.2 * end[:2]), "xyz"[axis], color=color, weight="bold", ha="center", va="center")
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.2, 0.12)
    axes.autoscale_view()
    axes.grid(color="#e8e8e8")
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors="#777777", length=0, labelsize=8)
    caption = "from above; + is the point nearest to all optical axes"
    axes.figure.text(0.75, 0.92, caption, ha="center", **_CAPTION)


def _hull(points: Floats) -> Floats:
    from scipy.spatial import ConvexHull, QhullError

    try:
        return points[ConvexHull(points).vertices]
    except QhullError:  # a camera with a horizontal axis and all corners on one line
        return points


def _extent(cameras: CameraGroup) -> float:
    """Return the size of the rig: of the cameras and their common viewing point; 1 for a single camera without one."""
    points = np.vstack([cameras.centers, focus(cameras)])
    return float(np.linalg.norm(np.ptp(points, axis=0))) or 1.0


def frustum_depth(cameras: CameraGroup) -> float:
    """Choose a depth at which frusta are visible and do not overlap."""
    centers = cameras.centers
    apart = [float(np.linalg.norm(a - b)) for i, a in enumerate(centers) for b in centers[:i]]
    nearest = min((distance for distance in apart if distance > 0), default=_extent(cameras))
    return min(_extent(cameras) / 8, 0.6 * nearest)


def quiet_azimuth(directions: Floats) -> float:
    """Choose a viewing angle in degrees at which few cameras hide each other: the middle of the widest gap."""
    angles = np.sort(np.arctan2(directions[:, 1], directions[:, 0]))
    gaps = np.diff(np.append(angles, angles[0] + 2 * np.pi))
    widest = int(gaps.argmax())
    return float(np.rad2deg(angles[widest] + gaps[widest] / 2))


def _nice(value: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that does not exceed the value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(factor for factor in (1, 2, 5) if factor * power <= value * (1 + 1e-9)) * power)


def _colors(count: int) -> list[Any]:
    from matplotlib import colormaps

    palette = colormaps["tab10" if count <= 10 else "turbo"]
    return [palette(number if count <= 10 else number / max(count - 1, 1)) for number in range(count)]
