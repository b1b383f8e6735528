"""Calibrations of a project: the table of them, the cameras of every frame, and checks against images and boxes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mvgeom import CameraGroup
from mvgeom.clock_files import clocks_file, find_clocks
from mvgeom.clocks import Clocks
from mvgeom.errors import InputError
from mvgeom.files import file_name, on_disk, read_text
from mvgeom.tables import find_delimiter
from mvgeom.wording import counted
from mvtrain.project.names import as_posix, frame_of

OVERRIDE_FILE = "calibrations.csv"
"""Table that is used if it is in the project folder, even if the config does not name it."""

_TOLERANCE = 0.01
"""Relative difference that a full image's size may have to its calibration's along each side."""


def read_calibration_table(root: Path, table: Path, frames: Sequence[tuple[str, str]]) -> tuple[Path | None, ...]:
    """Return the calibration file of every frame; None where its cell is empty.

    Args:
        root: Project folder, to which files are relative.
        table: Path of the table.
        frames: Session and file name of the N frames.

    Raises:
        InputError: The table does not exist (`missing-file`), is malformed, has no row for a frame (`missing-row`) or
            two that contradict each other (`duplicate-name`), or a file that it names does not exist (`missing-file`).
    """
    rows = _read_table(table)
    by_frame = {frame_of(image, ""): (line, file) for image, line, file in rows}
    if all(frame in by_frame for frame in frames):
        _check_contradictions(table, rows)
        chosen = [by_frame[frame] for frame in frames]
    elif len(rows) == len(frames) and all(_may_be(row[0], frame) for row, frame in zip(rows, frames, strict=True)):
        chosen = [(line, file) for _, line, file in rows]  # rows correspond in order
    else:
        session, name = next(frame for frame in frames if frame not in by_frame)
        raise InputError(
            f"calibration table {table}: no row for image {name} of session {session!r}",
            code="missing-row",
            path=table,
            row=name,
            session=session,
        )
    paths: list[Path | None] = []
    for line, file in chosen:
        path = root / as_posix(file) if file else None
        if path is not None and not path.is_file():
            raise InputError(
                f"calibration table {table}, line {line}: {path} does not exist",
                code="missing-file",
                path=path,
                table=table,
                line=line,
            )
        paths.append(path)
    return tuple(paths)


def _may_be(image: str, frame: tuple[str, str]) -> bool:
    """Return True if an image may be of a frame: the same file name, without a folder or in one of its session's."""
    folder, name = frame_of(image, "")
    session, own_name = frame
    return name == own_name and (folder.startswith(session) or session.startswith(folder))


def calibration_rows(
    root: Path,
    existing: Sequence[tuple[str, str]],
    new: Sequence[tuple[str, str]],
    override: str | None,
    brought: Mapping[str, str] | None = None,
) -> dict[Path, list[list[str]]]:
    """Return the rows that the project's table of calibrations needs for new frames: the file of their session.

    Args:
        root: Project folder.
        existing: Session and file name of the N frames that the project has.
        new: Session and file name of the frames to add.
        override: File name of the table relative to `root`; None: `calibrations.csv` if there is one.
        brought: Files of sessions whose calibrations the new frames bring, as the table names them; a session that is
            new to a table with several files and not among them has none. None where frames bring no calibrations.

    Returns:
        Cells of the new rows by the table's path; empty for a project without a table.

    Raises:
        InputError: As `read_calibration_table`; `missing-row`, if nothing is brought and a session is new to a table
            with several files.
    """
    table = root / (override or OVERRIDE_FILE)
    if not new or (override is None and not table.is_file()):
        return {}
    rows = _read_table(table)
    read_calibration_table(root, table, existing)
    by_frame = {frame_of(image, ""): (image, file) for image, _, file in rows}
    in_order = [(image, file) for image, _, file in rows]
    chosen = [by_frame[frame] for frame in existing] if all(frame in by_frame for frame in existing) else in_order
    by_session = {session: entry for (session, _), entry in zip(existing, chosen, strict=True)}
    files = {file for _, file in in_order}
    text = read_text(table)
    header = next(csv.reader(io.StringIO(text, newline=""), delimiter=find_delimiter(text)))
    column = [cell.strip() for cell in header].index("file", 1)
    added = []
    for session, name in new:
        common = next(iter(files)) if len(files) == 1 else ""
        image, file = by_session.get(session, (f"labeled-data/{session}/{name}", common))
        file = (brought or {}).get(session, file)
        if brought is None and session not in by_session and len(files) != 1:
            raise InputError(
                f"calibration table {table}: no row for session {session!r}, to which frames are added, and "
                f"{len(files)} calibration files. Add a row for an image of that session.",
                code="missing-row",
                path=table,
                session=session,
            )
        cells = [""] * len(header)
        cells[0], cells[column] = str(as_posix(image).with_name(name)), file
        added.append(cells)
    return {table: added}


def _check_contradictions(table: Path, rows: Sequence[tuple[str, int, str]]) -> None:
    first: dict[tuple[str, str], tuple[int, str]] = {}
    for image, line, file in rows:
        earlier_line, earlier_file = first.setdefault(frame_of(image, ""), (line, file))
        if earlier_file != file:
            raise InputError(
                f"calibration table {table}: image {image} is named twice, with {earlier_file or 'no file'} in line "
                f"{earlier_line} and {file or 'no file'} in line {line}. Remove one of them",
                code="duplicate-name",
                path=table,
                line=line,
                name=image,
            )


def _read_table(table: Path) -> list[tuple[str, int, str]]:
    """Return (image path, line, calibration file) of every row."""
    if not table.exists():
        raise InputError(f"calibration table {table} does not exist", code="missing-file", path=table)
    text = read_text(table)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=find_delimiter(text), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise InputError(
            f"calibration table {table}, line {reader.line_num}: not CSV: {error}",
            code="invalid-syntax",
            path=table,
            line=reader.line_num,
        ) from error
    header = [cell.strip() for cell in rows[0][1]] if rows else []
    if "file" not in header[1:]:
        raise InputError(
            f"calibration table {table}: no column `file`, found columns {', '.join(header) or 'none'}, expected image "
            "paths in the first column and a column `file`",
            code="missing-column",
            path=table,
            column="file",
        )
    column = header.index("file", 1)
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise InputError(
                f"calibration table {table}, line {line}: found {counted(len(row), 'cell')}, expected {len(header)} as "
                "in the header",
                code="wrong-count",
                path=table,
                line=line,
                found=len(row),
                expected=len(header),
            )
    return [(row[0].strip(), line, row[column].strip()) for line, row in rows[1:]]


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
            own = on_disk(root / "calibrations" / file_name(f"{session}.toml"))
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
        own = on_disk(root / "calibrations" / file_name(f"{session}.toml"))
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
