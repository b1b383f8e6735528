"""Imported labels added to a project that exists: new frames are appended, nothing that is there is changed."""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mvgeom import CameraGroup
from mvgeom.clock_files import clocks_file
from mvgeom.errors import InputError
from mvgeom.files import file_name, list_files, read_text
from mvgeom.tables import find_delimiter, has_decimal_commas, read_labeled_boxes
from mvgeom.wording import counted
from mvtrain.config import Config, load_config
from mvtrain.exchange.alignment import AlignedFrames
from mvtrain.exchange.foreign_labels import ForeignLabels
from mvtrain.exchange.project_folder import ImportedProject, write_project
from mvtrain.project.calibrations import as_named, calibration_rows, load_cameras, session_files
from mvtrain.project.frame_rows import (
    IMPORT_PREFIX,
    IMPORT_SUFFIX,
    JOURNAL,
    FrameRows,
    adding_frames,
    append_rows,
    read_frame_rows,
)
from mvtrain.project.images import image_size, read_stored
from mvtrain.project.label_tables import OCCLUDED
from mvtrain.project.view_tables import frame_of_row

_LABEL_HEADER = 3

_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class _Dialect:
    """Header rows of a table and how it writes numbers."""

    header: list[list[str]]
    decimal: str

    @classmethod
    def read(cls, path: Path, num_header: int) -> _Dialect:
        text = read_text(path).removeprefix("\ufeff")
        delimiter = find_delimiter(text)
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
        numbers = (cell for row in rows[num_header:] for cell in row[1:])
        decimal = "," if has_decimal_commas(path, delimiter, numbers) else "."
        return cls(header=rows[:num_header], decimal=decimal)

    def number(self, text: str) -> str:
        """Return a number with a decimal point as the table writes it."""
        return text.replace(".", self.decimal)


def label_rows(source: Path, target: Path, number: int) -> list[list[str]]:
    """Return the rows of a label table as another one writes them; empty rows of a view that has no table.

    Args:
        source: Label table that an import has written.
        target: Label table of the project; keypoints in any order, with or without `visible`.
        number: Number of rows where there is no source.

    Raises:
        InputError: The target cannot be read, or has decimal commas and decimal points (`bad-number`).
    """
    dialect = _Dialect.read(target, _LABEL_HEADER)
    columns = list(zip(*dialect.header[1:], strict=True))[1:]
    if not source.is_file():
        return [["", *("0" if coord == "visible" else "" for _, coord in columns)] for _ in range(number)]
    with source.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    place = {column: position for position, column in enumerate(zip(*rows[1:_LABEL_HEADER], strict=True)) if position}
    found = []
    for row in rows[_LABEL_HEADER:]:
        cells = [row[0]]
        for keypoint, coord in columns:
            if (keypoint, coord) in place:
                cells.append(dialect.number(row[place[keypoint, coord]]))
            else:  # the column `visible`, which the source does not have
                cells.append("2" if row[place[keypoint, "x"]] else "0")
        found.append(cells)
    return found


def box_rows(folder: Path, view: str, target: Path, images: Sequence[str]) -> list[list[str]]:
    """Return the rows of a table of boxes as another one writes them; without boxes, those of whole images.

    Args:
        folder: Project that an import has written.
        view: Name of the view.
        target: Table of boxes of the project.
        images: Paths of the view's images, relative to the folder.

    Raises:
        InputError: The target cannot be read, or has decimal commas and decimal points (`bad-number`).
    """
    dialect = _Dialect.read(target, 1)
    columns = [name.strip() for name in dialect.header[0]][1:]
    own = folder / file_name(f"bboxes_{view}.csv")
    if own.is_file():
        boxes = read_labeled_boxes(own).select(images)
    else:
        boxes = np.array([(0, 0, *image_size(folder / name)) for name in images], dtype=np.float64).reshape(-1, 4)
    rows = []
    for image, (x, y, width, height) in zip(images, boxes.tolist(), strict=True):
        values = {"x": x, "y": y, "w": width, "h": height}
        texts = (repr(values[name]).removesuffix(".0") if name in values else "" for name in columns)
        rows.append([image, *map(dialect.number, texts)])
    return rows


@dataclass(frozen=True, kw_only=True)
class AddedFrames:
    """Result of adding labels to a project.

    Attributes:
        written: Numbers about the added frames; None where all are there already.
        num_there: Number of frames that are there with the same labels.
        num_frames: Number of frames of the project now.
    """

    written: ImportedProject | None
    num_there: int
    num_frames: int


def order_views(labels: ForeignLabels, project: FrameRows, *, allow_absent: bool) -> tuple[str, ...]:
    """Return the views of the labels in the project's order.

    Raises:
        InputError: There are other views than the project's, or, without `allow_absent`, fewer (`views-differ`).
    """
    found = {image.place.view for image in labels.images}
    lacking = [view for view in project.view_names if view not in found]
    extra = sorted(found - set(project.view_names))
    if extra or (lacking and not allow_absent):
        advice = "" if extra else ", or leave views empty with --allow-absent"
        raise InputError(
            f"{labels.origin}: the views are not those of {project.root}, found {', '.join(sorted(found))}, expected "
            f"{', '.join(project.view_names)}. Describe the names with --pattern or --view{advice}",
            code="views-differ",
            found=tuple(sorted(found)),
            expected=project.view_names,
        )
    return tuple(view for view in project.view_names if view in found)


def order_keypoints(labels: ForeignLabels, project: FrameRows) -> ForeignLabels:
    """Return the labels with the keypoints in the project's order.

    Raises:
        InputError: The keypoints are not the project's (`keypoints-differ`).
    """
    names = project.keypoint_names
    if sorted(labels.keypoint_names) != sorted(names):
        raise InputError(
            f"{labels.origin}: the keypoints are not those of {project.root}, found "
            f"{', '.join(labels.keypoint_names)}, expected {', '.join(names)}. Rename them in the source, or import it "
            "as a project of its own with --output",
            code="keypoints-differ",
            found=labels.keypoint_names,
            expected=names,
        )
    order = [labels.keypoint_names.index(name) for name in names]
    images = tuple(
        replace(image, points=image.points[order], visibility=image.visibility[order]) for image in labels.images
    )
    return replace(labels, keypoint_names=names, images=images)


def add_to_project(
    config: Config,
    aligned: AlignedFrames,
    labels: ForeignLabels,
    calibrations: Mapping[str | None, Path | CameraGroup],
    *,
    copy_videos: bool = False,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> AddedFrames:
    """Append the frames that a project does not have; a process that dies leaves it as it was, or complete.

    Args:
        config: Config of the project.
        aligned: Labels by frame and view, with views and keypoints in the project's order.
        labels: Labels as read.
        calibrations: Calibration files or cameras by session.
        copy_videos: Copy the videos, too, unless they are there.
        progress: Function of the number of written images and the total.

    Raises:
        InputError: Another process adds frames (`busy-folder`); frames are there with other labels (`tables-differ`);
            labels are occluded, or images crops, and the project's tables cannot have them (`bad-value`); cameras are
            not those of the project (`cameras-differ`); an image is there with other pixels (`duplicate-name`);
            besides, the errors of `write_project`, `calibration_rows` and `append_rows`.
    """
    root = read_frame_rows(config).root
    with adding_frames(root):
        project = read_frame_rows(config)
        for leftover in root.glob(f"{IMPORT_PREFIX}*{IMPORT_SUFFIX}"):
            shutil.rmtree(leftover, ignore_errors=True)
        new = _new_frames(aligned, project)
        num_there = len(aligned) - len(new)
        if not new:
            return AddedFrames(written=None, num_there=num_there, num_frames=len(project))
        chosen = aligned.take(new)
        _check_tables(chosen, labels, project)
        temporary = Path(tempfile.mkdtemp(dir=root, prefix=IMPORT_PREFIX, suffix=IMPORT_SUFFIX))
        try:
            folder = temporary / "project"
            written = write_project(folder, chosen, labels, calibrations, copy_videos=copy_videos, progress=progress)
            _append(config, project, folder, chosen)
        finally:
            if not (root / JOURNAL).exists():  # else its files are still needed
                shutil.rmtree(temporary, ignore_errors=True)
    return AddedFrames(written=written, num_there=num_there, num_frames=len(project) + len(new))


def _new_frames(aligned: AlignedFrames, project: FrameRows) -> list[int]:
    """Return the frames that the project does not have; those that it has must have the same labels."""
    there = {frame: row for row, frame in enumerate(project.frames())}
    new, different = [], []
    for number, frame in enumerate(aligned.frames):
        row = there.get(frame)
        if row is None:
            new.append(number)
        elif not all(_is_same(aligned, number, view, project, row) for view in range(len(aligned.view_names))):
            different.append(frame)
    if different:
        shown = "; ".join(f"session {session}, frame {number}" for session, number in different[:_SHOWN])
        raise InputError(
            f"{project.root}: found {counted(len(different), 'frame')} with other labels, and nothing is overwritten: "
            f"{shown}{'; ...' if different[_SHOWN:] else ''}. Remove them from the source, or their rows from all "
            "tables of the project",
            code="tables-differ",
            path=project.root,
            frames=tuple(different),
        )
    return new


def _is_same(aligned: AlignedFrames, number: int, view: int, project: FrameRows, row: int) -> bool:
    """Return True if a view of a frame has the labels of a row of the project."""
    table = project.tables[project.view_names.index(aligned.view_names[view])]
    points, visibility = aligned.points[number, view], aligned.visibility[number, view]
    entry = aligned.entries[number][view]
    if entry is not None and aligned.images[number][view] is None:  # lost here, not in the project
        points, visibility = entry.points, entry.visibility
    points = np.where((visibility > 0)[:, None], points, np.nan)
    if table.visible is not None and not np.array_equal(table.visible[row], visibility):
        return False
    return np.allclose(table.points[row], points, rtol=0, atol=1e-6, equal_nan=True)


def _check_tables(aligned: AlignedFrames, labels: ForeignLabels, project: FrameRows) -> None:
    """Check that the project's tables can have the labels."""
    if any(table.visible is None for table in project.tables) and (aligned.visibility == OCCLUDED).any():
        raise InputError(
            f"{labels.origin}: labels are occluded, and tables of {project.root} have no column `visible`. Add it "
            "with mvtrain label, by marking a keypoint as occluded",
            code="bad-value",
            path=project.root,
        )


def _append(config: Config, project: FrameRows, folder: Path, aligned: AlignedFrames) -> None:
    """Append the rows of a project that was just written, and move its files."""
    root, data = project.root, config.data
    new_data = load_config(folder / "config.yaml").data
    if new_data.bbox_file is not None and data.bbox_file is None:
        raise InputError(
            f"{root}: the project has whole images, and some of the source's are crops. Import it as a project of its "
            "own with --output",
            code="bad-value",
            path=root,
            key="data.bbox_file",
        )
    rows: dict[Path, list[list[str]]] = {}
    for view, name in enumerate(project.view_names):
        table = project.tables[view]
        own = folder / file_name(f"CollectedData_{name}.csv")
        rows[table.path] = label_rows(own, table.path, len(aligned))
        if data.bbox_file is not None:
            boxes = root / data.bbox_file[view]
            rows[boxes] = box_rows(folder, name, boxes, [row[0] for row in rows[table.path] if row[0]])
    moves = _image_moves(root, folder)
    calibrations, of_sessions = _calibrations(project, folder)
    moves |= calibrations
    images = zip(*([row[0] or None for row in rows[table.path]] for table in project.tables), strict=True)
    new = [frame_of_row(names, project.view_names) for names in images]
    rows |= calibration_rows(root, project.names(), new, project.calibration_table, of_sessions)
    there = {path.stem for path in list_files(root / "videos")}
    for path in sorted((folder / "videos").glob("*")):
        if path.stem.removesuffix("_bbox") not in there:  # a video with its boxes
            moves[path] = root / "videos" / path.name
    append_rows(root, rows, moves)


def _image_moves(root: Path, folder: Path) -> dict[Path, Path]:
    """Return the places of the new images; one that is there, without a row, stays if it has the same pixels.

    Raises:
        InputError: It has others, and may be that of another table of the project (`duplicate-name`).
    """
    moves = {}
    for path in sorted((folder / "labeled-data").rglob("*.png")):
        target = root / path.relative_to(folder)
        if not target.exists():
            moves[path] = target
        elif not np.array_equal(read_stored(path), read_stored(target)):
            raise InputError(
                f"{target}: an image with other pixels is there, without a row in the label tables, and nothing is "
                "overwritten. Remove it if no other table has it, or give the source's session another name",
                code="duplicate-name",
                path=target,
            )
    return moves


def _calibrations(project: FrameRows, folder: Path) -> tuple[dict[Path, Path], dict[str, str]]:
    """Return the calibration files to move, and the file of each session as a table of calibrations names it.

    The cameras of sessions that the project knows must be the project's.
    """
    root = project.root
    known = {session for session, _ in project.frames()}
    moves, of_sessions = {}, {}
    for path in sorted((folder / "calibrations").glob("*.toml")):
        cameras = CameraGroup.load(path)
        missing = [view for view in project.view_names if view not in cameras.names]
        if missing:
            raise InputError(
                f"session {path.stem!r}: the calibration lacks the camera {', '.join(missing)}, found "
                f"{', '.join(cameras.names)}, expected {', '.join(project.view_names)}",
                code="missing-view",
                view=missing[0],
                found=cameras.names,
                expected=project.view_names,
            )
        target = root / "calibrations" / path.name
        theirs = session_files(root, path.stem, project.names(), project.calibration_table)
        fitting = [file for file in theirs if _agree(load_cameras([file], project.view_names)[0], cameras, project)]
        if fitting:
            of_sessions[path.stem] = as_named(root, fitting[0])
        elif not theirs and path.stem not in known:
            moves[path] = target
            clocks = clocks_file(path)
            if clocks.is_file():
                moves[clocks] = clocks_file(target)
            of_sessions[path.stem] = as_named(root, target)
        else:
            has = f"another one, {theirs[0]}" if theirs else "no calibration"
            raise InputError(
                f"session {path.stem!r}: the source has a calibration, and the project has {has}. Choose which is "
                f"right: give the project's with --calibration, or put that of the source at {target}",
                code="cameras-differ",
                path=theirs[0] if theirs else root,
                session=path.stem,
            )
    return moves, of_sessions


def _agree(first: CameraGroup | None, second: CameraGroup, project: FrameRows) -> bool:
    """Return True if cameras are the same but for rounding."""
    second = second.select(project.view_names)
    return first is not None and all(
        np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=1e-6, atol=1e-9)
        for one, other in (
            (getattr(first, name), getattr(second, name))
            for name in ("matrix", "distortion", "rotation", "translation", "sizes")
        )
    )
