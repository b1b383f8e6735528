"""Writer of a project folder from aligned labels; it is written completely or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mvgeom import CameraGroup
from mvgeom.files import file_name
from mvtrain.config import load_config
from mvtrain.config.recommended import write_project_config
from mvtrain.exchange.alignment import AlignedFrames
from mvtrain.exchange.foreign_labels import ForeignLabels, ImageSource, Place, VideoFrame
from mvtrain.exchange.media import check_one_place, write_calibrations, write_images
from mvtrain.exchange.stored_pixels import drop_whole_images, has_crops, write_boxes_of_videos, write_image_boxes
from mvtrain.project.images import image_size
from mvtrain.project.label_tables import image_name, write_labels
from mvtrain.project.project import read_project
from mvtrain.runtime.folders import new_folder

SCORER = "imported"


@dataclass(frozen=True, kw_only=True)
class ImportedProject:
    """Numbers about a written project.

    Attributes:
        num_frames: Number of rows of the label tables.
        num_labels: Number of labeled keypoints over all views.
        num_from_video: Number of images from videos.
        sessions: Names of the sessions.
        num_calibrated: Number of sessions with a calibration.
        warnings: Warnings from reading the project again.
    """

    num_frames: int
    num_labels: int
    num_from_video: int
    sessions: tuple[str, ...]
    num_calibrated: int
    warnings: tuple[str, ...]


def write_project(
    out: Path,
    aligned: AlignedFrames,
    labels: ForeignLabels,
    calibrations: Mapping[str | None, Path | CameraGroup],
    *,
    copy_videos: bool = False,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> ImportedProject:
    """Write a project folder under a temporary name, read it back, and rename it.

    Args:
        out: Folder to write; must not exist.
        aligned: Labels by frame and view.
        labels: Labels as read, with the videos and the skeleton of the foreign project.
        calibrations: Calibration files or cameras by session.
        copy_videos: Copy the videos, too, as `videos/<session>_<view>`.
        progress: Function of the number of written images and the total.

    Raises:
        InputError: `out` exists (`occupied-folder`) or cannot be written (`unwritable-file`), an image cannot be read,
            a calibration lacks a view (`missing-view`), or the written project is not valid.
    """
    with new_folder(out) as folder:
        return _fill(folder, aligned, labels, calibrations, copy_videos, progress)


def _fill(
    folder: Path,
    aligned: AlignedFrames,
    labels: ForeignLabels,
    calibrations: Mapping[str | None, Path | CameraGroup],
    copy_videos: bool,
    progress: Callable[[int, int], object],
) -> ImportedProject:
    """Write the files of a project into an empty folder, and read them back."""
    sessions = tuple(dict.fromkeys(session for session, _ in aligned.frames))
    # First, because it is fast and can fail.
    cameras = write_calibrations(folder / "calibrations", calibrations, sessions, aligned.view_names)
    images = {
        folder / image_name(session, view, number): image
        for (session, number), row in zip(aligned.frames, aligned.images, strict=True)
        for view, image in zip(aligned.view_names, row, strict=True)
        if image is not None
    }
    _write_images(images, progress)
    aligned = drop_whole_images(aligned, folder, cameras, labels.videos)
    with_boxes = has_crops(aligned)
    for number, view in enumerate(aligned.view_names):
        write_view_labels(folder, aligned, number, with_visibility=labels.has_visibility)
        if with_boxes:
            write_image_boxes(folder / file_name(f"bboxes_{view}.csv"), folder, aligned, number)
    videos = _copy_videos(folder / "videos", labels, sessions, aligned.view_names) if copy_videos else 0
    sizes = sorted((image_size(path) for path in images), key=lambda size: size[0] / size[1])
    write_project_config(
        folder / "config.yaml",
        comment=f"Imported by mvtrain import from {labels.origin}",
        view_names=aligned.view_names,
        keypoint_names=aligned.keypoint_names,
        skeleton=labels.skeleton,
        num_frames=len(aligned),
        image_size=sizes[len(sizes) // 2],
        num_sessions=len(sessions),
        num_calibrated=len(cameras),
        with_boxes=with_boxes,
        with_videos=videos > 0,
    )
    project = read_project(load_config(folder / "config.yaml"))
    return ImportedProject(
        num_frames=len(aligned),
        num_labels=int((aligned.visibility > 0).sum()),
        num_from_video=sum(isinstance(image, VideoFrame) for image in images.values()),
        sessions=sessions,
        num_calibrated=len(cameras),
        warnings=project.warnings,
    )


def write_view_labels(folder: Path, aligned: AlignedFrames, view: int, *, with_visibility: bool) -> None:
    """Write `CollectedData_<view>.csv` with all digits; a frame without an image of the view has an empty row.

    Args:
        folder: Folder of the project.
        aligned: Labels by frame and view.
        view: Number of the view.
        with_visibility: Write a column `visible`.
    """
    name = aligned.view_names[view]
    rows = [
        "" if images[view] is None else image_name(session, name, number)
        for (session, number), images in zip(aligned.frames, aligned.images, strict=True)
    ]
    write_labels(
        folder / file_name(f"CollectedData_{name}.csv"),
        rows,
        aligned.keypoint_names,
        aligned.points[:, view],
        aligned.visibility[:, view] if with_visibility else None,
        scorer=SCORER,
    )


def _write_images(images: Mapping[Path, ImageSource], progress: Callable[[int, int], object]) -> None:
    """Write all images and report the progress."""
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress(done, len(images))

    write_images(images, advance)


def _copy_videos(folder: Path, labels: ForeignLabels, sessions: Sequence[str], views: Sequence[str]) -> int:
    """Copy the videos of the sessions, and return their number."""
    chosen = {
        (session, view): labels.videos[session, view]
        for session in sessions
        for view in views
        if (session, view) in labels.videos
    }
    check_one_place(
        (Place(session, view, 0), VideoFrame(path=path, number=0)) for (session, view), path in chosen.items()
    )
    if chosen:
        folder.mkdir()
    for (session, view), path in chosen.items():
        shutil.copyfile(path, folder / file_name(f"{session}_{view}{path.suffix.lower()}"))
    if any(labels.offsets.get(view, (0, 0)) != (0, 0) for view in views):
        copied = [
            (view, folder / file_name(f"{session}_{view}{path.suffix.lower()}"))
            for (session, view), path in chosen.items()
        ]
        write_boxes_of_videos(copied, labels.offsets)
    return len(chosen)
