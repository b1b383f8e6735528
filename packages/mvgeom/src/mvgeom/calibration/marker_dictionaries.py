"""OpenCV's predefined marker dictionaries, and checks of boards that use them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from mvgeom._arrays import check_number
from mvgeom.errors import InputError

__all__ = ["check_ids", "check_positive", "dictionary_names", "part_of_dictionary", "predefined_dictionary"]


def dictionary_names() -> tuple[str, ...]:
    """Return the names of OpenCV's predefined ArUco dictionaries."""
    return tuple(name for name in dir(cv2.aruco) if name.startswith("DICT_"))


def predefined_dictionary(name: str) -> Any:
    """Return OpenCV's dictionary with a name from `dictionary_names`."""
    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))


def part_of_dictionary(name: str, ids: range) -> Any:
    """Return a dictionary with some markers of another one, which are numbered from 0.

    The time that OpenCV takes grows with the number of markers to compare with.
    """
    whole = predefined_dictionary(name)
    return cv2.aruco.Dictionary(whole.bytesList[ids.start : ids.stop], whole.markerSize, whole.maxCorrectionBits)


def check_ids(dictionary: str, ids: range, board: str) -> None:
    """Check that a dictionary has the markers of a board.

    Args:
        dictionary: Name of the dictionary.
        ids: Numbers of the board's markers.
        board: Board in words, for the message.

    Raises:
        InputError: `unknown-choice`, if the dictionary is unknown; `out-of-range`, if it has too few markers, or the
            first number is negative.
    """
    if dictionary not in dictionary_names():
        raise InputError(
            f"dictionary: unknown, found {dictionary!r}, expected one of {', '.join(dictionary_names())}",
            code="unknown-choice",
            argument="dictionary",
            found=dictionary,
        )
    if ids.start < 0:
        raise InputError(
            f"first_id: must not be negative, found {ids.start}",
            code="out-of-range",
            argument="first_id",
            found=ids.start,
        )
    held = len(predefined_dictionary(dictionary).bytesList)
    if ids.stop > held:
        numbers = f"with the numbers {ids.start} to {ids.stop - 1} " if ids.start else ""
        raise InputError(
            f"dictionary: {dictionary} is too small, found {held} markers, expected {ids.stop - ids.start} {numbers}"
            f"for a {board}",
            code="out-of-range",
            argument="dictionary",
        )


def check_positive(name: str, value: float) -> None:
    """Check a length of a board.

    Raises:
        InputError: `out-of-range`, if the value is not positive and finite; `bad-number`, if it is no number.
    """
    check_number(value, name)
    if not (np.isfinite(value) and value > 0):
        raise InputError(
            f"{name}: must be a positive number, found {value}", code="out-of-range", argument=name, found=value
        )
