"""Videos with the predicted keypoints drawn in: all views in one video, or each view in its own, and a still image."""

from __future__ import annotations

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
from mvgeom.errors import InputError
from mvgeom.tables import read_video_boxes
from mvgeom.temporary import publish
from mvgeom.videos import Video, frame_rate, read_frames
from mvgeom.wording import counted
from mvtrain.drawing.keypoints import Style, draw_keypoints
from mvtrain.drawing.sheets import draw_text, save_png
from mvtrain.drawing.video_files import written_video
from mvtrain.predict.recordings import OutputPaths
from mvtrain.predict.records import unfinished_folder
from mvtrain.predict.session import Job, open_videos
from mvtrain.predict.video_batches import crop_at, read_crops
from mvtrain.runtime.interruption import Interruption, RunInterruptedError
from mvtrain.runtime.prefetch import prefetch

_CANVAS = (1920, 1080)
"""Width and height in px that all views together fill."""

_MAX_ENLARGEMENT = 5.0
_RADIUS = 1 / 110
"""Radius of a dot, as a fraction of the shorter side of a cell."""

_CELLS_AHEAD = 8
"""Cells of each view that are drawn ahead."""

_WHITE = (230, 230, 230)
_BOX_COLOR = (200, 200, 200)
_DEFAULT_FPS = 30.0
"""Frames per second where no video states them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedView:
    """A video with its predictions.

    Attributes:
        video: Video of the view.
        table: Path of its table of keypoints, see `write_predictions`.
        crops: (T, 4) boxes that were predicted, which are outlined; (1, 4) where they were whole images.
    """

    video: Video
    table: Path
    crops: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Arrangement of the views in cells.

    Attributes:
        num_columns: Number of cells in a row.
        cell: Width and height of a cell in px.
        titles: Titles of the cells, one per view; an empty one is not drawn.
    """

    num_columns: int
    cell: tuple[int, int]
    titles: tuple[str, ...]


def tiled_layout(videos: Sequence[Video], view_names: Sequence[str]) -> Layout:
    """Arrange all views as large as a screen allows."""
    aspect = float(np.median([video.size[0] / video.size[1] for video in videos]))
    largest = max(video.size[0] for video in videos) * _MAX_ENLARGEMENT
    widths = {
        columns: min(_CANVAS[0] / columns, _CANVAS[1] / ceil(len(videos) / columns) * aspect, largest)
        for columns in range(1, len(videos) + 1)
    }
    num_columns = max(widths, key=lambda columns: widths[columns])
    width = widths[num_columns]
    return Layout(num_columns=num_columns, cell=_even_size(width, width / aspect), titles=tuple(view_names))


def single_layout(video: Video) -> Layout:
    """Arrange one view in its own size."""
    return Layout(num_columns=1, cell=_even_size(*video.size), titles=("",))


def draw_overlay(
    views: Sequence[PredictedView],
    out: Path,
    style: Style,
    layout: Layout,
    *,
    still: Path | None,
    on_frame: Callable[[int], None],
) -> None:
    """Write an MP4 video of views with their predictions; memory does not depend on its length.

    Args:
        views: Views to draw.
        out: Path of the video.
        style: Style of the keypoints.
        layout: Layout of the views.
        still: Path for a PNG of the middle frame; None writes none.
        on_frame: Function that is called with the number of frames written.

    Raises:
        InputError: The video cannot be written or is not complete, or a table of keypoints is damaged.
    """
    num_rows = ceil(len(views) / layout.num_columns)
    size = (layout.cell[0] * layout.num_columns, layout.cell[1] * num_rows)
    fps = next((rate for view in views if (rate := frame_rate(view.video)) > 0), _DEFAULT_FPS)
    middle = max(view.video.end for view in views) // 2
    with written_video(out, fps, size) as write, ExitStack() as stack:
        streams = [
            stack.enter_context(closing(prefetch(_draw_cells(view, title, style, layout.cell), _CELLS_AHEAD)))
            for view, title in zip(views, layout.titles, strict=True)
        ]
        for number, cells in enumerate(zip_longest(*streams)):
            canvas = np.zeros((size[1], size[0], 3), dtype=np.uint8)
            for place, cell in enumerate(cells):
                if cell is not None:
                    row, column = divmod(place, layout.num_columns)
                    top, left = row * layout.cell[1], column * layout.cell[0]
                    canvas[top : top + layout.cell[1], left : left + layout.cell[0]] = cell
            if any(layout.titles):
                draw_text(canvas, str(number), (8, size[1] - 10), _WHITE, scale=0.6)
            write(canvas)
            if number == middle and still is not None:
                save_png(still, cv2.cvtColor(canvas, cv2.COLOR_BGR2RGB))
            on_frame(number + 1)


def draw_videos(job: Job, view_names: Sequence[str], progress: Progress, interruption: Interruption) -> list[Path]:
    """Draw the videos and the still image that a job asks for and that do not exist yet, from its tables.

    Args:
        job: Session that has been predicted.
        view_names: V names of the views.
        progress: Progress bars; one is added per video.
        interruption: Interruption that is checked after every frame.

    Returns:
        The paths of the files drawn.

    Raises:
        InputError: A video cannot be written, or a table of keypoints is damaged.
        RunInterruptedError: A signal asked to stop; the next call draws an unfinished video again.
    """
    paths = OutputPaths.from_session(job.session, job.out_dir)
    wants_overlay = job.overlay is not None and not paths.overlay.is_file()
    unlabeled = [] if job.labeled is None else [view for view, path in enumerate(paths.labeled) if not path.is_file()]
    if not wants_overlay and not unlabeled:
        return []
    videos, _ = open_videos(job)
    crops = (
        read_crops(videos, job.boxes) if job.reference is None else [read_video_boxes(path) for path in paths.tracks]
    )
    views = [
        PredictedView(video=video, table=table, crops=crop)
        for video, table, crop in zip(videos, paths.tables, crops, strict=True)
    ]
    drawn = []
    with unfinished_folder(job.out_dir, job.session.name) as folder:
        for view in unlabeled:
            assert job.labeled is not None
            path = paths.labeled[view]
            on_frame = _progress_callback(path.name, videos, progress, interruption)
            layout = single_layout(videos[view])
            draw_overlay([views[view]], folder / path.name, job.labeled, layout, still=None, on_frame=on_frame)
            path.parent.mkdir(exist_ok=True)
            drawn.append(_publish(folder, path))
        if wants_overlay:
            assert job.overlay is not None
            on_frame = _progress_callback(paths.overlay.name, videos, progress, interruption)
            layout, still = tiled_layout(videos, view_names), folder / paths.still.name
            draw_overlay(views, folder / paths.overlay.name, job.overlay, layout, still=still, on_frame=on_frame)
            drawn += [_publish(folder, paths.still), _publish(folder, paths.overlay)]
    return drawn


def _draw_cells(view: PredictedView, title: str, style: Style, cell: tuple[int, int]) -> Generator[np.ndarray]:
    """Yield the images of a view with its predictions, in the size of a cell."""
    whole = boxes.with_aspect(np.array([0.0, 0.0, *view.video.size]), cell[0] / cell[1])
    to_cell = affine.from_box(whole, np.array(cell, dtype=np.float64))
    radius = max(2.0, _RADIUS * min(cell))
    with closing(read_frames(view.video)) as images, closing(_read_rows(view.table, len(style.colors))) as rows:
        # A view that ends before the others has fewer images than rows.
        for position, (image, keypoints) in enumerate(zip(images, rows, strict=False)):
            drawn = np.zeros((cell[1], cell[0], 3), np.uint8) if image is None else warp_image(image, to_cell, cell)
            box = crop_at(view.crops, position)
            if len(view.crops) > 1 and np.isfinite(box).all():
                corners = affine.apply(to_cell, np.stack([box[:2], box[:2] + box[2:] - 1]))
                (left, top), (right, bottom) = np.round(corners).astype(int).tolist()
                cv2.rectangle(drawn, (left, top), (right, bottom), _BOX_COLOR, 1, cv2.LINE_AA)
            points = affine.apply(to_cell, keypoints[:, :2])
            drawn = draw_keypoints(drawn, points, np.nan_to_num(keypoints[:, 2]), style, radius=radius)
            if title:
                draw_text(drawn, title, (8, 22), _WHITE, scale=0.6)
            yield drawn


def _read_rows(table: Path, num_keypoints: int) -> Generator[np.ndarray]:
    """Yield x, y and likelihood (K, 3) of one row after the other; a block of rows is in memory at a time."""
    try:
        with pd.read_csv(table, header=None, skiprows=3, index_col=0, chunksize=1024) as blocks:
            for block in blocks:
                yield from block.to_numpy(dtype=np.float64).reshape(len(block), num_keypoints, 3)
    except ValueError as error:  # pandas and NumPy raise it, or a kind of it, for a table that was changed
        raise InputError(
            f"{table}: not a table of predictions of {counted(num_keypoints, 'keypoint')}: {error}",
            code="damaged-file",
            path=table,
        ) from error


def _even_size(width: float, height: float) -> tuple[int, int]:
    """Round a size to even numbers, which encoders need."""
    return max(2, round(width / 2) * 2), max(2, round(height / 2) * 2)


def _progress_callback(
    name: str, videos: Sequence[Video], progress: Progress, interruption: Interruption
) -> Callable[[int], None]:
    task = progress.add_task(name, total=max(video.end for video in videos))

    def on_frame(number: int) -> None:
        progress.update(task, completed=number)
        if interruption.signal_number:
            raise RunInterruptedError(
                f"{name}: stopped after drawing {counted(number, 'frame')}",
                interruption.signal_number,
                "draws this video again, from the tables that are complete",
            )

    return on_frame


def _publish(folder: Path, path: Path) -> Path:
    publish(folder / path.name, path)
    return path
