"""Crops of imported images as tables of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mvgeom import CameraGroup
from mvgeom.files import file_name
from mvgeom.tables import write_labeled_boxes, write_video_boxes
from mvgeom.videos import open_video
from mvtrain.exchange.alignment import AlignedFrames
from mvtrain.project.calibrations import fits_calibration
from mvtrain.project.images import image_size
from mvtrain.project.writer import image_name


def drop_whole_images(
    aligned: AlignedFrames,
    folder: Path,
    cameras: Mapping[str, CameraGroup],
    videos: Mapping[tuple[str, str], Path],
) -> AlignedFrames:
    """Return the frames without the crops that begin at (0, 0) and are not known to be smaller than the full image.

    DeepLabCut notes a crop for every video, also for whole ones. The size of the full image is that of the calibration,
    else that of the video; where there is neither, a crop at (0, 0) makes no difference.

    Args:
        aligned: Labels by frame and view.
        folder: Folder of the written project, for the images' sizes.
        cameras: Cameras by session.
        videos: Videos by session and view.
    """
    sizes: dict[tuple[str, str], tuple[float, float] | None] = {}
    crops: list[tuple[tuple[int, int] | None, ...]] = []
    for (session, number), row in zip(aligned.frames, aligned.crops, strict=True):
        kept: list[tuple[int, int] | None] = []
        for view, crop in zip(aligned.view_names, row, strict=True):
            path = folder / image_name(session, view, number)
            if crop == (0, 0) and path.is_file():
                if (session, view) not in sizes:
                    sizes[session, view] = _full_size(session, view, cameras, videos)
                full = sizes[session, view]
                crop = None if full is None or _fits(image_size(path), full) else crop
            kept.append(crop)
        crops.append(tuple(kept))
    return replace(aligned, crops=tuple(crops))


def has_crops(aligned: AlignedFrames) -> bool:
    """Return True if an image is not a full image."""
    return any(crop is not None for row in aligned.crops for crop in row)


def write_image_boxes(path: Path, folder: Path, aligned: AlignedFrames, view: int) -> None:
    """Write `bboxes_<view>.csv`; a full image has a box of its own size.

    Args:
        path: Path of the table.
        folder: Folder of the written project.
        aligned: Labels by frame and view.
        view: Number of the view.
    """
    names, boxes = [], []
    for (session, number), images, crops in zip(aligned.frames, aligned.images, aligned.crops, strict=True):
        if images[view] is not None:
            name = image_name(session, aligned.view_names[view], number)
            names.append(name)
            boxes.append((*(crops[view] or (0, 0)), *image_size(folder / name)))
    write_labeled_boxes(path, names, np.array(boxes, dtype=np.float64).reshape(-1, 4))


def write_boxes_of_videos(videos: Sequence[tuple[str, Path]], offsets: Mapping[str, tuple[int, int]]) -> None:
    """Write `<video>_bbox.csv` beside videos, with the same box in every frame.

    Args:
        videos: Views and their videos.
        offsets: By view, the top-left pixel of its videos in full-image px; (0, 0) where a view is not in it.
    """
    for view, path in videos:
        video = open_video(path)
        box = np.array([*offsets.get(view, (0, 0)), *video.size], dtype=np.float64)
        write_video_boxes(path.with_name(file_name(f"{path.stem}_bbox.csv")), np.tile(box, (video.num_frames, 1)))


def _full_size(
    session: str, view: str, cameras: Mapping[str, CameraGroup], videos: Mapping[tuple[str, str], Path]
) -> tuple[float, float] | None:
    """Return width and height of the full images of a view; None if nothing tells them."""
    if session in cameras:
        width, height = cameras[session].select([view]).sizes[0]
        return float(width), float(height)
    if (session, view) in videos:
        return open_video(videos[session, view]).size
    return None


def _fits(size: tuple[int, int], full: tuple[float, float]) -> bool:
    """Return True if an image has the size of the full image."""
    return bool(fits_calibration(np.array(size), np.array(full)))
