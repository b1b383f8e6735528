"""Command `mvtrain crop`: a project with whole images to one with crops around the subject."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from mvgeom import boxes as box_functions
from mvgeom.clock_files import copy_clocks
from mvgeom.errors import InputError
from mvgeom.files import file_name, inside, write_text
from mvgeom.tables import write_labeled_boxes
from mvgeom.wording import counted
from mvtrain.config import Config, load_config
from mvtrain.config.recommended import LONGEST, write_project_config
from mvtrain.config.schema import ModelConfig
from mvtrain.exchange.foreign_labels import DecodedImage
from mvtrain.exchange.media import write_images
from mvtrain.project.beside_tables import path_beside
from mvtrain.project.calibrations import OVERRIDE_FILE, find_calibrations
from mvtrain.project.images import read_stored
from mvtrain.project.label_tables import read_labels, write_labels
from mvtrain.project.labels_3d import complete_labels, triangulate_labels
from mvtrain.project.names import frame_number
from mvtrain.project.project import Project, read_project
from mvtrain.project.pseudo_labels import read_pseudo_labels
from mvtrain.project.splits import has_labels
from mvtrain.project.view_tables import PSEUDO_ENDING, find_tables, frame_of_row
from mvtrain.runtime.folders import new_folder
from mvtrain.runtime.messages import command

SOURCES = ("labels", "3D", "nearest frame", "whole image")
"""Origins of a box: labels of the view; labels of other views, projected; the box of the view in the frame of the same
session that is nearest in time; none."""

_ENOUGH = 0.5
"""Share of the keypoints that must have a place for a box to count as typical; others are at least typical boxes."""

_SMALLEST = 1 / 1.6
"""Smallest side of a box, relative to a typical one of its view, as in `mvtrain predict --track`."""

SCORER = "mvtrain"

_FARTHEST = 1e6
"""Largest coordinate of a label in px."""

_DIGITS = 6
"""Decimals of the labels of crops in px; box corners are whole numbers, so that nothing else is rounded."""

_WORTHWHILE = 1.5
"""Enlargement of the subject in the network's input from which crops pay."""

_CARRIED = ("backbone", "backbone_args", "backbone_pretrained", "backbone_weights", "plugins")
"""Keys of the section `model` that the new config has from the old one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SubjectBoxes:
    """Boxes of N frames in V views.

    Attributes:
        boxes: (N, V, 4) whole-numbered x, y, width, height in full-image px, inside the images; NaN where there is no
            image.
        sources: (N, V) positions in `SOURCES`; -1 where there is no image.
    """

    boxes: np.ndarray
    sources: np.ndarray


def find_subject_boxes(project: Project, *, margin: float) -> SubjectBoxes:
    """Find the box of the subject in every image of a project with whole images.

    A box holds all labels of its view and the projections of what the other views' labels triangulate to, as training
    uses them (`complete_labels`), with a margin; it is a square where the image is large enough, moved into the image.

    Args:
        project: Project whose stored images are full images.
        margin: Margin on every side, as a fraction of the larger extent of the keypoints.
    """
    own = np.isfinite(project.points).all(-1)
    # Occluded labels that have a place show where the subject is, too.
    placed = replace(project, visibility=np.where(own, 2, 0).astype(np.int8))
    completed = complete_labels(placed, triangulate_labels(placed))
    points = np.concatenate([project.points, completed.points], axis=2)
    num_placed = np.isfinite(completed.points).all(-1).sum(-1)
    tight = np.asarray(box_functions.from_keypoints(points, margin=margin, aspect=1.0))
    present = np.asarray((project.file_sizes > 0).all(-1))
    sources = np.where(own.any(-1), 0, np.where(num_placed > 0, 1, 2))
    enough = np.asarray(num_placed >= _ENOUGH * own.shape[-1])
    typical = _typical_sides(project, np.where(enough, tight[..., 2], np.nan))
    side = np.fmax(tight[..., 2], np.where(enough, _SMALLEST, 1.0) * typical)[..., None]
    grown = np.concatenate([tight[..., :2] + (tight[..., 2:] - side) / 2, side, side], axis=-1)
    has_box = present & (sources < 2)
    for row, view in zip(*np.nonzero(present & (sources == 2)), strict=True):
        nearest = _nearest_row(project, has_box[:, view], int(row))
        if nearest is None:
            sources[row, view] = 3
            grown[row, view] = [0.0, 0.0, *project.file_sizes[row, view]]
        else:
            grown[row, view] = grown[nearest, view]
    inside = boxes_in_images(grown, project.file_sizes.astype(np.float64))
    return SubjectBoxes(boxes=np.where(present[..., None], inside, np.nan), sources=np.where(present, sources, -1))


def _typical_sides(project: Project, sides: np.ndarray) -> np.ndarray:
    """Return (N, V) medians of the sides (N, V) of each session and view; NaN where there is none."""
    typical = np.full(sides.shape, np.nan)
    names = np.asarray(project.sessions, dtype=object)
    for session in dict.fromkeys(project.sessions):
        rows = np.flatnonzero(names == session)
        for view in range(sides.shape[1]):
            known = sides[rows, view][np.isfinite(sides[rows, view])]
            if len(known):
                typical[rows, view] = np.median(known)
    return typical


def _nearest_row(project: Project, has_box: np.ndarray, row: int) -> int | None:
    """Return the row with a box, of the same session, that is nearest in time; the earlier one of two."""
    rows = [int(other) for other in np.flatnonzero(has_box) if project.sessions[other] == project.sessions[row]]
    time = _frame_number(project, row)
    return min(rows, key=lambda other: (abs(_frame_number(project, other) - time), other), default=None)


def _frame_number(project: Project, row: int) -> int:
    """Return the number in a frame's file name; the row where there is none."""
    _, name = frame_of_row(project.image_names[row], project.view_names)
    number = frame_number(PurePosixPath(name).stem)
    return row if number is None else number


def boxes_in_images(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Round boxes outwards to whole pixels, and move them into the images; larger ones are cut at the border.

    Args:
        boxes: (N, V, 4) x, y, width, height in full-image px.
        sizes: (N, V, 2) width and height of the images in px.
    """
    start = np.floor(boxes[..., :2])
    extent = np.minimum(np.ceil(boxes[..., :2] + boxes[..., 2:]) - start, sizes)
    start = np.clip(start, 0, sizes - extent)
    return np.concatenate([start, extent], axis=-1)


@dataclass(frozen=True, kw_only=True)
class CropOptions:
    """Options of the command.

    Attributes:
        output: Project folder to write; must not exist.
        margin: Margin of the boxes on every side, as a fraction of the larger extent of the keypoints.
    """

    output: Path
    margin: float = 0.2


def crop_project(config: Config, options: CropOptions, console: Console) -> None:
    """Write a project with crops, completely or not at all, and print the origins of the boxes.

    Labels are moved by whole pixels, so that their full-image px stay what they are.

    Args:
        config: Config of a project with whole images.
        options: Options of the command.
        console: Console for progress and results.

    Raises:
        InputError: The project has crops already (`bad-value`), the margin is not valid or a label is too far outside
            of its image (`out-of-range`), the folder exists (`occupied-folder`), a session has several calibrations
            (`bad-value`), or the project cannot be read.
    """
    if config.data.bbox_file is not None:
        raise InputError(
            f"data.bbox_file: the images of {config.data.data_dir} are crops already. Give a project with whole images",
            code="bad-value",
            key="data.bbox_file",
        )
    if not 0 <= options.margin <= 5:
        raise InputError(
            f"--margin: found {options.margin:g}, expected 0 to 5 times the extent of the keypoints",
            code="out-of-range",
            argument="--margin",
            found=options.margin,
        )
    own = read_project(config)
    for text in own.warnings:
        console.print(f"warning: {text}", markup=False, highlight=False, soft_wrap=True)
    _check_labels(config, own)
    pseudo = read_pseudo_labels(config, own)
    own_rows = np.flatnonzero(has_labels(own))
    project, pseudo_rows = (own, own_rows[:0]) if pseudo is None else (pseudo.project, pseudo.rows)
    rows = np.concatenate([own_rows, pseudo_rows])
    found = find_subject_boxes(project, margin=options.margin)
    with new_folder(options.output) as folder, Progress(console=console, transient=True) as progress:
        num_calibrated = _copy_calibrations(folder, config, project, own_rows, "")
        _copy_calibrations(folder, config, project, pseudo_rows, PSEUDO_ENDING)
        names = [_crop_names(project, int(row)) for row in rows]
        images = {
            inside(folder, name): DecodedImage(name=str(path), read=partial(_read_crop, path, found.boxes[row, view]))
            for row, by_view in zip(rows, names, strict=True)
            for view, name in enumerate(by_view)
            if name and (path := project.image_paths[row][view]) is not None
        }
        task = progress.add_task("crops", total=len(images))
        write_images(images, lambda: progress.advance(task))
        origins = _write_tables(folder, config, project, own_rows, names[: len(own_rows)], found, "")
        if len(pseudo_rows):
            origins += _write_tables(folder, config, project, pseudo_rows, names[len(own_rows) :], found, PSEUDO_ENDING)
        _write_origins(folder / "crops.csv", origins)
        _write_config(folder, config, own, own_rows, found, num_calibrated)
        read_project(load_config(folder / "config.yaml"))
    _print_end(options.output, own, own_rows, found, num_calibrated, console)
    if len(pseudo_rows):
        console.print(f"and {counted(len(pseudo_rows), 'frame')} with pseudo-labels", soft_wrap=True)


def _check_labels(config: Config, project: Project) -> None:
    """Check that the labels have places of which a box can be made; those beside the image may be anywhere near."""
    far = np.argwhere((np.abs(project.points) > _FARTHEST).any(axis=-1))
    if len(far):
        row, view, keypoint = far[0]
        _, paths = find_tables(project.root, config.data)
        found = tuple(project.points[row, view, keypoint].tolist())
        raise InputError(
            f"label table {paths[view]}: {project.image_names[row][view]}: {project.keypoint_names[keypoint]!r} is far "
            f"outside of the image, found {found[0]:g}, {found[1]:g}, expected at most {_FARTHEST:g} px. Correct it",
            code="out-of-range",
            path=paths[view],
            keypoint=project.keypoint_names[keypoint],
            found=found,
        )


def _read_crop(path: Path, box: np.ndarray) -> np.ndarray:
    """Read the part of an image that a box (4,) covers, (h, w, 3) uint8 or uint16 RGB, as the file has it."""
    left, top, width, height = box.astype(int)
    return read_stored(path)[top : top + height, left : left + width, ::-1]


def _crop_names(project: Project, row: int) -> list[str]:
    """Return the paths of a frame's crops, PNG files; "" where a view has no image."""
    names = (None if name is None else name.replace("\\", "/") for name in project.image_names[row])
    return ["" if name is None else str(PurePosixPath(name).with_suffix(".png")) for name in names]


def _write_tables(
    folder: Path,
    config: Config,
    project: Project,
    rows: np.ndarray,
    names: Sequence[Sequence[str]],
    found: SubjectBoxes,
    ending: str,
) -> list[tuple[str, str, str]]:
    """Write the label tables and tables of boxes whose names have an ending; return image, view and origin of boxes."""
    _, paths = find_tables(project.root, config.data)
    origins: list[tuple[str, str, str]] = []
    for view, (view_name, path) in enumerate(zip(project.view_names, paths, strict=True)):
        images = [by_view[view] for by_view in names]
        corners = np.nan_to_num(found.boxes[rows, view, :2])
        points = np.round(project.points[rows, view] - corners[:, None], _DIGITS)
        with_visible = read_labels(path_beside(path, ending)).visible is not None
        visibility = project.visibility[rows, view] if with_visible else None
        write_labels(
            folder / file_name(f"CollectedData_{view_name}{ending}.csv"),
            images,
            project.keypoint_names,
            points,
            visibility,
            scorer=SCORER,
        )
        there = [number for number, image in enumerate(images) if image]
        write_labeled_boxes(
            folder / file_name(f"bboxes_{view_name}{ending}.csv"),
            [images[number] for number in there],
            found.boxes[rows[there], view],
        )
        origins += [(images[number], view_name, SOURCES[found.sources[rows[number], view]]) for number in there]
    return origins


def _write_origins(path: Path, origins: Sequence[tuple[str, str, str]]) -> None:
    """Write `crops.csv`, which says what every box was made of."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([("image", "view", "box_from"), *origins])
    write_text(path, text.getvalue())


def _copy_calibrations(folder: Path, config: Config, project: Project, rows: np.ndarray, ending: str) -> int:
    """Copy the calibration of every session, and return the number of sessions that have one.

    The ending is that of the table of calibrations, if there is a table with it.
    """
    frames = [frame_of_row(project.image_names[row], project.view_names) for row in rows]
    table = config.data.camera_params_file
    if ending and (beside := path_beside(project.root / (table or OVERRIDE_FILE), ending)).is_file():
        table = str(beside)
    files, _ = find_calibrations(project.root, frames, table)
    by_session: dict[str, Path] = {}
    for (session, _), file in zip(frames, files, strict=True):
        if file is None:
            continue
        if by_session.setdefault(session, file) != file:
            raise InputError(
                f"session {session!r}: frames with different calibrations, found {by_session[session]} and {file}, "
                "expected one for the session. Give the frames of each a session of their own",
                code="bad-value",
                session=session,
                path=file,
            )
    for session, file in by_session.items():
        (folder / "calibrations").mkdir(exist_ok=True)
        copy = folder / "calibrations" / file_name(f"{session}.toml")
        shutil.copyfile(file, copy)
        copy_clocks(file, copy)
    return len(by_session)


def _write_config(
    folder: Path, config: Config, project: Project, rows: np.ndarray, found: SubjectBoxes, num_calibrated: int
) -> None:
    """Write the recommended config, with the backbone of the old one."""
    default = ModelConfig()
    carried = {key: value for key in _CARRIED if (value := getattr(config.model, key)) != getattr(default, key)}
    videos = config.data.video_dir or project.root / "videos"
    more_data: dict[str, Any] = {"video_dir": str(videos)} if videos.is_dir() else {}
    sizes = found.boxes[rows][found.sources[rows] >= 0][:, 2:]
    width, height = np.median(sizes, axis=0)
    write_project_config(
        folder / "config.yaml",
        comment=f"Crops of {project.root} by mvtrain crop. "
        + (
            "Follow the subject in videos with mvtrain predict --track."
            if num_calibrated
            else "Videos need boxes: mvtrain predict --boxes FOLDER."
        ),
        view_names=project.view_names,
        keypoint_names=project.keypoint_names,
        skeleton=config.data.skeleton or (),
        num_frames=len(rows),
        image_size=(int(width), int(height)),
        num_sessions=len({project.sessions[row] for row in rows}),
        num_calibrated=num_calibrated,
        with_boxes=True,
        with_videos=False,
        more_data={"split": config.data.split, **more_data},
        more_model={key: _plain(value) for key, value in carried.items()},
    )


def _plain(value: Any) -> Any:
    """Return a value of a config as YAML has it."""
    if isinstance(value, Path):
        return str(value)
    return [str(entry) for entry in value] if isinstance(value, tuple) else value


def _print_end(
    output: Path, project: Project, rows: np.ndarray, found: SubjectBoxes, num_calibrated: int, console: Console
) -> None:
    """Print the origins of the boxes, what crops gain, and the next commands."""
    sources = found.sources[rows]
    counts = ", ".join(
        f"{int((sources == number).sum())} from {name}"
        for number, name in enumerate(SOURCES)
        if (sources == number).any()
    )
    lines = [f"boxes: {counts} (crops.csv)"]
    if len(rows) < len(project):
        lines.append(f"note: left out {counted(len(project) - len(rows), 'frame')} without any label")
    longer = project.file_sizes[rows].max(-1)[sources >= 0]
    sides = found.boxes[rows].max(-1, initial=0, where=np.array([False, False, True, True]))[sources >= 0]
    gain = float(np.median(np.minimum(1, LONGEST / sides) / np.minimum(1, LONGEST / longer)))
    lines.append(
        f"the crops are {np.median(sides):.0f} px wide in images of {np.median(longer):.0f} px (medians): in an input "
        f"of {LONGEST} px the subject is {gain:.1f} times as large as in whole images"
    )
    if gain < _WORTHWHILE:
        lines.append("note: crops gain little here. Train on whole images, which need no boxes to predict")
    if num_calibrated == 0:
        lines.append("note: no calibration, so mvtrain predict --track cannot follow the subject; it needs boxes")
    lines.append(f"wrote {output}: {counted(len(rows), 'frame')} of {counted(len(project.view_names), 'view')}")
    boxes = ("--track",) if num_calibrated else ("--boxes", "FOLDER")
    then = command("mvtrain", "predict", "RUN", "VIDEOS", *boxes)
    lines.append(f"Next: {command('mvtrain', 'fit', output / 'config.yaml')}, then {then}")
    for line in lines:
        console.print(line, soft_wrap=True)
