"""How a run's training images were cropped about their subject, so that tracking can crop alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mvgeom import CameraGroup, boxes, project, triangulate_robust, visible, world_to_camera
from mvgeom.rig_figure import focus
from mvtrain.data.batch import Batch, collate
from mvtrain.model.inference import predict_frames
from mvtrain.predict.predictor import Predictor
from mvtrain.predict.video_batches import Status, to_sample, view_image
from mvtrain.project.labels_3d import triangulate_labels
from mvtrain.project.project import Project

_LEAST_LABELLED = 0.5
_LARGEST_CHANGE = 1.6


@dataclass(frozen=True, kw_only=True)
class Framing:
    """Where boxes lie about their subject.

    Attributes:
        margin: of a box about the keypoints on every side, as a fraction of their larger extent.
        aspect: width of a box divided by its height.
        side: the longer side of a typical box in world units, at the subject's distance.
    """

    margin: float
    aspect: float
    side: float

    def about_pose(self, pose: np.ndarray, cameras: CameraGroup) -> np.ndarray:
        """(V, 4) boxes about a pose, as in training.

        Keypoints far from the others do not count, and no box is much larger or smaller than a typical one: a pose may
        be found in part, and some of it may be wrong.

        Args:
            pose: (K, 3) world, NaN where missing; not all missing.
            cameras: V cameras.

        Returns:
            x, y, width, height in frame px; NaN for views that cannot see it.
        """
        center = np.nanmedian(pose, axis=0)
        near = np.linalg.norm(pose - center, axis=-1) < self.side
        trusted = np.where(near[:, None], pose, np.nan)
        tight = np.asarray(boxes.from_points_3d(trusted, cameras, margin=self.margin, aspect=self.aspect))
        typical = self.about_points(center[None], cameras)[0, :, 2:]
        extent = np.clip(tight[:, 2:], typical / _LARGEST_CHANGE, typical * _LARGEST_CHANGE)
        return np.concatenate([tight[:, :2] + (tight[:, 2:] - extent) / 2, extent], axis=-1)

    def about_points(self, centers: np.ndarray, cameras: CameraGroup) -> np.ndarray:
        """(H, V, 4) boxes of typical size about H world points (H, 3); NaN for views that cannot see them."""
        middle = np.moveaxis(project(centers, cameras), 0, 1)
        depth = world_to_camera(centers, cameras)[..., 2].T
        focal = (cameras.matrix[:, 0, 0] + cameras.matrix[:, 1, 1]) / 2
        longer = self.side * focal / np.where(depth > 0, depth, np.nan)
        extent = longer[..., None] * np.array([min(1.0, self.aspect), min(1.0, 1 / self.aspect)])
        # A pixel's centre is whole, so the range from x - 0.5 belongs to the box that starts at x.
        return np.concatenate([middle - extent / 2 + 0.5, extent], axis=-1)


def learn_framing(labelled: Project) -> Framing:
    """The framing of a project's images: the medians over its frames and views.

    Raises:
        ValueError: the project has no boxes, or none whose subject is labelled and calibrated.
    """
    if labelled.boxes is None:
        raise ValueError(
            f"--track follows the subject with crops like those of the training images, but those of {labelled.root} "
            "are whole frames (no data.bbox_file); it needs a run that was trained on crops"
        )
    points_3d = triangulate_labels(labelled)
    seen = np.isfinite(labelled.points_full).all(-1)
    extents = np.asarray(boxes.from_keypoints(labelled.points_full, margin=0.0))[..., 2:].max(-1)
    enough = (seen.mean(-1) >= _LEAST_LABELLED) & (extents > 1) & np.isfinite(labelled.boxes).all(-1)
    sides = []
    for row, cameras in enumerate(labelled.cameras):
        center = np.nanmedian(points_3d[row], axis=0) if np.isfinite(points_3d[row]).any() else np.full(3, np.nan)
        if cameras is not None and np.isfinite(center).all():
            depth = world_to_camera(center[None], cameras)[:, 0, 2]
            focal = (cameras.matrix[:, 0, 0] + cameras.matrix[:, 1, 1]) / 2
            sides += list((labelled.boxes[row, :, 2:].max(-1) * depth / focal)[enough[row] & (depth > 0)])
    if not sides:
        raise ValueError(
            f"--track learns from the labelled images how large the subject is, but no frame of {labelled.root} has a "
            "calibration, boxes and labels of two views"
        )
    longer = labelled.boxes[enough][:, 2:].max(-1)
    return Framing(
        margin=max(0.0, float(np.median(longer / extents[enough]) - 1) / 2),
        aspect=float(np.median(labelled.boxes[enough][:, 2] / labelled.boxes[enough][:, 3])),
        side=float(np.median(sides)),
    )


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
            for view_boxes in windows[start : start + predictor.batch_size]:
                views = [
                    view_image(frame, box, predictor.spec.image_size)
                    for frame, box in zip(frames, view_boxes, strict=True)
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


_SPACING = 0.4
"""Of places in a grid, as a fraction of a typical box: training moves subjects about as far from the middle."""

_MOST_PLACES = 1500
_COARSE, _FINEST = 10, 40
"""Places along each axis from the middle of the grid outwards, in a first count and at most."""

_STEPS_CLOSER = 3
_BEST = 4
_GOOD = 1.5
"""Times the score that is asked for: no need to look further."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sighting:
    """A subject found.

    Attributes:
        pose: (K, 3) world, NaN where missing.
        score: see `pose_score.Views`.
    """

    pose: np.ndarray
    score: float


def find_subject(
    predictor: Predictor,
    frames: Sequence[np.ndarray | None],
    cameras: CameraGroup,
    framing: Framing,
    *,
    near: np.ndarray | None,
    accepted_score: float,
) -> Sighting | None:
    """Look for the subject: in whole frames, about where it was last, then everywhere that cameras see together.

    From every promising place the crops are moved onto what was found there, a few times, which is what finds a subject
    that a first crop showed too small or at its rim.

    Args:
        predictor: the network.
        frames: (h, w, 3) uint8 BGR per view; None where a view has no frame.
        cameras: V cameras.
        framing: of the network's training images.
        near: (3,) world, where it was last; None: nowhere.
        accepted_score: the least that counts as found.

    Returns:
        The best found; None where nothing was.
    """
    best: Sighting | None = None
    for windows in _places(cameras, framing, frames, near):
        found = look(predictor, frames, windows, cameras)
        for place in np.argsort(-found.scores, kind="stable")[:_BEST]:
            sighting = _come_closer(predictor, frames, cameras, framing, found.poses[place])
            if sighting is not None and (best is None or sighting.score > best.score):
                best = sighting
        if best is not None and best.score >= _GOOD * accepted_score:
            return best
    return best if best is not None and best.score >= accepted_score else None


def _places(
    cameras: CameraGroup, framing: Framing, frames: Sequence[np.ndarray | None], near: np.ndarray | None
) -> Iterator[np.ndarray]:
    """(H, V, 4) crops to look at, in an order that makes an early success likely."""
    sizes = [(0.0, 0.0) if frame is None else (float(frame.shape[1]), float(frame.shape[0])) for frame in frames]
    whole = np.array([[0.0, 0.0, *size] if size[0] else [np.nan] * 4 for size in sizes])
    yield np.asarray(boxes.with_aspect(whole, framing.aspect))[None]
    step = _SPACING * framing.side
    if near is not None:
        yield framing.about_points(near + step * _cube(1), cameras)
    places = seen_together(cameras, step)
    if len(places):
        yield framing.about_points(places, cameras)


def seen_together(cameras: CameraGroup, step: float) -> np.ndarray:
    """(H, 3) places on a grid that at least half of the views, and two, have in their frames.

    The grid reaches from the point that the cameras look at as far as they stand from it. Where that would be too many
    places, they lie further apart than `step`.
    """
    center = focus(cameras)
    reach = float(np.linalg.norm(cameras.centers - center, axis=-1).max())
    needed = max(2, len(cameras) // 2)

    def seen_on_grid(distance: float) -> np.ndarray:
        grid = center + distance * _cube(int(np.ceil(reach / distance)))
        return np.asarray(grid[visible(grid, cameras).sum(axis=0) >= needed])

    coarse = reach / _COARSE
    volume = len(seen_on_grid(coarse)) * coarse**3
    step = max(step, (volume / _MOST_PLACES) ** (1 / 3), reach / _FINEST)
    while len(places := seen_on_grid(step)) > _MOST_PLACES:
        step *= 1.1
    return places


def _cube(reach: int) -> np.ndarray:
    """((2 reach + 1)^3, 3) whole numbers, those near 0 first."""
    numbers = np.arange(-reach, reach + 1)
    grid = np.stack(np.meshgrid(numbers, numbers, numbers, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray(grid[np.argsort((grid**2).sum(-1), kind="stable")], dtype=np.float64)


def _come_closer(
    predictor: Predictor,
    frames: Sequence[np.ndarray | None],
    cameras: CameraGroup,
    framing: Framing,
    pose: np.ndarray,
) -> Sighting | None:
    """Crop about a pose, predict again, and so on; the best on the way."""
    best: Sighting | None = None
    for _ in range(_STEPS_CLOSER):
        if np.isfinite(pose).all(-1).sum() < 2:
            break
        found = look(predictor, frames, framing.about_pose(pose, cameras)[None], cameras)
        pose, score = found.poses[0], float(found.scores[0])
        if best is None or score > best.score:
            best = Sighting(pose=pose, score=score)
    return best
