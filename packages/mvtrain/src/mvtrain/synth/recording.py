"""What an annotator and a detector would say about one camera's frames: 2D labels and boxes around the animal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom import affine
from mvgeom.tables import write_video_boxes
from mvtrain.project.writer import image_name
from mvtrain.synth.keyed import Purpose, generator
from mvtrain.synth.raycast import View, keypoint_visibility, make_view, pixel_bounds
from mvtrain.synth.render import Image, render
from mvtrain.synth.scene import Scene
from mvtrain.synth.shapes import Floats
from mvtrain.synth.spec import SyntheticSpec

BOX_MARGIN = 0.12
"""Added on every side of the animal's box, as a fraction of its longer side."""

SMALLEST_BOX = 24
"""px; also the box of a frame without the animal."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labels of N frames of one camera.

    Attributes:
        points: (N, K, 2) px of the stored images, NaN where not labelled.
        visible: (N, K) 2 visible, 1 occluded, 0 not labelled.
    """

    points: Floats
    visible: npt.NDArray[np.int64]


def label(scene: Scene, view: View, number: int, boxes: Floats, spec: SyntheticSpec) -> Labels:
    """The labels of the scene's labelled frames.

    Args:
        scene: one session.
        view: of the camera.
        number: the camera's position.
        boxes: (N, 4) x, y, width, height in frame px of the stored images, one for each labelled frame.
        spec: for noise, missing labels and the size of stored crops.
    """
    rows = scene.labeled
    keypoints = scene.skeleton.keypoints[rows]
    shapes = [part.shape.at(rows) for part in scene.body + scene.occluders]
    points, visible = keypoint_visibility(keypoints, scene.skeleton.tolerances, shapes, view)
    # One stream a frame: what another frame is given does not depend on how many there are.
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
    """(T, 4) x, y, width, height in whole frame px: squares inside the frame, around what it holds of the animal."""
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


# Spelled out, so that another version's defaults do not change the bytes.
_ENCODING = {
    "jpg": [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_OPTIMIZE, 0, cv2.IMWRITE_JPEG_PROGRESSIVE, 0],
    "png": [cv2.IMWRITE_PNG_COMPRESSION, 3],
}


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What one camera has to say about the labelled frames of one session.

    Attributes:
        labels: of the N labelled frames, in px of the stored images.
        boxes: (N, 4) x, y, width, height in frame px of the stored images.
    """

    labels: Labels
    boxes: Floats


def record(folder: Path, spec: SyntheticSpec, scene: Scene, number: int, advance: Callable[[], None]) -> Recording:
    """Render, and write the video, the labelled images and, for crops, the video's boxes.

    Args:
        folder: of the project.
        spec: what to generate.
        scene: the session.
        number: the camera's position.
        advance: called after each frame.
    """
    session, name = spec.session_names[scene.number], spec.view_names[number]
    view = make_view(scene.cameras.select([name]))
    if spec.crop:
        boxes = animal_boxes(scene, view)
        write_video_boxes(folder / "videos" / f"{session}_{name}_bbox.csv", boxes)
    else:
        boxes = np.tile([0.0, 0.0, view.width, view.height], (spec.num_video_frames, 1))
    (folder / "labeled-data" / f"{session}_{name}").mkdir()
    labelled = set(scene.labeled.tolist())
    frames = render(scene, view, seed=spec.seed, number=number, sensor_noise=spec.sensor_noise)
    with _video(folder / "videos" / f"{session}_{name}.mp4", spec) as write:
        for frame, image in enumerate(frames):
            write(image)
            if frame in labelled:
                path = folder / image_name(session, name, frame, spec.image_format)
                _write_image(path, _cut(image, boxes[frame], spec.crop_size), spec.image_format)
            advance()
    boxes = boxes[scene.labeled]
    return Recording(labels=label(scene, view, number, boxes, spec), boxes=boxes)


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


@contextmanager
def _video(path: Path, spec: SyntheticSpec) -> Iterator[Callable[[Image], object]]:
    """A function that appends frames to an MPEG-4 video; its container holds no time of creation."""
    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), fourcc, spec.fps, spec.frame_size)
    if not writer.isOpened():
        raise ValueError(f"{path}: this OpenCV cannot write MPEG-4 video (mp4v); install opencv-python with FFmpeg")
    try:
        yield writer.write
    finally:
        writer.release()
