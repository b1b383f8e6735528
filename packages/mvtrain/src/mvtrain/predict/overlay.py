"""Videos with the predictions drawn in, all views beside each other, and a still image."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import zip_longest
from math import ceil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from rich.progress import Progress

from mvaug import warp_image
from mvgeom import affine, boxes
from mvgeom.tables import read_video_boxes
from mvtrain.drawing.keypoints import Style, draw_keypoints
from mvtrain.drawing.sheets import save_png, write
from mvtrain.predict.recordings import OutputPaths
from mvtrain.predict.records import unfinished_folder
from mvtrain.predict.session import Job
from mvtrain.predict.video import Video, crop_at, open_video, read_crops, read_frames
from mvtrain.runtime.prefetch import prefetch
from mvtrain.runtime.process import Interruption, RunInterruptedError

_CANVAS = (1920, 1080)
_LARGEST_ENLARGEMENT = 5.0
_RADIUS = 1 / 110
"""Of the shorter side of a cell."""
_AHEAD = 8
_WHITE = (230, 230, 230)
_BOX_COLOR = (200, 200, 200)
_DEFAULT_FPS = 30.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedView:
    """A video with what was predicted for it.

    Attributes:
        video: the frames.
        table: its keypoints, see `write_predictions`.
        crops: (T, 4) boxes that were looked at, which are outlined; (1, 4) where it was the whole frame.
    """

    video: Video
    table: Path
    crops: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Cells side by side.

    Attributes:
        num_columns: cells in a row.
        cell: width and height of a cell in px.
        titles: what stands in the cells, one per view; empty for nothing.
    """

    num_columns: int
    cell: tuple[int, int]
    titles: tuple[str, ...]


def tiled(videos: Sequence[Video], view_names: Sequence[str]) -> Layout:
    """All views as large as they can be on a screen."""
    aspect = float(np.median([video.size[0] / video.size[1] for video in videos]))
    largest = max(video.size[0] for video in videos) * _LARGEST_ENLARGEMENT
    widths = {
        columns: min(_CANVAS[0] / columns, _CANVAS[1] / ceil(len(videos) / columns) * aspect, largest)
        for columns in range(1, len(videos) + 1)
    }
    num_columns = max(widths, key=lambda columns: widths[columns])
    width = widths[num_columns]
    return Layout(num_columns=num_columns, cell=_even(width, width / aspect), titles=tuple(view_names))


def alone(video: Video) -> Layout:
    """One view in its own size."""
    return Layout(num_columns=1, cell=_even(*video.size), titles=("",))


def draw_overlay(
    views: Sequence[PredictedView],
    out: Path,
    style: Style,
    layout: Layout,
    *,
    still: Path | None,
    on_frame: Callable[[int], None],
) -> None:
    """Write an MP4 video of all views with their predictions; memory does not depend on its length.

    Args:
        views: to be drawn.
        out: the video.
        style: of the keypoints.
        layout: of the views.
        still: PNG of the middle frame; None for none.
        on_frame: called with the number of frames written.

    Raises:
        ValueError: OpenCV cannot write such a video.
    """
    num_rows = ceil(len(views) / layout.num_columns)
    size = (layout.cell[0] * layout.num_columns, layout.cell[1] * num_rows)
    fps = next((view.video.fps for view in views if view.video.fps > 0), _DEFAULT_FPS)
    middle = max(view.video.num_frames for view in views) // 2
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    if not writer.isOpened():
        raise ValueError(f"OpenCV cannot write MP4 video of {size[0]}x{size[1]} px to {out}")
    try:
        with ExitStack() as stack:
            streams = [
                stack.enter_context(closing(prefetch(_cells(view, title, style, layout.cell), _AHEAD)))
                for view, title in zip(views, layout.titles, strict=True)
            ]
            for number, cells in enumerate(zip_longest(*streams)):
                picture = np.zeros((size[1], size[0], 3), dtype=np.uint8)
                for place, cell in enumerate(cells):
                    if cell is not None:
                        row, column = divmod(place, layout.num_columns)
                        top, left = row * layout.cell[1], column * layout.cell[0]
                        picture[top : top + layout.cell[1], left : left + layout.cell[0]] = cell
                if any(layout.titles):
                    write(picture, str(number), (8, size[1] - 10), _WHITE, scale=0.6)
                writer.write(picture)
                if number == middle and still is not None:
                    save_png(still, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
                on_frame(number + 1)
    finally:
        writer.release()


def _cells(view: PredictedView, title: str, style: Style, cell: tuple[int, int]) -> Generator[np.ndarray]:
    """The frames of a view with its predictions, in the size of a cell."""
    whole = boxes.with_aspect(np.array([0.0, 0.0, *view.video.size]), cell[0] / cell[1])
    to_cell = affine.from_box(whole, np.array(cell, dtype=np.float64))
    radius = max(2.0, _RADIUS * min(cell))
    with closing(read_frames(view.video)) as frames, closing(_read_rows(view.table)) as rows:
        # A view that ends before the others has fewer frames than rows.
        for position, (frame, keypoints) in enumerate(zip(frames, rows, strict=False)):
            picture = np.zeros((cell[1], cell[0], 3), np.uint8) if frame is None else warp_image(frame, to_cell, cell)
            box = crop_at(view.crops, position)
            if len(view.crops) > 1 and np.isfinite(box).all():
                corners = affine.apply(to_cell, np.stack([box[:2], box[:2] + box[2:] - 1]))
                (left, top), (right, bottom) = np.round(corners).astype(int).tolist()
                cv2.rectangle(picture, (left, top), (right, bottom), _BOX_COLOR, 1, cv2.LINE_AA)
            points = affine.apply(to_cell, keypoints[:, :2])
            picture = draw_keypoints(picture, points, np.nan_to_num(keypoints[:, 2]), style, radius=radius)
            if title:
                write(picture, title, (8, 22), _WHITE, scale=0.6)
            yield picture


def _read_rows(table: Path) -> Generator[np.ndarray]:
    """(K, 3) x, y and likelihood of one row after the other; a block of rows is in memory at a time."""
    with pd.read_csv(table, header=None, skiprows=3, index_col=0, chunksize=1024) as blocks:
        for block in blocks:
            yield from block.to_numpy(dtype=np.float64).reshape(len(block), -1, 3)


def _even(width: float, height: float) -> tuple[int, int]:
    """A size that encoders take."""
    return max(2, round(width / 2) * 2), max(2, round(height / 2) * 2)


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
    paths = OutputPaths.from_session(job.session, job.out_dir)
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
