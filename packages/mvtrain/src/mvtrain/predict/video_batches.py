"""Synchronized videos as batches for the network: every view decoded and warped in a thread of its own."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from enum import IntEnum
from itertools import zip_longest

import cv2
import numpy as np

from mvaug import warp_image
from mvgeom import CameraGroup, affine
from mvtrain.data.batch import Batch, Sample, collate
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.predict.video import Video, crop_at, read_frames
from mvtrain.runtime.prefetch import prefetch

_BATCHES_AHEAD = 2


class Status(IntEnum):
    """What a view has of a moment."""

    PREDICTED = 0
    NOT_DECODABLE = 1
    NO_BOX = 2
    ENDED = 3
    LOST = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewImage:
    """What the network sees of one view at one moment; black where the status is not PREDICTED.

    Attributes:
        image: (H, W, 3) uint8 RGB in model px.
        to_model: (2, 3) frame px to model px.
        status: whether there is anything to see.
    """

    image: np.ndarray
    to_model: np.ndarray
    status: Status


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoBatch:
    """Consecutive moments, ready for the network.

    Attributes:
        batch: B samples; its index is the number of the moment.
        status: (B, V) of `Status`.
    """

    batch: Batch
    status: np.ndarray


def view_image(image: np.ndarray | None, box: np.ndarray, size: tuple[int, int]) -> ViewImage:
    """Warp the part of a frame that a box covers onto the network's input, as training does.

    Args:
        image: (h, w, 3) uint8 BGR; None where there is no frame.
        box: (4,) x, y, width, height in frame px; NaN where there is none.
        size: width and height in model px.
    """
    width, height = size
    if image is None or not np.isfinite(box).all():
        status = Status.NOT_DECODABLE if image is None else Status.NO_BOX
        return ViewImage(image=np.zeros((height, width, 3), np.uint8), to_model=np.eye(2, 3), status=status)
    to_model = affine.from_box(box, np.array(size, dtype=np.float64))
    # Channels are exchanged last, where there are fewest pixels.
    warped = cv2.cvtColor(warp_image(image, to_model, size), cv2.COLOR_BGR2RGB)
    return ViewImage(image=warped, to_model=to_model, status=Status.PREDICTED)


def to_sample(index: int, views: Sequence[ViewImage], num_keypoints: int, cameras: CameraGroup | None) -> Sample:
    """The views of one moment as a sample without labels."""
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
    """Batches of a session, prepared ahead; memory does not depend on the videos' length.

    A view that ends before the others counts as absent from then on.

    Args:
        videos: one per view.
        crops: of each video, see `read_crops`.
        spec: of the network.
        cameras: of the videos, None where they are not known.
        batch_size: moments per batch; the last may have fewer.
        start: first moment wanted.
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
                yield _to_frames(group, start, spec, cameras)
                start, group = start + batch_size, []
        if group:
            yield _to_frames(group, start, spec, cameras)


def _view_images(video: Video, crops: np.ndarray, size: tuple[int, int], start: int) -> Generator[ViewImage]:
    with closing(read_frames(video, start)) as frames:
        for position, frame in enumerate(frames, start):
            yield view_image(frame, crop_at(crops, position), size)


def _to_frames(
    group: Sequence[tuple[ViewImage, ...]], start: int, spec: ModelSpec, cameras: CameraGroup | None
) -> VideoBatch:
    samples = [to_sample(start + row, views, len(spec.keypoint_names), cameras) for row, views in enumerate(group)]
    status = np.array([[view.status for view in views] for views in group], dtype=np.uint8)
    return VideoBatch(batch=collate(samples), status=status)
