"""What a network says about crops of all views, put together in 3D, and how much it can be believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mvgeom import CameraGroup, triangulate_robust
from mvtrain.data.batch import Batch, collate
from mvtrain.prediction.moments import Status, to_sample, view_image
from mvtrain.prediction.predict import predict_frames
from mvtrain.prediction.predictor import Predictor

_AGREEMENT = 0.06
"""How far views may be apart, as a fraction of the box: a network's error grows with the size of its crop."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """What a network says about H choices of crops of the same moment.

    Attributes:
        keypoints: (H, V, K, 3) x, y in frame px and confidence; NaN where a view shows nothing.
        status: (H, V) of `Status`.
        poses: (H, K, 3) world, from views that agree; NaN where no two do.
        scores: (H,) from 0 to 1: confidence of the views that agree, mean over keypoints and views that show something.
    """

    keypoints: np.ndarray
    status: np.ndarray
    poses: np.ndarray
    scores: np.ndarray


def look(predictor: Predictor, frames: Sequence[np.ndarray | None], windows: np.ndarray, cameras: CameraGroup) -> Views:
    """Predict crops of one moment and judge them.

    Args:
        predictor: the network.
        frames: (h, w, 3) uint8 BGR per view; None where a view has no frame.
        windows: (H, V, 4) boxes in frame px; NaN where a view is not to be looked at.
        cameras: V cameras.
    """
    samples_status: list[list[Status]] = []
    needed = predictor.spec.cameras_needed(cameras)

    def batches() -> Iterator[Batch]:
        for start in range(0, len(windows), predictor.batch_size):
            samples = []
            for boxes in windows[start : start + predictor.batch_size]:
                views = [
                    view_image(frame, box, predictor.spec.image_size) for frame, box in zip(frames, boxes, strict=True)
                ]
                samples.append(to_sample(len(samples_status), views, len(predictor.spec.keypoint_names), needed))
                samples_status.append([view.status for view in views])
            yield collate(samples)

    found = predict_frames(predictor.network, batches(), predictor.device)
    poses, scores = judge(found.points, found.confidence, windows, cameras)
    keypoints = np.concatenate([found.points, found.confidence[..., None]], axis=-1)
    return Views(keypoints=keypoints, status=np.array(samples_status, dtype=np.uint8), poses=poses, scores=scores)


def judge(
    points: np.ndarray, confidence: np.ndarray, windows: np.ndarray, cameras: CameraGroup
) -> tuple[np.ndarray, np.ndarray]:
    """Poses (..., K, 3) and scores (...) of predictions, see `Views`.

    Args:
        points: (..., V, K, 2) frame px.
        confidence: (..., V, K).
        windows: (..., V, 4) boxes in frame px that were looked at.
        cameras: V cameras.
    """
    limits = _AGREEMENT * np.nan_to_num(windows[..., 2:].max(-1), nan=1.0)
    agreed = triangulate_robust(
        points, cameras, np.nan_to_num(confidence), threshold=np.broadcast_to(limits[..., None], confidence.shape)
    )
    believed = np.where(agreed.inliers, np.nan_to_num(confidence), 0.0)
    looked = np.isfinite(confidence).any(-1).sum(-1)
    scores = believed.mean(-1).sum(-1) / np.maximum(looked, 1)
    return np.asarray(agreed.points), scores
