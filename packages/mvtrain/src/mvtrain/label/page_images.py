"""Images as browsers can show them: stored PNG and JPEG files as they are, all others encoded again."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mvgeom.errors import InputError
from mvtrain.project.images import HEADER_ERRORS, read_image

_JPEG_QUALITY = 92
_DEPTH = 8
_ORIENTATION = 0x0112
"""EXIF tag; browsers would turn the image, whose labels are in px of the stored one."""


def page_image(path: Path) -> tuple[bytes, str]:
    """Return the content of an image and its media type.

    Raises:
        InputError: The image is missing, unreadable or damaged.
    """
    kind = _plain_type(path)
    if kind is None:
        return encode(read_image(path)[..., ::-1], ".png"), "image/png"
    try:
        return path.read_bytes(), kind
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error.strerror}", code="unreadable-file", path=path) from error


def encode(image: np.ndarray, suffix: str) -> bytes:
    """Encode (H, W, 3) uint8 BGR as `.png` or `.jpg`."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    success, content = cv2.imencode(suffix, np.ascontiguousarray(image), parameters)
    assert success
    return content.tobytes()


def _png_depth(path: Path) -> int:
    """Return the bits per channel of a PNG file; Pillow does not tell them for colors."""
    with path.open("rb") as file:
        return file.read(25)[24]


def _plain_type(path: Path) -> str | None:
    """Return the media type of a file that browsers show as `read_image` reads it; None for any other."""
    try:
        with Image.open(path) as image:
            plain = image.mode in ("L", "RGB") and image.getexif().get(_ORIENTATION, 1) == 1
            kind = {"PNG": "image/png", "JPEG": "image/jpeg"}.get(image.format or "") if plain else None
        return None if kind == "image/png" and _png_depth(path) > _DEPTH else kind
    except (OSError, *HEADER_ERRORS):
        return None  # read_image says what is wrong
