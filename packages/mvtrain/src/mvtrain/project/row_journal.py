"""Rows appended to several tables of a project at once: all of it or nothing, wherever the process dies.

A journal in the project folder names the rows and the files to move before anything is changed. Whoever opens the
project next does what it has left.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mvgeom.documents import parse_json
from mvgeom.errors import InputError
from mvgeom.files import inside, read_text, replace_file, write_text
from mvgeom.tables import find_delimiter
from mvgeom.temporary import sync
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
