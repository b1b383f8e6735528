"""Choice of frames over the sessions of a project, by their images or by a list, and the table `frames.csv` of it."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

from mvgeom.errors import InputError
from mvgeom.files import read_text, replace_file, write_text
from mvgeom.tables import find_delimiter, has_decimal_commas
from mvgeom.videos import Video, frame_rate
from mvgeom.wording import counted
from mvtrain.check.image_checks import SIDE, thumbnail
from mvtrain.predict.recordings import Session
from mvtrain.project.frame_rows import FrameRows, rows_as_csv
from mvtrain.project.images import read_image
from mvtrain.project.label_tables import image_name
from mvtrain.project.listed_frames import ListedFrame
from mvtrain.start.choose_frames import Appearance, choose_frames, film_times, sample_numbers, scan_candidates
from mvtrain.start.frame_measures import REASONS, BackboneFeatures, find_faults

CHOSEN_FRAMES = "frames.csv"

_COLUMNS = ("image", "session", "frame", "time_s", "order", "novelty", "features")
_DECIMALS = ("time_s", "novelty")
"""Columns whose numbers have decimals."""

_PER_FRAME = 20
"""Frames that are looked at for each one to be chosen."""

_LEAST, _MOST = 300, 2000
"""Bounds of the number of frames of a session that are looked at."""

_MOST_WITH_BACKBONE = 600
"""The same with a backbone, which takes longer for an image than its decoding does."""


@dataclass(frozen=True, kw_only=True)
class ChosenFrame:
    """A frame that was chosen.

    Attributes:
        session: Name of the session.
        frame: Frame number, from 0.
        time: Time in s from the start of the film, see `frame_time`; None where the videos have neither times nor rate.
        order: Position in the choice of its session, from 1: the first ones cover the film best.
        novelty: Distance to the nearest frame of the project and of those chosen before, 1 for two typical frames of
            the film; infinite where there is none.
    """

    session: str
    frame: int
    time: float | None
    order: int
    novelty: float


def frame_time(videos: Sequence[Video], frame: int) -> float | None:
    """Return the time of a frame in s from the start of the film, as the file has it.

    A rate in a header is a mean, which is wrong where the rate varies or images are missing.

    Args:
        videos: Videos of a session; that of the first one that begins with frame 0 counts.
        frame: Frame number, from 0.

    Returns:
        The time; None where the video has neither times nor a rate.
    """
    video = next((video for video in videos if video.has_image(0)), videos[0])
    image = video.image_of(frame)
    if video.is_regular and image is not None:
        return float(video.times[image]) / 1000
    rate = frame_rate(video)
    return frame / rate if rate > 0 else None


def add_to_table(root: Path, frames: Sequence[ChosenFrame], features: str) -> None:
    """Append frames to the table, or begin it.

    A table that exists keeps its bytes. New rows have its columns, delimiter, line ends and decimal separator, which a
    spreadsheet may have changed.

    Args:
        root: Project folder.
        frames: Chosen frames.
        features: Name of what frames were compared by.

    Raises:
        InputError: The table cannot be read or written.
    """
    path = root / CHOSEN_FRAMES
    table = read_text(path) if path.exists() else ""
    if not table.strip():
        rows = [[cells[name] for name in _COLUMNS] for cells in (_cells(frame, features) for frame in frames)]
        write_text(path, rows_as_csv([_COLUMNS, *rows], b"\n"))
        return
    delimiter = find_delimiter(table)
    try:
        header, *present = [row for row in csv.reader(io.StringIO(table, newline=""), delimiter=delimiter) if row]
    except csv.Error as error:
        raise InputError(f"{path}: not CSV: {error}", code="invalid-syntax", path=path) from error
    names = [name.strip() for name in header]
    numbers = [number for number, name in enumerate(names) if name in _DECIMALS]
    values = (row[number] for row in present for number in numbers if number < len(row))
    decimal = "," if has_decimal_commas(path, delimiter, values) else "."
    rows = []
    for frame in frames:
        cells = _cells(frame, features)
        cells |= {name: cells[name].replace(".", decimal) for name in _DECIMALS}
        rows.append([cells.get(name, "") for name in names])
    content = path.read_bytes()
    added = rows_as_csv(rows, content).encode()
    replace_file(path, lambda temporary: temporary.write_bytes(content + added))


def _cells(frame: ChosenFrame, features: str) -> dict[str, str]:
    """Return the cells of a frame by their columns."""
    return {
        "image": image_name(frame.session, None, frame.frame),
        "session": frame.session,
        "frame": str(frame.frame),
        "time_s": "" if frame.time is None else f"{frame.time:.3f}",
        "order": str(frame.order),
        "novelty": f"{frame.novelty:.3f}" if math.isfinite(frame.novelty) else "",
        "features": features,
    }


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


def most_candidates(num_frames: int, *, with_backbone: bool) -> int:
    """Return how many frames of a session are looked at to choose some: never fewer than these."""
    most = _MOST_WITH_BACKBONE if with_backbone else _MOST
    return max(num_frames, min(most, max(_LEAST, _PER_FRAME * num_frames)))


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
    most = most_candidates(num_frames, with_backbone=features is not None)
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


def take_given(
    path: Path,
    listed: Sequence[ListedFrame],
    rows: FrameRows,
    sessions: Sequence[tuple[Session, tuple[Video, ...]]],
    num_frames: int | None,
    console: Console,
) -> list[SessionChoice]:
    """Return the listed frames that the project does not have yet, and print how many it has.

    Args:
        path: File of the list, for messages.
        listed: Frames of the list, in its order.
        rows: Label tables of the project.
        sessions: Sessions with their videos.
        num_frames: Number of frames to take from the beginning of the list, beside those that are there; None: all.
        console: Console for the notes.

    Raises:
        InputError: A video ends before a frame (`missing-frame`).
    """
    there = set(rows.frames())
    new = [frame for frame in listed if (frame.session, frame.frame) not in there]
    if len(new) < len(listed):
        console.print(
            f"in the project already: {len(listed) - len(new)} of {len(listed)} frames of {path}", soft_wrap=True
        )
    new = new[:num_frames]
    choices = []
    for session, videos in sessions:
        own = [frame for frame in new if frame.session == session.name]
        length = common_length(videos)
        late = next((frame for frame in own if frame.frame >= length), None)
        if late is not None:
            raise InputError(
                f"{path}, line {late.line}: there is no frame {late.frame} in session {session.name!r}: a video ends "
                f"after {counted(length, 'frame')}. Frames are numbered from 0, as mvtrain predict does",
                code="missing-frame",
                path=path,
                line=late.line,
                frame=late.frame,
                num_frames=length,
            )
        if own:
            choices.append(_choice(session, videos, own))
    return choices


def check_sessions(path: Path, listed: Sequence[ListedFrame], sessions: Sequence[Session]) -> None:
    """Check that the videos of all listed sessions are there.

    Raises:
        InputError: A session has no video of every view (`unknown-choice`).
    """
    names = tuple(session.name for session in sessions)
    for frame in listed:
        if frame.session not in names:
            raise InputError(
                f"{path}, line {frame.line}: no such session with a video of every view, found {frame.session!r}, "
                f"expected one of {', '.join(names)}. Give the folder of its videos with --videos",
                code="unknown-choice",
                path=path,
                line=frame.line,
                found=frame.session,
                expected=names,
            )


def _choice(session: Session, videos: tuple[Video, ...], listed: Sequence[ListedFrame]) -> SessionChoice:
    frames = [
        ChosenFrame(
            session=session.name,
            frame=frame.frame,
            time=frame_time(videos, frame.frame),
            order=order,
            novelty=float("inf"),
        )
        for order, frame in enumerate(listed, start=1)
    ]
    return SessionChoice(
        session=session,
        videos=videos,
        frames=tuple(sorted(frames, key=lambda frame: frame.frame)),
        num_candidates=len(frames),
        faults=Counter(),
        num_twins=0,
        ignored=(),
    )
