"""Draw the README's figure from a run of examples/quickstart.yaml: uv run python docs/figures/readme_figure.py RUN.

A frame that the run was not trained on, in four views with what the network finds there, and in 3D with the cameras.
The frame is rendered again four times as large as the project's images, to be looked at; the network sees it at its own
input size. It is the middle one of the test frames of the first session, not a chosen one.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import mvtrain
from mvgeom import CameraGroup
from mvgeom.rig_figure import frustum_corners
from mvtrain.config import load_config
from mvtrain.drawing.keypoints import Style, draw_keypoints, style_from_config
from mvtrain.synth import SyntheticSpec
from mvtrain.synth.raycast import make_view
from mvtrain.synth.render import render
from mvtrain.synth.scene import Scene, make_scene

FIGURE = Path(__file__).parents[1] / "images" / "readme.png"
ENLARGED = 4
FLOOR_RADIUS = 420.0


def middle_test_frame(run: Path, view: str) -> int:
    """Return the first session's test frame in the middle of all its test frames."""
    sets = pd.read_csv(run / f"predictions_{view}.csv", header=[0, 1, 2], index_col=0).iloc[:, -1]
    rows = [row for row, name in sets.items() if name == "test" and f"session1_{view}/" in str(row)]
    return int(Path(str(rows[len(rows) // 2])).stem.removeprefix("img"))


def render_frame(scene: Scene, spec: SyntheticSpec, frame: int) -> list[np.ndarray]:
    """One image (h, w, 3) BGR of a frame per view."""
    images = []
    for number, name in enumerate(spec.view_names):
        view = make_view(scene.cameras.select([name]))
        frames = render(scene, view, seed=spec.seed, number=number, sensor_noise=spec.sensor_noise)
        images.append(next(itertools.islice(frames, frame, None)))
    return images


def draw_pose(axes: Any, points: np.ndarray, style: Style, cameras: CameraGroup) -> None:
    """Draw the pose in the colors of the images, the cameras about it, and the floor."""
    angles = np.linspace(0, 2 * np.pi, 100)
    axes.plot(FLOOR_RADIUS * np.cos(angles), FLOOR_RADIUS * np.sin(angles), 0, color="#bbbbbb", linewidth=1)
    colors = np.array(style.colors)[:, ::-1] / 255
    for one, other in style.edges:
        axes.plot(*points[[one, other]].T, color=colors[[one, other]].mean(axis=0), linewidth=2.5)
        axes.plot(*points[[one, other], :2].T, 0, color="#bbbbbb", linewidth=1.5)
    axes.scatter(*points.T, color=colors, s=26, edgecolor="black", linewidth=0.6, depthshade=False)
    for name, frustum in zip(cameras.names, frustum_corners(cameras, 150), strict=True):
        for corner in frustum[1:]:
            axes.plot(*np.stack([frustum[0], corner]).T, color="#1f77b4", linewidth=0.9)
        axes.plot(*frustum[[1, 2, 3, 4, 1]].T, color="#1f77b4", linewidth=1)
        axes.text(*(frustum[0] + [0, 0, 50]), name, color="#1f77b4", fontsize=9, weight="bold", ha="center")
    axes.view_init(elev=30, azim=-22)
    axes.set_aspect("equal")
    axes.set_box_aspect(None, zoom=1.5)
    axes.set_axis_off()


def main(run: Path) -> None:
    """Predict the frame and draw it."""
    config = load_config(run / "config.yaml")
    assert config.data.synthetic is not None
    assert config.data.data_dir is not None
    spec = SyntheticSpec(**config.data.synthetic)
    spec = dataclasses.replace(spec, size=tuple(ENLARGED * side for side in spec.frame_size))
    scene, frame = make_scene(spec, 0), middle_test_frame(run, spec.view_names[0])
    images = render_frame(scene, spec, frame)

    predictor = mvtrain.load_predictor(run, device="cpu")
    found = predictor.predict([image[..., ::-1].copy() for image in images], cameras=scene.cameras)
    assert found.points_3d is not None
    project = load_config(config.data.data_dir / "config.yaml")  # that of the generator, which has the skeleton
    style = style_from_config(project, found.keypoint_names, min_confidence=0.0)

    figure = Figure(figsize=(8.8, 4.4))
    canvas = FigureCanvasAgg(figure)
    for view, image in enumerate(images):
        axes = figure.add_axes((0.25 * (view % 2), 0.5 * (1 - view // 2), 0.25, 0.5))
        drawn = draw_keypoints(image, found.points[0, view], found.confidence[0, view], style, radius=7)
        axes.imshow(drawn[..., ::-1])
        axes.text(8, 24, found.view_names[view], color="white", weight="bold", fontsize=9)
        axes.set_axis_off()
    draw_pose(figure.add_axes((0.5, 0.04, 0.5, 1.0), projection="3d"), found.points_3d[0], style, scene.cameras)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    Image.fromarray(pixels).save(FIGURE, optimize=True)
    error = np.linalg.norm(found.points_3d[0] - scene.skeleton.keypoints[frame], axis=-1)
    print(f"frame {frame} of session1: median 3D error {np.nanmedian(error):.1f} mm -> {FIGURE}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
