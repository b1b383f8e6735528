"""Draw one figure per frame of reference for docs/conventions.md: uv run python docs/figures/frames_of_reference.py.

All show the same frame of a generated project in the same view, with the position of the nose.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mvaug import warp_image
from mvgeom import CameraGroup, affine, project, undistort, world_to_camera
from mvgeom.rig_figure import frustum_corners
from mvtrain.config import Config, load_config
from mvtrain.losses.heatmap import gaussian_factors
from mvtrain.project.images import read_image
from mvtrain.project.labels_3d import read_truth
from mvtrain.project.project import Project, full_to_model, read_project
from mvtrain.synth import SyntheticSpec, generate_project

IMAGES = Path(__file__).parents[1] / "images"
SPEC = SyntheticSpec(
    num_frames=2, num_sessions=1, num_video_frames=2, size=(640, 512), occlusion=0.0, crop=True, crop_size=200, seed=7
)
INPUT = (192, 128)
PATCH = 16
DOWNSAMPLING = 4
VIEW = 0
NOSE = 0
DOT: Any = {"s": 14, "color": "#ffd23f", "edgecolor": "black", "linewidth": 0.6, "zorder": 3}
NAMED: Any = {"s": 46, "color": "#ff3b6b", "edgecolor": "black", "linewidth": 0.8, "zorder": 4}
AXIS_COLORS = ("#d62728", "#2ca02c", "#1f77b4")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One view of a frame of a generated project: images, maps, and points in the figures' frames of reference."""

    image: np.ndarray
    crop: np.ndarray
    box: np.ndarray
    cameras: CameraGroup
    points_3d: np.ndarray
    bones: list[tuple[int, int]]
    to_full: np.ndarray
    to_model: np.ndarray

    @property
    def full_points(self) -> np.ndarray:
        """Return the (K, 2) true keypoints in full-image px."""
        return project(self.points_3d, self.cameras)[VIEW]


def read_first_frame(folder: Path) -> Shown:
    """Read the first labeled frame of a project that `generate_project` wrote."""
    config: Config = load_config(folder / "config.yaml")
    read: Project = read_project(config)
    truth, cameras, path = read_truth(read), read.cameras[0], read.image_paths[0][VIEW]
    assert truth is not None
    assert cameras is not None
    assert path is not None
    assert read.boxes is not None
    video = cv2.VideoCapture(str(folder / "videos" / f"session1_{read.view_names[VIEW]}.mp4"))
    video.set(cv2.CAP_PROP_POS_FRAMES, int(path.stem.removeprefix("img")))
    success, image = video.read()
    assert success
    names = read.keypoint_names
    return Shown(
        image=cv2.cvtColor(image, cv2.COLOR_BGR2RGB),
        crop=read_image(path),
        box=read.boxes[0, VIEW],
        cameras=cameras,
        points_3d=truth[0],
        bones=[(names.index(a), names.index(b)) for a, b in config.data.skeleton or ()],
        to_full=read.crop_to_full[0, VIEW],
        to_model=full_to_model(read, 0, INPUT)[VIEW],
    )


def draw_pixels(axes: Axes, image: np.ndarray, points: np.ndarray, unit: str) -> None:
    """Draw an image with keypoints in its px; in matplotlib, too, (0, 0) is the center of the top-left pixel."""
    axes.imshow(image, interpolation="nearest")
    axes.scatter(*points.T, **DOT)
    axes.scatter(*points[NOSE], **NAMED)
    height, width = image.shape[:2]
    axes.set_title(
        f"{unit} px, {width} x {height}: nose at ({points[NOSE, 0]:.1f}, {points[NOSE, 1]:.1f})", fontsize=10
    )
    axes.set_xlabel("x")
    axes.set_ylabel("y")


def new_figure(width: float = 5.2, height: float = 4.3) -> tuple[Figure, Axes]:
    """Make a figure with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def draw_full_image(shown: Shown) -> Figure:
    """Draw the camera's full image with the bounding box."""
    figure, axes = new_figure()
    draw_pixels(axes, shown.image, shown.full_points, "full-image")
    x, y, width, height = shown.box
    # A box covers whole pixels: x and y are the index of its first, whose left and upper edge is half a pixel before.
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor="#00d0ff", linewidth=1.5))
    text = f"box: x {x:.0f}, y {y:.0f}, h {height:.0f}, w {width:.0f}"
    axes.text(x, y - 10, text, color="#00d0ff", fontsize=9, bbox={"facecolor": "black", "edgecolor": "none", "pad": 2})
    return figure


def draw_crop(shown: Shown) -> Figure:
    """Draw the stored crop."""
    figure, axes = new_figure(4.4)
    draw_pixels(axes, shown.crop, affine.apply(affine.invert(shown.to_full), shown.full_points), "crop")
    return figure


def draw_model(shown: Shown) -> Figure:
    """Draw the network's input with its patches."""
    figure, axes = new_figure(5.2, 3.9)
    image = warp_image(shown.crop, affine.compose(shown.to_model, shown.to_full), INPUT)
    draw_pixels(axes, image, affine.apply(shown.to_model, shown.full_points), "model")
    for draw, length in ((axes.axvline, INPUT[0]), (axes.axhline, INPUT[1])):
        for edge in range(PATCH, length, PATCH):
            draw(edge - 0.5, color="white", linewidth=0.4, alpha=0.6)
    return figure


def draw_heatmap(shown: Shown) -> Figure:
    """Draw the target heatmap of the nose."""
    figure, axes = new_figure(5.2, 3.9)
    size = (INPUT[0] // DOWNSAMPLING, INPUT[1] // DOWNSAMPLING)
    to_heatmap = affine.compose(affine.resize(INPUT, size), shown.to_model)
    points = affine.apply(to_heatmap, shown.full_points)
    along_x, along_y = gaussian_factors(torch.from_numpy(points[NOSE]), (size[1], size[0]))
    draw_pixels(axes, (along_y[:, None] * along_x).numpy(), points, "heatmap")
    return figure


def draw_normalized(shown: Shown) -> Figure:
    """Draw keypoints and the image's border in the plane z = 1."""
    figure, axes = new_figure()
    camera = shown.cameras.select([shown.cameras.names[VIEW]])
    width, height = camera.sizes[0]
    around = np.concatenate(
        [
            np.stack([np.linspace(-0.5, width - 0.5, 60), np.full(60, y)], axis=-1)[::order]
            for y, order in ((-0.5, 1), (height - 0.5, -1))
        ]
    )
    border = undistort(np.vstack([around, around[:1]])[None], camera)[0]
    straight = undistort(np.vstack([around, around[:1]])[None], camera.replace(distortion=0 * camera.distortion))[0]
    points = undistort(shown.full_points[None], camera)[0]
    axes.plot(*straight.T, color="#9a9a9a", linewidth=1, linestyle="--", label="image border, if the lens were ideal")
    axes.plot(*border.T, color="#1f77b4", linewidth=1.5, label="image border")
    for one, other in shown.bones:
        axes.plot(*points[[one, other]].T, color="#777777", linewidth=1)
    axes.scatter(*points.T, **DOT)
    axes.scatter(*points[NOSE], **NAMED)
    axes.plot(0, 0, "+", color="black", markersize=10, label="optical axis")
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_xlabel("x / z")
    axes.set_ylabel("y / z")
    axes.legend(fontsize=8, loc="upper center", borderaxespad=2.5, frameon=False)
    axes.set_title(f"normalized: nose at ({points[NOSE, 0]:.4f}, {points[NOSE, 1]:.4f})", fontsize=10)
    return figure


def draw_axes_3d(axes: Any, origin: np.ndarray, directions: np.ndarray, length: float) -> None:
    """Draw three arrows named x, y, z from a point."""
    for name, direction, color in zip("xyz", directions, AXIS_COLORS, strict=True):
        end = origin + length * direction
        axes.plot(*np.stack([origin, end]).T, color=color, linewidth=2.5)
        axes.text(*(origin + 1.2 * length * direction), name, color=color, weight="bold")


def draw_animal(axes: Any, points: np.ndarray, bones: list[tuple[int, int]]) -> None:
    """Draw keypoints and skeleton in 3D."""
    for one, other in bones:
        axes.plot(*points[[one, other]].T, color="#444444", linewidth=1.2)
    axes.scatter(*points.T, **{**DOT, "s": 8})
    axes.scatter(*points[NOSE], **{**NAMED, "s": 30})


def draw_3d(title: str, elevation: float, azimuth: float) -> tuple[Figure, Any]:
    """Make a figure with one 3D plot."""
    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    axes: Any = figure.add_subplot(projection="3d")
    axes.view_init(elev=elevation, azim=azimuth)
    axes.set_title(title, fontsize=10, y=0.97)
    axes.tick_params(labelsize=7)
    return figure, axes


def draw_camera(shown: Shown) -> Figure:
    """Draw the animal in a camera's axes: x to the right, y down, z ahead, towards the back of the figure."""
    points = world_to_camera(shown.points_3d, shown.cameras)[VIEW]
    x, y, z = points[NOSE]
    figure, axes = draw_3d(f"camera: nose at ({x:.0f}, {y:.0f}, {z:.0f}) mm", 20, -38)
    to_plot = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # matplotlib draws its third axis upwards
    draw_axes_3d(axes, np.zeros(3), to_plot.T, 250)
    alone = shown.cameras.select([shown.cameras.names[VIEW]])
    at_origin = alone.replace(rotation=np.eye(3)[None], translation=np.zeros((1, 3)))
    corners = frustum_corners(at_origin, float(np.median(points[:, 2])))[0] @ to_plot.T
    for corner in corners[1:]:
        axes.plot(*np.stack([corners[0], corner]).T, color="#9a9a9a", linewidth=0.7)
    axes.plot(*corners[[1, 2, 3, 4, 1]].T, color="#9a9a9a", linewidth=1)
    draw_animal(axes, points @ to_plot.T, shown.bones)
    axes.set_xlabel("x")
    axes.set_ylabel("z")
    axes.set_zlabel("y")
    axes.zaxis.set_major_formatter(lambda value, _: f"{-value:.0f}")
    axes.set_aspect("equal")
    return figure


def draw_world(shown: Shown) -> Figure:
    """Draw the rig and the animal in the calibration's world."""
    x, y, z = shown.points_3d[NOSE]
    figure, axes = draw_3d(f"world: nose at ({x:.0f}, {y:.0f}, {z:.0f}) mm", 28, -50)
    draw_axes_3d(axes, np.zeros(3), np.eye(3), 250)
    for view, frustum in enumerate(frustum_corners(shown.cameras, 220)):
        color = "#1f77b4" if view == VIEW else "#9a9a9a"
        for corner in frustum[1:]:
            axes.plot(*np.stack([frustum[0], corner]).T, color=color, linewidth=0.9)
        axes.plot(*frustum[[1, 2, 3, 4, 1]].T, color=color, linewidth=1)
        axes.text(*frustum[0], shown.cameras.names[view], color=color, fontsize=8, weight="bold")
    draw_animal(axes, shown.points_3d, shown.bones)
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    axes.set_zlabel("z")
    axes.set_aspect("equal")
    return figure


def draw_pixel_convention() -> Figure:
    """Draw four pixels, and the two that remain when the image is resized by one half."""
    figure = Figure(figsize=(5.2, 2.6), layout="constrained")
    for row, (number, title) in enumerate(((4, "4 pixels"), (2, "resized by s = 1/2: x becomes (x + 0.5) s - 0.5"))):
        axes = figure.add_subplot(2, 1, row + 1)
        shades = np.linspace(0.55, 0.95, 4).reshape(number, -1).mean(axis=1)
        axes.imshow(shades[None], cmap="gray", vmin=0, vmax=1, extent=(-0.5, number - 0.5, 0, 1), aspect="auto")
        axes.scatter(range(number), [0.5] * number, color="#ff3b6b", zorder=3)
        for edge in range(number + 1):
            axes.axvline(edge - 0.5, color="black", linewidth=1)
        axes.set_xticks([edge / 2 for edge in range(-1, 2 * number)])
        axes.set_yticks([])
        axes.set_title(title, fontsize=9, loc="left")
    return figure


def main() -> None:
    """Write all figures."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "project"
        generate_project(folder, SPEC)
        shown = read_first_frame(folder)
    figures = {
        "full_image": draw_full_image(shown),
        "crop": draw_crop(shown),
        "model": draw_model(shown),
        "heatmap": draw_heatmap(shown),
        "normalized": draw_normalized(shown),
        "camera": draw_camera(shown),
        "world": draw_world(shown),
        "pixels": draw_pixel_convention(),
    }
    for name, figure in figures.items():
        figure.savefig(IMAGES / f"convention_{name}.png", dpi=100, bbox_inches="tight")


if __name__ == "__main__":
    main()
