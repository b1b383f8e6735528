"""Descriptions of boards in TOML files: sets of boards on a rigid body, or a single board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from mvgeom.calibration.boards import Board, BoardSet, CharucoBoard, Face, TagGrid
from mvgeom.documents import parse_toml
from mvgeom.errors import InputError
from mvgeom.files import read_text

__all__ = ["read_board"]

_POSE = ("position", "rotation")
_MARKERS = {"marker": float, "dictionary": str, "first_id": int, "inverted": bool}
_GRID = {"columns": int, "rows": int, "spacing": float}
_KEYS: dict[str, dict[str, type]] = {
    "charuco": {"columns": int, "rows": int, "square": float, "legacy": bool, **_MARKERS},
    "aprilgrid": {**_GRID, **_MARKERS},
    "marker_grid": {**_GRID, **_MARKERS},
    "marker": _MARKERS,
}
"""Keys of each kind of board, besides its pose, with their types."""

_OPTIONAL = ("dictionary", "first_id", "inverted", "legacy")


def read_board(path: Path) -> Board:
    """Read a board, or a set of boards on a rigid body, from a TOML file.

    Each `[[face]]` is a board: `kind` is charuco, aprilgrid, marker_grid or marker; the other keys are named as the
    options of `mvgeom calibrate`. `position` is that of the board's first corner in the frame of the body, and
    `rotation` three angles in degrees, about the fixed axes x, y and z in this order. Without poses, they are
    estimated. One face alone is a plain board.

    Raises:
        InputError: `unreadable-file`, `not-text` or `invalid-syntax`, if the file is not TOML; `missing-field`,
            `bad-key`, `bad-field` or `unknown-choice`, if a key is missing, unknown or wrong; errors of the boards.
    """
    document = parse_toml(read_text(path), path)
    entries = document.get("face")
    if not isinstance(entries, list) or not entries or not all(isinstance(each, dict) for each in entries):
        raise InputError(
            f"{path}: there are no boards, expected a table [[face]] for each",
            code="missing-field",
            path=path,
            key="face",
        )
    posed = [number for number, entry in enumerate(entries) if any(key in entry for key in _POSE)]
    if posed and not set(posed) >= set(range(1, len(entries))):
        missing = min(set(range(1, len(entries))) - set(posed))
        raise InputError(
            f"{path}: face {missing + 1} has no position and rotation, but others do. Give those of all faces or of "
            "none.",
            code="missing-field",
            path=path,
            key="position",
        )
    faces = tuple(_face(entry, f"{path}: face {number}", path) for number, entry in enumerate(entries, 1))
    if len(faces) == 1 and not posed:
        return faces[0].board
    return BoardSet(faces=faces, estimated=not posed)


def _face(entry: dict[str, Any], where: str, path: Path) -> Face:
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise InputError(
            f"{where}: unknown kind, found {kind!r}, expected one of {', '.join(_KEYS)}",
            code="unknown-choice",
            path=path,
            key="kind",
            found=kind,
        )
    known = {"kind", *_POSE, *_KEYS[kind]}
    for key in entry:
        if key not in known:
            raise InputError(
                f"{where}: unknown key, found {key!r}, expected one of {', '.join(sorted(known))}",
                code="bad-key",
                path=path,
                key=key,
            )
    values = {key: _value(entry, key, form, where, path) for key, form in _KEYS[kind].items() if _is_due(entry, key)}
    try:
        board = _BUILD[kind](values)
    except InputError as failed:
        raise failed.prefixed(f"{where}: ") from failed
    position, angles = (_vector(entry, key, where, path) for key in _POSE)
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return Face(board=board, rotation=rotation, position=position)


def _is_due(entry: dict[str, Any], key: str) -> bool:
    return key in entry or key not in _OPTIONAL


def _value(entry: dict[str, Any], key: str, form: type, where: str, path: Path) -> Any:
    if key not in entry:
        raise InputError(f"{where}: {key} is missing", code="missing-field", path=path, key=key)
    value = entry[key]
    fits = _is_number(value) if form is float else isinstance(value, form)
    if not fits or (isinstance(value, bool) and form is not bool):
        raise InputError(
            f"{where}: {key} is wrong, found {value!r}, expected {_NAMES[form]}",
            code="bad-field",
            path=path,
            key=key,
            found=value,
        )
    return form(value)


_NAMES: dict[type, str] = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}


def _is_number(value: Any) -> bool:
    """Return True for a finite number."""
    return type(value) in (int, float) and bool(np.isfinite(float(value)))


def _vector(entry: dict[str, Any], key: str, where: str, path: Path) -> np.ndarray:
    values = entry.get(key, [0, 0, 0])
    if not isinstance(values, list) or len(values) != 3 or not all(_is_number(each) for each in values):
        raise InputError(
            f"{where}: {key} is wrong, found {values!r}, expected three numbers",
            code="bad-field",
            path=path,
            key=key,
            found=values,
        )
    return np.array(values, dtype=np.float64)


def _charuco(values: dict[str, Any]) -> CharucoBoard:
    sizes = {"square_size": values.pop("square"), "marker_size": values.pop("marker")}
    return CharucoBoard(**sizes, **values)


def _grid(values: dict[str, Any], **layout: Any) -> TagGrid:
    return TagGrid(**{**layout, "marker_size": values.pop("marker"), **values})


_PLAIN = {"dictionary": "DICT_4X4_50", "from_bottom": False, "corner_squares": False}
_BUILD: dict[str, Callable[[dict[str, Any]], CharucoBoard | TagGrid]] = {
    "charuco": _charuco,
    "aprilgrid": _grid,
    "marker_grid": lambda values: _grid(values, **_PLAIN),
    "marker": lambda values: _grid(values, columns=1, rows=1, spacing=1.0, **_PLAIN),
}
