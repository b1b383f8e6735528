"""MPEG-4 videos that are read back before they count as written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from mvgeom.errors import InputError
from mvgeom.videos import open_video
from mvgeom.wording import counted


@contextmanager
def written_video(path: Path, fps: float, size: tuple[int, int]) -> Iterator[Callable[[np.ndarray], object]]:
    """Give a function that appends images to an MP4 video; its container has no time of creation.

    OpenCV does not tell when it could not write, for example because the disk was full. So the video is opened again
    afterwards, and its images are counted, without decoding them. A video that is not complete is removed, also if the
    block raises.

    Args:
        path: Path of the video, in a folder of unfinished files.
        fps: Frames per second.
        size: Width and height in px of every image.

    Yields:
        Function of an image (H, W, 3), uint8 BGR.

    Raises:
        InputError: `unwritable-file`, if the video cannot be written or lacks images afterwards; `missing-library`, if
            this OpenCV has no encoder.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    if not writer.isOpened():
        raise _refusal(path, size)
    count = 0

    def write(image: np.ndarray) -> None:
        nonlocal count
        writer.write(image)
        count += 1

    try:
        try:
            yield write
        finally:
            writer.release()
        if count:
            _check_complete(path, count)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _refusal(path: Path, size: tuple[int, int]) -> InputError:
    """Return the error of a video that OpenCV does not begin: because of the file, or because of the encoder."""
    try:
        path.write_bytes(b"0")
    except OSError as error:
        return InputError(f"{path}: cannot be written: {error.strerror}", code="unwritable-file", path=path)
    finally:
        path.unlink(missing_ok=True)
    return InputError(
        f"{path}: this OpenCV cannot write MPEG-4 video (mp4v) of {size[0]}x{size[1]} px. Install opencv-python with "
        "FFmpeg",
        code="missing-library",
        library="opencv-python",
        path=path,
    )


def _check_complete(path: Path, expected: int) -> None:
    """Check that a video can be opened and has all images.

    Raises:
        InputError: `unwritable-file`.
    """
    try:
        found = open_video(path).num_frames
    except InputError:
        found = 0
    if found != expected:
        raise InputError(
            f"{path}: the video is not complete, found {counted(found, 'image')}, expected {expected}. Is the disk "
            "full?",
            code="unwritable-file",
            path=path,
            found=found,
            expected=expected,
        )
