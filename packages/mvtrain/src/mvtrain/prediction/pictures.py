"""The pictures of a session that were asked for: all views in one video with a still, each view in its own video."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.progress import Progress

from mvgeom.tables import read_video_boxes
from mvtrain.prediction.crops import read_crops
from mvtrain.prediction.overlay import PredictedView, alone, draw_overlay, tiled
from mvtrain.prediction.paths import OutputPaths
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
    paths = OutputPaths.of(job.session, job.out_dir)
    wants_overlay = job.overlay is not None and not paths.overlay.is_file()
    unlabeled = [] if job.labeled is None else [view for view, path in enumerate(paths.labeled) if not path.is_file()]
    if not wants_overlay and not unlabeled:
        return []
    videos = [open_video(path) for path in job.session.videos]
    crops = (
        read_crops(videos, job.boxes) if job.reference is None else [read_video_boxes(path) for path in paths.tracks]
    )
    views = [
        PredictedView(video=video, table=table, crops=crop)
        for video, table, crop in zip(videos, paths.tables, crops, strict=True)
    ]
    made = []
    with unfinished_folder(job.out_dir, job.session.name) as folder:
        for view in unlabeled:
            assert job.labeled is not None
            path = paths.labeled[view]
            report = _reporter(path.name, videos, progress, interruption)
            layout = alone(videos[view])
            draw_overlay([views[view]], folder / path.name, job.labeled, layout, still=None, on_frame=report)
            made.append(_publish(folder, path))
        if wants_overlay:
            assert job.overlay is not None
            report = _reporter(paths.overlay.name, videos, progress, interruption)
            layout, still = tiled(videos, view_names), folder / paths.still.name
            draw_overlay(views, folder / paths.overlay.name, job.overlay, layout, still=still, on_frame=report)
            made += [_publish(folder, paths.still), _publish(folder, paths.overlay)]
    return made


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
