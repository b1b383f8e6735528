"""Markers in images in which a board was not detected, under other assumptions than the board's."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom.calibration.boards import CharucoBoard, TagGrid
from mvgeom.calibration.charuco import find_charuco
from mvgeom.calibration.marker_dictionaries import dictionary_names, part_of_dictionary, predefined_dictionary

__all__ = ["Image", "MarkerEvidence", "count_mirrored", "examine_markers"]

Image = npt.NDArray[np.uint8]

_SOME_MARKERS = 5
_TRIED = 3
_COMMON = 100
"""Markers of a dictionary that are looked for first: most boards are numbered from 0."""


@dataclass(frozen=True, kw_only=True)
class MarkerEvidence:
    """Markers in images in which the board was not detected.

    Attributes:
        as_asked: Median number of markers of the board's dictionary, over images that have any.
        foreign: Fraction of these markers whose number is on no face of the board.
        best_dictionary: Name of the dictionary that most markers belong to; None if there are no markers, or if there
            are markers of the board's own dictionary (other dictionaries are then not tried).
        in_best: Number of markers of that dictionary.
        mirrored: Number of markers of the board's dictionary in the mirrored images.
        negative: Number of markers of the board's dictionary with black and white exchanged.
        other_pattern: True if the board is detected with the other value of `legacy`.
    """

    as_asked: int
    foreign: float
    best_dictionary: str | None
    in_best: int
    mirrored: int
    negative: int
    other_pattern: bool


def examine_markers(images: list[Image], board: CharucoBoard | TagGrid, present: Collection[int]) -> MarkerEvidence:
    """Detect markers under other assumptions than the board's: other dictionary, mirrored, negative, other pattern.

    Args:
        images: Gray images; negatives where the board is inverted.
        board: Board that was not detected, or the first face of a set.
        present: Numbers of its dictionary's markers on it, and on the other faces.
    """
    found = [_find_markers(image, board.dictionary) for image in images[:: max(1, len(images) // _TRIED)][:_TRIED]]
    asked, ids = _median(found), np.concatenate(found)
    _, mirrored = count_mirrored(images, board)
    negative = _count_markers([255 - image for image in images], board.dictionary, board.ids)
    explained = max(asked, mirrored, negative) >= min(_SOME_MARKERS, len(board.ids))
    best, in_best = (None, 0) if explained else _best_dictionary(images[:: max(1, len(images) // _TRIED)][:_TRIED])
    other = replace(board, legacy=not board.legacy) if isinstance(board, CharucoBoard) else None
    return MarkerEvidence(
        as_asked=asked,
        foreign=float(np.mean(~np.isin(ids, list(present)))) if len(ids) else 0.0,
        best_dictionary=best,
        in_best=in_best,
        mirrored=mirrored,
        negative=negative,
        other_pattern=other is not None and any(find_charuco(image, other) is not None for image in images),
    )


def count_mirrored(images: list[Image], board: CharucoBoard | TagGrid) -> tuple[int, int]:
    """Return the median number of the board's markers in the images, and in the mirrored images."""
    flipped = [np.ascontiguousarray(image[:, ::-1]) for image in images]
    as_is, mirrored = (_count_markers(each, board.dictionary, board.ids) for each in (images, flipped))
    return as_is, mirrored


def _best_dictionary(images: list[Image]) -> tuple[str | None, int]:
    """Return the dictionary of most markers and their number; small dictionaries are prefixes of larger ones."""
    families: dict[str, list[str]] = {}
    for name in {name.casefold(): name for name in dictionary_names()}.values():
        families.setdefault(re.sub(r"_(50|100|250|1000)$", "", name), []).append(name)
    counts = {
        by_size[-1]: _count_markers(images, by_size[-1], range(_COMMON))
        for by_size in (sorted(each, key=_num_markers) for each in families.values())
    }
    largest = max(counts, key=lambda name: counts[name])
    most = _count_markers(images, largest)
    if most == 0:
        return None, 0
    highest = max(int(_find_markers(image, largest).max(initial=0)) for image in images)
    family = next(each for each in families.values() if largest in each)
    return next(name for name in sorted(family, key=_num_markers) if _num_markers(name) > highest), most


def _num_markers(name: str) -> int:
    return len(predefined_dictionary(name).bytesList)


def _count_markers(images: list[Image], dictionary: str, ids: range | None = None) -> int:
    """Return the median number of markers, over images that have any; only those with one of the numbers, if given."""
    return _median([_find_markers(image, dictionary, ids) for image in images])


def _median(found: list[npt.NDArray[np.int64]]) -> int:
    seen = [len(each) for each in found if len(each)]
    return int(np.median(seen)) if seen else 0


def _find_markers(image: Image, dictionary: str, ids: range | None = None) -> npt.NDArray[np.int64]:
    """Return the numbers of the markers in an image; only some are looked for if `ids` are given, which is faster."""
    markers = part_of_dictionary(dictionary, range(_num_markers(dictionary)) if ids is None else ids)
    parameters = cv2.aruco.DetectorParameters()
    parameters.errorCorrectionRate = 0.0  # do not correct markers of other dictionaries into this one
    found = []
    for border in (1, 2) if "APRILTAG" in dictionary.upper() else (1,):  # Kalibr prints borders of two bits
        parameters.markerBorderBits = border
        _, numbers, _ = cv2.aruco.ArucoDetector(markers, parameters).detectMarkers(image)
        first = 0 if ids is None else ids.start
        found += [] if numbers is None else [first + np.asarray(numbers, dtype=np.int64).reshape(-1)]
    return max(found, key=len, default=np.zeros(0, dtype=np.int64))
