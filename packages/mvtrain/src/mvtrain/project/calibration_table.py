"""Tables of calibrations: the file of every image, and rows for new frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from mvgeom.errors import InputError
from mvgeom.files import read_text
from mvgeom.tables import find_delimiter
from mvgeom.wording import counted
from mvtrain.project.names import as_posix, frame_of

OVERRIDE_FILE = "calibrations.csv"
"""Table that is used if it is in the project folder, even if the config does not name it."""


def read_calibration_table(root: Path, table: Path, frames: Sequence[tuple[str, str]]) -> tuple[Path | None, ...]:
    """Return the calibration file of every frame; None where its cell is empty.

    Args:
        root: Project folder, to which files are relative.
        table: Path of the table.
        frames: Session and file name of the N frames.

    Raises:
        InputError: The table does not exist (`missing-file`), is malformed, has no row for a frame (`missing-row`) or
            two that contradict each other (`duplicate-name`), or a file that it names does not exist (`missing-file`).
    """
    rows = _read_table(table)
    by_frame = {frame_of(image, ""): (line, file) for image, line, file in rows}
    if all(frame in by_frame for frame in frames):
        _check_contradictions(table, rows)
        chosen = [by_frame[frame] for frame in frames]
    elif len(rows) == len(frames) and all(_may_be(row[0], frame) for row, frame in zip(rows, frames, strict=True)):
        chosen = [(line, file) for _, line, file in rows]  # rows correspond in order
    else:
        session, name = next(frame for frame in frames if frame not in by_frame)
        raise InputError(
            f"calibration table {table}: no row for image {name} of session {session!r}",
            code="missing-row",
            path=table,
            row=name,
            session=session,
        )
    paths: list[Path | None] = []
    for line, file in chosen:
        path = root / as_posix(file) if file else None
        if path is not None and not path.is_file():
            raise InputError(
                f"calibration table {table}, line {line}: {path} does not exist",
                code="missing-file",
                path=path,
                table=table,
                line=line,
            )
        paths.append(path)
    return tuple(paths)


def _may_be(image: str, frame: tuple[str, str]) -> bool:
    """Return True if an image may be of a frame: the same file name, without a folder or in one of its session's."""
    folder, name = frame_of(image, "")
    session, own_name = frame
    return name == own_name and (folder.startswith(session) or session.startswith(folder))


def calibration_rows(
    root: Path,
    existing: Sequence[tuple[str, str]],
    new: Sequence[tuple[str, str]],
    override: str | None,
    brought: Mapping[str, str] | None = None,
) -> dict[Path, list[list[str]]]:
    """Return the rows that the project's table of calibrations needs for new frames: the file of their session.

    Args:
        root: Project folder.
        existing: Session and file name of the N frames that the project has.
        new: Session and file name of the frames to add.
        override: File name of the table relative to `root`; None: `calibrations.csv` if there is one.
        brought: Files of sessions whose calibrations the new frames bring, as the table names them; a session that is
            new to a table with several files and not among them has none. None where frames bring no calibrations.

    Returns:
        Cells of the new rows by the table's path; empty for a project without a table.

    Raises:
        InputError: As `read_calibration_table`; `missing-row`, if nothing is brought and a session is new to a table
            with several files.
    """
    table = root / (override or OVERRIDE_FILE)
    if not new or (override is None and not table.is_file()):
        return {}
    rows = _read_table(table)
    read_calibration_table(root, table, existing)
    by_frame = {frame_of(image, ""): (image, file) for image, _, file in rows}
    in_order = [(image, file) for image, _, file in rows]
    chosen = [by_frame[frame] for frame in existing] if all(frame in by_frame for frame in existing) else in_order
    by_session = {session: entry for (session, _), entry in zip(existing, chosen, strict=True)}
    files = {file for _, file in in_order}
    text = read_text(table)
    header = next(csv.reader(io.StringIO(text, newline=""), delimiter=find_delimiter(text)))
    column = [cell.strip() for cell in header].index("file", 1)
    added = []
    for session, name in new:
        common = next(iter(files)) if len(files) == 1 else ""
        image, file = by_session.get(session, (f"labeled-data/{session}/{name}", common))
        file = (brought or {}).get(session, file)
        if brought is None and session not in by_session and len(files) != 1:
            raise InputError(
                f"calibration table {table}: no row for session {session!r}, to which frames are added, and "
                f"{len(files)} calibration files. Add a row for an image of that session.",
                code="missing-row",
                path=table,
                session=session,
            )
        cells = [""] * len(header)
        cells[0], cells[column] = str(as_posix(image).with_name(name)), file
        added.append(cells)
    return {table: added}


def _check_contradictions(table: Path, rows: Sequence[tuple[str, int, str]]) -> None:
    first: dict[tuple[str, str], tuple[int, str]] = {}
    for image, line, file in rows:
        earlier_line, earlier_file = first.setdefault(frame_of(image, ""), (line, file))
        if earlier_file != file:
            raise InputError(
                f"calibration table {table}: image {image} is named twice, with {earlier_file or 'no file'} in line "
                f"{earlier_line} and {file or 'no file'} in line {line}. Remove one of them",
                code="duplicate-name",
                path=table,
                line=line,
                name=image,
            )


def _read_table(table: Path) -> list[tuple[str, int, str]]:
    """Return (image path, line, calibration file) of every row."""
    if not table.exists():
        raise InputError(f"calibration table {table} does not exist", code="missing-file", path=table)
    text = read_text(table)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=find_delimiter(text), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise InputError(
            f"calibration table {table}, line {reader.line_num}: not CSV: {error}",
            code="invalid-syntax",
            path=table,
            line=reader.line_num,
        ) from error
    header = [cell.strip() for cell in rows[0][1]] if rows else []
    if "file" not in header[1:]:
        raise InputError(
            f"calibration table {table}: no column `file`, found columns {', '.join(header) or 'none'}, expected image "
            "paths in the first column and a column `file`",
            code="missing-column",
            path=table,
            column="file",
        )
    column = header.index("file", 1)
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise InputError(
                f"calibration table {table}, line {line}: found {counted(len(row), 'cell')}, expected {len(header)} as "
                "in the header",
                code="wrong-count",
                path=table,
                line=line,
                found=len(row),
                expected=len(header),
            )
    return [(row[0].strip(), line, row[column].strip()) for line, row in rows[1:]]
