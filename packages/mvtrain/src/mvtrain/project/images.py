"""Reading one image file: its size from the header, its pixels as uint8 RGB."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


def read_image(path: Path) -> np.ndarray:
    """An image as stored: an EXIF orientation is ignored, because labels are in px of the stored image.

    Grey images get three equal channels, transparency is dropped, 16 bits are scaled to 8.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: when the file is missing, is no image, ends too early, or holds floating-point pixels.
    """
    try:
        content = np.fromfile(path, dtype=np.uint8)  # cv2.imread cannot open every name on every system
    except OSError as error:
        raise ValueError(f"image {path} cannot be read: {error.strerror}") from error
    image = None if content.size == 0 or _is_cut_off_jpeg(content) else cv2.imdecode(content, _FLAGS)
    if image is None:
        raise ValueError(f"image {path} cannot be decoded: not an image, or damaged or cut off ({content.size} bytes)")
    if image.dtype == np.uint16:
        image = (image / 257.0 + 0.5).astype(np.uint8)
    if image.dtype != np.uint8:
        raise ValueError(f"image {path} has pixels of type {image.dtype}; 8 or 16 bit integers are supported")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in px of the stored image, from its header alone.

    Raises:
        ValueError: when the file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError as error:
        raise ValueError(f"image {path} does not exist") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"image {path} cannot be decoded: not an image, or damaged") from error
    except OSError as error:
        raise ValueError(f"image {path} cannot be read: {error}") from error


def _is_cut_off_jpeg(content: np.ndarray) -> bool:
    """Whether a JPEG has no end-of-image marker behind its last scan.

    OpenCV 4 fills what is missing with grey and says nothing. An embedded thumbnail has markers of its own, but they
    come before the scan of the image itself.
    """
    data = content.tobytes()
    if not data.startswith(b"\xff\xd8"):
        return False
    end = data.rfind(b"\xff\xd9")
    return end < 0 or data.find(b"\xff\xda", end) >= 0
