"""Camera rigs and batches for the tests of the trainer."""

import numpy as np
import torch

from mvgeom import CameraGroup, affine, project
from mvtrain.data.batch import Batch
from mvtrain.model.inference import Prediction


def ring(num_views: int = 4, *, radius: float = 10.0, size: int = 200) -> CameraGroup:
    """Cameras on a ring around the origin, looking at it."""
    rotations, translations = [], []
    for angle in np.linspace(0, 2 * np.pi, num_views, endpoint=False) + 0.3:
        center = radius * np.array([np.cos(angle), np.sin(angle), 0.4 + 0.1 * np.sin(3 * angle)])
        forward = -center / np.linalg.norm(center)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        rotations.append(rotation)
        translations.append(-rotation @ center)
    intrinsics = np.array([[1.5 * size, 0, size / 2], [0, 1.5 * size, size / 2], [0, 0, 1]])
    return CameraGroup(
        names=tuple(f"view{view}" for view in range(num_views)),
        sizes=np.full((num_views, 2), float(size)),
        matrix=np.stack([intrinsics] * num_views),
        distortion=np.tile([-0.1, 0.02, 0.001, -0.001, 0.0], (num_views, 1)),
        rotation=np.stack(rotations),
        translation=np.stack(translations),
    )


def make_batch(points_3d: np.ndarray, cameras: CameraGroup, *, model_size: int = 64) -> Batch:
    """A batch of float64 labels that are the projections of (B, K, 3) points; images are black."""
    num_samples = len(points_3d)
    num_views = len(cameras)
    size = cameras.sizes[0, 0]
    full_points = torch.from_numpy(project(points_3d, cameras))
    box = torch.tensor([3.0, 2.0, size - 9, size - 5], dtype=torch.float64)
    to_model = affine.from_box(box, torch.tensor([model_size, model_size], dtype=torch.float64))
    to_model = to_model.expand(num_samples, num_views, 2, 3)
    visible = torch.isfinite(full_points).all(-1)
    return Batch(
        index=torch.arange(num_samples),
        images=torch.zeros(num_samples, num_views, 3, model_size, model_size, dtype=torch.uint8),
        points=torch.where(visible[..., None], affine.apply(to_model, full_points), 0),
        visibility=torch.where(visible, 2, 0),
        view_mask=None,
        to_model=to_model,
        model_to_crop=affine.invert(to_model)[..., :2],
        cameras=CameraGroup.stack([cameras] * num_samples).to(like=torch.zeros(0, dtype=torch.float64)),
        calibrated=torch.ones(num_samples, dtype=torch.bool),
        num_moved=0,
    )


def make_prediction(batch: Batch, model_points: torch.Tensor, *, confidence: float = 0.9) -> Prediction:
    """A prediction of given points in model px."""
    size = batch.images.shape[-1] // 4
    return Prediction(
        logits=torch.zeros(*batch.visibility.shape, size, size, dtype=model_points.dtype),
        model_points=model_points,
        full_points=affine.apply(affine.invert(batch.to_model), model_points),
        confidence=torch.full(batch.visibility.shape, confidence, dtype=model_points.dtype),
        downsample_factor=2,
    )
