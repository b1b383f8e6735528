"""Batches for the network from synchronized videos; every view is decoded, cropped and warped in its own thread."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import islice, zip_longest
from pathlib import Path

import cv2
import numpy as np

from mvaug import warp_image
from mvgeom import CameraGroup, affine
from mvgeom.errors import InputError
from mvgeom.files import file_name, on_disk
from mvgeom.tables import read_video_boxes
from mvgeom.videos import Video, count_frames, read_frames
from mvtrain.data.batch import Batch, Sample, collate
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.runtime.prefetch import prefetch

_BATCHES_AHEAD = 2


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
    paths = [on_disk((folder or video.parent) / file_name(f"{video.stem}_bbox.csv")) for video in videos]
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


class Status(IntEnum):
    """State of one view in one frame; NO_IMAGE where the video has none, though it goes on."""

    PREDICTED = 0
    NOT_DECODABLE = 1
    NO_BOX = 2
    ENDED = 3
    LOST = 4
    NO_IMAGE = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewImage:
    """Network input of one view in one frame.

    Attributes:
        image: (H, W, 3) uint8 RGB in model px; black where the status is not PREDICTED.
        to_model: (2, 3) affine map from full-image px to model px.
        status: State of the view; PREDICTED where there is an image.
    """

    image: np.ndarray
    to_model: np.ndarray
    status: Status


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoBatch:
    """Consecutive frames, ready for the network.

    Attributes:
        batch: B samples; their index is the frame number.
        status: (B, V) values of `Status`.
    """

    batch: Batch
    status: np.ndarray


def view_image(image: np.ndarray | None, box: np.ndarray, size: tuple[int, int]) -> ViewImage:
    """Warp the part of an image that a box covers onto the network's input, as training does.

    Args:
        image: (h, w, 3) uint8 BGR; None where there is no image.
        box: (4,) x, y, width, height in full-image px; NaN where there is no box.
        size: Width and height of the network's input in model px.
    """
    width, height = size
    if image is None or not np.isfinite(box).all():
        status = Status.NOT_DECODABLE if image is None else Status.NO_BOX
        return ViewImage(image=np.zeros((height, width, 3), np.uint8), to_model=np.eye(2, 3), status=status)
    to_model = affine.from_box(box, np.array(size, dtype=np.float64))
    # Channels are swapped last, where there are fewest pixels.
    warped = cv2.cvtColor(warp_image(image, to_model, size), cv2.COLOR_BGR2RGB)
    return ViewImage(image=warped, to_model=to_model, status=Status.PREDICTED)


def to_sample(index: int, views: Sequence[ViewImage], num_keypoints: int, cameras: CameraGroup | None) -> Sample:
    """Combine the views of one frame into a sample without labels."""
    to_model = np.stack([view.to_model for view in views])
    return Sample(
        index=index,
        images=np.stack([view.image for view in views]),
        points=np.full((len(views), num_keypoints, 2), np.nan),
        visibility=np.zeros((len(views), num_keypoints), dtype=np.int8),
        view_present=np.array([view.status is Status.PREDICTED for view in views]),
        to_model=to_model,
        model_to_crop=affine.invert(to_model)[..., :2],  # the stored images are the full ones
        cameras=cameras,
        moved=False,
    )


def read_video_batches(
    videos: Sequence[Video],
    crops: Sequence[np.ndarray],
    specs: Sequence[ModelSpec],
    cameras: Sequence[CameraGroup | None],
    *,
    batch_size: int,
    start: int,
) -> Generator[tuple[VideoBatch, ...]]:
    """Yield the batches of a session, prepared ahead; memory does not depend on the videos' length.

    Every image is decoded once, whatever the number of networks, and warped once for each size of input. A view that
    ends before the others is absent from then on.

    Args:
        videos: One video per view.
        crops: Crops of each video, see `read_crops`.
        specs: Descriptions of the networks, which have the same views and keypoints.
        cameras: Cameras of the videos, one group per network; None where they are not known or not needed.
        batch_size: Frames per batch; the last batch may have fewer.
        start: Number of the first frame.

    Yields:
        The next frames for each network; networks of the same input share a batch.
    """
    inputs = [(spec.image_size, rig is not None) for spec, rig in zip(specs, cameras, strict=True)]
    rig = next((rig for rig in cameras if rig is not None), None)
    distinct = list(dict.fromkeys(inputs))
    places = [distinct.index(each) for each in inputs]
    num_keypoints = len(specs[0].keypoint_names)

    def batches() -> Generator[tuple[VideoBatch, ...]]:
        first, sizes = start, list(dict.fromkeys(size for size, _ in distinct))
        with closing(_frames(videos, crops, sizes, batch_size, start)) as frames:
            while group := list(islice(frames, batch_size)):
                by_input = []
                for size, needed in distinct:
                    views = [frame[sizes.index(size)] for frame in group]
                    by_input.append(_to_batch(views, first, num_keypoints, rig if needed else None))
                yield tuple(by_input[place] for place in places)
                first += len(group)

    return prefetch(batches(), _BATCHES_AHEAD)


def _frames(
    videos: Sequence[Video], crops: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]], ahead: int, start: int
) -> Generator[list[tuple[ViewImage, ...]]]:
    """Yield the views of one frame after the other, for each size of input."""
    ended = tuple(
        ViewImage(image=np.zeros((height, width, 3), np.uint8), to_model=np.eye(2, 3), status=Status.ENDED)
        for width, height in sizes
    )
    with ExitStack() as stack:
        streams = [
            stack.enter_context(closing(prefetch(_view_images(video, crop, sizes, start), ahead)))
            for video, crop in zip(videos, crops, strict=True)
        ]
        for views in zip_longest(*streams, fillvalue=ended):
            yield list(zip(*views, strict=True))


def _view_images(
    video: Video, crops: np.ndarray, sizes: Sequence[tuple[int, int]], start: int
) -> Generator[tuple[ViewImage, ...]]:
    with closing(read_frames(video, start)) as images:
        for position, image in enumerate(images, start):
            views = tuple(view_image(image, crop_at(crops, position), size) for size in sizes)
            if image is None and not video.has_image(position):
                views = tuple(replace(view, status=Status.NO_IMAGE) for view in views)
            yield views


def _to_batch(
    group: Sequence[tuple[ViewImage, ...]], start: int, num_keypoints: int, cameras: CameraGroup | None
) -> VideoBatch:
    samples = [to_sample(start + row, views, num_keypoints, cameras) for row, views in enumerate(group)]
    status = np.array([[view.status for view in views] for views in group], dtype=np.uint8)
    return VideoBatch(batch=collate(samples), status=status)
