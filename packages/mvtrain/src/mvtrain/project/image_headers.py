"""Headers of a project's images: sizes, images that viewers turn, and the bits in use of images with 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvgeom.errors import InputError
from mvgeom.images import bits_in_use
from mvtrain.project.images import ImageHeader, read_header, read_stored
from mvtrain.project.label_tables import LabelTable

_NUM_SAMPLED = 100
"""Number of a view's images with 16 bits that are decoded to find the bits in use."""

_NUM_THREADS = 16
"""Number of threads: many, because a project on a network drive is bound by latency."""


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
