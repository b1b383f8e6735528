"""Label tables of a project that has images and none yet: one row per frame, without labels."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from mvgeom.calibration.sources import IMAGE_SUFFIXES
from mvgeom.errors import InputError
from mvgeom.files import read_text, write_text
from mvtrain.config import DataConfig
from mvtrain.project.label_tables import find_tables, read_labels
from mvtrain.project.writer import write_labels

_SCORER = "mvtrain"


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
        InputError: Tables are missing and the config names no views or no keypoints (`missing-field`), or a table
            cannot be read or written.
    """
    try:
        views, paths = find_tables(root, data)
    except InputError as error:
        if error.code != "missing-file" or data.csv_file is not None or any(root.glob("CollectedData_*.csv")):
            raise
        for key, names in (("view_names", data.view_names), ("keypoint_names", data.keypoint_names)):
            if names is None:
                raise error.prefixed(
                    f"data.{key} is not given either, which label tables could be made from: "
                ) from error
        assert data.view_names is not None
        views, paths = data.view_names, tuple(root / f"CollectedData_{view}.csv" for view in data.view_names)
    existing = [path for path in paths if path.exists()]
    if any(len(read_labels(path)) for path in existing):
        return 0
    rows = _find_images(root, views)
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
    for path in sorted(folder.glob("*/*")) if folder.is_dir() else []:
        fitting = [view for view in views if path.parent.name.endswith(f"_{view}")]
        if fitting and path.suffix.lower() in IMAGE_SUFFIXES:
            view = max(fitting, key=len)  # one view's name may end in another's
            key = (path.parent.name.removesuffix(f"_{view}"), path.name)
            frames.setdefault(key, [""] * len(views))[views.index(view)] = path.relative_to(root).as_posix()
    return [frames[key] for key in sorted(frames)]


def _append(path: Path, images: tuple[str, ...]) -> None:
    """Append rows to a table that has only its header."""
    text = read_text(path)
    header = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    cells = ["0" if coord.strip() == "visible" else "" for coord in header[2][1:]]
    lines = [",".join([image, *(cells if image else [""] * len(cells))]) for image in images]
    write_text(path, "\n".join([text.rstrip("\r\n"), *lines]) + "\n")
