"""Frames of the videos that a list names, in place of those that are chosen by their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mvgeom.errors import InputError
from mvgeom.videos import Video
from mvgeom.wording import counted
from mvtrain.predict.recordings import Session
from mvtrain.project.frame_rows import FrameRows
from mvtrain.project.listed_frames import ListedFrame
from mvtrain.start.chosen_table import ChosenFrame, frame_time
from mvtrain.start.session_choice import SessionChoice, common_length


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
