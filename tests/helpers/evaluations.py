"""Evaluations without a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mvgeom import affine, project
from mvtrain.evaluation.evaluation import Evaluation, compare
from mvtrain.model.inference import FramePredictions
from mvtrain.project.labels_3d import read_truth
from mvtrain.project.project import Project


def noisy_evaluation(source: Project, sets: Sequence[str], *, noise: float, seed: int = 0) -> Evaluation:
    """Make the evaluation of a generated project whose predictions are the truth, off by Gaussian noise.

    Args:
        source: Project of which all frames are calibrated.
        sets: Split that each of its frames belongs to.
        noise: Standard deviation in full-image px.
        seed: Random seed of the noise.
    """
    truth = read_truth(source)
    assert truth is not None
    generator = np.random.default_rng(seed)
    points = np.stack([project(each, rig) for each, rig in zip(truth, source.cameras, strict=True) if rig is not None])
    points = np.where(np.isfinite(points), points, 0.0)
    points = points + generator.normal(scale=noise, size=points.shape) if noise else points
    confidence = generator.uniform(0.1, 0.9, size=points.shape[:3])
    predictions = FramePredictions(index=np.arange(len(source)), points=points, confidence=confidence)
    return compare(source, predictions, np.array(sets))


def made_up_evaluation(
    *,
    views: Sequence[str],
    keypoints: Sequence[str],
    sets: Sequence[str],
    missing: float = 0.3,
    occluded: float = 0.8,
    seed: int = 0,
) -> Evaluation:
    """Figures drawn at random, some of them missing, all of them in one session without truth.

    Args:
        views: V names.
        keypoints: K names.
        sets: The split of each of the N frames.
        missing: Share of keypoints without a visible label.
        occluded: Share of these with a known place.
        seed: Random seed of the figures.
    """
    generator = np.random.default_rng(seed)
    shape = (len(sets), len(views), len(keypoints))

    def some(*size: int) -> np.ndarray:
        values = generator.gamma(2.0, 3.0, size=size)
        return np.where(generator.uniform(size=size) < missing, np.nan, values)

    pixel_error = some(*shape)
    visible = np.isfinite(pixel_error)
    confidence = generator.uniform(size=shape)
    others = np.random.default_rng([seed, 1])
    known = ~visible & (others.uniform(size=shape) < occluded)
    occluded_error = np.where(known, others.gamma(2.0, 7.0, size=shape), np.nan)
    return Evaluation(
        view_names=tuple(views),
        keypoint_names=tuple(keypoints),
        rows=np.arange(len(sets)),
        split=np.array(sets),
        sessions=("mouse",) * len(sets),
        image_names=tuple(
            tuple(f"labeled-data/mouse_{view}/img{3 * row:04d}.png" for view in views) for row in range(len(sets))
        ),
        points=generator.uniform(0, 100, size=(*shape, 2)),
        confidence=confidence,
        raw_confidence=confidence,
        own_confidence=confidence,
        labels=np.where(visible[..., None], generator.uniform(0, 100, size=(*shape, 2)), np.nan),
        pixel_error=pixel_error,
        mean_pose_error=np.where(visible, 4 * pixel_error, np.nan),
        hidden_error=np.where(visible, np.nan, generator.gamma(2.0, 9.0, size=shape)),
        occluded_error=occluded_error,
        occluded_mean_pose_error=3 * occluded_error,
        subject_size=generator.uniform(50, 80, size=len(views)),
        points_3d=generator.normal(size=(len(sets), len(keypoints), 3)),
        std_3d=generator.gamma(2.0, 0.4, size=(len(sets), len(keypoints), 3)),
        labels_3d=generator.normal(size=(len(sets), len(keypoints), 3)),
        error_3d=some(len(sets), len(keypoints)),
        reprojection_error=some(*shape),
        truth_3d=None,
        truth_error_3d=None,
        hidden_truth_error=None,
    )


def in_file(source: Project, points: np.ndarray) -> np.ndarray:
    """Turn full-image px (N, V, K, 2) of all frames into px of the stored images."""
    return np.asarray(affine.apply(affine.invert(source.crop_to_full), points))
