"""One camera records one session: its video, the labelled images cut out of it, and their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mvgeom.tables import write_video_boxes
from mvtrain.synth.annotate import Labels, animal_boxes, label
from mvtrain.synth.render import render
from mvtrain.synth.scene import Scene
from mvtrain.synth.sensor import Image
from mvtrain.synth.shapes import Floats
from mvtrain.synth.spec import SyntheticSpec
from mvtrain.synth.tables import image_name
from mvtrain.synth.view import make_view

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
    labelled = set(scene.labelled.tolist())
    frames = render(scene, view, seed=spec.seed, number=number, sensor_noise=spec.sensor_noise)
    with _video(folder / "videos" / f"{session}_{name}.mp4", spec) as write:
        for frame, image in enumerate(frames):
            write(image)
            if frame in labelled:
                path = folder / image_name(session, name, frame, spec.image_format)
                _write_image(path, _cut(image, boxes[frame], spec.crop_size), spec.image_format)
            advance()
    boxes = boxes[scene.labelled]
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
