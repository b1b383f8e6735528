"""Label tables of all views: found, read, compared with each other, and joined with their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mvgeom.errors import InputError
from mvgeom.files import composed, file_name, list_files, on_disk
from mvgeom.tables import read_labeled_boxes
from mvgeom.wording import counted
from mvtrain.config import DataConfig
from mvtrain.project.label_tables import VISIBLE, LabelTable, import_advice, read_labels
from mvtrain.project.names import TABLE, frame_of, names_view
from mvtrain.runtime.messages import command

_PREFIX = "CollectedData_"

HELD_OUT_ENDINGS = {"new": "_new", "test_table": "_test"}
"""Ends of the names of label tables whose frames are only evaluated, by their split; Lightning Pose knows both."""

PSEUDO_ENDING = "_pseudo"
"""End of the names of label tables whose labels are predictions, which are only trained on."""

_OF_TABLES_IN_3D = ("3d", "kinematics")
"""Ends of the names of tables of a recording in 3D, where others end in the view."""


def find_tables(root: Path, data: DataConfig) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Return the names of the views and their label tables, in the config's order.

    Without `csv_file` the tables are CollectedData_<view>.csv; without `view_names` the views are named by the tables,
    but the only one of `csv_file` has no name (`TABLE`), as in Lightning Pose. Without both, every
    CollectedData_<view>.csv in the project folder counts, in alphabetical order, but for those that are held out or
    have pseudo-labels: CollectedData_<view>_new.csv beside CollectedData_<view>.csv.

    Raises:
        InputError: A table is missing (`missing-file`), with the existing CSV files in the message, or the names of the
            tables give several views the same name (`duplicate-name`), or a view that of tables in 3D (`bad-name`).
    """
    present = [path.name for path in list_files(root, "*.csv")]
    names = data.csv_file
    if names is None and data.view_names is not None:
        names = tuple(file_name(f"{_PREFIX}{view}.csv") for view in data.view_names)
    if names is None:
        named = [name for name in present if name.startswith(_PREFIX)]
        names = tuple(name for name in named if not _has_ending(name, named))
        if not names:
            of_deeplabcut = any(root.glob(f"labeled-data/*/{_PREFIX}*")) or any(root.glob(f"*/{_PREFIX}*.h5"))
            raise InputError(
                f"no label table {_PREFIX}<view>.csv in {root} and data.csv_file names none; CSV files there: "
                f"{', '.join(present) or 'none'}{import_advice(root) if of_deeplabcut else ''}",
                code="missing-file",
                key="data.csv_file",
                path=root,
            )
    paths = tuple(on_disk(root / name) for name in names)
    for name, path in zip(names, paths, strict=True):
        if not path.is_file():
            raise InputError(
                f"label table {name} does not exist in {root}; CSV files there: {', '.join(present) or 'none'}",
                code="missing-file",
                key="data.csv_file" if data.csv_file is not None else "data.view_names",
                path=path,
            )
    views = data.view_names or tuple(_view_of(name) for name in names)
    if data.view_names is None and data.csv_file is not None and len(data.csv_file) == 1:
        views = (TABLE,)
    if len(set(views)) != len(views):
        raise InputError(
            f"label tables {', '.join(names)} give several views the same name. Set data.view_names",
            code="duplicate-name",
            key="data.view_names",
            name=next(view for view in views if views.count(view) > 1),
        )
    reserved = [view for view in views if len(views) > 1 and view.casefold() in _OF_TABLES_IN_3D]
    if reserved:
        raise InputError(
            f"a view cannot be named {reserved[0]!r}, because <session>_{reserved[0]}.csv is a table in 3D. Rename it "
            "in data.view_names and in the names of its tables, folders and videos",
            code="bad-name",
            key="data.view_names",
            name=reserved[0],
        )
    return views, paths


def read_tables(
    view_names: Sequence[str], paths: Sequence[Path], data: DataConfig, *, allow_empty: bool = False
) -> tuple[LabelTable, ...]:
    """Read one table per view, with the same keypoints and the same frame in every row.

    Rows that are empty in every table (some writers put one below the header) are left out.

    Args:
        view_names: V names of the views.
        paths: Path of each view's table.
        data: Section `data` of the config.
        allow_empty: Allow tables that have a header only, as those of a new project.

    Raises:
        InputError: Tables have no rows or differ in keypoints, number of rows, file names or sessions, or do not agree
            with `data.num_keypoints` and `data.keypoint_names`; a table names images of another view.
    """
    tables = tuple(read_labels(path) for path in paths)
    first = tables[0]
    for table in tables[1:]:
        if table.keypoint_names != first.keypoint_names:
            difference = _first_difference(first.path, first.keypoint_names, table.path, table.keypoint_names)
            raise InputError(
                f"all views must have the same keypoints in the same order: {difference}",
                code="keypoints-differ",
                path=table.path,
                found=table.keypoint_names,
                expected=first.keypoint_names,
            )
    names = first.keypoint_names
    if data.keypoint_names is not None and data.keypoint_names != names:
        raise InputError(
            _first_difference("data.keypoint_names", data.keypoint_names, first.path, names),
            code="keypoints-differ",
            key="data.keypoint_names",
            path=first.path,
            found=data.keypoint_names,
            expected=names,
        )
    if data.num_keypoints not in (None, len(names)):
        raise InputError(
            f"data.num_keypoints is {data.num_keypoints}, but {first.path} has {len(names)}: {list(names)}",
            code="keypoints-differ",
            key="data.num_keypoints",
            path=first.path,
            found=data.num_keypoints,
            expected=len(names),
        )
    if len({len(table) for table in tables}) > 1:
        raise _other_numbers_of_rows(tables, view_names)
    named = [row for row in range(len(first)) if any(table.image_names[row] is not None for table in tables)]
    if not named and not allow_empty:
        raise InputError(
            f"no images below the header in {', '.join(str(table.path) for table in tables)}. Choose frames with "
            f"{command('mvtrain', 'frames', first.path.parent)}, and label them",
            code="empty-file",
            path=first.path,
        )
    for row in named:
        _check_row(tables, view_names, row)
    return tuple(table.take(named) for table in tables)


def frame_of_row(image_names: Sequence[str | None], view_names: Sequence[str]) -> tuple[str, str]:
    """Return session and file name of a frame, from the first view that has an image of it."""
    return next(frame_of(name, view) for name, view in zip(image_names, view_names, strict=True) if name is not None)


def _has_ending(table_name: str, others: Sequence[str]) -> bool:
    """Return True for a table whose name is that of another one with the ending of held-out tables or pseudo-labels."""
    stem = Path(table_name).stem
    return any(
        stem.endswith(ending) and f"{stem.removesuffix(ending)}.csv" in others
        for ending in (*HELD_OUT_ENDINGS.values(), PSEUDO_ENDING)
    )


def _view_of(table_name: str) -> str:
    stem = composed(Path(table_name).stem)
    return stem.removeprefix(_PREFIX) if stem.startswith(_PREFIX) else stem.rsplit("_", 1)[-1]


def _other_numbers_of_rows(tables: Sequence[LabelTable], view_names: Sequence[str]) -> InputError:
    """Return the error about tables that differ in their number of rows, with a frame that the shortest lacks."""
    number, shortest = min(enumerate(tables), key=lambda each: len(each[1]))
    known = {frame_of(name, view_names[number]) for name in shortest.image_names if name is not None}
    lacking = (
        (name, f" {shortest.path.name} has no row for {name} ({table.path.name}, line {line}).")
        for table, view in zip(tables, view_names, strict=True)
        for name, line in zip(table.image_names, table.lines, strict=True)
        if name is not None and frame_of(name, view) not in known
    )
    # Rows without an image in one view may be all that differs.
    name, text = next(lacking, (None, ""))
    counts = ", ".join(f"{table.path.name} has {len(table)}" for table in tables)
    return InputError(
        f"the label tables must have the same number of rows, one per frame: {counts}.{text} Add rows without labels, "
        "the first cell empty where the view has no image, or remove the frame from all tables",
        code="tables-differ",
        path=shortest.path,
        found=tuple(len(table) for table in tables),
        view=view_names[number],
        name=name,
    )


def _check_row(tables: Sequence[LabelTable], view_names: Sequence[str], row: int) -> None:
    images = [
        (table, view, name)
        for table, view in zip(tables, view_names, strict=True)
        if (name := table.image_names[row]) is not None
    ]
    for table, view, name in images:
        other = None if names_view(name, view) else next((each for each in view_names if names_view(name, each)), None)
        if other is not None:
            raise InputError(
                f"label table {table.path}, line {table.lines[row]}: the table of view {view} names an image of view "
                f"{other}, found {name}. List data.view_names and data.csv_file in the same order of the views",
                code="tables-differ",
                key="data.view_names",
                path=table.path,
                line=int(table.lines[row]),
                row=row + 1,
                view=view,
                found=other,
            )
    # The session of a folder that does not end in _<view> cannot be compared between views.
    compare_sessions = all(names_view(name, view) for _, view, name in images)
    start = 0 if compare_sessions else 1
    first_table, first_view, first_name = images[0]
    for table, view, name in images[1:]:
        if frame_of(name, view)[start:] != frame_of(first_name, first_view)[start:]:
            raise InputError(
                f"row {row + 1} of the label tables has different frames: {first_name} in {first_table.path.name} "
                f"(line {first_table.lines[row]}), {name} in {table.path.name} (line {table.lines[row]})",
                code="tables-differ",
                path=table.path,
                line=int(table.lines[row]),
                row=row + 1,
                view=view,
            )


def _first_difference(one_source: object, one: Sequence[str], other_source: object, other: Sequence[str]) -> str:
    for i, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return f"keypoint {i + 1} is {a!r} in {one_source} and {b!r} in {other_source}"
    return f"{one_source} has {counted(len(one), 'keypoint')} and {other_source} has {len(other)}"


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledRows:
    """Rows of the label tables of V views: N frames of which at least one view has an image.

    Attributes:
        view_names: V names of the views.
        tables: V label tables with N rows.
        boxes: (N, V, 4) x, y, width, height in full-image px, NaN where a view has no image; None without boxes.
        warnings: Messages to the user.
    """

    view_names: tuple[str, ...]
    tables: tuple[LabelTable, ...]
    boxes: np.ndarray | None
    warnings: tuple[str, ...] = ()


def read_labeled_rows(root: Path, data: DataConfig) -> LabeledRows:
    """Read the label tables and the tables of boxes of a project.

    An image whose box is empty or `nan` shows no animal: its view counts as one without an image of the frame. A frame
    without an animal in any view is left out, with a warning.

    Raises:
        InputError: As for `find_tables`, `read_tables` and `read_labeled_boxes`; an image has no row in its table of
            boxes (`missing-row`), or has visible labels though its box is empty (`tables-differ`).
    """
    view_names, paths = find_tables(root, data)
    tables = read_tables(view_names, paths, data)
    warnings = tuple(text for table in tables for text in table.warnings)
    if data.bbox_file is None:
        return LabeledRows(view_names=view_names, tables=tables, boxes=None, warnings=warnings)
    boxes = np.stack(
        [_read_boxes(on_disk(root / name), table) for name, table in zip(data.bbox_file, tables, strict=True)], axis=1
    )
    named = np.array([[name is not None for name in table.image_names] for table in tables]).T
    without = named & np.isnan(boxes).any(axis=-1)
    if not without.any():
        return LabeledRows(view_names=view_names, tables=tables, boxes=boxes, warnings=warnings)
    for view, table in enumerate(tables):
        _check_unlabeled(table, without[:, view], root / data.bbox_file[view])
    tables = tuple(_without_images(table, without[:, view]) for view, table in enumerate(tables))
    kept = np.flatnonzero((named & ~without).any(axis=1))
    if not len(kept):
        raise InputError(
            f"no image has a bounding box in {', '.join(str(root / name) for name in data.bbox_file)}",
            code="empty-file",
            path=root / data.bbox_file[0],
        )
    if len(kept) < len(named):
        number = counted(len(named) - len(kept), "frame")
        warnings = (*warnings, f"left out {number}: no view has a bounding box of the animal")
    return LabeledRows(
        view_names=view_names,
        tables=tuple(table.take(kept.tolist()) for table in tables),
        boxes=boxes[kept],
        warnings=warnings,
    )


def _read_boxes(path: Path, table: LabelTable) -> np.ndarray:
    """Return (N, 4) x, y, width, height in full-image px, NaN where a row has no image or no animal."""
    boxes = np.full((len(table), 4), np.nan)
    rows = [row for row, name in enumerate(table.image_names) if name is not None]
    boxes[rows] = read_labeled_boxes(path).select(name for name in table.image_names if name is not None)
    return boxes


def _check_unlabeled(table: LabelTable, without: np.ndarray, boxes: Path) -> None:
    """Check that images without a box have no visible label."""
    located = np.isfinite(table.points).all(axis=-1)
    labeled = located if table.visible is None else table.visible == VISIBLE
    wrong = np.flatnonzero(without & labeled.any(axis=1))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"label table {table.path}, line {table.lines[row]}: found {counted(int(labeled[row].sum()), 'label')} in "
            f"an image without an animal: its box in {boxes} is empty. Give it a box, or remove the labels",
            code="tables-differ",
            path=table.path,
            line=int(table.lines[row]),
            row=table.image_names[row],
        )


def _without_images(table: LabelTable, rows: np.ndarray) -> LabelTable:
    """Return the table without the images of these rows (N,) and their labels."""
    names: Sequence[str | None] = [None if gone else name for name, gone in zip(table.image_names, rows, strict=True)]
    return replace(
        table,
        image_names=tuple(names),
        points=np.where(rows[:, None, None], np.nan, table.points),
        visible=None if table.visible is None else np.where(rows[:, None], 0, table.visible).astype(np.int8),
    )
