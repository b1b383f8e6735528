"""Command `mvtrain pseudolabel`: predictions of videos without labels to frames that a network can learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mvgeom import CameraGroup, project, projected_covariance
from mvgeom.errors import InputError
from mvgeom.videos import Video
from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.model.decode import SIGMA
from mvtrain.predict.recordings import Session
from mvtrain.predict.run_predict import print_warning
from mvtrain.predict.saved_predictions import (
    PredictedSession,
    PredictionFiles,
    find_predictions,
    load_prediction_cameras,
    load_predictions,
)
from mvtrain.predict.session import Job, open_videos
from mvtrain.project.calibrations import load_view_clocks
from mvtrain.project.frame_rows import FrameRows, adding_frames, read_frame_rows
from mvtrain.project.label_tables import OCCLUDED, VISIBLE
from mvtrain.runtime.messages import command
from mvtrain.start.pseudolabel_files import Crops, ProjectedSession, write_pseudo_labels
from mvtrain.start.session_choice import common_length, share_frames

DEFAULT_NUMBER = 200
"""Number of frames to take if none is given."""

_SMOOTHED = "smoothed"
"""Folder beside the predictions in which `mvtrain predict --smooth` writes."""

_SEEN = 0.5
"""Likelihood from which a view counts as one that sees a keypoint; below it the label is that of an occluded one."""

_FAR = 3.0
"""Distance of what a view shows by itself from the label, in largest standard deviations, of a label worth 1."""

_LEAST_SHOWN = 10
"""Frames in which a view must show a keypoint for an offset of its projections."""

_NORMAL = 1.4826
"""Standard deviation of a normal distribution, relative to the median distance from its middle."""

_LEAST_KNOWN = 0.5
"""Share of the keypoints that must be known in a frame."""


@dataclass(frozen=True, kw_only=True)
class PseudolabelOptions:
    """Options of the command.

    Attributes:
        num_frames: Number of frames to take, over all sessions.
        sessions: Names of the sessions to take frames of; empty: all that were predicted.
        smoothed: Folder of the same recordings that `mvtrain smooth` wrote; None: the folder `smoothed` beside the
            predictions, if there is one, else the points of single frames.
        max_std: Largest standard deviation of a label in px of a view; None: that of the heatmaps' targets.
        by_time: True if the images of a session's videos belong together by their times, False by number.
        dry_run: Print the choice, and write nothing.
    """

    num_frames: int = DEFAULT_NUMBER
    sessions: tuple[str, ...] = ()
    smoothed: Path | None = None
    max_std: float | None = None
    by_time: bool = True
    dry_run: bool = False


def pseudolabel(config: Config, source: Path, options: PseudolabelOptions, console: Console) -> None:
    """Take frames of predicted videos with their points in 3D, projected into all views, as pseudo-labels.

    Frames are spread over the sessions and over time; of those near each other the one is taken whose labels the single
    views show least. Tables of pseudo-labels that exist are replaced, the project's own stay.

    Args:
        config: Config of a project; where it has crops, new frames are cropped in the same way.
        source: Folder that `mvtrain predict` wrote, or a run folder.
        options: Options of the command.
        console: Console for progress and results.

    Raises:
        InputError: The project cannot be read; the predictions are of other views (`views-differ`) or keypoints
            (`keypoints-differ`), or have no 3D (`no-calibration`); a session is not among them (`unknown-choice`), a
            video is gone (`missing-file`), or no frame is known well enough (`no-labels`). Of several sessions that are
            not named, those with such a fault are left out with a line.
    """
    rows = read_frame_rows(config)
    crops = Crops.from_config(config)
    unreadable: dict[str, InputError] = {}
    recordings = _find(source, rows, options, unreadable)
    if not recordings:
        raise next(iter(unreadable.values()))
    for error in () if options.sessions else unreadable.values():
        console.print(f"left out: {error}", soft_wrap=True)
    with adding_frames(rows.root):
        sessions: list[ProjectedSession] = []
        problems: list[InputError] = []
        for files, smooth in recordings:
            try:
                sessions.append(_project(config, crops, files, smooth, rows, options, console))
            except InputError as error:
                problems.append(error)
                if options.sessions or len(problems) == len(recordings):
                    raise problems[0] from None
                console.print(f"left out: {error}", soft_wrap=True)
        shares = share_frames(options.num_frames, len(sessions))
        taken = [take_frames(session.worth, share) for session, share in zip(sessions, shares, strict=True)]
        _print_choice(sessions, taken, console)
        number = sum(map(len, taken))
        if number == 0:
            raise _nothing_to_take(source, sessions)
        if not options.dry_run:
            write_pseudo_labels(config, crops, rows, sessions, taken, console)
    if options.dry_run:
        console.print("nothing was written (--dry-run)")
        return
    of_views = counted(len(rows.view_names), "view")
    console.print(
        f"wrote pseudo-labels of {counted(number, 'frame')} in {of_views} to {rows.root}. Next: "
        f"{command('mvtrain', 'fit', rows.root / 'config.yaml')}",
        soft_wrap=True,
    )


def _nothing_to_take(source: Path, sessions: Sequence[ProjectedSession]) -> InputError:
    """Return the error for predictions of which no frame can be taken."""
    num_known = sum(session.num_known for session in sessions)
    if num_known:
        text = (
            f"{counted(num_known, 'frame')} would do, but the project's own tables have them, or a video has ended. "
            "Predict other videos"
        )
    else:
        text = (
            f"no frame has {_LEAST_KNOWN:.0%} of the keypoints known well enough. Raise --max-std, or smooth the "
            "predictions of several networks (mvtrain fit --seeds 3)"
        )
    return InputError(f"{source}: {text}", code="no-labels", path=source, num_known=num_known)


def take_frames(worth: np.ndarray, number: int) -> np.ndarray:
    """Choose frames that are spread over time: of each of so many equal parts the one that is worth most.

    Args:
        worth: (T,) worth of each frame; NaN for frames that are not to be taken.
        number: Number of parts.

    Returns:
        Numbers of the frames, rising; fewer where parts have none.
    """
    parts = np.array_split(np.arange(len(worth)), number) if number else []
    return np.array(
        [part[np.nanargmax(worth[part])] for part in parts if np.isfinite(worth[part]).any()], dtype=np.int64
    )


def _find(
    source: Path, rows: FrameRows, options: PseudolabelOptions, problems: dict[str, InputError]
) -> list[tuple[PredictionFiles, PredictionFiles | None]]:
    """Find the predictions and their smoothed tables, and check that they are of the project's views and sessions.

    Errors of those that cannot be read are added to the problems.
    """
    folder = source / "video_preds" if (source / "video_preds").is_dir() else source
    found = {files.session: files for files in find_predictions(folder, problems=problems)}
    beside = options.smoothed or folder / _SMOOTHED
    smoothed = {}
    known = list(found)
    if beside.exists():
        smoothed = {files.session: files for files in find_predictions(beside, problems=problems)}
        known = [name for name in found if name in smoothed]
        for name in found:
            if name not in smoothed and name not in problems:
                text = f"session {name!r}: not among the smoothed recordings of {beside}. Smooth it, too"
                problems[name] = InputError(text, code="missing-file", path=beside, session=name)
    for name in options.sessions:
        if name in problems:
            raise problems[name]
        if name not in known:
            raise InputError(
                f"--session {name}: no such session was predicted, found {', '.join(known) or 'none'}",
                code="unknown-choice",
                option="--session",
                found=name,
                expected=tuple(known),
            )
    chosen = [found[name] for name in options.sessions or known]
    for files in chosen:
        if files.smoothed:
            raise InputError(
                f"{files.summary}: smoothed tables, which do not tell what each view shows by itself. Give the folder "
                f"that mvtrain predict wrote, and this one with --smoothed {folder}",
                code="unsupported-file",
                path=files.summary,
            )
        if set(files.tables) != set(rows.view_names):
            raise InputError(
                f"{files.summary}: other views than the project's, found {', '.join(files.tables)}, expected "
                f"{', '.join(rows.view_names)}",
                code="views-differ",
                path=files.summary,
                found=tuple(files.tables),
                expected=rows.view_names,
            )
    return [(files, smoothed.get(files.session)) for files in chosen]


def _project(
    config: Config,
    crops: Crops | None,
    files: PredictionFiles,
    smoothed: PredictionFiles | None,
    rows: FrameRows,
    options: PseudolabelOptions,
    console: Console,
) -> ProjectedSession:
    """Read the predictions of a session, and project them into the project's views."""
    # Where views were fused, keypoints are in all views alike: what each shows by itself is in the evidence.
    of_each_view = replace(files, tables=files.evidence or files.tables, table_3d=None)
    shown = _in_order(load_predictions(of_each_view), files, rows)
    in_3d = _in_order(load_predictions(smoothed or files), files, rows).in_3d
    if smoothed is not None and in_3d is not None and len(in_3d.points) != len(shown):
        raise InputError(
            f"{smoothed.summary}: smoothed from other predictions than {files.summary}, found "
            f"{counted(len(in_3d.points), 'frame')}, expected {len(shown)}. Smooth them again",
            code="tables-differ",
            path=smoothed.summary,
        )
    of_views = dict(zip(files.tables, files.videos, strict=True))
    session = Session(name=files.session, videos=tuple(of_views[view] for view in rows.view_names))
    for video in session.videos:
        if not video.is_file():
            raise InputError(
                f"{files.summary}: the video {video} is no longer there. Predict the videos where they are now",
                code="missing-file",
                path=video,
            )
    cameras = load_prediction_cameras(files, None)
    if in_3d is None or cameras is None or files.calibration is None:
        raise InputError(
            f"session {files.session!r}: pseudo-labels are points in 3D, but it was predicted without a calibration, "
            f"or {files.calibration or 'that'} is gone. Predict it again with one",
            code="no-calibration",
            session=files.session,
        )
    cameras = cameras.select(rows.view_names)
    videos = _open(session, files.calibration, rows, options, console)
    size = config.data.image_resize_dims
    shown_px = cameras.sizes if crops is None else crops.sizes
    of_target = SIGMA * 2**config.data.downsample_factor * shown_px / np.array([size.width, size.height])
    limits = (of_target.max(-1) if options.max_std is None else np.full(len(cameras), options.max_std))[:, None]
    # The likelihood of evidence stands for a variance.
    seen = shown.likelihood >= (1 / (1 + limits**2) if files.evidence else _SEEN)
    points = project(in_3d.points, cameras)
    points = points + lasting_offsets(np.where(seen[..., None], shown.points, np.nan) - points)
    inside = ((points >= -0.5) & (points <= cameras.sizes[:, None] - 0.5)).all(-1)
    good = (projected_std(in_3d.points, in_3d.std, cameras) <= limits) & inside
    distance = np.linalg.norm(shown.points - points, axis=-1) / (_FAR * limits)
    worth = np.where(good, np.where(seen, np.fmin(distance, 1), 1), 0).sum(axis=(1, 2))
    frames = np.arange(len(shown))
    there = [frame for name, frame in rows.frames() if name == session.name and frame is not None]
    known = good.any(axis=1).mean(axis=-1) >= _LEAST_KNOWN
    usable = known & ~np.isin(frames, there) & (frames < common_length(videos))
    return ProjectedSession(
        name=session.name,
        videos=videos,
        points=np.where(good[..., None], points, np.nan),
        visibility=np.where(good, np.where(seen, VISIBLE, OCCLUDED), 0),
        poses=in_3d.points,
        cameras=cameras,
        num_known=int(known.sum()),
        worth=np.where(usable, worth, np.nan),
    )


def _open(
    session: Session, calibration: Path, rows: FrameRows, options: PseudolabelOptions, console: Console
) -> tuple[Video, ...]:
    """Open the videos of a session, in the reading that they were predicted in."""
    videos, warnings = open_videos(
        Job(
            session=session,
            boxes=(None,) * len(session.videos),
            calibration=None,
            out_dir=rows.root,
            by_time=options.by_time,
            clocks=load_view_clocks(calibration, rows.view_names),
        )
    )
    for warning in warnings:
        print_warning(console, f"session {session.name!r}: {warning}")
    return videos


def lasting_offsets(differences: np.ndarray) -> np.ndarray:
    """Return by how much projections are to be shifted in each view, because their calibration is a little off.

    The shift of a keypoint is the median difference over the recording, as far as it stands out of the scatter: of
    variances b^2 and s^2 the part b^2 / (b^2 + s^2). The errors of a network scatter, those of a calibration do not.

    Args:
        differences: (T, V, K, 2) what a view shows by itself, less the projection, in px; NaN where it shows nothing.

    Returns:
        (V, K, 2) px; 0 for a keypoint that a view shows in too few frames.
    """
    enough = np.isfinite(differences).all(-1).sum(axis=0) >= _LEAST_SHOWN
    offsets, scatter = np.zeros(differences.shape[1:]), np.ones(differences.shape[1:-1])
    offsets[enough] = np.nanmedian(differences[:, enough], axis=0)
    scatter[enough] = (_NORMAL**2 * np.nanmedian((differences[:, enough] - offsets[enough]) ** 2, axis=0)).sum(-1)
    size = (offsets**2).sum(-1)
    part = np.divide(size, size + scatter, out=np.zeros_like(size), where=size > 0)
    return offsets * part[..., None]


def projected_std(points: np.ndarray, std: np.ndarray, cameras: CameraGroup) -> np.ndarray:
    """Return the standard deviations of the projections of uncertain points, the root of both coordinates' variances.

    Args:
        points: (T, K, 3) world points, NaN where missing.
        std: (T, K, 3) standard deviations of their coordinates, whose errors are taken as independent.
        cameras: V cameras.

    Returns:
        (T, V, K) px; NaN where missing.
    """
    covariances = projected_covariance(points, std[..., None] ** 2 * np.eye(3), cameras)
    return np.sqrt(np.trace(covariances, axis1=-2, axis2=-1))


def _in_order(predicted: PredictedSession, files: PredictionFiles, rows: FrameRows) -> PredictedSession:
    """Return predictions with the views and keypoints in the project's order."""
    if set(predicted.keypoint_names) != set(rows.keypoint_names):
        raise InputError(
            f"{files.summary}: other keypoints than the project's, found {', '.join(predicted.keypoint_names)}, "
            f"expected {', '.join(rows.keypoint_names)}",
            code="keypoints-differ",
            path=files.summary,
            found=predicted.keypoint_names,
            expected=rows.keypoint_names,
        )
    return predicted.arranged(rows.view_names, rows.keypoint_names)


def _print_choice(sessions: Sequence[ProjectedSession], taken: Sequence[np.ndarray], console: Console) -> None:
    """Print by session what is known, and what is taken."""
    table = Table("session", "frames", "usable", "taken", "labels", "occluded", box=None)
    for session, frames in zip(sessions, taken, strict=True):
        visibility = session.visibility[frames]
        counts = [len(session.worth), int(np.isfinite(session.worth).sum()), len(frames)]
        labels = [int((visibility == kind).sum()) for kind in (VISIBLE, OCCLUDED)]
        table.add_row(session.name, *map(str, (*counts, *labels)))
    console.print(table)
