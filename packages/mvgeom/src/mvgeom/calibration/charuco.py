"""Detection of ChArUco boards in images, and diagnosis of boards that are not detected."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom.calibration.boards import CharucoBoard, Floats, dictionary_names, predefined_dictionary, seen_corners

__all__ = ["Image", "MarkerEvidence", "examine_markers", "find_charuco"]

Image = npt.NDArray[np.uint8]

_MIN_CORNERS = 6
_EXAMINED = 3
_SOME_MARKERS = 5
_LARGEST_WINDOW = 10


def find_charuco(image: Image, board: CharucoBoard) -> Floats | None:
    """Detect the inner corners of a ChArUco board with subpixel accuracy.

    Args:
        image: (H, W) gray image.
        board: Board to detect.

    Returns:
        Corners (K, 2) in full-image px; NaN for corners that are not seen. None if fewer than 6 corners are seen or all
            seen corners are on one line, because these do not determine a pose.
    """
    # OpenCV 4 returns (n, 1, 2) and (n, 1), OpenCV 5 (n, 2) and (n,); both return None if nothing is detected.
    corners, ids, _, _ = cv2.aruco.CharucoDetector(board.pattern()).detectBoard(image)
    if ids is None or len(ids) < _MIN_CORNERS:
        return None
    columns, rows = board.grid
    numbers = np.asarray(ids).reshape(-1)
    if len(np.unique(numbers // columns)) < 2 or len(np.unique(numbers % columns)) < 2:
        return None
    points = np.full((columns * rows, 2), np.nan)
    points[numbers] = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
    points[numbers] = _refine(image, points, board)[numbers]
    return points


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


def examine_markers(images: list[Image], board: CharucoBoard) -> MarkerEvidence:
    """Detect markers under other assumptions than the board's: other dictionary, mirrored, negative, other pattern.

    Args:
        images: Gray images of one camera, of which three are examined.
        board: Board that was not detected.
    """
    images = images[:: max(1, len(images) // _EXAMINED)][:_EXAMINED]
    asked = _count_markers(images, board.dictionary)
    ids = np.concatenate([_find_markers(image, board.dictionary) for image in images])
    mirrored = _count_markers([np.ascontiguousarray(image[:, ::-1]) for image in images], board.dictionary)
    negative = _count_markers([255 - image for image in images], board.dictionary)
    explained = max(asked, mirrored, negative) >= _SOME_MARKERS
    best, in_best = (None, 0) if explained else _best_dictionary(images)
    other = replace(board, legacy=not board.legacy)
    return MarkerEvidence(
        as_asked=asked,
        foreign=float(np.mean(ids >= board.columns * board.rows // 2)) if len(ids) else 0.0,
        best_dictionary=best,
        in_best=in_best,
        mirrored=mirrored,
        negative=negative,
        other_pattern=any(find_charuco(image, other) is not None for image in images),
    )


def _refine(image: Image, points: Floats, board: CharucoBoard) -> Floats:
    """Refine corners to subpixel accuracy in windows that do not reach the markers.

    OpenCV's detector refines too, but up to version 4.12 it returns corners half a pixel too far right and down.
    """
    columns, rows = board.grid
    lattice = points.reshape(rows, columns, 2)
    sides = [np.linalg.norm(np.diff(lattice, axis=axis), axis=-1) for axis in (0, 1)]
    seen = np.concatenate([side[np.isfinite(side)] for side in sides])
    square = float(seen.min()) if len(seen) else 0.0
    margin = (1 - board.marker_size / board.square_size) / 2
    half = int(np.clip(square * min(margin, 0.25), 2, _LARGEST_WINDOW))
    there = seen_corners(points)
    start = points[there].astype(np.float32).reshape(-1, 1, 2)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    moved = cv2.cornerSubPix(image, start, (half, half), (-1, -1), criteria)
    refined = points.copy()
    refined[there] = np.asarray(moved, dtype=np.float64).reshape(-1, 2)
    # In a window with glare or blur the refinement can diverge; OpenCV's position is then better.
    ran_off = ~(np.linalg.norm(refined - points, axis=-1) <= half)
    return np.where(ran_off[:, None], points, refined)


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
    detector = cv2.aruco.ArucoDetector(predefined_dictionary(dictionary), parameters)
    _, ids, _ = detector.detectMarkers(image)
    return np.zeros(0, dtype=np.int64) if ids is None else np.asarray(ids, dtype=np.int64).reshape(-1)
