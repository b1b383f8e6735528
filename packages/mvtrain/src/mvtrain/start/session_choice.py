"""Choice of frames over the sessions of a project, beside the frames that it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from mvgeom.videos import Video
from mvtrain.check.image_scan import SIDE, thumbnail
from mvtrain.predict.recordings import Session
from mvtrain.project.frame_rows import FrameRows
from mvtrain.project.images import read_image
from mvtrain.start.candidates import film_times, sample_numbers, scan_candidates
from mvtrain.start.choose_frames import Appearance, choose_frames
from mvtrain.start.chosen_table import ChosenFrame, frame_time
from mvtrain.start.frame_features import BackboneFeatures
from mvtrain.start.frame_quality import REASONS, find_faults

_PER_FRAME = 20
"""Frames that are looked at for each one to be chosen."""

_LEAST, _MOST = 300, 2000
"""Bounds of the number of frames of a session that are looked at."""

_MOST_WITH_BACKBONE = 600
"""The same with a backbone, which takes longer for an image than its decoding does."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownFrames:
    """Frames that new ones must differ from: those of the project, and those chosen so far.

    Attributes:
        frames: Session and frame number of each; None for an image without a number in its name.
        appearance: Appearance of the frames, without times.
    """

    frames: tuple[tuple[str, int | None], ...]
    appearance: Appearance

    def of_session(self, session: str) -> list[int]:
        """Return the frame numbers of a session."""
        return [number for name, number in self.frames if name == session and number is not None]

    def seen_from(self, session: str, num_frames: int) -> Appearance:
        """Return the appearance with times in a session's film; NaN for frames of other films."""
        numbers = [number if name == session else None for name, number in self.frames]
        times = np.array([np.nan if number is None else number for number in numbers], dtype=np.float64)
        return replace(self.appearance, times=film_times(times, num_frames))


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionChoice:
    """Chosen frames of a session.

    Attributes:
        session: Session.
        videos: Its videos, in the order of the views.
        frames: Chosen frames, by frame number.
        num_candidates: Number of frames that were looked at.
        faults: Number of candidates that were left out, by reason.
        num_twins: Number of candidates that are near-duplicates of chosen or existing frames.
        ignored: Messages about faults that nearly all images of a view have.
    """

    session: Session
    videos: tuple[Video, ...]
    frames: tuple[ChosenFrame, ...]
    num_candidates: int
    faults: Counter[str]
    num_twins: int
    ignored: tuple[str, ...]


def share_frames(num_frames: int, num_sessions: int) -> list[int]:
    """Return how many frames each session gives: as evenly as possible, spread over the list if there are too few."""
    places = np.arange(num_frames) * num_sessions // max(1, num_frames)
    return [int(count) for count in np.bincount(places, minlength=num_sessions)]


def common_length(videos: Sequence[Video]) -> int:
    """Return the number of frames up to the end of the shortest video."""
    return min(video.end for video in videos)


def choose_in_session(
    session: Session,
    videos: Sequence[Video],
    known: KnownFrames,
    num_frames: int,
    *,
    features: BackboneFeatures | None,
    seed: int,
    advance: Callable[[int], object] = lambda number: None,
) -> tuple[SessionChoice, KnownFrames]:
    """Choose frames of one session.

    Args:
        session: Session to take frames of.
        videos: Its videos, in the order of the views.
        known: Frames that the project has.
        num_frames: Number of frames to choose.
        features: Backbone that compares images; None compares thumbnails.
        seed: Random seed of the frames that are looked at.
        advance: Function that is called with the number of the frame that was looked at.

    Returns:
        The choice, with fewer frames where all others are unusable or near-duplicates; and the known frames with the
        chosen ones.
    """
    length = common_length(videos)
    most = min(_MOST, max(_LEAST, _PER_FRAME * num_frames))
    if features is not None:
        most = max(min(most, _MOST_WITH_BACKBONE), num_frames)
    numbers = sample_numbers(length, most, seed, session.name, known.of_session(session.name))
    scanned = scan_candidates(videos, numbers, length, features, advance)
    faults, ignored = find_faults(scanned.measures)
    # A frame counts by its first fault in any view.
    worst = np.where(faults < 0, len(REASONS), faults).min(axis=1, initial=len(REASONS))
    usable = np.flatnonzero(worst == len(REASONS))
    appearance = _take(scanned.appearance, usable)
    chosen = choose_frames(appearance, known.seen_from(session.name, length), num_frames)
    frames = [
        ChosenFrame(
            session=session.name,
            frame=int(scanned.numbers[usable[row]]),
            time=frame_time(videos, int(scanned.numbers[usable[row]])),
            order=order,
            novelty=float(novelty),
        )
        for order, (row, novelty) in enumerate(zip(chosen.rows, chosen.novelty, strict=True), start=1)
    ]
    choice = SessionChoice(
        session=session,
        videos=tuple(videos),
        frames=tuple(sorted(frames, key=lambda frame: frame.frame)),
        num_candidates=len(numbers),
        faults=Counter(REASONS[fault] for fault in worst if fault < len(REASONS)),
        num_twins=chosen.num_twins,
        ignored=tuple(
            f"{videos[view].path.name}: {share:.0%} of the images are {reason}, so that this is not counted as a fault"
            for (reason, view), share in ignored.items()
        ),
    )
    return choice, _add(known, [(frame.session, frame.frame) for frame in frames], _take(appearance, chosen.rows))


def read_known_frames(rows: FrameRows, features: BackboneFeatures | None) -> KnownFrames:
    """Read the images of a project's frames; an image that cannot be read is one that a frame does not have.

    Args:
        rows: Label tables of the project.
        features: Backbone that compares images; None compares thumbnails.
    """
    shape = (len(rows), len(rows.view_names))
    thumbnails, readable = np.zeros((*shape, SIDE**2), np.uint8), np.zeros(shape, dtype=bool)
    described: dict[tuple[int, int], np.ndarray] = {}
    for row, view in np.ndindex(*shape):
        name = rows.tables[view].image_names[row]
        if name is None or not (path := rows.root / name.replace("\\", "/")).is_file():
            continue
        image = read_image(Path(path))
        thumbnails[row, view], readable[row, view] = thumbnail(image).ravel(), True
        if features is not None:
            prepared = features.prepare(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            described[row, view] = features.describe(prepared[None])[0]
    values: np.ndarray = thumbnails
    if features is not None:
        values = np.zeros((*shape, features.num_features), np.float32)
        for place, description in described.items():
            values[place] = description
    appearance = Appearance(thumbnails=thumbnails, features=values, readable=readable, times=np.full(shape[0], np.nan))
    return KnownFrames(frames=tuple(rows.frames()), appearance=appearance)


def _take(appearance: Appearance, rows: np.ndarray) -> Appearance:
    return Appearance(
        thumbnails=appearance.thumbnails[rows],
        features=appearance.features[rows],
        readable=appearance.readable[rows],
        times=appearance.times[rows],
    )


def _add(known: KnownFrames, frames: Sequence[tuple[str, int | None]], appearance: Appearance) -> KnownFrames:
    first = known.appearance
    return KnownFrames(
        frames=(*known.frames, *frames),
        appearance=Appearance(
            thumbnails=np.concatenate([first.thumbnails, appearance.thumbnails]),
            features=np.concatenate([first.features, appearance.features]),
            readable=np.concatenate([first.readable, appearance.readable]),
            times=np.concatenate([first.times, appearance.times]),
        ),
    )
