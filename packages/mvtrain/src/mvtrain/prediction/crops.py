"""Which part of every frame the network looks at: the whole of it, or a bounding box per frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mvgeom.tables import read_video_boxes
from mvtrain.prediction.video import Video, count_frames


def find_boxes(videos: Sequence[Path], folder: Path | None) -> tuple[Path | None, ...]:
    """The files `<video>_bbox.csv` of a session's videos, None for all where there are none.

    Args:
        videos: of one session.
        folder: where the files are; None: beside the videos, if there.

    Raises:
        ValueError: only some views have boxes, or none in a folder that was named.
    """
    paths = [(folder or video.parent) / f"{video.stem}_bbox.csv" for video in videos]
    missing = [path.name for path in paths if not path.is_file()]
    if len(missing) == len(paths) and folder is None:
        return (None,) * len(paths)
    if missing:
        where = folder or videos[0].parent
        raise ValueError(f"bounding boxes are missing in {where}: {', '.join(missing)}; all views need them, or none")
    return tuple(paths)


def read_crops(videos: Sequence[Video], boxes: Sequence[Path | None]) -> tuple[np.ndarray, ...]:
    """(T, 4) x, y, width, height in frame px per view: of every frame, NaN where it has no box; or (1, 4) for all.

    Raises:
        ValueError: a file has another number of rows than its video has frames, or is not as it should be.
    """
    return tuple(_read(video, path) for video, path in zip(videos, boxes, strict=True))


def _read(video: Video, path: Path | None) -> np.ndarray:
    if path is None:
        return np.array([[0.0, 0.0, *video.size]])
    boxes = read_video_boxes(path)
    if len(boxes) == video.num_frames:
        return boxes
    # A damaged end, or a cut without re-encoding: the video is shorter than it says, and the boxes may know it.
    return read_video_boxes(path, count_frames(video))


def crop_at(crops: np.ndarray, position: int) -> np.ndarray:
    """(4,) the crop of one frame."""
    return np.asarray(crops[min(position, len(crops) - 1)])
