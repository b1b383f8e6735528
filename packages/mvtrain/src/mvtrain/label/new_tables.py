"""Label tables of a project that has images and none yet: one row per frame, without labels."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from mvgeom.calibration.sources import IMAGE_SUFFIXES
from mvgeom.errors import InputError
from mvgeom.files import file_name, inside, list_files, read_text, replace_file
from mvgeom.tables import find_delimiter
from mvtrain.config import DataConfig
from mvtrain.project.images import read_header
from mvtrain.project.label_tables import read_labels
from mvtrain.project.row_journal import rows_as_csv
from mvtrain.project.view_tables import find_tables
from mvtrain.project.writer import write_labels

_SCORER = "mvtrain"


def expected_tables(root: Path, data: DataConfig) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Return the names of the views and their label tables, which exist, or can be made by `list_images`.

    Args:
        root: Project folder.
        data: Section of the config.

    Raises:
        InputError: Tables are missing (`missing-file`), and the config does not name both views and keypoints.
    """
    try:
        return find_tables(root, data)
    except InputError as error:
        none = data.csv_file is None and not list_files(root, "CollectedData_*.csv")
        if error.code != "missing-file" or not none or data.view_names is None or data.keypoint_names is None:
            raise
        return data.view_names, tuple(root / file_name(f"CollectedData_{view}.csv") for view in data.view_names)


def list_images(root: Path, data: DataConfig) -> int:
    """Give every frame in `labeled-data` a row, if no label table has a row yet.

    Tables that exist keep their header. Missing ones are written with a column `visible`, for the views and keypoints
    of the config. A frame's images are those of the same name in the folders `<session>_<view>`.

    Args:
        root: Project folder.
        data: Section of the config.

    Returns:
        Number of frames that got a row; 0 where a table has rows, or where there is nothing to list.

    Raises:
        InputError: As in `expected_tables`; an image cannot be read (as in `read_header`), before anything is written;
            or a table cannot be read or written.
    """
    views, paths = expected_tables(root, data)
    existing = [path for path in paths if path.exists()]
    if any(len(read_labels(path)) for path in existing):
        return 0
    rows = _find_images(root, views)
    for name in (name for by_view in rows for name in by_view if name):
        read_header(inside(root, name))
    for path, images in zip(paths, zip(*rows, strict=True), strict=False):
        if path.exists():
            _append(path, images)
        else:
            assert data.keypoint_names is not None
            shape = (len(images), len(data.keypoint_names))
            points, visible = np.full((*shape, 2), np.nan), np.zeros(shape, dtype=np.int8)
            write_labels(path, images, data.keypoint_names, points, visible, scorer=_SCORER)
    return len(rows)


def _find_images(root: Path, views: tuple[str, ...]) -> list[list[str]]:
    """Return the images of each frame by view, "" where one is missing."""
    frames: dict[tuple[str, str], list[str]] = {}
    folder = root / "labeled-data"
    for path in list_files(folder, "*/*"):
        fitting = [view for view in views if path.parent.name.endswith(f"_{view}")]
        if fitting and path.suffix.lower() in IMAGE_SUFFIXES:
            view = max(fitting, key=len)  # one view's name may end in another's
            key = (path.parent.name.removesuffix(f"_{view}"), path.name)
            frames.setdefault(key, [""] * len(views))[views.index(view)] = path.relative_to(root).as_posix()
    return [frames[key] for key in sorted(frames)]


def _append(path: Path, images: tuple[str, ...]) -> None:
    """Append rows to a table that has only its header."""
    text = read_text(path)
    delimiter = find_delimiter(text)
    header = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    cells = ["0" if coord.strip() == "visible" else "" for coord in header[2][1:]]
    rows = [[image, *(cells if image else [""] * len(cells))] for image in images]
    content = path.read_bytes().rstrip(b"\r\n")
    added = rows_as_csv(rows, content).encode()
    replace_file(path, lambda temporary: temporary.write_bytes(content + added))
