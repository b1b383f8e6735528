"""The pictures of a session that were asked for: all views in one video with a still, each view in its own video."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.progress import Progress

from mvgeom.box_files import read_video_boxes
from mvtrain.prediction.crops import read_crops
from mvtrain.prediction.drawing import Style
from mvtrain.prediction.outputs import labeled_path, overlay_path, still_path, table_path, track_path
from mvtrain.prediction.overlay import Layout, alone, draw_overlay, tiled
from mvtrain.prediction.records import unfinished_folder
from mvtrain.prediction.session import Job
from mvtrain.prediction.video import Video, open_video
from mvtrain.training.interruption import Interruption, RunInterruptedError


def draw_pictures(job: Job, view_names: Sequence[str], progress: Progress, interruption: Interruption) -> list[Path]:
    """Make the pictures that a job asks for and that are not there yet, from its tables.

    Args:
        job: a session that has been predicted.
        view_names: V names.
        progress: where to show how far it is.
        interruption: looked at after every frame.

    Returns:
        The pictures made.

    Raises:
        ValueError: a video cannot be written.
        RunInterruptedError: a signal came; an unfinished picture is made anew by the next call.
    """
    overlay = overlay_path(job.session, job.out_dir)
    wants_overlay = job.overlay is not None and not overlay.is_file()
    unlabeled = [
        view
        for view, video in enumerate(job.session.videos)
        if job.labeled is not None and not labeled_path(video, job.out_dir).is_file()
    ]
    if not wants_overlay and not unlabeled:
        return []
    made = []
    videos = [open_video(path) for path in job.session.videos]
    crops = read_crops(videos, job.boxes) if job.reference is None else _tracks(job)
    with unfinished_folder(job.out_dir, job.session.name) as folder:
        for view in unlabeled:
            assert job.labeled is not None
            path = labeled_path(videos[view].path, job.out_dir)
            report = _reporter(f"{path.name}", videos, progress, interruption)
            _draw(job, videos, crops, [view], folder / path.name, job.labeled, alone(videos[view]), None, report)
            made.append(_publish(folder, path))
        if wants_overlay:
            assert job.overlay is not None
            still = still_path(job.session, job.out_dir)
            report = _reporter(f"{overlay.name}", videos, progress, interruption)
            layout, views = tiled(videos, view_names), range(len(videos))
            _draw(job, videos, crops, views, folder / overlay.name, job.overlay, layout, folder / still.name, report)
            made += [_publish(folder, still), _publish(folder, overlay)]
    return made


def _tracks(job: Job) -> tuple[np.ndarray, ...]:
    """(T, 4) the boxes in which the subject was followed, per view."""
    return tuple(read_video_boxes(track_path(video, job.out_dir)) for video in job.session.videos)


def _draw(
    job: Job,
    videos: Sequence[Video],
    crops: Sequence[np.ndarray],
    views: Sequence[int],
    out: Path,
    style: Style,
    layout: Layout,
    still: Path | None,
    on_frame: Callable[[int], None],
) -> None:
    draw_overlay(
        [videos[view] for view in views],
        [table_path(videos[view].path, job.out_dir) for view in views],
        [crops[view] for view in views],
        out,
        style=style,
        layout=layout,
        still=still,
        on_frame=on_frame,
    )


def _reporter(
    name: str, videos: Sequence[Video], progress: Progress, interruption: Interruption
) -> Callable[[int], None]:
    task = progress.add_task(name, total=max(video.num_frames for video in videos))

    def report(number: int) -> None:
        progress.update(task, completed=number)
        if interruption.signal_number:
            raise RunInterruptedError(f"{name}: stopped after {number} frames", interruption.signal_number)

    return report


def _publish(folder: Path, path: Path) -> Path:
    os.replace(folder / path.name, path)  # noqa: PTH105
    return path
