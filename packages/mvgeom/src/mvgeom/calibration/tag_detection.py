"""Detection of grids of markers in images, with subpixel corners."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom.calibration.marker_dictionaries import part_of_dictionary, predefined_dictionary
from mvgeom.calibration.marker_edges import refine_quadrilaterals
from mvgeom.calibration.tag_grid import TagGrid

__all__ = ["Floats", "Image", "find_tag_grid"]

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]

_BORDERS = (2, 1)
"""Widths of an AprilTag's black border in bits: Kalibr prints 2, other programs 1."""

_SEPARATING = (15, 7)
"""Thresholds in gray values below the surroundings: markers touch the squares at their corners where it is low."""

_MIN_MARKERS = 2
_MISPLACED = 0.5
_LARGEST_WINDOW = 10
_NEIGHBORS = 4
_TOLERANCE_PX = 0.5
_TOLERANCE = 0.03
"""Distance of a corner from its place by its neighbors, in sides of a marker, up to which it is right."""


def find_tag_grid(image: Image, board: TagGrid) -> Floats | None:
    """Detect the corners of a grid of markers with subpixel accuracy.

    The place of each marker follows from its number, and how the markers are turned from their places: Kalibr prints
    AprilTags upside down.

    Args:
        image: (H, W) gray image.
        board: Grid to detect.

    Returns:
        Corners (K, 2) in full-image px; NaN for corners that are not seen. None if fewer than two markers are seen
            (one, if the grid has only one).
    """
    for border in _BORDERS if board.corner_squares else _BORDERS[1:]:
        markers = _find_markers(image, board, border)
        if len(markers) >= min(_MIN_MARKERS, board.columns * board.rows):
            rough = _place_markers(markers, board)
            if rough is not None:
                return _refine(image, rough, board, border)
    return None


def _find_markers(image: Image, board: TagGrid, border: int) -> dict[int, Floats]:
    """Return the corners (4, 2) of the board's markers by number, without numbers that are seen twice."""
    parameters = cv2.aruco.DetectorParameters()
    parameters.markerBorderBits = border
    markers: dict[int, Floats] = {}
    twice: set[int] = set()
    for constant in _SEPARATING if board.corner_squares else _SEPARATING[-1:]:
        parameters.adaptiveThreshConstant = constant
        detector = cv2.aruco.ArucoDetector(part_of_dictionary(board.dictionary, board.ids), parameters)
        corners, ids, _ = detector.detectMarkers(image)
        numbers = [] if ids is None else [board.first_id + int(number) for number in np.asarray(ids).reshape(-1)]
        for number, each in zip(numbers, corners, strict=True):
            markers.setdefault(number, np.asarray(each, dtype=np.float64).reshape(4, 2))
        twice |= {number for number in numbers if numbers.count(number) > 1}
        if len(markers) == len(board.ids):
            break
    return {number: corners for number, corners in markers.items() if number not in twice}


def _place_markers(markers: dict[int, Floats], board: TagGrid) -> Floats | None:
    """Return the corners (K, 2) in the board's order, NaN where missing; None if they do not form the board."""
    positions = board.points()[:, :2]
    places = np.array([board.corners_of(number) for number in markers])
    found = np.array(list(markers.values()))
    sides = np.linalg.norm(found - np.roll(found, 1, axis=1), axis=-1).mean(axis=1)
    best, fewest = None, np.inf
    # A single marker has no neighbor that tells how it is turned.
    for turn in range(4 if len(markers) >= _MIN_MARKERS else 1):
        turned = np.roll(found, turn, axis=1)
        homography, _ = cv2.findHomography(
            positions[places].reshape(-1, 2), turned.reshape(-1, 2), cv2.RANSAC, _MISPLACED * float(np.median(sides))
        )
        if homography is None:
            continue
        expected = cv2.perspectiveTransform(positions[places], homography)
        errors = np.linalg.norm(expected - turned, axis=-1).max(axis=1) / sides
        if np.median(errors) < fewest:
            fewest, best = float(np.median(errors)), (turned, errors < _MISPLACED)
    if best is None or best[1].sum() < min(_MIN_MARKERS, board.columns * board.rows):
        return None
    turned, kept = best
    result = np.full((len(positions), 2), np.nan)
    result[places[kept].reshape(-1)] = turned[kept].reshape(-1, 2)
    return result


def _refine(image: Image, corners: Floats, board: TagGrid, border: int) -> Floats | None:
    """Refine corners where neither the bits of a marker nor the next corner are near.

    Corners at the border of the image, and those that move too far, are left out.
    """
    places = np.array([board.corners_of(number) for number in board.ids])
    places = places[np.isfinite(corners[places]).all((1, 2))]
    markers = corners[places]
    side = float(np.linalg.norm(markers - np.roll(markers, 1, axis=1), axis=-1).min())
    bits = predefined_dictionary(board.dictionary).markerSize
    reach = float(np.clip(side * min(border / (bits + 2 * border), board.spacing) * 0.7, 2, _LARGEST_WINDOW))
    refined = np.full_like(corners, np.nan)
    if board.corner_squares:
        half = int(reach)
        criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
        start = markers.astype(np.float32).reshape(-1, 1, 2)
        moved = cv2.cornerSubPix(image, start, (half, half), (-1, -1), criteria)
        refined[places] = np.asarray(moved, dtype=np.float64).reshape(-1, 4, 2)
    else:
        refined[places] = refine_quadrilaterals(image, markers, reach)
    height, width = image.shape
    inside = ((refined > reach) & (refined < np.array([width, height]) - 1 - reach)).all(axis=-1)
    good = inside & (np.linalg.norm(refined - corners, axis=-1) <= reach)
    kept = _without_misfits(np.where(good[:, None], refined, np.nan), board)
    return kept if np.isfinite(kept).all(axis=-1).sum() >= 4 else None


def _without_misfits(corners: Floats, board: TagGrid) -> Floats:
    """Leave out corners (K, 2) that are not where the markers around them put them: a shadow can bend a marker's edge.

    The homography of a few neighbors holds for lenses with distortion, too.
    """
    places = np.array([board.corners_of(number) for number in board.ids])
    positions = board.points()[:, :2]
    middles = positions[places].mean(axis=1)
    corners = corners.copy()
    seen = np.flatnonzero(np.isfinite(corners[places]).all(axis=-1).any(axis=-1))
    if len(seen) <= _NEIGHBORS:
        return corners
    near = {
        marker: seen[np.argsort(np.linalg.norm(middles[seen] - middles[marker], axis=-1))][1 : _NEIGHBORS + 1]
        for marker in seen
    }
    while True:
        worst, excess = 0, 0.0
        for marker, others in near.items():
            around = places[others].reshape(-1)
            known = around[np.isfinite(corners[around]).all(axis=-1)]
            homography = cv2.findHomography(positions[known], corners[known], 0)[0] if len(known) >= 8 else None
            if homography is None or np.isnan(corners[places[marker]]).all():
                continue
            expected = cv2.perspectiveTransform(positions[None, places[marker]], homography)[0]
            side = float(np.linalg.norm(expected[0] - expected[1]))
            misses = np.linalg.norm(expected - corners[places[marker]], axis=-1)
            limit = _TOLERANCE_PX + _TOLERANCE * side
            if np.nanmax(misses) - limit > excess:
                worst, excess = int(places[marker][np.nanargmax(misses)]), float(np.nanmax(misses) - limit)
        if excess == 0:
            return corners
        corners[worst] = np.nan
