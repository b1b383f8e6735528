"""A project folder from aligned labels: whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mvgeom.tables import write_labeled_boxes
from mvtrain.config import load_config
from mvtrain.data.images import image_size
from mvtrain.data.project import read_project
from mvtrain.exchange.calibration import write_calibrations
from mvtrain.exchange.config_file import write_config
from mvtrain.exchange.images import write_images
from mvtrain.exchange.labels import ForeignLabels, ImageSource, VideoFrame
from mvtrain.exchange.moments import Moments

SCORER = "imported"


@dataclass(frozen=True, kw_only=True)
class ImportedProject:
    """What was written.

    Attributes:
        num_moments: rows of the label tables.
        num_labels: keypoints with a label, over all views.
        num_from_video: images taken from videos.
        sessions: names.
        num_calibrated: how many of them have a calibration.
        warnings: what reading the project again says.
    """

    num_moments: int
    num_labels: int
    num_from_video: int
    sessions: tuple[str, ...]
    num_calibrated: int
    warnings: tuple[str, ...]


def write_project(
    out: Path,
    moments: Moments,
    labels: ForeignLabels,
    calibrations: Mapping[str | None, Path],
    *,
    copy_videos: bool = False,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> ImportedProject:
    """Write a project folder under a temporary name, read it back, and rename it.

    Args:
        out: must not exist.
        moments: the labels, view by view.
        labels: what else the foreign project says: its videos, its skeleton.
        calibrations: by session.
        copy_videos: also copy the videos, as `videos/<session>_<view>`.
        progress: called with the numbers of images written and in total.

    Raises:
        ValueError: `out` exists or cannot be written, an image cannot be had, a calibration does not fit, or what was
            written is no valid project.
    """
    if out.exists():
        raise ValueError(f"{out} already exists; remove it or choose another folder")
    unfinished = out.parent / f".{out.name}.{os.getpid()}.tmp"
    try:
        unfinished.mkdir(parents=True)
        written = _fill(unfinished, moments, labels, calibrations, copy_videos, progress)
        unfinished.rename(out)
    except OSError as error:
        raise ValueError(f"{out} cannot be written: {error.strerror}: {error.filename}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return written


def _fill(
    folder: Path,
    moments: Moments,
    labels: ForeignLabels,
    calibrations: Mapping[str | None, Path],
    copy_videos: bool,
    progress: Callable[[int, int], object],
) -> ImportedProject:
    sessions = tuple(dict.fromkeys(session for session, _ in moments.frames))
    # First, because it is quick and may fail.
    num_calibrated = write_calibrations(folder / "calibrations", calibrations, sessions, moments.view_names)
    images = {
        folder / _image_name(session, view, number): image
        for (session, number), row in zip(moments.frames, moments.images, strict=True)
        for view, image in zip(moments.view_names, row, strict=True)
        if image is not None
    }
    _write_images(images, progress)
    for number, view in enumerate(moments.view_names):
        write_labels(folder, moments, number, with_visibility=labels.has_visibility)
        if _has_crops(moments):
            _write_boxes(folder / f"bboxes_{view}.csv", folder, moments, number)
    videos = _copy_videos(folder / "videos", labels, sessions, moments.view_names) if copy_videos else 0
    write_config(
        folder / "config.yaml",
        origin=labels.origin,
        view_names=moments.view_names,
        keypoint_names=moments.keypoint_names,
        skeleton=labels.skeleton,
        num_moments=len(moments),
        image_sizes=[image_size(path) for path in images],
        with_boxes=_has_crops(moments),
        num_sessions=len(sessions),
        num_calibrated=num_calibrated,
        with_videos=videos > 0,
    )
    project = read_project(load_config(folder / "config.yaml"))
    return ImportedProject(
        num_moments=len(moments),
        num_labels=int((moments.visibility > 0).sum()),
        num_from_video=sum(isinstance(image, VideoFrame) for image in images.values()),
        sessions=sessions,
        num_calibrated=num_calibrated,
        warnings=project.warnings,
    )


def write_labels(folder: Path, moments: Moments, view: int, *, with_visibility: bool) -> None:
    """Write `CollectedData_<view>.csv` with every digit; a view without an image of a moment has an empty row.

    Args:
        folder: of the project.
        moments: the labels.
        view: number of the view.
        with_visibility: whether to write a column `visible`.
    """
    name = moments.view_names[view]
    rows = [
        "" if images[view] is None else _image_name(session, name, number)
        for (session, number), images in zip(moments.frames, moments.images, strict=True)
    ]
    points, visible = moments.points[:, view], moments.visibility[:, view]
    columns: dict[tuple[str, str, str], np.ndarray] = {}
    for k, keypoint in enumerate(moments.keypoint_names):
        columns[SCORER, keypoint, "x"] = points[:, k, 0]
        columns[SCORER, keypoint, "y"] = points[:, k, 1]
        if with_visibility:
            columns[SCORER, keypoint, "visible"] = visible[:, k]
    table = pd.DataFrame(columns, index=rows)
    table.columns = table.columns.set_names(["scorer", "bodyparts", "coords"])
    table.to_csv(folder / f"CollectedData_{name}.csv", lineterminator="\n")


def _image_name(session: str, view: str, number: int) -> str:
    return f"labeled-data/{session}_{view}/img{number:08d}.png"


def _write_images(images: Mapping[Path, ImageSource], progress: Callable[[int, int], object]) -> None:
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress(done, len(images))

    write_images(images, advance)


def _has_crops(moments: Moments) -> bool:
    return any(crop is not None for row in moments.crops for crop in row)


def _write_boxes(path: Path, folder: Path, moments: Moments, view: int) -> None:
    """Write the boxes of one view; an image that is the whole frame has a box of its own size."""
    names, boxes = [], []
    for (session, number), images, crops in zip(moments.frames, moments.images, moments.crops, strict=True):
        if images[view] is not None:
            name = _image_name(session, moments.view_names[view], number)
            names.append(name)
            boxes.append((*(crops[view] or (0, 0)), *image_size(folder / name)))
    write_labeled_boxes(path, names, np.array(boxes, dtype=np.float64).reshape(-1, 4))


def _copy_videos(folder: Path, labels: ForeignLabels, sessions: Sequence[str], views: Sequence[str]) -> int:
    """Copy the videos of the sessions; returns how many there are."""
    chosen = {
        (session, view): labels.videos[session, view]
        for session in sessions
        for view in views
        if (session, view) in labels.videos
    }
    if chosen:
        folder.mkdir()
    for (session, view), path in chosen.items():
        shutil.copyfile(path, folder / f"{session}_{view}{path.suffix.lower()}")
    return len(chosen)
