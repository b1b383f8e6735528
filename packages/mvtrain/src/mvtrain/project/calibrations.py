"""Calibrations of a project: the file of every frame, its cameras, and checks against images and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mvgeom import CameraGroup
from mvgeom.clock_files import clocks_file, find_clocks
from mvgeom.clocks import Clocks
from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvtrain.project.calibration_table import OVERRIDE_FILE, read_calibration_table

_TOLERANCE = 0.01
"""Relative difference that a full image's size may have to its calibration's along each side."""


def find_calibrations(
    root: Path, frames: Sequence[tuple[str, str]], override: str | None
) -> tuple[tuple[Path | None, ...], tuple[str, ...]]:
    """Find the calibration file of every frame.

    In this order: the table `calibrations.csv` (or `override`), `calibrations/<session>.toml`, `calibration.toml`.

    Args:
        root: Project folder.
        frames: Session and file name of the N frames.
        override: File name of the table relative to `root`; None: `calibrations.csv` if there is one.

    Returns:
        N files, None for frames without a calibration; and warnings that name the sessions without one, where others
        have one.

    Raises:
        InputError: The table is missing though named, malformed, has no row for a frame or two that contradict each
            other, or a file that it names does not exist.
    """
    table = root / (override or OVERRIDE_FILE)
    if override is not None or table.is_file():
        files = read_calibration_table(root, table, frames)
    else:
        common = root / "calibration.toml"
        by_session: dict[str, Path | None] = {}
        for session in dict.fromkeys(session for session, _ in frames):
            own = root / "calibrations" / file_name(f"{session}.toml")
            by_session[session] = own if own.is_file() else common if common.is_file() else None
        files = tuple(by_session[session] for session, _ in frames)
    without = dict.fromkeys(session for (session, _), file in zip(frames, files, strict=True) if file is None)
    warnings = []
    if without and any(file is not None for file in files):
        number = sum(file is None for file in files)
        warnings.append(
            f"no calibration for session {', '.join(without)}: its frames ({number}) are used without 3D augmentation "
            "and 3D losses"
        )
    return files, tuple(warnings)


def session_files(
    root: Path, session: str, existing: Sequence[tuple[str, str]], override: str | None
) -> tuple[Path, ...]:
    """Return the calibration files that a project has for a session, which may be new to it; usually one or none.

    Args:
        root: Project folder.
        session: Name of the session.
        existing: Session and file name of the N frames that the project has.
        override: File name of the table relative to `root`; None: `calibrations.csv` if there is one.

    Raises:
        InputError: As `find_calibrations`.
    """
    if override is None and not (root / OVERRIDE_FILE).is_file():
        files = find_calibrations(root, [(session, "")], None)[0]
    elif any(name == session for name, _ in existing):
        by_frame = find_calibrations(root, existing, override)[0]
        files = tuple(file for file, (name, _) in zip(by_frame, existing, strict=True) if name == session)
    else:  # no frame of the table has this file yet
        own = root / "calibrations" / file_name(f"{session}.toml")
        files = (own,) if own.is_file() else ()
    return tuple(dict.fromkeys(file for file in files if file is not None))


def as_named(root: Path, file: Path) -> str:
    """Return a calibration file as a project's table names it: relative to the project, where it is below it."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)


def load_cameras(files: Sequence[Path | None], view_names: Sequence[str]) -> tuple[CameraGroup | None, ...]:
    """Load the cameras of every frame, in the order of the views; frames of one file share one object.

    Raises:
        InputError: A file cannot be read, or has no camera of one of the views (`missing-view`).
    """
    groups: dict[Path, CameraGroup] = {}
    for path in dict.fromkeys(file for file in files if file is not None):
        group = CameraGroup.load(path)
        missing = [name for name in view_names if name not in group.names]
        if missing:
            raise InputError(
                f"calibration {path}: no camera named {', '.join(map(repr, missing))}, found cameras "
                f"{list(group.names)}, expected the views {list(view_names)}",
                code="missing-view",
                path=path,
                view=missing[0],
                found=group.names,
            )
        groups[path] = group.select(view_names)
    return tuple(None if file is None else groups[file] for file in files)


def load_view_clocks(calibration: Path | None, view_names: Sequence[str]) -> Clocks | None:
    """Load the clocks that `mvgeom sync` stored beside a calibration, in the order of the views.

    Args:
        calibration: Calibration file; None where there is none.
        view_names: Names of the views.

    Returns:
        The clocks; None where there are none, or only one view.

    Raises:
        InputError: The file cannot be read, or has no clock of one of the views (`missing-view`).
    """
    clocks = None if calibration is None or len(view_names) < 2 else find_clocks(calibration)
    if clocks is None or calibration is None:
        return None
    try:
        return clocks.select(view_names)
    except InputError as error:
        raise error.prefixed(f"{clocks_file(calibration)}: ", path=clocks_file(calibration)) from error


def size_mismatches(
    file_sizes: np.ndarray, cameras: Sequence[CameraGroup | None], view_names: Sequence[str]
) -> dict[str, str]:
    """Find full images of another size than their calibration: labels and cameras then have different pixels.

    Args:
        file_sizes: (N, V, 2) width and height of the stored images in px, 0 where a view has no image.
        cameras: N camera groups, None where there is no calibration.
        view_names: V names of the views.

    Returns:
        Description of the mismatch, by view; views whose images have the calibrated size are left out.
    """
    calibrated = _calibrated_sizes(cameras, len(view_names))
    present = np.all(file_sizes > 0, axis=-1)
    wrong = ~fits_calibration(file_sizes, calibrated) & present & np.all(calibrated > 0, axis=-1)
    mismatches = {}
    for view, row in _first_rows(wrong):
        name = view_names[view]
        mismatches[name] = (
            f"found another size than that of the calibration in {wrong[:, view].sum()} of {present[:, view].sum()} "
            f"images of view {name}, such as {_times(file_sizes[row, view])} instead of "
            f"{_times(calibrated[row, view])} px: without bounding boxes they are taken as full images, so 3D will be "
            "wrong if they were resized or cropped"
            f"{turned_hint(file_sizes[row, view], calibrated[row, view])}"
        )
    return mismatches


def fits_calibration(sizes: np.ndarray, calibrated: np.ndarray) -> np.ndarray:
    """Return (...) True where full images of these sizes (..., 2) can be those of a calibration of the other sizes."""
    return np.all(np.abs(sizes - calibrated) <= _TOLERANCE * calibrated, axis=-1)


def turned_hint(size: np.ndarray, calibrated: np.ndarray) -> str:
    """Return a hint for a message about two sizes (2,): empty unless one is that of the other turned by 90 degrees."""
    if not fits_calibration(np.asarray(size)[::-1], calibrated):
        return ""
    return ". One of them is turned by 90 degrees: images are read as stored, whatever their EXIF orientation"


def box_mismatches(
    boxes: np.ndarray, cameras: Sequence[CameraGroup | None], view_names: Sequence[str]
) -> dict[str, str]:
    """Find boxes whose center is outside the full image of the calibration.

    Args:
        boxes: (N, V, 4) x, y, width, height in full-image px, NaN where a view has no image.
        cameras: N camera groups, None where there is no calibration.
        view_names: V names of the views.

    Returns:
        Description of the mismatch, by view; views whose boxes are all inside are left out.
    """
    calibrated = _calibrated_sizes(cameras, len(view_names))
    center = boxes[..., :2] + (boxes[..., 2:] - 1) / 2
    wrong = np.any((center < -0.5) | (center > calibrated - 0.5), axis=-1) & np.all(calibrated > 0, axis=-1)
    mismatches = {}
    for view, row in _first_rows(wrong):
        name, present = view_names[view], np.isfinite(boxes[:, view]).all(-1)
        mismatches[name] = (
            f"found the center of {wrong[:, view].sum()} of {present.sum()} bounding boxes of view {name} outside the "
            f"{_times(calibrated[row, view])} px image of their calibration, such as x, y, width, height = "
            f"{boxes[row, view].tolist()}: 3D will be wrong if boxes and calibration are of images of different sizes"
        )
    return mismatches


def _calibrated_sizes(cameras: Sequence[CameraGroup | None], num_views: int) -> np.ndarray:
    """Return (N, V, 2) width and height, 0 where there is no calibration."""
    return np.stack([np.zeros((num_views, 2)) if group is None else np.asarray(group.sizes) for group in cameras])


def _first_rows(wrong: np.ndarray) -> list[tuple[int, int]]:
    """Return the views of (N, V) in which something is wrong, each with its first such row."""
    return [(int(view), int(np.argmax(wrong[:, view]))) for view in np.flatnonzero(wrong.any(0))]


def _times(size: np.ndarray) -> str:
    width, height = size
    return f"{width:g}x{height:g}"
