"""Frames of a project's label tables, read without images and labels, and new frames appended to them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mvgeom.errors import InputError
from mvgeom.tables import find_delimiter
from mvtrain.config import Config, DataConfig
from mvtrain.project.calibration_table import calibration_rows
from mvtrain.project.label_tables import LabelTable
from mvtrain.project.names import frame_number
from mvtrain.project.row_journal import append_rows, recover_project
from mvtrain.project.view_tables import find_tables, frame_of_row, read_tables


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
