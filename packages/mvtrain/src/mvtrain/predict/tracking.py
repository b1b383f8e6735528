"""Tracking of the subject through a recording: each view is cropped around the projection of the last 3D pose."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np

from mvgeom import CameraGroup
from mvgeom.videos import Video, read_frames
from mvtrain.model.inference import FramePredictions
from mvtrain.predict.labeled_images import predict_rows
from mvtrain.predict.predictor import Predictor
from mvtrain.predict.records import FUSED, STATED, prediction_record
from mvtrain.predict.search import Framing, find_subject, predict_crops, score_poses
from mvtrain.predict.timing import Stopwatch
from mvtrain.predict.video_batches import Status
from mvtrain.project.project import Project
from mvtrain.runtime.prefetch import prefetch

_FRAMES_AHEAD = 4
"""Frames of each video that are decoded ahead."""

_NUM_REFERENCES = 32
"""Labeled frames, roughly, that are predicted for the score of reference."""

_FOUND = 0.5
_LOST = 0.3
"""Shares of the score of reference: the least that a search accepts, and the least of a pose that is accepted."""

_MAX_REJECTED = 3
"""Rejected poses in a row after which the subject counts as lost."""

_FIRST_PAUSE, _LONGEST_PAUSE = 8, 256
"""Frames between two searches for a lost subject, doubled after each failed search."""

_NUMBERS = ("known", "doubts", "pause", "countdown")
"""Fields of a record that are numbers of the state."""

_Image = tuple[np.ndarray | None, Status]
"""One view's image of a frame (None where there is none) and its status."""


@dataclass(frozen=True, kw_only=True)
class TrackingReference:
    """Framing and score of the labeled frames of a run, with which tracking compares.

    Attributes:
        framing: Framing of the training images.
        score: Median score of the network on them, see `CropPredictions.scores`.
    """

    framing: Framing
    score: float

    @classmethod
    def from_project(cls, labeled: Project, predictor: Predictor) -> TrackingReference:
        """Estimate the framing and the score on the project that a network was trained on.

        Raises:
            InputError: The project has no boxes, or none whose subject is labeled and calibrated.
        """
        framing = Framing.from_project(labeled)
        assert labeled.boxes is not None
        calibrated = [row for row, cameras in enumerate(labeled.cameras) if cameras is not None]
        rows = np.array(calibrated)[:: max(1, len(calibrated) // _NUM_REFERENCES)]
        predictions = predict_rows(predictor, labeled, rows)
        scores = []
        for number, row in enumerate(predictions.index):
            cameras = labeled.cameras[row]
            assert cameras is not None
            points, confidence = predictions.own_points[number], predictions.own_confidence[number]
            scores.append(score_poses(points, confidence, labeled.boxes[row], cameras)[1])
        return cls(framing=framing, score=float(np.median(scores)))


@dataclass(kw_only=True)
class TrackState:
    """State of tracking after a frame: all that the next frame depends on.

    Attributes:
        pose: (K, 3) last accepted pose, NaN where missing.
        velocity: (3,) velocity of the pose's median per frame.
        known: True while the subject is tracked.
        doubts: Number of rejected poses in a row.
        pause: Frames from the next search, if it fails, to the one after it.
        countdown: Frames to the next search, while the subject is lost.
    """

    pose: np.ndarray
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(3))
    known: bool = False
    doubts: int = 0
    pause: int = _FIRST_PAUSE
    countdown: int = 0

    @classmethod
    def from_record(cls, record: np.ndarray) -> TrackState:
        """Read the state after a frame from its record."""
        return cls(
            pose=record["pose"].copy(),
            velocity=record["velocity"].copy(),
            known=bool(record["known"]),
            **{name: int(record[name]) for name in _NUMBERS if name != "known"},
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackedFrame:
    """Keypoints of a tracked frame.

    Attributes:
        prediction: Prediction with N = 1; None while the subject is lost.
        status: (V,) values of `Status`.
        windows: (V, 4) boxes that were predicted; NaN while the subject is lost.
    """

    prediction: FramePredictions | None
    status: np.ndarray
    windows: np.ndarray


class Tracker:
    """Tracker of one subject through the frames of a recording.

    Args:
        predictor: Predictor with the network.
        cameras: V cameras.
        reference: Framing and score of the labeled frames.
        state: State to continue from; None starts with an unknown place.
    """

    def __init__(
        self,
        predictor: Predictor,
        cameras: CameraGroup,
        reference: TrackingReference,
        state: TrackState | None = None,
    ) -> None:
        self.predictor = predictor
        self.cameras = cameras
        self.reference = reference
        num_keypoints = len(predictor.spec.keypoint_names)
        self.state = state or TrackState(pose=np.full((num_keypoints, 3), np.nan))

    def step(self, images: Sequence[np.ndarray | None], missing: Sequence[Status]) -> TrackedFrame:
        """Predict the next frame.

        Args:
            images: (h, w, 3) uint8 BGR per view; None where a view has no image.
            missing: Status of the views without an image; ignored for the others.
        """
        state = self.state
        if not state.known:
            self._search(images)
        if not state.known:
            return self._lost_frame(images, missing)
        expected = state.pose + state.velocity
        windows = self.reference.framing.boxes_around_pose(expected, self.cameras)
        predictions = predict_crops(self.predictor, images, windows[None], self.cameras)
        self._update(predictions.poses[0], float(predictions.scores[0]))
        absent = np.array([image is None for image in images])
        status = np.where(absent, missing, predictions.status[0]).astype(np.uint8)
        return TrackedFrame(prediction=predictions.frames, status=status, windows=windows)

    def _search(self, images: Sequence[np.ndarray | None]) -> None:
        state = self.state
        if state.countdown > 0:
            state.countdown -= 1
            return
        last = state.pose[np.isfinite(state.pose).all(-1)]
        subject = find_subject(
            self.predictor,
            images,
            self.cameras,
            self.reference.framing,
            near=np.median(last, axis=0) if len(last) else None,
            accepted_score=_FOUND * self.reference.score,
        )
        if subject is None:
            state.countdown, state.pause = state.pause, min(2 * state.pause, _LONGEST_PAUSE)
        else:
            state.pose, state.velocity = subject.pose, np.zeros(3)
            state.known, state.doubts, state.pause = True, 0, _FIRST_PAUSE

    def _update(self, pose: np.ndarray, score: float) -> None:
        state = self.state
        if score >= _LOST * self.reference.score and np.isfinite(pose).all(-1).sum() >= 2:
            both = np.isfinite(pose).all(-1) & np.isfinite(state.pose).all(-1)
            moved = np.median((pose - state.pose)[both], axis=0) if both.any() and not state.doubts else np.zeros(3)
            state.pose, state.velocity, state.doubts = pose, moved, 0
            return
        state.velocity = np.zeros(3)
        state.doubts += 1
        if state.doubts >= _MAX_REJECTED:
            state.known, state.countdown = False, 0

    def _lost_frame(self, images: Sequence[np.ndarray | None], missing: Sequence[Status]) -> TrackedFrame:
        status = [reason if image is None else Status.LOST for image, reason in zip(images, missing, strict=True)]
        return TrackedFrame(
            prediction=None,
            status=np.array(status, dtype=np.uint8),
            windows=np.full((len(images), 4), np.nan),
        )


def track_fields(num_views: int, num_keypoints: int) -> list[tuple[str, Any, tuple[int, ...]]]:
    """Return the fields of a tracked frame's record beside the keypoints: the boxes, and the state after the frame."""
    numbers = [(name, np.int64, ()) for name in _NUMBERS]
    return [
        ("windows", np.float64, (num_views, 4)),
        ("pose", np.float64, (num_keypoints, 3)),
        ("velocity", np.float64, (3,)),
        *numbers,
    ]


def track_frames(
    tracker: Tracker, videos: Sequence[Video], start: int, stopwatch: Stopwatch, others: Sequence[Predictor] = ()
) -> Generator[tuple[dict[str, np.ndarray], ...]]:
    """Track the subject through videos, which are decoded ahead in threads of their own.

    Args:
        tracker: Tracker in the state before the first frame.
        videos: One video per view.
        start: Number of the first frame.
        stopwatch: Stopwatch to which the time spent `waiting` for frames is added.
        others: Further networks, which predict the boxes that the tracker found.

    Yields:
        The fields of one record after the other, each with a batch dimension of 1: those of the tracker, with its
        state, then keypoints and status of each of the others.
    """
    with closing(stopwatch.each("waiting", _read_together(videos, start))) as frames:
        for views in frames:
            images = [image for image, _ in views]
            tracked = tracker.step(images, [status for _, status in views])
            shape = (len(images), len(tracker.state.pose), 3)
            status = {"status": np.asarray(tracked.status)[None]}
            state = {"windows": tracked.windows} | {
                name: getattr(tracker.state, name) for name in ("pose", "velocity", *_NUMBERS)
            }
            first = {name: np.asarray(value)[None] for name, value in state.items()}
            networks = [status | first | _record(tracked.prediction, shape)]
            for other in others:
                predicted = None
                if tracked.prediction is not None:  # there are no boxes while the subject is lost
                    predicted = predict_crops(other, images, tracked.windows[None], tracker.cameras).frames
                networks.append(status | _record(predicted, shape))
            yield tuple(networks)


def _record(prediction: FramePredictions | None, shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Return the fields (1, V, K, 3) of `prediction_record`; NaN while the subject is lost."""
    if prediction is None:
        return dict.fromkeys(("keypoints", *FUSED, *STATED), np.full((1, *shape), np.nan))
    return prediction_record(prediction)


def _read_together(videos: Sequence[Video], start: int) -> Generator[tuple[_Image, ...]]:
    with ExitStack() as stack:
        streams = [stack.enter_context(closing(prefetch(_read(video, start), _FRAMES_AHEAD))) for video in videos]
        yield from zip_longest(*streams, fillvalue=(None, Status.ENDED))


def _read(video: Video, start: int) -> Generator[_Image]:
    with closing(read_frames(video, start)) as images:
        for frame, image in enumerate(images, start):
            missing = Status.NOT_DECODABLE if video.has_image(frame) else Status.NO_IMAGE
            yield image, missing if image is None else Status.PREDICTED
