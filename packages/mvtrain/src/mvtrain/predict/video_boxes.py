"""Boxes that crop the images of videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvgeom.tables import read_video_boxes
from mvgeom.videos import Video, count_frames


def find_boxes(videos: Sequence[Path], folder: Path | None) -> tuple[Path | None, ...]:
    """Find the files `<video>_bbox.csv` of a session's videos.

    Args:
        videos: Paths of one session's videos.
        folder: Folder of the box files, which must then have all of them; None looks for them beside the videos.

    Returns:
        One path per video; None for all videos where there are no boxes.

    Raises:
        InputError: Only some views have boxes, or the named folder lacks some.
    """
    paths = [(folder or video.parent) / file_name(f"{video.stem}_bbox.csv") for video in videos]
    missing = [path for path in paths if not path.is_file()]
    if len(missing) == len(paths) and folder is None:
        return (None,) * len(paths)
    if missing:
        names = ", ".join(path.name for path in missing)
        raise InputError(
            f"{folder or videos[0].parent}: bounding boxes are missing: {names}. Give boxes for all views, or for none",
            code="missing-file",
            path=missing[0],
            paths=tuple(missing),
        )
    return tuple(paths)


def read_crops(videos: Sequence[Video], boxes: Sequence[Path | None]) -> tuple[np.ndarray, ...]:
    """Read the crops of a session's videos.

    Args:
        videos: One video per view.
        boxes: Path of each video's box file; None takes whole images.

    Returns:
        Per view (T, 4) x, y, width, height in full-image px, one row per frame, NaN where a frame has no box or the
        video no image of it; (1, 4) for all frames where whole images are taken.

    Raises:
        InputError: A file has a row neither for every image of its video nor for every frame up to the video's end, or
            is not a table of boxes.
    """
    return tuple(_read_crop(video, path) for video, path in zip(videos, boxes, strict=True))


def crop_at(crops: np.ndarray, position: int) -> np.ndarray:
    """Return the crop (4,) of one frame."""
    return np.asarray(crops[min(position, len(crops) - 1)])


def _read_crop(video: Video, path: Path | None) -> np.ndarray:
    if path is None:
        return np.array([[0.0, 0.0, *video.size]])
    boxes = read_video_boxes(path)
    if video.frames is not None and len(boxes) == video.end != video.num_frames:
        return boxes  # a row per frame, as tracking writes them
    if len(boxes) != video.num_frames:
        # A damaged end, or a cut without re-encoding: the video is shorter than announced, and the boxes may match it.
        boxes = read_video_boxes(path, count_frames(video))
    if video.frames is None:
        return boxes
    by_frame = np.full((video.end, 4), np.nan)
    frames, images = np.unique(video.frames[: len(boxes)], return_index=True)
    by_frame[frames[frames >= 0]] = boxes[images[frames >= 0]]
    return by_frame
