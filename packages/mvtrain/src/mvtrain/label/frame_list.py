"""A CSV file that names the frames to label, and their order."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from mvgeom.errors import InputError
from mvtrain.project.listed_frames import FRAME, SESSION, header_of, read_list, read_listed_frames
from mvtrain.project.names import frame_number, frame_of
from mvtrain.project.project import Project

_COLUMNS = ("image", "image_name", "image name", "img")


def read_frame_list(path: Path, project: Project) -> list[int]:
    """Read the numbers of the frames that a file names, in its order, each once.

    Args:
        path: CSV file with a header. The column `image` has an image of the frame in any view, such as
            labeled-data/mouse1_top/img00000012.png. Without such a column, `session` and `frame` name it; without
            these, the first column has the image.
        project: Project of the frames.

    Raises:
        InputError: The file does not exist (`missing-file`), cannot be read, names no frame (`empty-file`), or one that
            the project does not have (`missing-row`).
    """
    rows = read_list(path)
    header = header_of(rows)
    if {SESSION, FRAME} <= set(header) and not set(_COLUMNS) & set(header):
        return _numbered(path, project)
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


def _numbered(path: Path, project: Project) -> list[int]:
    """Read the frames of a list with sessions and frame numbers."""
    known: dict[tuple[str, int | None], int] = {}
    for row, session in enumerate(project.sessions):
        name = next(filter(None, project.image_names[row]))
        known[session, frame_number(PurePosixPath(name).stem)] = row
    frames = []
    for listed in read_listed_frames(path):
        found = known.get((listed.session, listed.frame))
        if found is None:
            raise InputError(
                f"{path}, line {listed.line}: frame {listed.frame} of session {listed.session!r} is not in "
                f"{project.root}. Extract it with: mvtrain frames {project.root} --frames {path}",
                code="missing-row",
                path=path,
                line=listed.line,
                row=listed.frame,
                session=listed.session,
            )
        frames.append(found)
    return frames


def _cell(row: list[str], column: int) -> str:
    """Return the cell of a column; "" where the row ends before."""
    return row[column] if column < len(row) else ""


def _find(name: str, known: dict[tuple[str, str], int], project: Project) -> int | None:
    keys = (frame_of(name, view) for view in ("", *project.view_names))
    return next((known[key] for key in keys if key in known), None)
