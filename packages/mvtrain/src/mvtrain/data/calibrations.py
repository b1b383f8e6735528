"""Which calibration belongs to which frame of a project."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from mvgeom import CameraGroup
from mvtrain.data.sessions import frame_of

OVERRIDE_FILE = "calibrations.csv"
"""Used when it lies in the project folder, even if the config does not name it."""


def find_calibrations(
    root: Path, frames: Sequence[tuple[str, str]], override: str | None
) -> tuple[tuple[Path | None, ...], tuple[str, ...]]:
    """The calibration file of every frame.

    In this order: the table `calibrations.csv` (or `override`), `calibrations/<session>.toml`, `calibration.toml`.

    Args:
        root: project folder.
        frames: session and file name of the N frames.
        override: file name of the table relative to `root`; None: `calibrations.csv` if there is one.

    Returns:
        N files, None for frames without a calibration; and warnings that name the sessions without one, where others
        have one.

    Raises:
        ValueError: when the table is missing though named, malformed, has no row for a frame or two that contradict
            each other, or when a file that it names does not exist.
    """
    table = root / (override or OVERRIDE_FILE)
    if override is not None or table.is_file():
        files = _from_table(root, table, frames)
    else:
        common = root / "calibration.toml"
        by_session: dict[str, Path | None] = {}
        for session in dict.fromkeys(session for session, _ in frames):
            own = root / "calibrations" / f"{session}.toml"
            by_session[session] = own if own.is_file() else common if common.is_file() else None
        files = tuple(by_session[session] for session, _ in frames)
    without = dict.fromkeys(session for (session, _), file in zip(frames, files, strict=True) if file is None)
    warnings = []
    if without and any(file is not None for file in files):
        number = sum(file is None for file in files)
        warnings.append(
            f"no calibration for session {', '.join(without)}: its {number} frames are used without 3D augmentation "
            "and 3D losses"
        )
    return files, tuple(warnings)


def load_cameras(files: Sequence[Path | None], view_names: Sequence[str]) -> tuple[CameraGroup | None, ...]:
    """The cameras of every frame, in the order of the views; frames of one file share one object.

    Raises:
        ValueError: when a file cannot be read or lacks one of the views; the message names both lists.
    """
    groups: dict[Path, CameraGroup] = {}
    for path in dict.fromkeys(file for file in files if file is not None):
        group = CameraGroup.load(path)
        missing = [name for name in view_names if name not in group.names]
        if missing:
            raise ValueError(
                f"calibration {path} has cameras {list(group.names)}, but the views are {list(view_names)}: no camera "
                f"named {', '.join(map(repr, missing))}"
            )
        groups[path] = group.select(view_names)
    return tuple(None if file is None else groups[file] for file in files)


def _from_table(root: Path, table: Path, frames: Sequence[tuple[str, str]]) -> tuple[Path | None, ...]:
    rows = _read_table(table)
    by_frame = {frame_of(image, ""): (line, file) for image, line, file in rows}
    if all(frame in by_frame for frame in frames):
        _check_contradictions(table, rows)
        chosen = [by_frame[frame] for frame in frames]
    elif len(rows) == len(frames) and all(frame_of(r[0], "")[1] == f[1] for r, f in zip(rows, frames, strict=True)):
        chosen = [(line, file) for _, line, file in rows]  # file names without their folder: rows correspond in order
    else:
        session, name = next(frame for frame in frames if frame not in by_frame)
        raise ValueError(f"calibration table {table} has no row for image {name} of session {session!r}")
    paths: list[Path | None] = []
    for line, file in chosen:
        path = root / file if file else None
        if path is not None and not path.is_file():
            raise ValueError(f"calibration table {table}, line {line}: {path} does not exist")
        paths.append(path)
    return tuple(paths)


def _check_contradictions(table: Path, rows: Sequence[tuple[str, int, str]]) -> None:
    first: dict[tuple[str, str], tuple[int, str]] = {}
    for image, line, file in rows:
        earlier_line, earlier_file = first.setdefault(frame_of(image, ""), (line, file))
        if earlier_file != file:
            raise ValueError(
                f"calibration table {table}: image {image} is named twice, with {earlier_file or 'no file'} in line "
                f"{earlier_line} and {file or 'no file'} in line {line}; remove one of them"
            )


def _read_table(table: Path) -> list[tuple[str, int, str]]:
    """(image path, line, calibration file) of every row."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except OSError as error:
        raise ValueError(f"calibration table {table} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"calibration table {table} is not CSV: {error}") from error
    header = [cell.strip() for cell in rows[0][1]] if rows else []
    if "file" not in header[1:]:
        raise ValueError(
            f"calibration table {table} needs image paths in the first column and a column `file`, found columns "
            f"{', '.join(header) or 'none'}"
        )
    column = header.index("file", 1)
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise ValueError(f"calibration table {table}, line {line}: has {len(row)} cells, the header {len(header)}")
    return [(row[0].strip(), line, row[column].strip()) for line, row in rows[1:]]
