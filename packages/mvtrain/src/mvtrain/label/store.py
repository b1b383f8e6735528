"""The labels of an open project: edits in memory and in the journal, saved to the tables frame by frame."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock

import numpy as np

from mvgeom.errors import InputError
from mvtrain.config import Config
from mvtrain.label.journal import JOURNAL_FOLDER, Cell, Journal, Label, Pending
from mvtrain.label.open_tables import OpenTables, expected_tables, list_images, write_visible
from mvtrain.project.frame_rows import recover_project
from mvtrain.project.label_tables import EXCLUDED, OCCLUDED, VISIBLE
from mvtrain.project.project import Project, read_project
from mvtrain.runtime.locks import locked_folder

ORIGINS = (None, "click", "projection", "prediction", "absent")
"""Origins of labels, in the order of their numbers in `LabelStore.origins`."""

PROJECTION, ABSENT = ORIGINS.index("projection"), ORIGINS.index("absent")


def check_label(
    project: Project, frame: int, view: int, keypoint: int, label: Label, *, has_visible: np.ndarray
) -> Label:
    """Return a label as it is kept, if it is possible.

    Args:
        project: Project of the label.
        frame: Number of the frame.
        view: Number of the view.
        keypoint: Number of the keypoint.
        label: Label in px of the stored image.
        has_visible: (V,) True for views whose table has a column `visible`.

    Raises:
        InputError: There is no such frame, view or keypoint, or the label is outside of its image (`out-of-range`); the
            view has no image of the frame (`missing-frame`); the label contradicts itself (`bad-value`), or is occluded
            where the view's table has no column `visible` (`missing-column`).
    """
    for what, number, length in (
        ("frame", frame, len(project)),
        ("view", view, len(project.view_names)),
        ("keypoint", keypoint, len(project.keypoint_names)),
    ):
        if not 0 <= number < length:
            raise InputError(
                f"{what}: no such number, found {number}, expected 0 to {length - 1}",
                code="out-of-range",
                argument=what,
                found=number,
            )
    view_name, image = project.view_names[view], project.image_names[frame][view]
    where = f"{frame_name(project, frame)}, {view_name}, {project.keypoint_names[keypoint]}"
    if image is None:
        raise InputError(f"{where}: the view has no image of this frame", code="missing-frame", view=view_name)
    located = label.x is not None and label.y is not None
    possible = {EXCLUDED: not located, OCCLUDED: True, VISIBLE: located}.get(label.visible, False)
    if not possible or (label.x is None) != (label.y is None):
        raise InputError(
            f"{where}: the label contradicts itself, found {tuple(label[:3])}, expected x, y and 2, or no x, y and 0",
            code="bad-value",
            found=label[:3],
        )
    if label.visible == OCCLUDED and not has_visible[view]:
        raise InputError(
            f"{where}: occluded needs a column `visible`, which the view's table does not have. Add it",
            code="missing-column",
            column="visible",
        )
    if label.x is None or label.y is None:
        return label
    x, y = float(label.x), float(label.y)
    width, height = project.file_sizes[frame, view].tolist()
    if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
        raise InputError(
            f"{where}: the label is outside of its image of {width}x{height} px, found {x:g}, {y:g}",
            code="out-of-range",
            argument="label",
            found=(x, y),
            expected=(width, height),
        )
    return label._replace(x=x, y=y)


def frame_name(project: Project, frame: int) -> str:
    """Return the name of a frame: the path of its first image."""
    return next(filter(None, project.image_names[frame]))


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """Edit that was dropped, because the table has another label there than the one that was edited.

    Attributes:
        frame: Name of the frame.
        cell: View and keypoint.
        edited: Label that was not written.
        found: Label in the table.
    """

    frame: str
    cell: Cell
    edited: Label
    found: Label


@contextmanager
def open_store(config: Config) -> Iterator[LabelStore]:
    """Open a project for labeling, and lock it against other servers.

    A project with images and without rows in its tables gets a row for each frame; see `list_images`.

    Raises:
        InputError: The project cannot be read; it is labeled by another process (`busy-folder`); its folder cannot be
            written to (`unwritable-file`); a table was changed by another program (`changed-file`).
    """
    root = config.data.data_dir
    assert root is not None
    expected_tables(root, config.data)  # first, so that what is not a project stays as it is
    folder = root / JOURNAL_FOLDER
    busy = f"{root} is being labeled by another mvtrain label. Use its page, or end it with Ctrl-C"
    with locked_folder(folder, folder / "lock", what=f"project {root}", busy=busy):
        recover_project(root)
        list_images(root, config.data)
        yield LabelStore(config)


class LabelStore:
    """Labels of N frames, V views and K keypoints that are being edited; all methods can be called by any thread.

    Args:
        config: Config of the project; its folder must have a folder for the journal.

    Attributes:
        project: Project as last read.
        frame_names: N names of the frames: their first image's path.
        points: (N, V, K, 2) labels in px of the stored images; NaN where there is none.
        visible: (N, V, K) int8: 0 no label, 1 occluded, 2 visible.
        origins: (N, V, K) int8: numbers in `ORIGINS`.
        conflicts: Edits that were dropped when the project was opened or read again.
        num_recovered: Number of edits that only the journal had when the project was opened.
        saved: Names of the frames that were saved.

    Raises:
        InputError: The project or the journal cannot be read, or a table cannot be written.
    """

    def __init__(self, config: Config) -> None:
        root = config.data.data_dir
        assert root is not None
        self._config, self._root = config, root
        self._journal = Journal(root)
        self._lock = RLock()
        self._edited_at = -math.inf
        self.saved: set[str] = set()
        self.conflicts: tuple[Conflict, ...] = ()
        history = self._journal.read()
        if history.adding_visible is not None:
            write_visible(root, config.data, history.adding_visible, self._journal)
        self._known = history.origins
        self._load()
        self.num_recovered = self._repeat(history.pending)

    def __len__(self) -> int:
        return len(self.frame_names)

    @property
    def has_visible(self) -> bool:
        """Return True if all tables have a column `visible`."""
        return bool(self._tables.has_visible.all())

    def label(self, frame: int, view: int, keypoint: int) -> Label:
        """Return one label."""
        origin = ORIGINS[self.origins[frame, view, keypoint]]
        return _label(self.points[frame, view, keypoint], self.visible[frame, view, keypoint], origin)

    def edit(self, frame: int, labels: Mapping[tuple[int, int], Label]) -> None:
        """Set labels of a frame, first in the journal.

        Args:
            frame: Number of the frame.
            labels: New labels by number of view and keypoint; coordinates are written with all their digits.

        Raises:
            InputError: A view or keypoint does not exist (`out-of-range`), a view has no image of the frame
                (`missing-frame`), a label is outside of its image (`out-of-range`) or contradicts itself (`bad-value`),
                or is occluded where the view's table has no column `visible` (`missing-column`); or the journal cannot
                be written (`unwritable-file`). Nothing is changed then.
        """
        with self._lock:
            checked = {
                place: check_label(self.project, frame, *place, label, has_visible=self._tables.has_visible)
                for place, label in labels.items()
            }
            if not checked:
                return
            self._journal.edit(
                self.frame_names[frame],
                [(self._cell(*place), label, self._saved_label(frame, *place)) for place, label in checked.items()],
            )
            for place, label in checked.items():
                self._set(frame, *place, label)
            self._edited_at = time.monotonic()

    def unsaved(self, frame: int) -> np.ndarray:
        """Return (V, K) True for labels that the table does not have."""
        with self._lock:
            moved = ~np.all(_equal(self.points[frame], self._saved_points[frame]), axis=-1)
            return moved | (self.visible[frame] != self._saved_visible[frame])

    def unsaved_frames(self) -> list[int]:
        """Return the numbers of the frames with labels that the tables do not have."""
        with self._lock:
            moved = ~np.all(_equal(self.points, self._saved_points), axis=(1, 2, 3))
            return np.flatnonzero(moved | np.any(self.visible != self._saved_visible, axis=(1, 2))).tolist()

    @property
    def idle_seconds(self) -> float:
        """Return the time since the last edit in seconds."""
        return time.monotonic() - self._edited_at

    def save(self) -> list[str]:
        """Write all edits to the tables; return the names of the frames that were written.

        Raises:
            InputError: A table that would be written was changed by another program (`changed-file`), and none was
                written; or one cannot be written (`unwritable-file`), and the edits remain in the journal.
        """
        with self._lock:
            frames = self.unsaved_frames()
            edited = [self._tables.with_labels(view, self._edits(view, frames)) for view in range(len(self._views))]
            touched = {view: text for view, text in enumerate(edited) if text is not None}
            self._tables.check_unchanged(list(touched))
            for view, text in touched.items():
                self._tables.write(view, text)
                self._saved_points[:, view] = self.points[:, view]
                self._saved_visible[:, view] = self.visible[:, view]
            names = [self.frame_names[frame] for frame in frames]
            if names:
                self._journal.saved(names)
            self.saved.update(names)
            return names

    def reload(self) -> None:
        """Read the tables again and repeat the edits that they do not have; `conflicts` has those that contradict.

        Raises:
            InputError: The project cannot be read; the labels stay as they were.
        """
        with self._lock:
            pending = {
                self.frame_names[frame]: {
                    self._cell(view, keypoint): Pending(
                        label=self.label(frame, view, keypoint), before=self._saved_label(frame, view, keypoint)
                    )
                    for view, keypoint in np.argwhere(self.unsaved(frame)).tolist()
                }
                for frame in self.unsaved_frames()
            }
            self._load()
            self._repeat(pending)

    def add_visible(self) -> None:
        """Give all tables a column `visible`, which occluded keypoints need; labels keep their digits.

        Raises:
            InputError: A table was changed by another program (`changed-file`), or cannot be written
                (`unwritable-file`).
        """
        with self._lock:
            self.save()
            self._tables.check_unchanged()
            if not self.has_visible:
                missing = OCCLUDED if self._config.training.uniform_heatmaps_for_nan_keypoints else EXCLUDED
                self._journal.adding_visible(missing)
                write_visible(self._root, self._config.data, missing, self._journal)
                self._load()

    def _load(self) -> None:
        recover_project(self._root)
        tables = OpenTables(self._root, self._config.data)
        project = read_project(self._config, need_labels=False)
        tables.check_unchanged()
        self.project, self._tables = project, tables
        located = np.isfinite(project.points).all(-1)
        self.points = project.points.copy()
        with_column = tables.has_visible[:, None]
        self.visible = np.where(with_column, project.visibility, np.where(located, VISIBLE, EXCLUDED)).astype(np.int8)
        self._saved_points, self._saved_visible = self.points.copy(), self.visible.copy()
        self.frame_names = tuple(frame_name(project, frame) for frame in range(len(project)))
        self._frames = {name: frame for frame, name in enumerate(self.frame_names)}
        self._views = {name: view for view, name in enumerate(project.view_names)}
        self._keypoints = {name: keypoint for keypoint, name in enumerate(project.keypoint_names)}
        self.origins = np.zeros(self.visible.shape, dtype=np.int8)
        for name, labels in self._known.items():
            for cell, label in labels.items():
                place = self._place(name, cell)
                if place is not None and label.same_cells(self.label(*place)):
                    self.origins[place] = ORIGINS.index(label.origin)

    def _repeat(self, pending: Mapping[str, Mapping[Cell, Pending]]) -> int:
        """Make edits again where the table still has the label that was edited, and count them; note the others."""
        conflicts, num_repeated = [], 0
        for name, cells in pending.items():
            kept: dict[tuple[int, int], Label] = {}
            dropped = False
            for cell, edit in cells.items():
                place = self._place(name, cell)
                found = Label(None, None, EXCLUDED) if place is None else self.label(*place)
                if place is not None and edit.label.same_cells(found):
                    self.origins[place] = ORIGINS.index(edit.label.origin)
                elif place is not None and edit.before.same_cells(found):
                    kept[place[1:]] = edit.label
                else:
                    conflicts.append(Conflict(frame=name, cell=cell, edited=edit.label, found=found))
                    dropped = True
            if dropped:
                self._journal.saved([name])  # what contradicts the table is told once
            if kept:
                self.edit(self._frames[name], kept)
                num_repeated += len(kept)
        self.conflicts = tuple(conflicts)
        return num_repeated

    def _edits(self, view: int, frames: Sequence[int]) -> dict[int, dict[int, Label]]:
        """Return the labels of a view that its table does not have, by frame and keypoint."""
        edits = {}
        for frame in frames:
            keypoints = np.flatnonzero(self.unsaved(frame)[view]).tolist()
            if keypoints:
                edits[frame] = {keypoint: self.label(frame, view, keypoint) for keypoint in keypoints}
        return edits

    def _set(self, frame: int, view: int, keypoint: int, label: Label) -> None:
        self.points[frame, view, keypoint] = np.nan if label.x is None else (label.x, label.y)
        self.visible[frame, view, keypoint] = label.visible
        self.origins[frame, view, keypoint] = ORIGINS.index(label.origin)
        self._known.setdefault(self.frame_names[frame], {})[self._cell(view, keypoint)] = label

    def _saved_label(self, frame: int, view: int, keypoint: int) -> Label:
        return _label(self._saved_points[frame, view, keypoint], self._saved_visible[frame, view, keypoint], None)

    def _cell(self, view: int, keypoint: int) -> Cell:
        return Cell(self.project.view_names[view], self.project.keypoint_names[keypoint])

    def _place(self, frame_name: str, cell: Cell) -> tuple[int, int, int] | None:
        """Return the numbers of a frame, view and keypoint; None where the project has one of them no longer."""
        numbers = self._frames.get(frame_name), self._views.get(cell.view), self._keypoints.get(cell.keypoint)
        frame, view, keypoint = numbers
        return None if frame is None or view is None or keypoint is None else (frame, view, keypoint)


def _label(point: np.ndarray, visible: np.integer, origin: str | None) -> Label:
    x, y = point.tolist()
    return Label(None, None, int(visible), origin) if math.isnan(x) else Label(x, y, int(visible), origin)


def _equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a == b) | (np.isnan(a) & np.isnan(b))
