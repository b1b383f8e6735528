"""Tables with a column per individual, keypoint and coordinate: choosing the individual, and their checks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mvgeom.errors import InputError
from mvgeom.tables.covariance_columns import COORDS_COVARIANCE, covariance_from_columns
from mvgeom.tables.keypoint_tables import Floats, KeypointTable
from mvgeom.tables.row_names import without_decimals
from mvgeom.wording import counted

__all__ = ["Column", "choose_individual", "table_from_columns"]


_UNIQUE = "single"
"""DeepLabCut's name for keypoints that belong to no individual; they are kept beside those of the chosen one."""


_LIKE_LIKELIHOOD = ("confidence", "conf", "score", "probability", "prob")
"""Names that other programs have for the likelihood."""


class Column(NamedTuple):
    """Individual (None in a table of one), keypoint and coordinate of a column."""

    individual: str | None
    keypoint: str
    coord: str


def table_from_columns(
    path: Path,
    columns: list[Column],
    values: Floats,
    rows: tuple[str, ...],
    *,
    individual: str | None,
    recording: str,
    first_line: int,
) -> KeypointTable:
    """Make the keypoint table of one individual.

    Columns other than x, y, likelihood, visible and those of the covariance are ignored (ensembles write variances;
    predictions on labeled images end with a column `set`).

    Args:
        path: Path of the file, for messages.
        columns: C columns.
        values: (N, C) values; NaN where missing.
        rows: N index entries.
        individual: Name of the individual to take; None in a table of one.
        recording: Name of the recording.
        first_line: Line of the first row, for messages.

    Raises:
        InputError: As in `mvgeom.tables.read_keypoints`.
    """
    position = _find_columns(path, columns, individual)
    keypoints = _complete_keypoints(path, position)

    def values_of(*coords: str) -> Floats:
        """Return the values (N, K, len(coords)) of some coordinates."""
        return np.stack([values[:, [position[name, coord] for coord in coords]] for name in keypoints], axis=1)

    points = values_of("x", "y")
    _check_halves(path, points, keypoints, first_line)
    optional = _optional_columns(path, position, keypoints)
    unread = next((coord for _, coord in position if coord in _LIKE_LIKELIHOOD), None)
    if unread is not None and "likelihood" not in optional:
        warnings.warn(
            f"{path}: there is no column likelihood, and the column {unread} is not read, so that all keypoints count "
            "as certain. Rename it to likelihood if it is from 0 to 1",
            stacklevel=2,
        )
    if "visible" in optional:
        visible = values_of("visible")[..., 0]
        _check_visible(path, visible, points, keypoints, first_line)
        # An empty cell beside x and y is a visible label, as in Lightning Pose.
        points = np.where(((visible == 2) | np.isnan(visible))[..., None], points, np.nan)
    stated = all((name, coord) in position for name in keypoints for coord in COORDS_COVARIANCE)
    return KeypointTable(
        path=path,
        rows=without_decimals(rows),
        keypoint_names=keypoints,
        points=points,
        likelihood=values_of("likelihood")[..., 0] if "likelihood" in optional else None,
        recording=recording,
        covariance=covariance_from_columns(values_of(*COORDS_COVARIANCE)) if stated else None,
        first_line=first_line,
    )


def _find_columns(path: Path, columns: list[Column], individual: str | None) -> dict[tuple[str, str], int]:
    """Return the number of the column of each keypoint and coordinate of the individual that is asked for."""
    names = dict.fromkeys(column.individual for column in columns if column.individual and column.coord == "x")
    animals = tuple(name for name in names if name != _UNIQUE) or tuple(names)
    chosen = choose_individual(path, animals, individual)
    kept = [number for number, column in enumerate(columns) if column.individual in (None, chosen, _UNIQUE)]
    if any(columns[number].coord == "z" for number in kept):
        raise InputError(
            f"{path}: the table has a coordinate z, expected 2D keypoints of one view. Give the table that belongs to "
            "the view's video or images.",
            code="unsupported-file",
            path=path,
        )
    position: dict[tuple[str, str], int] = {}
    for number in kept:
        _, keypoint, coord = columns[number]
        if (keypoint, coord) in position and coord in ("x", "y", "likelihood"):
            raise InputError(
                f"{path}: found two columns for {coord} of {keypoint!r}, expected one",
                code="duplicate-name",
                path=path,
                name=keypoint,
            )
        position.setdefault((keypoint, coord), number)
    return position


def _complete_keypoints(path: Path, position: dict[tuple[str, str], int]) -> tuple[str, ...]:
    """Return the names of the keypoints, each of which has x and y."""
    keypoints = tuple(dict.fromkeys(keypoint for keypoint, coord in position if coord == "x"))
    incomplete = [
        keypoint
        for keypoint, coord in position
        if coord in ("x", "y") and not {(keypoint, "x"), (keypoint, "y")} <= position.keys()
    ]
    if not keypoints or incomplete:
        raise InputError(
            f"{path}: no keypoint with x and y" if not keypoints else f"{path}: {incomplete[0]!r} has no x or no y",
            code="missing-column",
            path=path,
        )
    return keypoints


def _optional_columns(path: Path, position: dict[tuple[str, str], int], keypoints: tuple[str, ...]) -> set[str]:
    """Return which of visible and likelihood the table has, of all keypoints."""
    found = set()
    for coord in ("visible", "likelihood"):
        lacking = [name for name in keypoints if (name, coord) not in position]
        if not lacking:
            found.add(coord)
        elif len(lacking) < len(keypoints):
            raise InputError(
                f"{path}: {lacking[0]!r} has no {coord}, as other keypoints have",
                code="missing-column",
                path=path,
                keypoint=lacking[0],
                column=coord,
            )
    return found


def _check_halves(path: Path, points: Floats, keypoints: tuple[str, ...], first_line: int) -> None:
    """Check that no keypoint has only one of x and y."""
    halves = np.argwhere(np.isnan(points).any(-1) & ~np.isnan(points).all(-1))
    if len(halves):
        row, keypoint = halves[0]
        raise InputError(
            f"{path}: line {row + first_line}: {keypoints[keypoint]!r} has only one of x and y",
            code="empty-cell",
            path=path,
            line=int(row) + first_line,
        )


def _check_visible(path: Path, visible: Floats, points: Floats, keypoints: tuple[str, ...], first_line: int) -> None:
    """Refuse cells of `visible` that are neither 0, 1, 2 nor empty; warn of empty ones beside x and y.

    Args:
        path: Path of the file, for messages.
        visible: (N, K) values, NaN where empty.
        points: (N, K, 2) labels, NaN where missing.
        keypoints: K names.
        first_line: Line of the first row, for messages.

    Raises:
        InputError: `bad-field`.
    """
    wrong = ~np.isin(visible, (0.0, 1.0, 2.0)) & ~np.isnan(visible)
    if wrong.any():
        row, keypoint = np.argwhere(wrong)[0]
        raise InputError(
            f"{path}: line {row + first_line}: {keypoints[keypoint]!r}: visible must be 0, 1 or 2, found "
            f"{visible[row, keypoint]:g}",
            code="bad-field",
            path=path,
            line=int(row) + first_line,
            keypoint=keypoints[keypoint],
            field="visible",
        )
    empty = np.isnan(visible) & np.isfinite(points).all(axis=-1)
    if empty.any():
        row, keypoint = np.argwhere(empty)[0]
        warnings.warn(
            f"{path}: visible is empty but x and y are given in {counted(int(empty.sum()), 'label')}, the first of "
            f"{keypoints[keypoint]} in line {row + first_line}: taken as visible",
            stacklevel=2,
        )


def choose_individual(path: Path, found: tuple[str, ...], individual: str | None) -> str | None:
    """Return the name of the individual to take; None in a file that names none.

    Args:
        path: Path of the file, for messages.
        found: Names of the individuals in the file.
        individual: Name that was asked for; None if none was.

    Raises:
        InputError: `several-individuals`, if there are several and none is asked for; `unknown-choice`, if there is
            none of that name.
    """
    if individual is None:
        if len(found) > 1:
            raise InputError(
                f"{path}: several individuals, found {', '.join(found)}, expected one. Choose it with --individual "
                "NAME, in Python individual=NAME.",
                code="several-individuals",
                path=path,
                found=found,
            )
        return found[0] if found else None
    if individual not in found:
        raise InputError(
            f"{path}: no such individual, found --individual {individual!r}, expected "
            f"{'one of ' + ', '.join(found) if found else 'none, because the only individual has no name'}",
            code="unknown-choice",
            path=path,
            argument="individual",
            found=individual,
            expected=found,
        )
    return individual
