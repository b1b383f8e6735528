"""Markers in images in which a board was not detected, under other assumptions than the board's."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom.calibration.boards import CharucoBoard, TagGrid
from mvgeom.calibration.charuco import find_charuco
from mvgeom.calibration.marker_dictionaries import dictionary_names, predefined_dictionary

__all__ = ["Image", "MarkerEvidence", "examine_markers"]

Image = npt.NDArray[np.uint8]

_SOME_MARKERS = 5


@dataclass(frozen=True, kw_only=True)
class MarkerEvidence:
    """Markers in images in which the board was not detected.

    Attributes:
        as_asked: Median number of markers of the board's dictionary, over images that have any.
        foreign: Fraction of these markers whose number is not on the board.
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


def examine_markers(images: list[Image], board: CharucoBoard | TagGrid) -> MarkerEvidence:
    """Detect markers under other assumptions than the board's: other dictionary, mirrored, negative, other pattern.

    Args:
        images: Gray images; negatives where the board is inverted.
        board: Board that was not detected.
    """
    asked = _count_markers(images, board.dictionary)
    ids = np.concatenate([_find_markers(image, board.dictionary) for image in images])
    mirrored = _count_markers([np.ascontiguousarray(image[:, ::-1]) for image in images], board.dictionary)
    negative = _count_markers([255 - image for image in images], board.dictionary)
    explained = max(asked, mirrored, negative) >= min(_SOME_MARKERS, len(board.ids))
    best, in_best = (None, 0) if explained else _best_dictionary(images)
    other = replace(board, legacy=not board.legacy) if isinstance(board, CharucoBoard) else None
    return MarkerEvidence(
        as_asked=asked,
        foreign=float(np.mean((ids < board.ids.start) | (ids >= board.ids.stop))) if len(ids) else 0.0,
        best_dictionary=best,
        in_best=in_best,
        mirrored=mirrored,
        negative=negative,
        other_pattern=other is not None and any(find_charuco(image, other) is not None for image in images),
    )


def _best_dictionary(images: list[Image]) -> tuple[str | None, int]:
    """Return the dictionary of most markers and their number; small dictionaries are prefixes of larger ones."""
    families: dict[str, list[str]] = {}
    for name in {name.casefold(): name for name in dictionary_names()}.values():
        families.setdefault(re.sub(r"_(50|100|250|1000)$", "", name), []).append(name)
    best, most = None, 0
    for members in families.values():
        by_size = sorted(members, key=lambda name: len(predefined_dictionary(name).bytesList))
        count = _count_markers(images, by_size[-1])
        if count > most:
            highest = max(int(_find_markers(image, by_size[-1]).max(initial=0)) for image in images)
            best = next(name for name in by_size if len(predefined_dictionary(name).bytesList) > highest)
            most = count
    return best, most


def _count_markers(images: list[Image], dictionary: str) -> int:
    counts = [len(_find_markers(image, dictionary)) for image in images]
    seen = [count for count in counts if count]
    return int(np.median(seen)) if seen else 0


def _find_markers(image: Image, dictionary: str) -> npt.NDArray[np.int64]:
    parameters = cv2.aruco.DetectorParameters()
    parameters.errorCorrectionRate = 0.0  # do not correct markers of other dictionaries into this one
    found = []
    for border in (1, 2) if "APRILTAG" in dictionary.upper() else (1,):  # Kalibr prints borders of two bits
        parameters.markerBorderBits = border
        _, ids, _ = cv2.aruco.ArucoDetector(predefined_dictionary(dictionary), parameters).detectMarkers(image)
        found += [] if ids is None else [np.asarray(ids, dtype=np.int64).reshape(-1)]
    return max(found, key=len, default=np.zeros(0, dtype=np.int64))
