"""Sizes of the chessboards in images, and chessboards that the border of the image cuts."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.checkerboard import Grid, Image, find_roughly

__all__ = ["ProbedGrid", "count_cut_boards", "probe_grids"]

_PROBE_SIZE = 1280
_OFTEN = 0.6
_SMALLEST = 3


@dataclass(frozen=True, kw_only=True)
class ProbedGrid:
    """Images in which a chessboard of some size is detected.

    Attributes:
        images: Indices of the images.
        cut: Indices of those in which the missing part of a board of the requested size would be out of the image.
    """

    images: tuple[int, ...]
    cut: tuple[int, ...]


def probe_grids(images: list[Image], asked: Grid) -> dict[Grid, ProbedGrid]:
    """Find the sizes of the boards in images: the requested size and similar ones.

    Args:
        images: Gray images to search.
        asked: Requested numbers of inner corners along the two sides.

    Returns:
        Sizes (longer side first) that are detected. The most likely size comes first: the largest of those detected
            nearly as often as any other, because parts of a board are detected as smaller boards. Sizes that differ by
            up to two corners along each side are tried, which covers boards whose squares were counted instead of
            their corners.
    """
    longer, shorter = max(asked), min(asked)
    found = _probe(images, {(longer + dx, shorter + dy) for dx, dy in product(range(-2, 3), repeat=2)}, asked)
    if not found:
        return {}
    often = _OFTEN * max(len(each.images) for each in found.values())
    order = sorted(found, key=lambda size: (len(found[size].images) < often, -size[0] * size[1], size))
    return {size: found[size] for size in order}


def count_cut_boards(images: list[Image], asked: Grid) -> int:
    """Count the images in which the requested board is not detected, but a part that the image's border cuts off.

    Args:
        images: Gray images to search.
        asked: Requested numbers of inner corners along the two sides.
    """
    columns, rows = max(asked), min(asked)
    sizes = {(columns - missing, rows) for missing in range(1, columns // 2 + 1)}
    sizes |= {(columns, rows - missing) for missing in range(1, rows // 2 + 1)} | {(columns, rows)}
    found = _probe(images, sizes, asked)
    whole = found.pop((columns, rows), ProbedGrid(images=(), cut=()))
    return len({image for each in found.values() for image in each.cut} - set(whole.images))


def _probe(images: list[Image], sizes: set[Grid], asked: Grid) -> dict[Grid, ProbedGrid]:
    sizes = {(max(size), min(size)) for size in sizes if min(size) >= _SMALLEST}
    small = [_shrink(image) for image in images]
    tasks = list(product(sorted(sizes), range(len(small))))
    there: dict[Grid, list[int]] = defaultdict(list)
    cut: dict[Grid, list[int]] = defaultdict(list)
    with ThreadPoolExecutor() as pool:
        corners = pool.map(lambda task: find_roughly(small[task[1]], task[0]), tasks)
        for (size, image), each in zip(tasks, corners, strict=True):
            if each is not None:
                there[size].append(image)
                if _is_cut(each, size, asked, small[image].shape):
                    cut[size].append(image)
    return {size: ProbedGrid(images=tuple(each), cut=tuple(cut[size])) for size, each in there.items()}


def _is_cut(corners: Floats, size: Grid, asked: Grid, shape: tuple[int, ...]) -> bool:
    """Return True if corners are missing beside the lattice, and would be out of the image on one of its sides."""
    columns, rows = size
    for wanted in {asked, asked[::-1]}:
        missing = wanted[0] - columns, wanted[1] - rows
        if min(missing) < 0 or max(missing) == 0:
            continue
        y, x = np.mgrid[:rows, :columns].astype(np.float64)
        homography, _ = cv2.findHomography(np.stack([x, y], axis=-1).reshape(-1, 2), corners, 0)
        if homography is None:
            continue
        edges = []
        if missing[0]:
            edges += [[(place, 0), (place, rows - 1)] for place in (-missing[0], columns - 1 + missing[0])]
        if missing[1]:
            edges += [[(0, place), (columns - 1, place)] for place in (-missing[1], rows - 1 + missing[1])]
        places = cv2.perspectiveTransform(np.array(edges, dtype=np.float64), homography)
        if ((places < 0) | (places > np.array([shape[1], shape[0]]) - 1)).any():
            return True
    return False


def _shrink(image: Image) -> Image:
    scale = _PROBE_SIZE / max(image.shape)
    if scale >= 1:
        return image
    small: Image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return small
