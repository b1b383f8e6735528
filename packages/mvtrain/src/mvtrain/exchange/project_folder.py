"""A project folder from aligned labels: whole, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvgeom.tables import write_labeled_boxes
from mvtrain.config import load_config
from mvtrain.config.recommended import write_project_config
from mvtrain.exchange.alignment import AlignedFrames
from mvtrain.exchange.foreign_labels import ForeignLabels, ImageSource, VideoFrame
from mvtrain.exchange.media import write_calibrations, write_images
from mvtrain.project.images import image_size
from mvtrain.project.project import read_project
from mvtrain.project.writer import image_name, write_labels
from mvtrain.runtime.new_folder import new_folder

SCORER = "imported"


@dataclass(frozen=True, kw_only=True)
class ImportedProject:
    """What was written.

    Attributes:
        num_frames: rows of the label tables.
        num_labels: keypoints with a label, over all views.
        num_from_video: images taken from videos.
        sessions: names.
        num_calibrated: how many of them have a calibration.
        warnings: what reading the project again says.
    """

    num_frames: int
    num_labels: int
    num_from_video: int
    sessions: tuple[str, ...]
    num_calibrated: int
    warnings: tuple[str, ...]


def write_project(
    out: Path,
    moments: AlignedFrames,
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
    with new_folder(out) as folder:
        return _fill(folder, moments, labels, calibrations, copy_videos, progress)


def _fill(
    folder: Path,
    moments: AlignedFrames,
    labels: ForeignLabels,
    calibrations: Mapping[str | None, Path],
    copy_videos: bool,
    progress: Callable[[int, int], object],
) -> ImportedProject:
    sessions = tuple(dict.fromkeys(session for session, _ in moments.frames))
    # First, because it is quick and may fail.
    num_calibrated = write_calibrations(folder / "calibrations", calibrations, sessions, moments.view_names)
    images = {
        folder / image_name(session, view, number): image
        for (session, number), row in zip(moments.frames, moments.images, strict=True)
        for view, image in zip(moments.view_names, row, strict=True)
        if image is not None
    }
    _write_images(images, progress)
    for number, view in enumerate(moments.view_names):
        write_view_labels(folder, moments, number, with_visibility=labels.has_visibility)
        if _has_crops(moments):
            _write_boxes(folder / f"bboxes_{view}.csv", folder, moments, number)
    videos = _copy_videos(folder / "videos", labels, sessions, moments.view_names) if copy_videos else 0
    sizes = sorted((image_size(path) for path in images), key=lambda size: size[0] / size[1])
    write_project_config(
        folder / "config.yaml",
        comment=f"Imported by mvtrain import from {labels.origin}",
        view_names=moments.view_names,
        keypoint_names=moments.keypoint_names,
        skeleton=labels.skeleton,
        num_frames=len(moments),
        image_size=sizes[len(sizes) // 2],
        num_sessions=len(sessions),
        num_calibrated=num_calibrated,
        with_boxes=_has_crops(moments),
        with_videos=videos > 0,
    )
    project = read_project(load_config(folder / "config.yaml"))
    return ImportedProject(
        num_frames=len(moments),
        num_labels=int((moments.visibility > 0).sum()),
        num_from_video=sum(isinstance(image, VideoFrame) for image in images.values()),
        sessions=sessions,
        num_calibrated=num_calibrated,
        warnings=project.warnings,
    )


def write_view_labels(folder: Path, moments: AlignedFrames, view: int, *, with_visibility: bool) -> None:
    """Write `CollectedData_<view>.csv` with every digit; a view without an image of a moment has an empty row.

    Args:
        folder: of the project.
        moments: the labels.
        view: number of the view.
        with_visibility: whether to write a column `visible`.
    """
    name = moments.view_names[view]
    rows = [
        "" if images[view] is None else image_name(session, name, number)
        for (session, number), images in zip(moments.frames, moments.images, strict=True)
    ]
    write_labels(
        folder / f"CollectedData_{name}.csv",
        rows,
        moments.keypoint_names,
        moments.points[:, view],
        moments.visibility[:, view] if with_visibility else None,
        scorer=SCORER,
    )


def _write_images(images: Mapping[Path, ImageSource], progress: Callable[[int, int], object]) -> None:
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress(done, len(images))

    write_images(images, advance)


def _has_crops(moments: AlignedFrames) -> bool:
    return any(crop is not None for row in moments.crops for crop in row)


def _write_boxes(path: Path, folder: Path, moments: AlignedFrames, view: int) -> None:
    """Write the boxes of one view; an image that is the whole frame has a box of its own size."""
    names, boxes = [], []
    for (session, number), images, crops in zip(moments.frames, moments.images, moments.crops, strict=True):
        if images[view] is not None:
            name = image_name(session, moments.view_names[view], number)
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
