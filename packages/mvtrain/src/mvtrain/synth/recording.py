"""Recording of one camera: its video, stored images, 2D labels and boxes around the animal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom import affine
from mvgeom.files import file_name
from mvgeom.tables import write_video_boxes
from mvtrain.drawing.video_files import written_video
from mvtrain.project.writer import image_name
from mvtrain.synth.keyed import Purpose, generator
from mvtrain.synth.raycast import View, keypoint_visibility, make_view, pixel_bounds
from mvtrain.synth.render import Image, render
from mvtrain.synth.scene import Scene
from mvtrain.synth.shapes import Floats
from mvtrain.synth.spec import SyntheticSpec

BOX_MARGIN = 0.12
"""Margin on every side of the animal's box, as a fraction of its longer side."""

SMALLEST_BOX = 24
"""Smallest side of a box in px; also the side of the box of an image without the animal."""

_ENCODING = {
    "jpg": [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_OPTIMIZE, 0, cv2.IMWRITE_JPEG_PROGRESSIVE, 0],
    "png": [cv2.IMWRITE_PNG_COMPRESSION, 3],
}
"""OpenCV's parameters, in full, so that other defaults of another version do not change the bytes."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labels of N frames of one camera.

    Attributes:
        points: (N, K, 2) labels in crop px, NaN where not labeled.
        visible: (N, K) 2 visible, 1 occluded, 0 not labeled.
    """

    points: Floats
    visible: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Labels and boxes of one camera in one session.

    Attributes:
        labels: Labels of the N labeled frames, in crop px.
        boxes: (N, 4) x, y, width, height of the stored images in full-image px.
    """

    labels: Labels
    boxes: Floats


def record(folder: Path, spec: SyntheticSpec, scene: Scene, number: int, advance: Callable[[], None]) -> Recording:
    """Render, and write the video, the labeled images and, for crops, the video's boxes.

    Args:
        folder: Folder of the project.
        spec: Spec of the project.
        scene: Scene of the session.
        number: Position of the camera.
        advance: Function that is called after each image.
    """
    session, name = spec.session_names[scene.number], spec.view_names[number]
    view = make_view(scene.cameras.select([name]))
    if spec.crop:
        boxes = animal_boxes(scene, view)
        write_video_boxes(folder / "videos" / file_name(f"{session}_{name}_bbox.csv"), boxes)
    else:
        boxes = np.tile([0.0, 0.0, view.width, view.height], (spec.num_video_frames, 1))
    (folder / "labeled-data" / file_name(f"{session}_{name}")).mkdir()
    labeled = set(scene.labeled.tolist())
    frames = render(scene, view, seed=spec.seed, number=number, sensor_noise=spec.sensor_noise)
    with written_video(folder / "videos" / file_name(f"{session}_{name}.mp4"), spec.fps, spec.frame_size) as write:
        for frame, image in enumerate(frames):
            write(image)
            if frame in labeled:
                path = folder / image_name(session, name, frame, spec.image_format)
                _write_image(path, _cut(image, boxes[frame], spec.crop_size), spec.image_format)
            advance()
    boxes = boxes[scene.labeled]
    return Recording(labels=label(scene, view, number, boxes, spec), boxes=boxes)


def label(scene: Scene, view: View, number: int, boxes: Floats, spec: SyntheticSpec) -> Labels:
    """Make the labels of the scene's labeled frames.

    Args:
        scene: Scene of one session.
        view: View of the camera.
        number: Position of the camera.
        boxes: (N, 4) x, y, width, height of the stored images in full-image px, one for each labeled frame.
        spec: Spec with noise, missing labels and the size of stored crops.
    """
    rows = scene.labeled
    keypoints = scene.skeleton.keypoints[rows]
    shapes = [part.shape.at(rows) for part in scene.body + scene.occluders]
    points, visible = keypoint_visibility(keypoints, scene.skeleton.tolerances, shapes, view)
    # One stream per frame: it does not depend on the number of frames.
    for row, frame in enumerate(rows):
        place = (scene.number, number, int(frame))
        points[row] += (
            generator(spec.seed, Purpose.LABEL_NOISE, *place).normal(0, 1, points[row].shape) * spec.label_noise
        )
        missing = generator(spec.seed, Purpose.MISSING_LABELS, *place).random(len(visible[row])) < spec.missing_labels
        visible[row, missing] = 0
    points[visible == 0] = np.nan
    sizes = boxes[:, 2:] if spec.crop_size is None else np.full((len(rows), 2), float(spec.crop_size))
    return Labels(points=affine.apply(affine.from_box(boxes, sizes), points), visible=visible)


def animal_boxes(scene: Scene, view: View) -> Floats:
    """Return (T, 4) x, y, width, height in whole full-image px: squares inside the image, around the visible animal."""
    left, top, right, bottom = np.moveaxis(pixel_bounds([part.shape for part in scene.body], view), 1, 0)
    outside = (right <= left) | (bottom <= top)
    size = np.array([view.width, view.height])
    start = np.stack([np.where(outside, view.width, left).min(0), np.where(outside, view.height, top).min(0)], axis=-1)
    stop = np.stack([np.where(outside, 0, right).max(0), np.where(outside, 0, bottom).max(0)], axis=-1)
    absent = outside.all(axis=0)[:, None]
    start, stop = np.where(absent, size // 2, start), np.where(absent, size // 2, stop)
    side = np.ceil((stop - start).max(axis=-1) * (1 + 2 * BOX_MARGIN)).astype(np.intp)
    side = np.clip(side, SMALLEST_BOX, min(view.width, view.height))[:, None]
    corner = np.clip((start + stop - side) // 2, 0, size - side)
    return np.concatenate([corner, side, side], axis=1).astype(np.float64)


def _cut(image: Image, box: Floats, side: int | None) -> Image:
    left, top, width, height = box.astype(int)
    cut = image[top : top + height, left : left + width]
    if side is None:
        return cut
    shrinks = side < width
    return np.asarray(
        cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8
    )


def _write_image(path: Path, image: Image, image_format: str) -> None:
    done, encoded = cv2.imencode(f".{image_format}", image, _ENCODING[image_format])
    assert done, f"OpenCV could not encode {path}"
    path.write_bytes(encoded.tobytes())
