"""Following the subject: each view is cropped about the projection of the last 3D pose."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np

from mvgeom import CameraGroup
from mvtrain.predict.labeled_images import predict_rows
from mvtrain.predict.predictor import Predictor
from mvtrain.predict.search import Framing, find_subject, judge, learn_framing, look
from mvtrain.predict.timing import Stopwatch
from mvtrain.predict.video import Video, read_frames
from mvtrain.predict.video_batches import Status
from mvtrain.project.project import Project
from mvtrain.runtime.prefetch import prefetch

_FRAMES_AHEAD = 4
_NUM_REFERENCES = 32
_FOUND = 0.5
_LOST = 0.3
"""Shares of the score on labelled frames: what counts as found by a search, and below what a pose is not believed."""

_PATIENCE = 3
"""Poses in a row that are not believed before the subject counts as lost."""

_FIRST_PAUSE, _LONGEST_PAUSE = 8, 256
"""Frames between two searches for a subject that is not there: twice as many each time."""

_NUMBERS = ("known", "doubts", "pause", "countdown")


@dataclass(frozen=True, kw_only=True)
class TrackingReference:
    """What tracking knows from the labelled frames of a run.

    Attributes:
        framing: of the training images.
        score: median of what the network reaches on them, see `pose_score.Views`.
    """

    framing: Framing
    score: float


def learn_reference(predictor: Predictor, labelled: Project) -> TrackingReference:
    """What tracking needs to know, from the project that a network was trained on.

    Raises:
        ValueError: see `learn_framing`.
    """
    framing = learn_framing(labelled)
    assert labelled.boxes is not None
    calibrated = [row for row, cameras in enumerate(labelled.cameras) if cameras is not None]
    rows = np.array(calibrated)[:: max(1, len(calibrated) // _NUM_REFERENCES)]
    found = predict_rows(predictor, labelled, rows)
    scores = []
    for number, row in enumerate(found.index):
        cameras = labelled.cameras[row]
        assert cameras is not None
        scores.append(judge(found.points[number], found.confidence[number], labelled.boxes[row], cameras)[1])
    return TrackingReference(framing=framing, score=float(np.median(scores)))


@dataclass(kw_only=True)
class TrackState:
    """Where the subject is: all that the next moment depends on.

    Attributes:
        pose: (K, 3) the last one believed, NaN where missing.
        velocity: (3,) of its median, per moment.
        known: whether it is being followed.
        doubts: poses in a row that were not believed.
        pause: moments from the next search, should it fail, to the one after.
        countdown: moments to the next search, while lost.
    """

    pose: np.ndarray
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(3))
    known: bool = False
    doubts: int = 0
    pause: int = _FIRST_PAUSE
    countdown: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackedFrame:
    """What tracking says about a moment.

    Attributes:
        keypoints: (V, K, 3) x, y in frame px and confidence; NaN where a view shows nothing, everywhere while lost.
        status: (V,) of `Status`.
        windows: (V, 4) boxes that were looked at; NaN while lost.
    """

    keypoints: np.ndarray
    status: np.ndarray
    windows: np.ndarray


class Tracker:
    """Follows one subject through the moments of a recording.

    Args:
        predictor: the network.
        cameras: V cameras.
        reference: from the labelled frames.
        state: to go on from; None: nothing is known.
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

    def step(self, frames: Sequence[np.ndarray | None], missing: Sequence[Status]) -> TrackedFrame:
        """Predict the next moment.

        Args:
            frames: (h, w, 3) uint8 BGR per view; None where a view has no frame.
            missing: why a view has no frame; not looked at for the others.
        """
        state = self.state
        if not state.known:
            self._search(frames)
        if not state.known:
            return self._nothing(frames, missing)
        expected = state.pose + state.velocity
        windows = self.reference.framing.about_pose(expected, self.cameras)
        found = look(self.predictor, frames, windows[None], self.cameras)
        self._update(found.poses[0], float(found.scores[0]))
        absent = np.array([frame is None for frame in frames])
        status = np.where(absent, missing, found.status[0]).astype(np.uint8)
        return TrackedFrame(keypoints=found.keypoints[0], status=status, windows=windows)

    def _search(self, frames: Sequence[np.ndarray | None]) -> None:
        state = self.state
        if state.countdown > 0:
            state.countdown -= 1
            return
        last = state.pose[np.isfinite(state.pose).all(-1)]
        sighting = find_subject(
            self.predictor,
            frames,
            self.cameras,
            self.reference.framing,
            near=np.median(last, axis=0) if len(last) else None,
            accepted_score=_FOUND * self.reference.score,
        )
        if sighting is None:
            state.countdown, state.pause = state.pause, min(2 * state.pause, _LONGEST_PAUSE)
        else:
            state.pose, state.velocity = sighting.pose, np.zeros(3)
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
        if state.doubts >= _PATIENCE:
            state.known, state.countdown = False, 0

    def _nothing(self, frames: Sequence[np.ndarray | None], missing: Sequence[Status]) -> TrackedFrame:
        shape = (len(frames), len(self.state.pose), 3)
        status = [why if frame is None else Status.LOST for frame, why in zip(frames, missing, strict=True)]
        return TrackedFrame(
            keypoints=np.full(shape, np.nan),
            status=np.array(status, dtype=np.uint8),
            windows=np.full((len(frames), 4), np.nan),
        )


def track_fields(num_views: int, num_keypoints: int) -> list[tuple[str, Any, tuple[int, ...]]]:
    """What a record of a followed moment has beside the keypoints: the boxes, and the state after it."""
    numbers = [(name, np.int64, ()) for name in _NUMBERS]
    return [
        ("windows", np.float64, (num_views, 4)),
        ("pose", np.float64, (num_keypoints, 3)),
        ("velocity", np.float64, (3,)),
        *numbers,
    ]


def state_of(record: np.ndarray) -> TrackState:
    """The state after a moment, from its record."""
    return TrackState(
        pose=record["pose"].copy(),
        velocity=record["velocity"].copy(),
        known=bool(record["known"]),
        **{name: int(record[name]) for name in _NUMBERS if name != "known"},
    )


def track_frames(
    tracker: Tracker, videos: Sequence[Video], start: int, stopwatch: Stopwatch
) -> Generator[dict[str, np.ndarray]]:
    """Follow the subject through videos, which are decoded ahead in threads of their own.

    Args:
        tracker: with the state that belongs to the first moment wanted.
        videos: one per view.
        start: first moment wanted.
        stopwatch: told of the time spent `waiting` for frames.

    Yields:
        The fields of one record after the other, each with a batch dimension of 1.
    """
    with closing(stopwatch.each("waiting", _read_together(videos, start))) as moments:
        for views in moments:
            moment = tracker.step([frame for frame, _ in views], [status for _, status in views])
            fields = {name: np.asarray(getattr(moment, name)) for name in ("keypoints", "status", "windows")}
            fields |= {name: np.asarray(getattr(tracker.state, name)) for name in ("pose", "velocity", *_NUMBERS)}
            yield {name: value[None] for name, value in fields.items()}


_Frame = tuple[np.ndarray | None, Status]


def _read_together(videos: Sequence[Video], start: int) -> Generator[tuple[_Frame, ...]]:
    with ExitStack() as stack:
        streams = [stack.enter_context(closing(prefetch(_read(video, start), _FRAMES_AHEAD))) for video in videos]
        yield from zip_longest(*streams, fillvalue=(None, Status.ENDED))


def _read(video: Video, start: int) -> Generator[_Frame]:
    with closing(read_frames(video, start)) as frames:
        for frame in frames:
            yield frame, Status.NOT_DECODABLE if frame is None else Status.PREDICTED
