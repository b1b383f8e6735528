"""Journal of edits: what was labeled is on the disk before it is in the tables.

One JSON document per line, only ever appended: `{"edit": ...}` before an edit counts, `{"saved": frame}` after the
tables have all edits of a frame. Edits without a later `saved` are made again when the project is opened. The journal
also remembers what a table cannot say: which labels are accepted projections, and which keypoints were marked absent.
`{"visible": value}` comes before the tables get a column `visible`, `{"visible": null}` after the last one has it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mvgeom.documents import parse_json
from mvgeom.errors import InputError
from mvgeom.temporary import sync

JOURNAL_FOLDER = ".mvtrain-label"
"""Folder in the project for the journal and the lock."""

_FILE = "journal.jsonl"
_KINDS = ({"saved"}, {"visible"}, {"edit", "labels"})


class Label(NamedTuple):
    """Label of one keypoint in one view.

    Attributes:
        x: Column in px of the stored image; None where there is no place.
        y: Row in px of the stored image.
        visible: 0 none, 1 occluded, 2 visible.
        origin: `click`, `projection` or `prediction`, `absent` for a keypoint marked so; None where nobody knows.
    """

    x: float | None
    y: float | None
    visible: int
    origin: str | None = None

    def same_cells(self, other: Label) -> bool:
        """Return True if both are written as the same cells of a table."""
        return self[:3] == other[:3]


class Cell(NamedTuple):
    """Name of a view and a keypoint."""

    view: str
    keypoint: str


@dataclass(frozen=True, kw_only=True)
class Pending:
    """Edit that no table has yet, and the label that was in the table before."""

    label: Label
    before: Label


@dataclass(kw_only=True)
class History:
    """Content of a journal.

    Attributes:
        pending: Edits that were not saved, by frame and cell.
        origins: Last label of every cell that was edited, by frame and cell.
        adding_visible: Value for missing labels of a column `visible` that perhaps not all tables have; None if none
            is being added.
    """

    pending: dict[str, dict[Cell, Pending]] = field(default_factory=dict)
    origins: dict[str, dict[Cell, Label]] = field(default_factory=dict)
    adding_visible: int | None = None


class Journal:
    """Journal of a project that is open for labeling.

    Args:
        root: Project folder; the journal's folder must exist in it.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / JOURNAL_FOLDER / _FILE

    def read(self) -> History:
        """Read the history, without a line that was cut off by a crash, which is removed.

        Raises:
            InputError: The journal cannot be read (`unreadable-file`) or is damaged (`damaged-file`).
        """
        history = History()
        for entry in self._entries():
            if "saved" in entry:
                history.pending.pop(entry["saved"], None)
                continue
            if "visible" in entry:
                history.adding_visible = entry["visible"]
                continue
            frame = entry["edit"]
            pending, origins = history.pending.setdefault(frame, {}), history.origins.setdefault(frame, {})
            for view, keypoint, label, before in entry["labels"]:
                cell, known = Cell(view, keypoint), Label(*label)
                first = pending.get(cell)
                pending[cell] = Pending(label=known, before=Label(*before) if first is None else first.before)
                origins[cell] = known
        return history

    def edit(self, frame: str, labels: Sequence[tuple[Cell, Label, Label]]) -> None:
        """Append the edits of a frame: the cell, its new label, and the label that the table has.

        Raises:
            InputError: The journal cannot be written (`unwritable-file`).
        """
        self._append({"edit": frame, "labels": [[*cell, label, before] for cell, label, before in labels]})

    def saved(self, frames: Sequence[str]) -> None:
        """Append that the tables have all edits of some frames.

        Raises:
            InputError: The journal cannot be written (`unwritable-file`).
        """
        self._append(*({"saved": frame} for frame in frames))

    def adding_visible(self, missing: int | None) -> None:
        """Append that a column `visible` is being added to the tables, or with None that all have it.

        Raises:
            InputError: The journal cannot be written (`unwritable-file`).
        """
        self._append({"visible": missing})

    def _append(self, *entries: dict[str, Any]) -> None:
        text = "".join(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n" for entry in entries)
        length = self._path.stat().st_size if self._path.exists() else 0
        try:
            with self._path.open("ab") as file:
                file.write(text.encode("utf-8"))
            sync(self._path)
        except OSError as error:
            with suppress(OSError):  # of a full disk, half a line may be there: the next one would follow on it
                os.truncate(self._path, length)
            raise InputError(
                f"{self._path}: cannot be written: {error.strerror}", code="unwritable-file", path=self._path
            ) from error

    def _entries(self) -> Iterator[dict[str, Any]]:
        if not self._path.exists():
            return
        try:
            content = self._path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(self._path, whole)
        except OSError as error:
            raise InputError(
                f"{self._path}: cannot be read: {error.strerror}", code="unreadable-file", path=self._path
            ) from error
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                entry = parse_json(line.decode("utf-8"), self._path)
                if not isinstance(entry, dict) or not any(kind <= entry.keys() for kind in _KINDS):
                    raise ValueError("not an entry")
                _check_entry(entry)
            except ValueError as error:
                raise InputError(
                    f"{self._path}, line {number}: not an entry of the journal: {error}. It has edits that are not in "
                    "the label tables. Move the file away to go on without them",
                    code="damaged-file",
                    path=self._path,
                    line=number,
                ) from error
            yield entry


def _check_entry(entry: dict[str, Any]) -> None:
    """Check the types of an entry's values; raise ValueError for others."""
    frames = [entry[key] for key in ("edit", "saved") if key in entry]
    labels = entry.get("labels", [])
    if not all(isinstance(frame, str) for frame in frames) or not isinstance(labels, list):
        raise ValueError("a frame without a name, or labels that are not a list")
    if entry.get("visible") not in (None, 0, 1, 2):
        raise ValueError("visible is not 0, 1 or 2")
    for each in labels:
        if not isinstance(each, list) or len(each) != 4 or not all(isinstance(name, str) for name in each[:2]):
            raise ValueError("labels without view and keypoint")
        for label in each[2:]:
            if not isinstance(label, list) or not 3 <= len(label) <= 4 or label[2] not in (0, 1, 2):
                raise ValueError("a label without x, y and visible")
            if not all(value is None or isinstance(value, int | float) for value in label[:2]):
                raise ValueError("a label at a place that is not two numbers")
            if len(label) == 4 and not isinstance(label[3], str | None):
                raise ValueError("a label with an origin that is not text")
