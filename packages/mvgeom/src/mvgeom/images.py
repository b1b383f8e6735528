"""Decoding of image files to the pixels that they store: no turning by EXIF, and 8 bits from deeper images."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["bits_in_use", "decode_image", "is_turned", "to_8_bits"]

_EXIF_MARKS = (b"Exif", b"eXIf", b"EXIF")
"""Bytes that begin EXIF data in JPEG, PNG and WebP."""

_BITS = (8, 10, 12, 14, 16)
"""Numbers of bits that cameras write into values of 16 bits."""


def decode_image(content: npt.NDArray[np.uint8], *, gray: bool = False) -> npt.NDArray[Any] | None:
    """Decode an image file to the pixels that it stores.

    An EXIF orientation (JPEG, PNG, WebP) is ignored: a calibration belongs to the pixels of the sensor, and a camera
    that looks down writes any orientation, another one in the next image. TIFF's own orientation is a part of the
    format, which decoders apply.

    Args:
        content: Bytes of the file.
        gray: Return gray values; else colors.

    Returns:
        (H, W) gray values or (H, W, 3) BGR in the depth of the file, without transparency; None if the bytes are not an
        image, or one that OpenCV does not take.
    """
    flags = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
    if content.size == 0:
        return None
    try:
        return cv2.imdecode(content, flags | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # more pixels than OpenCV takes
        return None


def is_turned(content: npt.NDArray[np.uint8]) -> bool:
    """Return True if an image file asks viewers to turn or mirror the image, which `decode_image` does not do."""
    data = content.tobytes()
    if not any(mark in data for mark in _EXIF_MARKS):
        return False
    small = cv2.IMREAD_REDUCED_GRAYSCALE_8
    try:
        shown, stored = (cv2.imdecode(content, flags) for flags in (small, small | cv2.IMREAD_IGNORE_ORIENTATION))
    except cv2.error:
        return False
    return shown is not None and stored is not None and not np.array_equal(shown, stored)


def bits_in_use(image: npt.NDArray[np.uint16]) -> int:
    """Return the number of bits, 8, 10, 12, 14 or 16, that hold the largest value of an image with 16 bits."""
    largest = int(image.max(initial=0))
    return next(bits for bits in _BITS if largest < 2**bits)


def to_8_bits(image: npt.NDArray[Any], bits: int | None = None) -> npt.NDArray[np.uint8]:
    """Scale an image to 8 bits by the bits in use; many cameras write 10 or 12 bits into values of 16.

    Args:
        image: Image of uint8, which is returned as it is, or of uint16.
        bits: Bits in use over all images of the camera; more are taken if the image needs them. None takes those of
            this image alone, so that the brightness of two images cannot be compared.
    """
    if image.dtype == np.uint8:
        return image
    bits = max(bits or 0, bits_in_use(image))
    return np.asarray(image / ((2**bits - 1) / 255) + 0.5).astype(np.uint8)
