"""Command `mvtrain frames`: choose frames of the videos or take listed ones, and add them to a project in all views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mvgeom.errors import InputError
from mvgeom.temporary import publish, temporary_folder
from mvgeom.videos import Video, read_frames
from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.exchange.foreign_labels import DecodedImage
from mvtrain.exchange.media import write_images
from mvtrain.predict.predictor import choose_device
from mvtrain.predict.recordings import Session, early_end, find_calibration, find_sessions
from mvtrain.predict.run_predict import print_warning
from mvtrain.predict.session import Job, open_videos
from mvtrain.project.calibrations import load_view_clocks
from mvtrain.project.frame_rows import FrameRows, adding_frames, append_frames, new_rows, read_frame_rows
from mvtrain.project.label_tables import image_name
from mvtrain.project.listed_frames import ListedFrame, read_listed_frames
from mvtrain.runtime.messages import command
from mvtrain.start.frame_measures import REASONS, BackboneFeatures, load_features
from mvtrain.start.session_choice import (
    SessionChoice,
    add_to_table,
    check_sessions,
    choose_in_session,
    common_length,
    read_known_frames,
    share_frames,
    take_given,
)

DEFAULT_NUMBER = 50
"""Number of frames to choose if none is given."""


@dataclass(frozen=True, kw_only=True)
class FramesOptions:
    """Options of the command.

    Attributes:
        num_frames: Number of frames to add, over all sessions; None: all that `listed` has, else `DEFAULT_NUMBER`.
        listed: CSV file of the frames to add, in place of a choice; None chooses.
        sessions: Names of the sessions to take frames of; empty: all.
        videos: Folders, videos or patterns of them; empty: the videos of the project.
        run: Run folder whose backbone compares the images; None: the config's backbone if its weights are on this
            computer, else small images.
        small_images: Compare small images, also where there is a backbone.
        seed: Random seed of the frames that are looked at.
        by_time: True if the images of a session's videos belong together by their times, False by number.
        device: Device for the backbone; None takes a GPU if there is one.
        dry_run: Print the choice, and write nothing.
    """

    num_frames: int | None = None
    listed: Path | None = None
    sessions: tuple[str, ...] = ()
    videos: tuple[Path, ...] = ()
    run: Path | None = None
    small_images: bool = False
    seed: int = 0
    by_time: bool = True
    device: str | None = None
    dry_run: bool = False


def add_frames(config: Config, options: FramesOptions, console: Console) -> None:
    """Choose frames or take the listed ones, write their images, and append rows without labels to the label tables.

    Nothing is written before all frames are chosen and decoded; existing rows stay as they are, byte for byte.

    Args:
        config: Config of the project.
        options: Options of the command.
        console: Console for progress and results.

    Raises:
        InputError: The project or a video cannot be read, the project stores crops (`bad-value`), there is no such
            session (`unknown-choice`), no session is complete (`missing-view`), another process adds frames
            (`busy-folder`), or the list cannot be read or names a frame that a video does not have (`missing-frame`).
    """
    if config.data.bbox_file is not None:
        raise InputError(
            f"data.bbox_file: the images of {config.data.data_dir} are crops, and new frames have no boxes. Add frames "
            "to the project with whole images, and crop it again with mvtrain crop",
            code="bad-value",
            key="data.bbox_file",
        )
    sessions = find_film_sessions(config, read_frame_rows(config), options, console)
    listed = None if options.listed is None else _read_list(options.listed, sessions, options)
    features, name = (None, str(options.listed)) if listed is not None else _load_features(config, options, console)
    root = read_frame_rows(config).root
    with adding_frames(root):
        rows = read_frame_rows(config)
        if options.listed is not None and listed is not None:
            named = {frame.session for frame in listed}
            opened = _open([session for session in sessions if session.name in named], rows, options, console)
            choices = take_given(options.listed, listed, rows, opened, options.num_frames, console)
        else:
            choices = _choose(rows, _open(sessions, rows, options, console), features, options, console)
            _print_choices(choices, console)
        chosen = [frame for choice in choices for frame in choice.frames]
        if chosen and not options.dry_run:
            _write(config, rows, choices, console)
            add_to_table(rows.root, chosen, name)
    if listed is None and len(chosen) < (wanted := options.num_frames or DEFAULT_NUMBER):
        console.print(
            f"note: found {len(chosen)} of {wanted} frames. The others are unusable or near-duplicates",
            soft_wrap=True,
        )
    _print_end(rows, len(chosen), options, console)


def _read_list(path: Path, sessions: Sequence[Session], options: FramesOptions) -> list[ListedFrame]:
    """Read the list of frames; with `--session`, those of these sessions."""
    listed = read_listed_frames(path)
    if options.sessions:
        return [frame for frame in listed if frame.session in options.sessions]
    check_sessions(path, listed, sessions)
    return listed


def _load_features(config: Config, options: FramesOptions, console: Console) -> tuple[BackboneFeatures | None, str]:
    """Return what frames are compared by, and its name, which is printed."""
    features = None if options.small_images else load_features(config, options.run, choose_device(options.device))
    name = "small images" if features is None else f"backbone {features.name}"
    console.print(f"comparing frames by {name}", soft_wrap=True)
    return features, name


def _print_end(rows: FrameRows, number: int, options: FramesOptions, console: Console) -> None:
    """Print what was written, and the next command."""
    if options.dry_run:
        found = "" if options.listed is None else f"{counted(number, 'new frame')}; "
        console.print(f"{found}nothing was written (--dry-run)", soft_wrap=True)
        return
    root = rows.root
    here = root.relative_to(Path.cwd()) if root.is_relative_to(Path.cwd()) else root
    # A list of which a part was taken names frames that the project does not have.
    whole = options.listed is not None and options.num_frames is None and not options.sessions
    order = ("--frames", options.listed) if whole else ()
    console.print(
        f"wrote {counted(number, 'frame')} of {counted(len(rows.view_names), 'view')} to {here}, which has "
        f"{len(rows) + number} now. Next: {command('mvtrain', 'label', here, *order)}",
        soft_wrap=True,
    )


def find_film_sessions(config: Config, rows: FrameRows, options: FramesOptions, console: Console) -> list[Session]:
    """Find the sessions to take frames of, and print those that are left out.

    Raises:
        InputError: As for `add_frames`.
    """
    videos = options.videos or (config.data.video_dir or rows.root / "videos",)
    found = find_sessions(videos, rows.view_names)
    known = {session.name: session for session in found.complete}
    for incomplete in found.incomplete:
        console.print(f"left out: {incomplete.problem}", soft_wrap=True)
    if note := found.ignored_note():
        console.print(f"left out: {note}", soft_wrap=True)
    for name in options.sessions:
        if name not in known:
            raise InputError(
                f"--session {name}: no such session with a video of every view, found {', '.join(known) or 'none'}",
                code="unknown-choice",
                option="--session",
                found=name,
                expected=tuple(known),
            )
    if not known:
        raise InputError(
            f"{', '.join(map(str, videos))}: no session has a video of every view, expected "
            f"{', '.join(rows.view_names)}",
            code="missing-view",
            expected=rows.view_names,
        )
    return [known[name] for name in dict.fromkeys(options.sessions or known)]


def _open(
    sessions: Sequence[Session], rows: FrameRows, options: FramesOptions, console: Console
) -> list[tuple[Session, tuple[Video, ...]]]:
    """Open the videos of all sessions, and sort these by their length, the shortest first."""
    opened = []
    for session in sessions:
        job = Job(
            session=session,
            boxes=(None,) * len(session.videos),
            calibration=None,
            out_dir=rows.root,
            by_time=options.by_time,
            clocks=load_view_clocks(find_calibration(session, None, rows.root), rows.view_names),
        )
        videos, warnings = open_videos(job)
        for warning in warnings:
            print_warning(console, f"session {session.name!r}: {warning}")
        longest = max(video.end for video in videos)
        for video in videos:
            if video.end < longest:
                print_warning(
                    console, f"{early_end(video.path, video.end, longest)}, so no frames are taken from there"
                )
        opened.append((session, videos))
    return sorted(opened, key=lambda each: common_length(each[1]))


def _choose(
    rows: FrameRows,
    sessions: Sequence[tuple[Session, tuple[Video, ...]]],
    features: BackboneFeatures | None,
    options: FramesOptions,
    console: Console,
) -> list[SessionChoice]:
    """Choose the frames of all sessions; what a short one lacks is taken from those after it."""
    known = read_known_frames(rows, features)
    choices: list[SessionChoice] = []
    lacking = 0
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # every view has a thread of its own
    try:
        with Progress(console=console, transient=True) as progress:
            shares = share_frames(options.num_frames or DEFAULT_NUMBER, len(sessions))
            for (session, videos), share in zip(sessions, shares, strict=True):
                if share == 0:
                    continue
                task = progress.add_task(session.name, total=common_length(videos))
                choice, known = choose_in_session(
                    session,
                    videos,
                    known,
                    share + lacking,
                    features=features,
                    seed=options.seed,
                    advance=lambda number, task=task: progress.update(task, completed=number),  # type: ignore[misc]
                )
                progress.remove_task(task)
                lacking += share - len(choice.frames)
                choices.append(choice)
    finally:
        cv2.setNumThreads(threads)
    return choices


def _write(config: Config, rows: FrameRows, choices: Sequence[SessionChoice], console: Console) -> None:
    """Write the images into a temporary folder, move them to their places, and append the rows."""
    names = [
        [image_name(choice.session.name, view, frame.frame) for view in rows.view_names]
        for choice in choices
        for frame in choice.frames
    ]
    new_rows(rows, names)  # says what is wrong before anything is written
    with temporary_folder(rows.root / "frames") as unfinished:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("images", total=len(names) * len(rows.view_names))
            for choice in choices:
                for view, video in zip(rows.view_names, choice.videos, strict=True):
                    numbers = [frame.frame for frame in choice.frames]
                    targets = [unfinished / image_name(choice.session.name, view, number) for number in numbers]
                    extract_frames(video, dict(zip(numbers, targets, strict=True)), lambda: progress.advance(task))
        for name in (name for by_view in names for name in by_view):
            target = rows.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            publish(unfinished / name, target)
        # Read again, because labeling may have gone on for minutes.
        now = read_frame_rows(config)
        frames = [(choice.session.name, frame.frame) for choice in choices for frame in choice.frames]
        there = set(now.frames())
        append_frames(now, [by_view for frame, by_view in zip(frames, names, strict=True) if frame not in there])


def extract_frames(
    video: Video,
    targets: Mapping[int, Path],
    advance: Callable[[], object],
    boxes: Mapping[int, np.ndarray] | None = None,
) -> None:
    """Write frames of a video as PNG, in the reading that they were chosen in.

    Args:
        video: Video.
        targets: Files to write, by the number of the frame.
        advance: Called after each of them.
        boxes: (4,) x, y, width, height of the part of each frame in whole px; None: whole images.

    Raises:
        InputError: A frame cannot be decoded (`damaged-file`), or the video ends before it (`missing-frame`).
    """
    last, number = max(targets, default=-1), -1
    with closing(read_frames(video, is_wanted=targets.__contains__)) as images:
        for number, image in zip(range(last + 1), images, strict=False):
            if number in targets:
                if image is None:
                    raise InputError(
                        f"{video.path}: frame {number} cannot be decoded",
                        code="damaged-file",
                        path=video.path,
                        frame=number,
                    )
                if boxes is not None:
                    left, top, width, height = boxes[number].astype(int)
                    image = image[top : top + height, left : left + width]
                decoded = DecodedImage(name=str(video.path), read=partial(cv2.cvtColor, image, cv2.COLOR_BGR2RGB))
                write_images({targets[number]: decoded}, advance)
    if number < last:
        raise InputError(
            f"{video.path}: there is no frame {last}: the video ends after {counted(number + 1, 'frame')}",
            code="missing-frame",
            path=video.path,
            frame=last,
            num_frames=number + 1,
        )


def _print_choices(choices: Sequence[SessionChoice], console: Console) -> None:
    """Print what was looked at, left out and chosen, by session."""
    table = Table("session", "looked at", *REASONS, "near-duplicates", "chosen", box=None)
    for choice in choices:
        counts = [choice.num_candidates, *(choice.faults[reason] for reason in REASONS), choice.num_twins]
        table.add_row(choice.session.name, *map(str, counts), str(len(choice.frames)))
    console.print(table)
    for choice in choices:
        for line in choice.ignored:
            console.print(f"note: {line}", soft_wrap=True)
