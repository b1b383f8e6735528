"""Reading of image files: size from the header, pixels as uint8 RGB."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from mvgeom.errors import InputError

_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


def read_image(path: Path) -> np.ndarray:
    """Read an image as stored: an EXIF orientation is ignored, because labels are in px of the stored image.

    Gray images get three equal channels, transparency is dropped, 16 bits are scaled to 8.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: The file is missing (`missing-file`), unreadable (`unreadable-file`), not an image or cut off
            (`damaged-file`), or has floating-point pixels (`unsupported-file`).
    """
    try:
        content = np.fromfile(path, dtype=np.uint8)  # cv2.imread cannot open every name on every system
    except FileNotFoundError as error:
        raise InputError(f"image {path} does not exist", code="missing-file", path=path) from error
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error.strerror}", code="unreadable-file", path=path) from error
    try:
        image = None if content.size == 0 or _is_cut_off_jpeg(content) else cv2.imdecode(content, _FLAGS)
    except cv2.error:  # more pixels than OpenCV takes
        image = None
    if image is None:
        raise InputError(
            f"image {path} cannot be decoded: not an image, or damaged or cut off ({content.size} bytes)",
            code="damaged-file",
            path=path,
        )
    if image.dtype == np.uint16:
        image = (image / 257.0 + 0.5).astype(np.uint8)
    if image.dtype != np.uint8:
        raise InputError(
            f"image {path}: pixels of an unsupported type, found {image.dtype}, expected integers of 8 or 16 bits",
            code="unsupported-file",
            path=path,
            found=str(image.dtype),
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height in px of the stored image, from its header alone.

    Raises:
        InputError: The file is missing (`missing-file`), unreadable (`unreadable-file`) or not an image
            (`damaged-file`).
    """
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError as error:
        raise InputError(f"image {path} does not exist", code="missing-file", path=path) from error
    except (UnidentifiedImageError, Image.DecompressionBombError, ValueError, OverflowError, SyntaxError) as error:
        # The last three are what Pillow's readers raise over some broken headers.
        raise InputError(
            f"image {path} cannot be decoded: not an image, or damaged", code="damaged-file", path=path
        ) from error
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error}", code="unreadable-file", path=path) from error


def _is_cut_off_jpeg(content: np.ndarray) -> bool:
    """Return True if a JPEG has no end-of-image marker behind its last scan.

    OpenCV 4 fills what is missing with gray, without an error. An embedded thumbnail has markers of its own, but they
    come before the scan of the image itself.
    """
    data = content.tobytes()
    if not data.startswith(b"\xff\xd8"):
        return False
    end = data.rfind(b"\xff\xd9")
    return end < 0 or data.find(b"\xff\xda", end) >= 0
