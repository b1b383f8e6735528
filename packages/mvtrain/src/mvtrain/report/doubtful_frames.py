"""Frames of predicted videos that need a hand most, as the list `worst_frames.csv` beside the report."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvgeom.files import write_text
from mvtrain.predict.saved_predictions import PredictedSession

WORST_FRAMES = "worst_frames.csv"

DISAGREEMENT = 5.0
"""Reprojection error in px beyond which a keypoint needs a hand, as on the labeling page."""

_COLUMNS = ("session", "frame", "work", "error", "likelihood", "why")

_NUM_FRAMES = 50
"""Largest number of frames of a list."""

_APART = 0.2
"""Smallest time in s between two frames of a list; nearer ones look alike."""

_USUAL_RATE = 30.0
"""Frames per second where the videos cannot be read any more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Doubts:
    """Doubts about the T predicted frames of a recording.

    Attributes:
        session: Name of the recording.
        work: (T,) keypoints that need a hand, over all views: 1 - likelihood of each, 1 where it disagrees with the
            other views; NaN where a view has no prediction.
        error: (T,) mean reprojection errors in full-image px; NaN without calibration.
        likelihood: (T,) mean likelihoods.
        worst: T names of the worst keypoint and its view.
        worst_error: (T,) reprojection errors of the worst keypoints; NaN without calibration.
        worst_likelihood: (T,) their likelihoods.
        apart: Smallest distance in frames between two that are listed.
    """

    session: str
    work: np.ndarray
    error: np.ndarray
    likelihood: np.ndarray
    worst: Sequence[str]
    worst_error: np.ndarray
    worst_likelihood: np.ndarray
    apart: int

    def why(self, frame: int) -> str:
        """Return a sentence about the worst keypoint of a frame."""
        if self.worst_error[frame] > DISAGREEMENT:
            return f"{self.worst[frame]} is {self.worst_error[frame]:.1f} px from the projection of the 3D point"
        return f"{self.worst[frame]} has a likelihood of {np.nan_to_num(self.worst_likelihood[frame]):.2f}"


def find_doubts(predicted: PredictedSession, error: np.ndarray | None, rate: float | None) -> Doubts:
    """Measure how much of each predicted frame needs a hand.

    Args:
        predicted: Predictions of T frames in V views.
        error: (T, V, K) reprojection errors in full-image px, NaN where missing; None without calibration.
        rate: Frames per second; None where it is not known.
    """
    likelihood = predicted.likelihood
    error = np.full(likelihood.shape, np.nan) if error is None else error
    disagrees = np.nan_to_num(error) > DISAGREEMENT
    doubt = np.where(disagrees, 1.0, 1 - np.clip(np.nan_to_num(likelihood), 0, 1))
    seen = np.isfinite(likelihood).any(axis=2).all(axis=1)
    # Of keypoints that disagree the farthest is the worst, and any of them is worse than one that does not.
    flat = (len(doubt), -1)
    worst = np.where(disagrees, 1 + np.nan_to_num(error), doubt).reshape(flat).argmax(axis=1)
    names = [f"{keypoint} in {view}" for view in predicted.view_names for keypoint in predicted.keypoint_names]
    frames = np.arange(len(doubt))
    return Doubts(
        session=predicted.name,
        work=np.where(seen, doubt.sum(axis=(1, 2)), np.nan),
        error=_means(error),
        likelihood=_means(likelihood),
        worst=[names[number] for number in worst],
        worst_error=error.reshape(flat)[frames, worst],
        worst_likelihood=likelihood.reshape(flat)[frames, worst],
        apart=max(1, round(_APART * (rate or _USUAL_RATE))),
    )


def write_worst_frames(path: Path, doubts: Sequence[Doubts], known: Collection[tuple[str, int | None]]) -> int:
    """Write the list of the frames that need a hand most, those with most work first.

    Args:
        path: CSV file to write.
        doubts: Doubts about the recordings.
        known: Session and number of frames to leave out, because the project has them.

    Returns:
        Number of frames.

    Raises:
        InputError: The file cannot be written.
    """
    candidates = [
        (float(each.work[frame]), number, frame)
        for number, each in enumerate(doubts)
        for frame in _spread(each, [frame for session, frame in known if session == each.session and frame is not None])
    ]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    chosen = sorted(candidates, key=lambda each: (-each[0], *each[1:]))[:_NUM_FRAMES]
    for work, number, frame in chosen:
        each = doubts[number]
        error = "" if np.isnan(each.error[frame]) else f"{each.error[frame]:.2f}"
        writer.writerow([each.session, frame, f"{work:.2f}", error, f"{each.likelihood[frame]:.3f}", each.why(frame)])
    write_text(path, text.getvalue())
    return len(chosen)


def _spread(doubts: Doubts, known: Sequence[int]) -> list[int]:
    """Return the frames with most work; of frames close to each other, or to known ones, only the first."""
    free = np.isfinite(doubts.work) & (doubts.work > 0)
    for frame in known:
        free[max(0, frame - doubts.apart + 1) : frame + doubts.apart] = False
    chosen: list[int] = []
    for frame in np.argsort(-np.nan_to_num(doubts.work), kind="stable").tolist():
        if free[frame]:
            chosen.append(frame)
            free[max(0, frame - doubts.apart + 1) : frame + doubts.apart] = False
            if len(chosen) == _NUM_FRAMES:
                break
    return chosen


def _means(values: np.ndarray) -> np.ndarray:
    """Return (T,) means over views and keypoints of the values that are there; NaN where there is none."""
    known = np.isfinite(values)
    count = known.sum(axis=(1, 2))
    return np.where(count > 0, np.where(known, values, 0).sum(axis=(1, 2)) / np.maximum(count, 1), np.nan)
