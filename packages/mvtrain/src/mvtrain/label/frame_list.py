"""A CSV file that names the frames to label, and their order."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from mvgeom.errors import InputError
from mvgeom.files import read_text
from mvgeom.tables import find_delimiter
from mvtrain.project.names import frame_of
from mvtrain.project.project import Project

_COLUMNS = ("image", "image_name", "image name", "img")


def read_frame_list(path: Path, project: Project) -> list[int]:
    """Read the numbers of the frames that a file names, in its order, each once.

    Args:
        path: CSV file with a header. The column `image` has an image of the frame in any view, such as
            labeled-data/mouse1_top/img00000012.png; without such a column, the first one has.
        project: Project of the frames.

    Raises:
        InputError: The file does not exist (`missing-file`), cannot be read, names no frame (`empty-file`), or one that
            the project does not have (`missing-row`).
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file. Give a CSV file with a column image", code="missing-file", path=path)
    text = read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=find_delimiter(text), strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: not CSV: {error}", code="invalid-syntax", path=path, line=reader.line_num
        ) from error
    header = [cell.lower() for cell in rows[0][1]] if rows else []
    column = next((header.index(name) for name in _COLUMNS if name in header), 0)
    known = {
        frame_of(name, view): frame
        for frame, names in enumerate(project.image_names)
        for name, view in zip(names, project.view_names, strict=True)
        if name is not None
    }
    # The name of any view is enough, also one without its view, as calibrations.csv writes them.
    for frame, session in enumerate(project.sessions):
        name = next(filter(None, project.image_names[frame]))
        known.setdefault((session, frame_of(name, "")[1]), frame)
    frames: dict[int, None] = {}
    # A first line that names a frame is a row: the file has no header.
    has_header = not rows or _find(_cell(rows[0][1], column), known, project) is None
    for line, row in rows[1:] if has_header else rows:
        name = _cell(row, column)
        found = _find(name, known, project)
        if found is None:
            raise InputError(
                f"{path}, line {line}: no frame of {project.root}, found {name!r}, expected an image of it such as "
                f"{next(filter(None, project.image_names[0]))}",
                code="missing-row",
                path=path,
                line=line,
                row=name,
            )
        frames[found] = None
    if not frames:
        raise InputError(f"{path}: names no frame", code="empty-file", path=path)
    return list(frames)


def _cell(row: list[str], column: int) -> str:
    """Return the cell of a column; "" where the row ends before."""
    return row[column] if column < len(row) else ""


def _find(name: str, known: dict[tuple[str, str], int], project: Project) -> int | None:
    keys = (frame_of(name, view) for view in ("", *project.view_names))
    return next((known[key] for key in keys if key in known), None)
