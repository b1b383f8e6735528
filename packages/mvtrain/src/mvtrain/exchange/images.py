"""The images of imported labels into `labeled-data`, copied or taken from videos."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from mvgeom.files import replace_file
from mvtrain.data.images import image_size, read_image
from mvtrain.exchange.labels import DecodedImage, ImageFile, ImageSource, VideoFrame
from mvtrain.prediction.video import open_video, read_frames


def write_images(images: Mapping[Path, ImageSource], advance: Callable[[], object]) -> None:
    """Write every image as PNG: PNG files are copied as they are, everything else is encoded without loss.

    A video is decoded once, from its start to the last frame wanted, because seeking is not exact.

    Args:
        images: by target file; folders are made.
        advance: called after each image.

    Raises:
        ValueError: an image cannot be read, or a video lacks a frame or cannot decode it.
    """
    wanted: dict[Path, dict[int, list[Path]]] = {}
    for target, image in images.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, VideoFrame):
            wanted.setdefault(image.path, {}).setdefault(image.number, []).append(target)
            continue
        if isinstance(image, ImageFile):
            _copy(image.path, target)
        else:
            _write_png(target, _read_decoded(image)[..., ::-1])
        advance()
    for video, targets in wanted.items():
        _extract(video, targets, advance)


def _copy(source: Path, target: Path) -> None:
    if source.suffix.lower() == ".png":
        image_size(source)  # what is no image is refused here, not at the first training
        shutil.copyfile(source, target)
    else:
        _write_png(target, read_image(source)[..., ::-1])


def _read_decoded(image: DecodedImage) -> np.ndarray:
    try:
        return image.read()
    except (OSError, KeyError, IndexError, ValueError) as error:
        raise ValueError(f"{image.name}: the image cannot be read: {error}") from error


def _extract(path: Path, targets: Mapping[int, list[Path]], advance: Callable[[], object]) -> None:
    """Write frames of one video."""
    video = open_video(path)
    last, number = max(targets), -1
    with closing(read_frames(video)) as frames:
        for number, frame in enumerate(frames):
            for target in targets.get(number, ()):
                if frame is None:
                    raise ValueError(f"{path}: frame {number} is wanted, but cannot be decoded")
                _write_png(target, frame)
                advance()
            if number == last:
                return
    raise ValueError(f"{path}: frame {last} is wanted, but the video ends after {number + 1} frames")


def _write_png(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 BGR."""
    success, content = cv2.imencode(".png", np.ascontiguousarray(image))
    assert success, path
    replace_file(path, lambda temporary: temporary.write_bytes(content.tobytes()))
