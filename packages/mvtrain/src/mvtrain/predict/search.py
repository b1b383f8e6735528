"""Search for the subject: crops as in the training images, their predictions and scores, and candidate places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mvgeom import CameraGroup, boxes, project, triangulate_robust, visible, world_to_camera
from mvgeom.errors import InputError
from mvgeom.rig_figure import focus
from mvtrain.data.batch import Batch, collate
from mvtrain.model.inference import FramePredictions, predict_frames
from mvtrain.predict.predictor import Predictor
from mvtrain.predict.video_batches import Status, to_sample, view_image
from mvtrain.project.labels_3d import triangulate_labels
from mvtrain.project.project import Project

_MIN_LABELED_SHARE = 0.5
"""Share of an image's keypoints that must be labeled for its box to count."""

_MAX_SIZE_RATIO = 1.6
"""Largest ratio of a box's size to a typical box's, and of a typical box's to it."""

_AGREEMENT = 0.06
"""Largest distance between views that agree, as a fraction of the box: a network's error grows with its crop."""

_SPACING = 0.4
"""Distance of grid points, as a fraction of a typical box: training shifts subjects about as far from the middle."""

_MAX_PLACES = 1500
"""Number of grid points at most."""

_COARSE_STEPS, _FINEST_STEPS = 10, 40
"""Steps along each axis from the center of the grid outwards, in a first count and at most."""

_REFINEMENTS = 3
"""Number of times that crops are moved onto the pose found in them."""

_NUM_REFINED = 4
"""Number of places with the highest scores whose crops are refined."""

_CERTAIN = 1.5
"""Multiple of the accepted score from which no further places are searched."""


@dataclass(frozen=True, kw_only=True)
class Framing:
    """Position and size of boxes relative to their subject.

    Attributes:
        margin: Margin of a box around the keypoints on every side, as a fraction of their larger extent.
        aspect: Width of a box divided by its height.
        side: Longer side of a typical box in world units, at the subject's distance.
    """

    margin: float
    aspect: float
    side: float

    @classmethod
    def from_project(cls, labeled: Project) -> Framing:
        """Estimate the framing of a project's images: the medians over its frames and views.

        Raises:
            InputError: The project has no boxes, or none whose subject is labeled and calibrated.
        """
        if labeled.boxes is None:
            raise InputError(
                f"project {labeled.root}: --track crops videos as the training images are cropped, but these are whole "
                "images (data.bbox_file is not set). Give a run that was trained on crops",
                code="bad-value",
                key="data.bbox_file",
                path=labeled.root,
            )
        points_3d = triangulate_labels(labeled)
        seen = np.isfinite(labeled.points_full).all(-1)
        extents = np.asarray(boxes.from_keypoints(labeled.points_full, margin=0.0))[..., 2:].max(-1)
        enough = (seen.mean(-1) >= _MIN_LABELED_SHARE) & (extents > 1) & np.isfinite(labeled.boxes).all(-1)
        sides = []
        for row, cameras in enumerate(labeled.cameras):
            center = np.nanmedian(points_3d[row], axis=0) if np.isfinite(points_3d[row]).any() else np.full(3, np.nan)
            if cameras is not None and np.isfinite(center).all():
                depth = world_to_camera(center[None], cameras)[:, 0, 2]
                focal = (cameras.matrix[:, 0, 0] + cameras.matrix[:, 1, 1]) / 2
                sides += list((labeled.boxes[row, :, 2:].max(-1) * depth / focal)[enough[row] & (depth > 0)])
        if not sides:
            raise InputError(
                f"project {labeled.root}: crops are framed by the size of the labeled subject, but no frame has a "
                "calibration, boxes and labels of two views",
                code="no-labels",
                path=labeled.root,
            )
        longer = labeled.boxes[enough][:, 2:].max(-1)
        return cls(
            margin=max(0.0, float(np.median(longer / extents[enough]) - 1) / 2),
            aspect=float(np.median(labeled.boxes[enough][:, 2] / labeled.boxes[enough][:, 3])),
            side=float(np.median(sides)),
        )

    def boxes_around_pose(self, pose: np.ndarray, cameras: CameraGroup) -> np.ndarray:
        """Return the boxes around a pose, as in training.

        Keypoints far from the others are left out, and no box is much larger or smaller than a typical one, because a
        predicted pose may be incomplete or partly wrong.

        Args:
            pose: (K, 3) world points, NaN where missing; not all missing.
            cameras: V cameras.

        Returns:
            (V, 4) x, y, width, height in full-image px; NaN for views that cannot see the pose.
        """
        center = np.nanmedian(pose, axis=0)
        near = np.linalg.norm(pose - center, axis=-1) < self.side
        kept = np.where(near[:, None], pose, np.nan)
        tight = np.asarray(boxes.from_points_3d(kept, cameras, margin=self.margin, aspect=self.aspect))
        typical = self.boxes_around_points(center[None], cameras)[0, :, 2:]
        extent = np.clip(tight[:, 2:], typical / _MAX_SIZE_RATIO, typical * _MAX_SIZE_RATIO)
        return np.concatenate([tight[:, :2] + (tight[:, 2:] - extent) / 2, extent], axis=-1)

    def boxes_around_points(self, centers: np.ndarray, cameras: CameraGroup) -> np.ndarray:
        """Return boxes (H, V, 4) of typical size around world points (H, 3); NaN for views that cannot see them."""
        middle = np.moveaxis(project(centers, cameras), 0, 1)
        depth = world_to_camera(centers, cameras)[..., 2].T
        focal = (cameras.matrix[:, 0, 0] + cameras.matrix[:, 1, 1]) / 2
        longer = self.side * focal / np.where(depth > 0, depth, np.nan)
        extent = longer[..., None] * np.array([min(1.0, self.aspect), min(1.0, 1 / self.aspect)])
        # Pixel centers have whole coordinates, so a box that starts at x covers the range from x - 0.5.
        return np.concatenate([middle - extent / 2 + 0.5, extent], axis=-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class CropPredictions:
    """Predictions of H choices of crops of the same frame.

    Attributes:
        frames: Predictions with N = H.
        status: (H, V) values of `Status`.
        poses: (H, K, 3) world points from views that agree; NaN where no two agree.
        scores: (H,) scores from 0 to 1: confidence of the views that agree, mean over keypoints and present views.
    """

    frames: FramePredictions
    status: np.ndarray
    poses: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundSubject:
    """A subject that was found.

    Attributes:
        pose: (K, 3) world points, NaN where missing.
        score: Score of the pose, see `CropPredictions.scores`.
    """

    pose: np.ndarray
    score: float


def predict_crops(
    predictor: Predictor, images: Sequence[np.ndarray | None], windows: np.ndarray, cameras: CameraGroup
) -> CropPredictions:
    """Predict crops of one frame, and score them.

    Args:
        predictor: Predictor with the network.
        images: (h, w, 3) uint8 BGR per view; None where a view has no image.
        windows: (H, V, 4) boxes in full-image px; NaN where a view is left out.
        cameras: V cameras.
    """
    samples_status: list[list[Status]] = []
    needed = predictor.spec.cameras_needed(cameras)

    def batches() -> Iterator[Batch]:
        for start in range(0, len(windows), predictor.batch_size):
            samples = []
            for view_boxes in windows[start : start + predictor.batch_size]:
                views = [
                    view_image(image, box, predictor.spec.image_size)
                    for image, box in zip(images, view_boxes, strict=True)
                ]
                samples.append(to_sample(len(samples_status), views, len(predictor.spec.keypoint_names), needed))
                samples_status.append([view.status for view in views])
            yield collate(samples)

    predictions = predict_frames(predictor.network, batches(), predictor.device)
    # Fused views always agree: whether the subject was found shows in what each view says by itself.
    poses, scores = score_poses(predictions.own_points, predictions.own_confidence, windows, cameras)
    return CropPredictions(
        frames=predictions,
        status=np.array(samples_status, dtype=np.uint8),
        poses=poses,
        scores=scores,
    )


def score_poses(
    points: np.ndarray, confidence: np.ndarray, windows: np.ndarray, cameras: CameraGroup
) -> tuple[np.ndarray, np.ndarray]:
    """Triangulate predictions and score the poses.

    Args:
        points: (..., V, K, 2) keypoints in full-image px.
        confidence: (..., V, K) confidence of the keypoints.
        windows: (..., V, 4) boxes in full-image px that were predicted.
        cameras: V cameras.

    Returns:
        Poses (..., K, 3) and scores (...), see `CropPredictions`.
    """
    limits = _AGREEMENT * np.nan_to_num(windows[..., 2:].max(-1), nan=1.0)
    agreed = triangulate_robust(
        points, cameras, np.nan_to_num(confidence), threshold=np.broadcast_to(limits[..., None], confidence.shape)
    )
    counted = np.where(agreed.inliers, np.nan_to_num(confidence), 0.0)
    num_present = np.isfinite(confidence).any(-1).sum(-1)
    scores = counted.mean(-1).sum(-1) / np.maximum(num_present, 1)
    return np.asarray(agreed.points), scores


def find_subject(
    predictor: Predictor,
    images: Sequence[np.ndarray | None],
    cameras: CameraGroup,
    framing: Framing,
    *,
    near: np.ndarray | None,
    accepted_score: float,
) -> FoundSubject | None:
    """Search for the subject: in whole images, around its last place, then everywhere that several cameras see.

    At the places with the highest scores the crops are moved onto the pose found there, a few times. This finds a
    subject that a first crop shows too small or at its border.

    Args:
        predictor: Predictor with the network.
        images: (h, w, 3) uint8 BGR per view; None where a view has no image.
        cameras: V cameras.
        framing: Framing of the network's training images.
        near: (3,) world point of the subject's last place; None if it is not known.
        accepted_score: Smallest score of a subject that counts as found.

    Returns:
        The subject with the highest score; None where none was found.
    """
    best: FoundSubject | None = None
    for windows in _candidate_crops(cameras, framing, images, near):
        predictions = predict_crops(predictor, images, windows, cameras)
        for place in np.argsort(-predictions.scores, kind="stable")[:_NUM_REFINED]:
            refined = _refine_crops(predictor, images, cameras, framing, predictions.poses[place])
            if refined is not None and (best is None or refined.score > best.score):
                best = refined
        if best is not None and best.score >= _CERTAIN * accepted_score:
            return best
    return best if best is not None and best.score >= accepted_score else None


def _candidate_crops(
    cameras: CameraGroup, framing: Framing, images: Sequence[np.ndarray | None], near: np.ndarray | None
) -> Iterator[np.ndarray]:
    """Yield groups of crops (H, V, 4) to search, the most promising first."""
    sizes = [(0.0, 0.0) if image is None else (float(image.shape[1]), float(image.shape[0])) for image in images]
    whole = np.array([[0.0, 0.0, *size] if size[0] else [np.nan] * 4 for size in sizes])
    yield np.asarray(boxes.with_aspect(whole, framing.aspect))[None]
    step = _SPACING * framing.side
    if near is not None:
        yield framing.boxes_around_points(near + step * _integer_grid(1), cameras)
    places = visible_grid(cameras, step)
    if len(places):
        yield framing.boxes_around_points(places, cameras)


def visible_grid(cameras: CameraGroup, step: float) -> np.ndarray:
    """Return the points (H, 3) of a grid that are inside the images of at least half of the views, and of two.

    The grid is centered at the point that the cameras face, and reaches as far as the farthest camera. Where it would
    have too many points, they lie further apart than `step`.
    """
    center = focus(cameras)
    reach = float(np.linalg.norm(cameras.centers - center, axis=-1).max())
    needed = max(2, len(cameras) // 2)

    def seen_on_grid(distance: float) -> np.ndarray:
        grid = center + distance * _integer_grid(int(np.ceil(reach / distance)))
        return np.asarray(grid[visible(grid, cameras).sum(axis=0) >= needed])

    coarse = reach / _COARSE_STEPS
    volume = len(seen_on_grid(coarse)) * coarse**3
    step = max(step, (volume / _MAX_PLACES) ** (1 / 3), reach / _FINEST_STEPS)
    while len(places := seen_on_grid(step)) > _MAX_PLACES:
        step *= 1.1
    return places


def _integer_grid(reach: int) -> np.ndarray:
    """Return the integer points ((2 reach + 1)^3, 3) of a cube around 0, the nearest to 0 first."""
    numbers = np.arange(-reach, reach + 1)
    grid = np.stack(np.meshgrid(numbers, numbers, numbers, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray(grid[np.argsort((grid**2).sum(-1), kind="stable")], dtype=np.float64)


def _refine_crops(
    predictor: Predictor,
    images: Sequence[np.ndarray | None],
    cameras: CameraGroup,
    framing: Framing,
    pose: np.ndarray,
) -> FoundSubject | None:
    """Crop around a pose, predict it again, and repeat; return the pose with the highest score."""
    best: FoundSubject | None = None
    for _ in range(_REFINEMENTS):
        if np.isfinite(pose).all(-1).sum() < 2:
            break
        predictions = predict_crops(predictor, images, framing.boxes_around_pose(pose, cameras)[None], cameras)
        pose, score = predictions.poses[0], float(predictions.scores[0])
        if best is None or score > best.score:
            best = FoundSubject(pose=pose, score=score)
    return best
