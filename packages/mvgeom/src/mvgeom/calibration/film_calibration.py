"""Calibration from long films: rounds of search and calibration, until enough is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.detections import Detections
from mvgeom.calibration.film_search import FilmSearch
from mvgeom.calibration.findings import CalibrationError
from mvgeom.calibration.lenses import LensCalibration
from mvgeom.calibration.quality import image_coverage
from mvgeom.calibration.result import Calibration
from mvgeom.calibration.rig_suspects import TIME_CODES

__all__ = ["calibrate_films"]

_ENOUGH_BOARDS = 40
_MOST_BOARDS = 400
"""Frames with a board after which no more are looked for, per camera at the least and in all."""

_GOOD_COVERAGE, _LITTLE_MORE = 0.9, 0.03
"""Share of an image that boards cover, and gain of a round in which coverage has stopped to grow."""

_KNOWN_FOCAL, _KNOWN_POSITION = 0.001, 0.005
"""Standard deviations of the focal length, and of the position beside the distance of the nearest camera."""

_TIME_DOUBTS = {*TIME_CODES, "contradicting_boards"}
"""Findings that consecutive frames may explain: a late camera contradicts the others."""


Result = TypeVar("Result", Calibration, LensCalibration)


def calibrate_films(search: FilmSearch, fit: Callable[[Detections], Result]) -> Result:
    """Search films and calibrate, in turns, until the boards cover the images and what they tell is certain.

    That is: boards cover 90 % of each image, or hardly more than in the round before; each camera has 40 boards; the
    standard deviations of focal lengths are below 0.1 %, and those of positions below 0.5 % of the distance to the
    nearest camera. If cameras contradict each other in the end, consecutive frames are looked at, in which a delay
    shows.

    Args:
        search: Search that has not begun.
        fit: Function that calibrates from the boards found so far.

    Raises:
        CalibrationError: The films do not allow a calibration; its findings give the reasons.
    """
    coverage = np.zeros(0)
    outcome: Result | CalibrationError | None = None
    while search.search_next():
        outcome = None
        detections = search.detections()
        before, coverage = coverage, image_coverage(detections.points, detections.sizes)
        if not _is_plenty(detections, coverage, before):
            continue
        outcome = _attempt(fit, detections)
        if _contradicts(outcome) or len(detections.frames) >= _MOST_BOARDS or _is_certain(outcome):
            break
    if outcome is None:
        outcome = _attempt(fit, search.detections())
    if _contradicts(outcome) and search.search_closely():
        closely = _attempt(fit, search.detections(close=True))
        if any(each.code == "late_camera" for each in closely.findings):
            outcome = closely
    if isinstance(outcome, CalibrationError):
        raise outcome
    return outcome


def _attempt(fit: Callable[[Detections], Result], detections: Detections) -> Result | CalibrationError:
    try:
        return fit(detections)
    except CalibrationError as failure:
        return failure


def _contradicts(outcome: Calibration | LensCalibration | CalibrationError) -> bool:
    """Return True if cameras contradict each other, which more boards do not change."""
    return any(each.code in _TIME_DOUBTS for each in outcome.findings)


def _is_plenty(detections: Detections, coverage: Floats, before: Floats) -> bool:
    """Return True if there are boards enough, and another round would hardly cover more of the images.

    Args:
        detections: Boards found so far.
        coverage: (V,) share of each image that they cover.
        before: The same in the round before; empty in the first.
    """
    if len(detections.frames) >= _MOST_BOARDS:
        return True
    grown = coverage - before if len(before) else coverage
    grows = (coverage < _GOOD_COVERAGE) & (grown > _LITTLE_MORE)
    return bool(not grows.any() and detections.seen.sum(-1).min() >= _ENOUGH_BOARDS)


def _is_certain(outcome: Calibration | LensCalibration | CalibrationError) -> bool:
    """Return True if focal lengths and positions are known well; of lenses alone nothing is known but their fit."""
    if not isinstance(outcome, Calibration):
        return isinstance(outcome, LensCalibration)
    focal = outcome.cameras.matrix[:, [0, 1], [0, 1]]
    centers, spread = outcome.cameras.centers, np.linalg.norm(outcome.deviations.position, axis=-1)
    distances = np.linalg.norm(centers[:, None] - centers, axis=-1)
    np.fill_diagonal(distances, np.inf)
    return bool(
        (outcome.deviations.focal <= _KNOWN_FOCAL * focal).all()
        and (spread <= _KNOWN_POSITION * distances.min(axis=1)).all()
    )
