"""Readers of keypoints of one view: tables in CSV and HDF5, and JSON of pose estimators; found by the content."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from mvgeom.errors import InputError
from mvgeom.files import list_files
from mvgeom.tables.keypoint_tables import KeypointTable
from mvgeom.tables.readers import csv_keypoints, deeplabcut_h5, mmpose, openpose_people, sleap_analysis

__all__ = ["READERS", "KeypointReader", "find_keypoints", "read_keypoint_blocks", "read_keypoints"]


class KeypointReader(Protocol):
    """Module that reads one format of keypoints."""

    NAME: str
    DESCRIPTION: str

    def matches(self, path: Path) -> bool:
        """Return True if the existing file or folder looks like this format."""

    def load(self, path: Path, individual: str | None = None) -> KeypointTable:
        """Read the keypoints of one view."""


READERS: dict[str, KeypointReader] = {
    each.NAME: each for each in (openpose_people, mmpose, sleap_analysis, deeplabcut_h5, csv_keypoints)
}
"""Readers by name; the first that matches reads the file."""


def read_keypoints(path: str | Path, individual: str | None = None) -> KeypointTable:
    """Read labels or predictions of one view, in any format of `READERS`.

    CSV tables may be separated by semicolons or tabs, with decimal commas. Columns other than x, y, likelihood and
    visible are ignored. Labels with `visible` 0 or 1 (not labeled, occluded) count as missing. Keypoints without
    likelihood in a table that has likelihoods are a warning, because nothing that weighs by likelihood uses them. So
    are likelihoods far above 1, such as percent. Blank rows of a CSV table do not count, nor does the row into which
    pandas writes the name of the index.
    Frames without a person are empty rows. Of several people without names (OpenPose, MMPose), the one with the largest
    sum of confidences in a frame is taken, with a warning.

    Args:
        path: File or folder.
        individual: Name of the individual or track to take, where the file has several; None if it has one.

    Returns:
        Keypoints in px of the view's own images, NaN where missing.

    Raises:
        InputError: `missing-file` or `unreadable-file`, if the path is missing; `unknown-format`, if it is of no known
            format (the message lists them); `missing-library`, if HDF5 cannot be read here; `bad-header`,
            `bad-field` or `damaged-file`, if the content has another layout, or `visible` is not 0, 1 or 2;
            `missing-column`, if a keypoint has no x or y, or lacks a column that others have; `wrong-count` or
            `invalid-syntax`, if rows are longer than the header or a file is not JSON; `bad-number`, if a cell is not
            a number; `empty-cell`, if a keypoint has only one of x and y; `empty-file` or `no-labels`, if there is no
            row or nobody in it; `duplicate-name`, if a column or frame occurs twice; `several-individuals` or
            `unknown-choice`, if `individual` must be given or is not there; `unsupported-file`, if the table is in 3D;
            `out-of-range`, if coordinates are not px. The message names file, line and column.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: cannot be read: no such file or folder", code="unreadable-file", path=path)
    for reader in READERS.values():
        if reader.matches(path):
            table = reader.load(path, individual)
            for problem in table.describe_doubts():
                warnings.warn(problem, stacklevel=2)
            return table
    known = "; ".join(reader.DESCRIPTION for reader in READERS.values())
    raise InputError(
        f"{path}: no keypoints of one view in this folder, expected one of: {known}", code="unknown-format", path=path
    )


def read_keypoint_blocks(path: str | Path, length: int) -> Iterator[KeypointTable]:
    """Read the table of `read_keypoints` in blocks of rows, so that memory does not depend on the recording's length.

    Args:
        path: File or folder. Only CSV tables with commas are read in blocks; others are one block.
        length: Rows of a block.

    Yields:
        Consecutive parts of the table.

    Raises:
        InputError: As `read_keypoints`, when the block with the fault is read.
    """
    path = Path(path)
    if next((reader for reader in READERS.values() if reader.matches(path)), None) is not csv_keypoints:
        yield read_keypoints(path)
        return
    for table in csv_keypoints.load_blocks(path, length):
        for problem in table.describe_doubts():
            warnings.warn(problem, stacklevel=2)
        yield table


def find_keypoints(path: Path, reader: KeypointReader) -> list[Path]:
    """Find the files and folders of one view each in a folder and in its folders.

    Args:
        path: Existing file or folder; one that is of one view is the only one found.
        reader: Reader of `READERS`.

    Returns:
        Paths that the reader reads, by name; empty if there are none.
    """
    if path.is_file():
        return [path] if reader.matches(path) else []
    of_videos = [file for file in list_files(path, "*.json") if reader.matches(file) and mmpose.lists_frames(file)]
    if of_videos or reader.matches(path):
        return of_videos or [path]
    folders = [each for each in list_files(path) if each.is_dir()]
    return [found for folder in folders for found in find_keypoints(folder, reader)]
