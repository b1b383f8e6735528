"""Rows of a project's label tables with their bounding boxes; a view whose box is empty has no animal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mvgeom.errors import InputError
from mvgeom.tables import read_labeled_boxes
from mvgeom.wording import counted
from mvtrain.config import DataConfig
from mvtrain.project.label_tables import VISIBLE, LabelTable
from mvtrain.project.view_tables import find_tables, read_tables


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
        [_read_boxes(root / name, table) for name, table in zip(data.bbox_file, tables, strict=True)], axis=1
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
