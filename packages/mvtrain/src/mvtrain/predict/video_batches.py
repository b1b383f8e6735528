"""Batches for the network from synchronized videos; every view is decoded and warped in a thread of its own."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import zip_longest

import cv2
import numpy as np

from mvaug import warp_image
from mvgeom import CameraGroup, affine
from mvgeom.videos import Video, read_frames
from mvtrain.data.batch import Batch, Sample, collate
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.predict.video_boxes import crop_at
from mvtrain.runtime.prefetch import prefetch

_BATCHES_AHEAD = 2


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
    return Sample(
        index=index,
        images=np.stack([view.image for view in views]),
        points=np.full((len(views), num_keypoints, 2), np.nan),
        visibility=np.zeros((len(views), num_keypoints), dtype=np.int8),
        view_present=np.array([view.status is Status.PREDICTED for view in views]),
        to_model=np.stack([view.to_model for view in views]),
        cameras=cameras,
        moved=False,
    )


def read_video_batches(
    videos: Sequence[Video],
    crops: Sequence[np.ndarray],
    spec: ModelSpec,
    cameras: CameraGroup | None,
    *,
    batch_size: int,
    start: int,
) -> Generator[VideoBatch]:
    """Yield the batches of a session, prepared ahead; memory does not depend on the videos' length.

    A view that ends before the others is absent from then on.

    Args:
        videos: One video per view.
        crops: Crops of each video, see `read_crops`.
        spec: Description of the network.
        cameras: Cameras of the videos; None where they are not known or not needed.
        batch_size: Frames per batch; the last batch may have fewer.
        start: Number of the first frame.
    """
    return prefetch(_batches(videos, crops, spec, cameras, batch_size, start), _BATCHES_AHEAD)


def _batches(
    videos: Sequence[Video],
    crops: Sequence[np.ndarray],
    spec: ModelSpec,
    cameras: CameraGroup | None,
    batch_size: int,
    start: int,
) -> Generator[VideoBatch]:
    black = np.zeros((spec.image_size[1], spec.image_size[0], 3), np.uint8)
    ended = ViewImage(image=black, to_model=np.eye(2, 3), status=Status.ENDED)
    with ExitStack() as stack:
        streams = [
            stack.enter_context(closing(prefetch(_view_images(video, crop, spec.image_size, start), batch_size)))
            for video, crop in zip(videos, crops, strict=True)
        ]
        group: list[tuple[ViewImage, ...]] = []
        for views in zip_longest(*streams, fillvalue=ended):
            group.append(views)
            if len(group) == batch_size:
                yield _to_batch(group, start, spec, cameras)
                start, group = start + batch_size, []
        if group:
            yield _to_batch(group, start, spec, cameras)


def _view_images(video: Video, crops: np.ndarray, size: tuple[int, int], start: int) -> Generator[ViewImage]:
    with closing(read_frames(video, start)) as images:
        for position, image in enumerate(images, start):
            view = view_image(image, crop_at(crops, position), size)
            yield view if image is not None or video.has_image(position) else replace(view, status=Status.NO_IMAGE)


def _to_batch(
    group: Sequence[tuple[ViewImage, ...]], start: int, spec: ModelSpec, cameras: CameraGroup | None
) -> VideoBatch:
    samples = [to_sample(start + row, views, len(spec.keypoint_names), cameras) for row, views in enumerate(group)]
    status = np.array([[view.status for view in views] for views in group], dtype=np.uint8)
    return VideoBatch(batch=collate(samples), status=status)
