"""Images and tables of frames with pseudo-labels, cropped as the project's own frames are."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from mvgeom import CameraGroup
from mvgeom.files import inside, read_text, write_text
from mvgeom.tables import find_delimiter, write_labeled_boxes
from mvgeom.temporary import publish, temporary_folder
from mvgeom.videos import Video
from mvtrain.config import Config
from mvtrain.predict.search import Framing
from mvtrain.project.beside_tables import path_beside
from mvtrain.project.calibrations import calibration_rows
from mvtrain.project.frame_rows import FrameRows
from mvtrain.project.label_tables import image_name, write_labels
from mvtrain.project.project import read_project
from mvtrain.project.view_tables import PSEUDO_ENDING, frame_of_row
from mvtrain.start.add_frames import extract_frames
from mvtrain.start.crop_project import boxes_in_images


@dataclass(frozen=True, kw_only=True, eq=False)
class ProjectedSession:
    """Predictions of T frames in 3D as labels of the views.

    Attributes:
        name: Name of the session.
        videos: V videos.
        points: (T, V, K, 2) projections in px of the images; NaN where the keypoint is not known well enough, or
            outside of the image.
        visibility: (T, V, K) `VISIBLE` where the view shows the keypoint, `OCCLUDED` where only others do, else 0.
        poses: (T, K, 3) points in 3D, NaN where missing.
        cameras: V cameras.
        num_known: Number of frames in which enough keypoints are known, those that are not to be taken included.
        worth: (T,) number of labels that the views do not show by themselves, each from 0, shown there, to 1; NaN for
            frames that are not to be taken.
    """

    name: str
    videos: tuple[Video, ...]
    points: np.ndarray
    visibility: np.ndarray
    poses: np.ndarray
    cameras: CameraGroup
    num_known: int
    worth: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Crops:
    """Crops of a project, by which new frames are cropped.

    Attributes:
        framing: Framing of the project's own crops.
        sizes: (V, 2) median width and height of the project's own boxes in full-image px.
    """

    framing: Framing
    sizes: np.ndarray

    @classmethod
    def from_config(cls, config: Config) -> Crops | None:
        """Measure the crops of a project; None for one with whole images.

        Raises:
            InputError: As for `read_project`; `no-labels` if no labeled frame has boxes and a calibration.
        """
        if config.data.bbox_file is None:
            return None
        own = read_project(config)
        assert own.boxes is not None
        return cls(framing=Framing.from_project(own), sizes=np.nanmedian(own.boxes[..., 2:], axis=0))


def write_pseudo_labels(
    config: Config,
    crops: Crops | None,
    rows: FrameRows,
    sessions: Sequence[ProjectedSession],
    taken: Sequence[np.ndarray],
    console: Console,
) -> None:
    """Write the images and then the tables of frames with pseudo-labels, once all images are complete.

    Args:
        config: Config of the project.
        crops: Crops of the project; None where it has whole images.
        rows: Rows of the project's own tables.
        sessions: Predicted sessions.
        taken: Numbers of the frames of each session.
        console: Console for progress.

    Raises:
        InputError: A table of the project is outside of its folder (`bad-name`), a session has no calibration in the
            table of calibrations (`missing-row`), a frame cannot be decoded, or a file not be written.
    """
    cut = [_cut(session, frames, crops) for session, frames in zip(sessions, taken, strict=True)]
    points, visibility, boxes = (np.concatenate(parts) for parts in zip(*cut, strict=True))
    present = np.isfinite(boxes).all(-1)
    frames = [(session, int(frame)) for session, frames in zip(sessions, taken, strict=True) for frame in frames]
    names = [
        [image_name(session.name, view, frame) if seen[number] else "" for number, view in enumerate(rows.view_names)]
        for (session, frame), seen in zip(frames, present, strict=True)
    ]
    new = [frame_of_row([name or None for name in by_view], rows.view_names) for by_view in names]
    of_calibrations = calibration_rows(rows.root, rows.names(), new, config.data.camera_params_file)
    label_tables = [_target(rows, table.path) for table in rows.tables]
    box_tables = [_target(rows, rows.root / name) for name in config.data.bbox_file or ()]
    with temporary_folder(rows.root / "frames") as unfinished:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("images", total=int(present.sum()))
            for session in sessions:
                mine = [number for number, (each, _) in enumerate(frames) if each is session]
                for view, video in enumerate(session.videos):
                    numbers = {frames[number][1]: number for number in mine if present[number, view]}
                    view_name = rows.view_names[view]
                    targets = {frame: unfinished / image_name(session.name, view_name, frame) for frame in numbers}
                    parts = None if crops is None else {frame: boxes[n, view] for frame, n in numbers.items()}
                    extract_frames(video, targets, lambda: progress.advance(task), parts)
        for name in (name for by_view in names for name in by_view if name):
            target = rows.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            publish(unfinished / name, target)
    for path, cells in of_calibrations.items():
        _write_calibrations(path, _target(rows, path), cells)
    for view, table in enumerate(box_tables):
        there = np.flatnonzero(present[:, view])
        write_labeled_boxes(table, [names[number][view] for number in there], boxes[there, view])
    for view, table in enumerate(label_tables):
        write_labels(
            table,
            [by_view[view] for by_view in names],
            rows.keypoint_names,
            points[:, view],
            visibility[:, view],
            scorer="pseudolabel",
            float_format="%.4f",
        )


def _target(rows: FrameRows, table: Path) -> Path:
    """Return the table of pseudo-labels beside a table of the project.

    Raises:
        InputError: `bad-name` if the config names a table outside of the project's folder.
    """
    return inside(rows.root, Path(os.path.relpath(path_beside(table, PSEUDO_ENDING), rows.root)).as_posix())


def _cut(session: ProjectedSession, frames: np.ndarray, crops: Crops | None) -> tuple[np.ndarray, ...]:
    """Return points and visibility of frames in px of the stored images, and the boxes (n, V, 4) of these.

    Boxes have whole px and lie in the image; NaN where a view is left out. Of whole images they are the image.
    """
    # Videos may be a few px smaller than their calibration says.
    smaller = np.minimum(session.cameras.sizes, [video.size for video in session.videos])
    sizes = np.broadcast_to(smaller, (len(frames), *smaller.shape))
    if crops is None:
        boxes = np.concatenate([np.zeros_like(sizes), sizes], axis=-1)
        return session.points[frames], session.visibility[frames], boxes
    around = [crops.framing.boxes_around_pose(session.poses[frame], session.cameras) for frame in frames]
    boxes = boxes_in_images(np.reshape(around, (*sizes.shape[:2], 4)), sizes)
    points = session.points[frames] - boxes[:, :, None, :2]
    within = ((points >= -0.5) & (points <= boxes[:, :, None, 2:] - 0.5)).all(-1)
    return np.where(within[..., None], points, np.nan), np.where(within, session.visibility[frames], 0), boxes


def _write_calibrations(table: Path, target: Path, cells: Sequence[Sequence[str]]) -> None:
    """Write the table of calibrations of the frames, with the header of the project's own table."""
    header = read_text(table).splitlines()[0]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=find_delimiter(header), lineterminator="\n").writerows(cells)
    write_text(target, f"{header}\n{text.getvalue()}")
