"""Frames of a project's label tables, without images and labels, and frames appended to all tables or none."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mvgeom.documents import parse_json
from mvgeom.errors import InputError
from mvgeom.files import inside, read_text, replace_file, write_text
from mvgeom.tables import find_delimiter
from mvgeom.temporary import sync
from mvtrain.config import Config, DataConfig
from mvtrain.project.calibrations import calibration_rows
from mvtrain.project.label_tables import LabelTable
from mvtrain.project.names import frame_number
from mvtrain.project.view_tables import find_tables, frame_of_row, read_tables
from mvtrain.runtime.locks import locked_folder

JOURNAL = ".new-frames.json"
"""File of a project folder that exists while rows are appended to several tables."""

IMPORT_PREFIX, IMPORT_SUFFIX = ".import-", ".tmp"
"""Beginning and end of the name of the folder, in the project, in which new files are written first."""

_LOCK = ".frames.lock"


@contextmanager
def adding_frames(root: Path) -> Iterator[None]:
    """Lock a project against other processes that add frames, and complete what one has left that died.

    Raises:
        InputError: Another process adds frames (`busy-folder`); the folder cannot be written (`unwritable-file`);
            besides, the errors of `recover_project`.
    """
    busy = f"{root}: another process adds frames to this project. Wait until it has finished"
    with locked_folder(root, root / _LOCK, what=str(root), busy=busy):
        _complete(root)
        yield


def recover_project(root: Path) -> None:
    """Complete an interrupted `append_rows`: every function that opens a project calls this first.

    Raises:
        InputError: Another process adds frames now (`busy-folder`); the project cannot be written to
            (`unwritable-file`); a table has been changed in the meantime, or the journal is not one (`damaged-file`);
            a table is gone (`missing-file`).
    """
    if not (root / JOURNAL).is_file():
        return
    try:
        with adding_frames(root):
            pass
    except InputError as error:
        if error.code != "unwritable-file":
            raise
        raise InputError(
            f"{root}: frames were being added when the process died, {JOURNAL} has what is missing, and the project "
            f"cannot be written to: {error}. Open it once where it can be, for example with mvtrain check",
            code="unwritable-file",
            path=root,
            journal=root / JOURNAL,
        ) from error


def append_rows(
    root: Path, rows: Mapping[Path, Sequence[Sequence[str]]], moves: Mapping[Path, Path] | None = None
) -> None:
    """Append rows to several CSV files of a project and move new files into it: all of it or, before, nothing.

    If the process dies in between, `recover_project` does the rest.

    Args:
        root: Project folder.
        rows: Cells of the new rows, by existing file.
        moves: Places of new files, by their present path; both in the project folder.

    Raises:
        InputError: A file cannot be written (`unwritable-file`), or was changed since (`damaged-file`).
    """
    entries: list[dict[str, object]] = [
        {"move": source.relative_to(root).as_posix(), "file": target.relative_to(root).as_posix()}
        for source, target in (moves or {}).items()
    ]
    for path, cells in rows.items():
        content = path.read_bytes()
        entries.append(
            {"file": path.relative_to(root).as_posix(), "bytes": len(content), "rows": rows_as_csv(cells, content)}
        )
    write_text(root / JOURNAL, json.dumps(entries))
    _complete(root)


def _complete(root: Path) -> None:
    """Do what the journal has left; without a journal nothing happens.

    Raises:
        InputError: A table has been changed in the meantime, or the journal is not one (`damaged-file`); a table is
            gone (`missing-file`); a file cannot be written (`unwritable-file`).
    """
    journal = root / JOURNAL
    if not journal.is_file():
        return
    unfinished, filled = set(), set()
    for entry in _read_journal(journal):
        path = inside(root, entry["file"])
        if "move" in entry:
            source = inside(root, entry["move"])
            unfinished.add(source.relative_to(root).parts[0])
            _move(source, path)
            filled.add(path.parent)
        else:
            _append(path, entry["bytes"], entry["rows"].encode(), journal)
    for folder in filled:
        sync(folder)
    journal.unlink()
    for name in unfinished:
        if name.startswith(IMPORT_PREFIX) and name.endswith(IMPORT_SUFFIX):
            shutil.rmtree(inside(root, name), ignore_errors=True)


def _read_journal(journal: Path) -> list[dict[str, Any]]:
    """Read the entries, all of which name files within the project folder."""
    try:
        entries = parse_json(read_text(journal), journal)
        for entry in entries if isinstance(entries, list) else [entries]:
            types = {key: type(value) for key, value in entry.items()} if isinstance(entry, dict) else {}
            if types not in ({"move": str, "file": str}, {"file": str, "bytes": int, "rows": str}):
                raise ValueError(f"found {str(entry)[:80]}")
            for key in types.keys() & {"move", "file"}:
                inside(journal.parent, entry[key])
    except ValueError as error:  # also an InputError
        raise InputError(
            f"{journal}: not a list of frames that are being added: {error}. Give all tables the same rows, and remove "
            "it",
            code="damaged-file",
            path=journal,
        ) from error
    return list(entries)


def _append(path: Path, num_bytes: int, added: bytes, journal: Path) -> None:
    """Append rows to a table that had a number of bytes, unless that was done before."""
    if not path.is_file():
        raise InputError(
            f"{path}: the table is gone while frames are added to it. Put it back, or give all tables the same rows "
            f"and remove {journal}",
            code="missing-file",
            path=path,
        )
    content = path.read_bytes()
    if len(content) == num_bytes + len(added) and content.endswith(added):
        return
    if len(content) != num_bytes:
        raise InputError(
            f"{path}: the table was changed while frames were added to it, found {len(content)} bytes, expected "
            f"{num_bytes}. Give all tables the same rows, and remove {journal}",
            code="damaged-file",
            path=path,
        )
    replace_file(path, lambda temporary: temporary.write_bytes(content + added))


def _move(source: Path, target: Path) -> None:
    """Move a file, unless that was done before."""
    if source.is_file():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        except OSError as error:
            raise InputError(
                f"{target}: cannot be written: {error.strerror}", code="unwritable-file", path=target
            ) from error


def rows_as_csv(rows: Sequence[Sequence[str]], content: bytes) -> str:
    """Return rows as CSV in the delimiter and line ends of an existing table, with one where its last line has none.

    Args:
        rows: Cells of the new rows.
        content: Bytes of the table, to which the text is appended.
    """
    end = "\r\n" if b"\r\n" in content else "\n"
    text = io.StringIO(newline="")
    delimiter = find_delimiter(content.decode("utf-8-sig"))
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(rows)
    return ("" if content.endswith(b"\n") else end) + text.getvalue()


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameRows:
    """Rows of a project's label tables, possibly none.

    Attributes:
        root: Project folder, absolute.
        tables: V label tables in the order of the views.
        view_names: V names of the views.
        calibration_table: File name of the config's table of calibrations; None if it names none.
    """

    root: Path
    tables: tuple[LabelTable, ...]
    view_names: tuple[str, ...]
    calibration_table: str | None = None

    def __len__(self) -> int:
        return len(self.tables[0])

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Return the K names of the keypoints."""
        return self.tables[0].keypoint_names

    def names(self) -> list[tuple[str, str]]:
        """Return session and file name of the N rows."""
        return [
            frame_of_row([table.image_names[row] for table in self.tables], self.view_names) for row in range(len(self))
        ]

    def frames(self) -> list[tuple[str, int | None]]:
        """Return session and frame number of the N rows; None for a file name without a number."""
        return [(session, frame_number(PurePosixPath(name).stem)) for session, name in self.names()]


def project_root(data: DataConfig) -> Path:
    """Return the project folder of a config.

    Raises:
        InputError: The config names no folder (`missing-field`), or one that does not exist (`missing-file`).
    """
    if data.data_dir is None:
        raise InputError(
            "data.data_dir: not given. Set it to the project folder", code="missing-field", key="data.data_dir"
        )
    if not data.data_dir.is_dir():
        raise InputError(
            f"data.data_dir: there is no folder {data.data_dir}. Set it to the project folder",
            code="missing-file",
            key="data.data_dir",
            path=data.data_dir,
        )
    return data.data_dir


def read_frame_rows(config: Config) -> FrameRows:
    """Read the label tables of a project, which may have no rows; an interrupted `append_rows` is completed before.

    Raises:
        InputError: As for `recover_project`, `find_tables` and `read_tables`.
    """
    root = project_root(config.data)
    recover_project(root)
    view_names, paths = find_tables(root, config.data)
    return FrameRows(
        root=root,
        tables=read_tables(view_names, paths, config.data, allow_empty=True),
        view_names=view_names,
        calibration_table=config.data.camera_params_file,
    )


def new_rows(rows: FrameRows, image_names: Sequence[Sequence[str]]) -> dict[Path, list[list[str]]]:
    """Return the rows of frames without labels for the label tables of all views and the table of calibrations.

    Args:
        rows: Label tables as read.
        image_names: N x V image paths relative to the project; "" where a view has no image.

    Raises:
        InputError: The table of calibrations does not tell a session's file (`missing-row`).
    """
    new = [frame_of_row([name or None for name in names], rows.view_names) for names in image_names]
    added = calibration_rows(rows.root, rows.names(), new, rows.calibration_table)
    for view, table in enumerate(rows.tables):
        empty = _empty_cells(table.path.read_bytes())
        added[table.path] = [[names[view], *empty] for names in image_names]
    return added


def append_frames(rows: FrameRows, image_names: Sequence[Sequence[str]]) -> None:
    """Append frames without labels to the tables of a project.

    Existing bytes stay as they are. If the process dies in between, `recover_project` does the rest.

    Args:
        rows: Label tables as read.
        image_names: N x V image paths relative to the project; "" where a view has no image.

    Raises:
        InputError: As for `new_rows`; a table cannot be written (`unwritable-file`), or was changed since it was read
            (`damaged-file`).
    """
    append_rows(rows.root, new_rows(rows, image_names))


def _empty_cells(content: bytes) -> list[str]:
    """Return the cells of a row without labels: `visible` is 0, which Lightning Pose reads; all others are empty."""
    text = content.decode("utf-8-sig")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=find_delimiter(text))
    next(rows)  # scorer
    _, coords = next(rows), next(rows)
    return ["0" if coord == "visible" else "" for coord in coords[1:]]
