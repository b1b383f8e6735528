"""Which calibration belongs to which frame of a project."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mvgeom import CameraGroup
from mvtrain.project.names import frame_of

OVERRIDE_FILE = "calibrations.csv"
"""Used when it lies in the project folder, even if the config does not name it."""


def find_calibrations(
    root: Path, frames: Sequence[tuple[str, str]], override: str | None
) -> tuple[tuple[Path | None, ...], tuple[str, ...]]:
    """The calibration file of every frame.

    In this order: the table `calibrations.csv` (or `override`), `calibrations/<session>.toml`, `calibration.toml`.

    Args:
        root: project folder.
        frames: session and file name of the N frames.
        override: file name of the table relative to `root`; None: `calibrations.csv` if there is one.

    Returns:
        N files, None for frames without a calibration; and warnings that name the sessions without one, where others
        have one.

    Raises:
        ValueError: when the table is missing though named, malformed, has no row for a frame or two that contradict
            each other, or when a file that it names does not exist.
    """
    table = root / (override or OVERRIDE_FILE)
    if override is not None or table.is_file():
        files = _from_table(root, table, frames)
    else:
        common = root / "calibration.toml"
        by_session: dict[str, Path | None] = {}
        for session in dict.fromkeys(session for session, _ in frames):
            own = root / "calibrations" / f"{session}.toml"
            by_session[session] = own if own.is_file() else common if common.is_file() else None
        files = tuple(by_session[session] for session, _ in frames)
    without = dict.fromkeys(session for (session, _), file in zip(frames, files, strict=True) if file is None)
    warnings = []
    if without and any(file is not None for file in files):
        number = sum(file is None for file in files)
        warnings.append(
            f"no calibration for session {', '.join(without)}: its {number} frames are used without 3D augmentation "
            "and 3D losses"
        )
    return files, tuple(warnings)


def load_cameras(files: Sequence[Path | None], view_names: Sequence[str]) -> tuple[CameraGroup | None, ...]:
    """The cameras of every frame, in the order of the views; frames of one file share one object.

    Raises:
        ValueError: when a file cannot be read or lacks one of the views; the message names both lists.
    """
    groups: dict[Path, CameraGroup] = {}
    for path in dict.fromkeys(file for file in files if file is not None):
        group = CameraGroup.load(path)
        missing = [name for name in view_names if name not in group.names]
        if missing:
            raise ValueError(
                f"calibration {path} has cameras {list(group.names)}, but the views are {list(view_names)}: no camera "
                f"named {', '.join(map(repr, missing))}"
            )
        groups[path] = group.select(view_names)
    return tuple(None if file is None else groups[file] for file in files)


def _from_table(root: Path, table: Path, frames: Sequence[tuple[str, str]]) -> tuple[Path | None, ...]:
    rows = _read_table(table)
    by_frame = {frame_of(image, ""): (line, file) for image, line, file in rows}
    if all(frame in by_frame for frame in frames):
        _check_contradictions(table, rows)
        chosen = [by_frame[frame] for frame in frames]
    elif len(rows) == len(frames) and all(frame_of(r[0], "")[1] == f[1] for r, f in zip(rows, frames, strict=True)):
        chosen = [(line, file) for _, line, file in rows]  # file names without their folder: rows correspond in order
    else:
        session, name = next(frame for frame in frames if frame not in by_frame)
        raise ValueError(f"calibration table {table} has no row for image {name} of session {session!r}")
    paths: list[Path | None] = []
    for line, file in chosen:
        path = root / file if file else None
        if path is not None and not path.is_file():
            raise ValueError(f"calibration table {table}, line {line}: {path} does not exist")
        paths.append(path)
    return tuple(paths)


def _check_contradictions(table: Path, rows: Sequence[tuple[str, int, str]]) -> None:
    first: dict[tuple[str, str], tuple[int, str]] = {}
    for image, line, file in rows:
        earlier_line, earlier_file = first.setdefault(frame_of(image, ""), (line, file))
        if earlier_file != file:
            raise ValueError(
                f"calibration table {table}: image {image} is named twice, with {earlier_file or 'no file'} in line "
                f"{earlier_line} and {file or 'no file'} in line {line}; remove one of them"
            )


def _read_table(table: Path) -> list[tuple[str, int, str]]:
    """(image path, line, calibration file) of every row."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except OSError as error:
        raise ValueError(f"calibration table {table} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"calibration table {table} is not CSV: {error}") from error
    header = [cell.strip() for cell in rows[0][1]] if rows else []
    if "file" not in header[1:]:
        raise ValueError(
            f"calibration table {table} needs image paths in the first column and a column `file`, found columns "
            f"{', '.join(header) or 'none'}"
        )
    column = header.index("file", 1)
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise ValueError(f"calibration table {table}, line {line}: has {len(row)} cells, the header {len(header)}")
    return [(row[0].strip(), line, row[column].strip()) for line, row in rows[1:]]


_TOLERANCE = 0.01
"""Share by which a whole frame may differ from its calibration's size along each side."""


def size_mismatches(
    file_sizes: np.ndarray, cameras: Sequence[CameraGroup | None], view_names: Sequence[str]
) -> dict[str, str]:
    """Whole frames whose size is not the calibration's: labels and cameras then speak of different pixels.

    Args:
        file_sizes: (N, V, 2) width and height in px, 0 where a view has no image.
        cameras: N camera groups, None where there is no calibration.
        view_names: V names.

    Returns:
        What is wrong, by view; views whose images have the calibrated size are not in it.
    """
    calibrated = _calibrated_sizes(cameras, len(view_names))
    present = np.all(file_sizes > 0, axis=-1)
    wrong = ~fits_calibration(file_sizes, calibrated) & present & np.all(calibrated > 0, axis=-1)
    mismatches = {}
    for view, row in _first_rows(wrong):
        name = view_names[view]
        mismatches[name] = (
            f"{wrong[:, view].sum()} of {present[:, view].sum()} images of view {name} do not have the size of their "
            f"calibration, such as {_times(file_sizes[row, view])} instead of {_times(calibrated[row, view])} px: "
            "without bounding boxes they are taken as whole frames, so 3D will be wrong if they were resized or cropped"
        )
    return mismatches


def fits_calibration(sizes: np.ndarray, calibrated: np.ndarray) -> np.ndarray:
    """(...) whether whole frames of these sizes (..., 2) can be those that a calibration of the other sizes means."""
    return np.all(np.abs(sizes - calibrated) <= _TOLERANCE * calibrated, axis=-1)


def box_mismatches(
    boxes: np.ndarray, cameras: Sequence[CameraGroup | None], view_names: Sequence[str]
) -> dict[str, str]:
    """Boxes whose centre is outside the calibrated frame.

    Args:
        boxes: (N, V, 4) x, y, width, height in frame px, NaN where a view has no image.
        cameras: N camera groups, None where there is no calibration.
        view_names: V names.

    Returns:
        What is wrong, by view; views whose boxes are all in the frame are not in it.
    """
    calibrated = _calibrated_sizes(cameras, len(view_names))
    center = boxes[..., :2] + (boxes[..., 2:] - 1) / 2
    wrong = np.any((center < -0.5) | (center > calibrated - 0.5), axis=-1) & np.all(calibrated > 0, axis=-1)
    mismatches = {}
    for view, row in _first_rows(wrong):
        name, present = view_names[view], np.isfinite(boxes[:, view]).all(-1)
        mismatches[name] = (
            f"{wrong[:, view].sum()} of {present.sum()} bounding boxes of view {name} have their centre outside of the "
            f"{_times(calibrated[row, view])} px that their calibration speaks of, such as x, y, width, height = "
            f"{boxes[row, view].tolist()}: 3D will be wrong if boxes and calibration speak of frames of different sizes"
        )
    return mismatches


def _calibrated_sizes(cameras: Sequence[CameraGroup | None], num_views: int) -> np.ndarray:
    """(N, V, 2) width and height, 0 where there is no calibration."""
    return np.stack([np.zeros((num_views, 2)) if group is None else np.asarray(group.sizes) for group in cameras])


def _first_rows(wrong: np.ndarray) -> list[tuple[int, int]]:
    """The views of (N, V) in which something is wrong, each with its first such row."""
    return [(int(view), int(np.argmax(wrong[:, view]))) for view in np.flatnonzero(wrong.any(0))]


def _times(size: np.ndarray) -> str:
    width, height = size
    return f"{width:g}x{height:g}"
