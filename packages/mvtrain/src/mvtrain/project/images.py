"""Image files: facts from their headers, alone and over a project, and pixels as uint8 RGB."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from mvgeom.errors import InputError
from mvgeom.images import bits_in_use, decode_image, to_8_bits
from mvtrain.project.label_tables import LabelTable

_ORIENTATION = 0x0112
"""EXIF's tag of the orientation."""

_BROKEN_EXIF = (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error)
"""Errors of Pillow over EXIF data that are not what they should be."""


HEADER_ERRORS = (
    *(UnidentifiedImageError, Image.DecompressionBombError),
    *(RuntimeError, ValueError, TypeError, LookupError, OverflowError, SyntaxError, struct.error),
)
"""Errors of Pillow over a header: what it says it raises, and what its readers raise over some broken ones."""

_NUM_SAMPLED = 100
"""Number of a view's images with 16 bits that are decoded to find the bits in use."""

_NUM_THREADS = 16
"""Number of threads: many, because a project on a network drive is bound by latency."""


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """Statements of an image file's header.

    Attributes:
        size: Width and height in px of the stored image.
        orientation: EXIF's orientation: 1 upright, 2 to 8 turned or mirrored where viewers show the image. It is 1 for
            TIFF, whose orientation decoders apply.
        deep: True if values can have more than 8 bits.
    """

    size: tuple[int, int]
    orientation: int = 1
    deep: bool = False


def read_image(path: Path, bits: int | None = None) -> np.ndarray:
    """Read an image as stored: an EXIF orientation is ignored, because labels are in px of the stored image.

    Gray images get three equal channels, transparency is dropped, 16 bits are scaled to 8.

    Args:
        path: Path of the file.
        bits: Bits in use of the view's images with 16 bits; see `mvgeom.images.to_8_bits`.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: As for `read_stored`.
    """
    return cv2.cvtColor(to_8_bits(read_stored(path), bits), cv2.COLOR_BGR2RGB)


def read_stored(path: Path) -> np.ndarray:
    """Read an image as stored, in the depth of the file.

    Returns:
        (H, W, 3) uint8 or uint16 BGR.

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
    image = None if _is_cut_off_jpeg(content) else decode_image(content)
    if image is None:
        raise InputError(
            f"image {path} cannot be decoded: not an image, or damaged or cut off ({content.size} bytes)",
            code="damaged-file",
            path=path,
        )
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"image {path}: pixels of an unsupported type, found {image.dtype}, expected integers of 8 or 16 bits",
            code="unsupported-file",
            path=path,
            found=str(image.dtype),
        )
    return image


def read_header(path: Path) -> ImageHeader:
    """Read the header of an image file.

    Raises:
        InputError: The file is missing (`missing-file`), unreadable (`unreadable-file`) or not an image
            (`damaged-file`).
    """
    try:
        with Image.open(path) as image:
            return ImageHeader(size=image.size, orientation=_orientation(image), deep=_is_deep(image))
    except FileNotFoundError as error:
        raise InputError(f"image {path} does not exist", code="missing-file", path=path) from error
    except HEADER_ERRORS as error:
        raise InputError(
            f"image {path} cannot be decoded: not an image, or damaged", code="damaged-file", path=path
        ) from error
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error}", code="unreadable-file", path=path) from error


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height in px of the stored image, from its header alone.

    Raises:
        InputError: As for `read_header`.
    """
    return read_header(path).size


def from_turned(points: np.ndarray, orientation: int, size: tuple[int, int]) -> np.ndarray:
    """Map points from the image as viewers show it to the image as stored.

    Args:
        points: (..., 2) points in px of the turned image; NaN stays NaN.
        orientation: EXIF's orientation, 1 to 8.
        size: Width and height of the stored image in px.

    Returns:
        (..., 2) points in px of the stored image; pixel centers are at whole numbers in both.
    """
    x, y = points[..., 0], points[..., 1]
    right, bottom = size[0] - 1 - (y if orientation >= 5 else x), size[1] - 1 - (x if orientation >= 5 else y)
    stored = {
        1: (x, y),
        2: (right, y),
        3: (right, bottom),
        4: (x, bottom),
        5: (y, x),
        6: (y, bottom),
        7: (right, bottom),
        8: (right, x),
    }[orientation]
    return np.stack(stored, axis=-1)


def _orientation(image: Image.Image) -> int:
    content = image.info.get("exif")
    if image.format == "TIFF" or not isinstance(content, bytes):
        return 1
    exif = Image.Exif()
    try:
        exif.load(content)
        value = exif.get(_ORIENTATION, 1)
    except _BROKEN_EXIF:
        return 1  # viewers show such an image as it is stored
    return value if value in range(1, 9) else 1


def _is_deep(image: Image.Image) -> bool:
    """Return True if values can have 16 bits. Pillow's mode does not tell it of colors, which it reads as 8 bits."""
    tiles = getattr(image, "tile", None) or ()
    return image.mode.startswith("I") or any(str(tile[0]).startswith("ppm") or "16" in str(tile[3]) for tile in tiles)


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


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageHeaders:
    """Headers of the images of N frames and V views.

    Attributes:
        sizes: (N, V, 2) int64 width and height of the stored images in px, 0 where a view has no image.
        turned: (N, V) True where EXIF asks viewers to turn or mirror the image.
        deep: (N, V) True where values can have more than 8 bits.
    """

    sizes: np.ndarray
    turned: np.ndarray
    deep: np.ndarray


def read_headers(paths: Sequence[Sequence[Path | None]], tables: Sequence[LabelTable]) -> ImageHeaders:
    """Read the headers of all images.

    Args:
        paths: N x V image files, None where a view has none.
        tables: V label tables with N rows, whose lines error messages name.

    Raises:
        InputError: An image is missing, unreadable or damaged; message and facts name the line of the label table.
    """

    def header(place: tuple[int, int]) -> ImageHeader:
        row, view = place
        path = paths[row][view]
        if path is None:
            return ImageHeader(size=(0, 0))
        try:
            return read_header(path)
        except InputError as error:
            table, line = tables[view].path, int(tables[view].lines[row])
            raise error.prefixed(f"label table {table}, line {line}: ", table=table, line=line) from error

    shape = len(paths), len(tables)
    with ThreadPoolExecutor(max_workers=_NUM_THREADS) as pool:
        headers = list(pool.map(header, np.ndindex(*shape)))
    return ImageHeaders(
        sizes=np.array([each.size for each in headers], dtype=np.int64).reshape(*shape, 2),
        turned=np.array([each.orientation != 1 for each in headers]).reshape(shape),
        deep=np.array([each.deep for each in headers]).reshape(shape),
    )


def value_bits(paths: Sequence[Sequence[Path | None]], headers: ImageHeaders) -> tuple[int | None, ...]:
    """Find the bits in use of every view's images with 16 bits, over images at even distances.

    All images of a view are scaled alike, so that a dark image of a camera stays dark.

    Args:
        paths: N x V image files, None where a view has none.
        headers: Headers of the images.

    Returns:
        V numbers of bits, None for views without such images; empty if no view can have any. A damaged image does not
        count: whoever reads it reports it.
    """
    if not headers.deep.any():
        return ()

    def bits(path: Path) -> int | None:
        try:
            image = read_stored(path)
        except InputError:
            return None
        return bits_in_use(image) if image.dtype == np.uint16 else None

    found: list[int | None] = []
    for view in range(headers.deep.shape[1]):
        rows = np.flatnonzero(headers.deep[:, view])
        chosen = np.unique(np.linspace(0, max(len(rows) - 1, 0), _NUM_SAMPLED).round().astype(int))
        files = [path for row in rows[chosen[: len(rows)]].tolist() if (path := paths[row][view]) is not None]
        with ThreadPoolExecutor(max_workers=_NUM_THREADS) as pool:
            known = [each for each in pool.map(bits, files) if each is not None]
        found.append(max(known, default=None))
    return tuple(found)


def turned_warning(paths: Sequence[Sequence[Path | None]], turned: np.ndarray | None) -> tuple[str, ...]:
    """Describe images that viewers turn by EXIF and this package does not; empty if there are none.

    Args:
        paths: N x V image files, None where a view has none.
        turned: (N, V) True for the images; None where there are none.
    """
    if turned is None or not turned.any():
        return ()
    row, view = np.argwhere(turned)[0]
    num_images = sum(path is not None for names in paths for path in names)
    return (
        f"found an EXIF orientation in {int(turned.sum())} of {num_images} images, such as {paths[row][view]}. Images "
        "are read as stored, not turned as viewers show them: labels, boxes and calibration must be in px of stored "
        "images",
    )
