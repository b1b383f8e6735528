"""Command `mvtrain smooth`: predictions of recordings, of one network or several, to trajectories over time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from mvgeom import Bone, CameraGroup, Noise, SharedError, Smoothed, learn_noise, smooth
from mvgeom.documents import parse_json
from mvgeom.errors import InputError
from mvgeom.files import file_name, read_text, write_text
from mvgeom.smoothing import FEW_FRAMES, is_determined, learning_rows, named_bones
from mvgeom.temporary import publish
from mvgeom.wording import counted
from mvtrain.model.error_bars import OTHER_UNIT, shared_to_plain
from mvtrain.predict.recording_tables import RecordingTables
from mvtrain.predict.records import PARTIAL, unfinished_folder
from mvtrain.predict.saved_predictions import PredictionFiles, find_all_predictions, load_prediction_cameras
from mvtrain.predict.smoothed_tables import (
    BLOCK,
    Body,
    SmoothedBlocks,
    SmoothedSummary,
    SmoothJob,
    summary_document,
    write_tables,
)
from mvtrain.runtime.checksums import file_checksum
from mvtrain.runtime.folders import check_new_folder
from mvtrain.runtime.interruption import Interruption, RunInterruptedError
from mvtrain.runtime.locks import locked_folder
from mvtrain.runtime.messages import command, describe_cause, error_of_left_out

_OVERLAP = 250
"""Frames before and after a block that are smoothed with it and dropped."""

_CHUNK = 4096
"""Frames that are read at a time to find those that show a subject."""

_STEP = 500
"""Frames by which an overlap grows while a keypoint is not yet seen in it."""


def smooth_recording(job: SmoothJob, interruption: Interruption) -> SmoothedSummary | None:
    """Smooth a recording, and write its tables in 2D and 3D, its kinematics and its summary, which is last.

    A recording that is longer than a block is solved in blocks, with the noise learned from all of it. Blocks overlap
    until every keypoint has been seen in the overlap, or it is as long as a block: within it the influence of what is
    left out decays, so that the result is that of the whole recording but for a small share of the standard deviation.
    Finished blocks are kept in `.partial` of the output folder.

    Args:
        job: Recording to smooth.
        interruption: Interruption that is checked after every block.

    Returns:
        The summary; None if the same was written before.

    Raises:
        InputError: As `RecordingTables`, and for bones or joints of unknown keypoints; another process works in the
            folder, or it cannot be written.
        RunInterruptedError: A signal asked to stop; the same call resumes.
    """
    first = job.networks[0]
    identity = _identity(job)
    summary_path = job.out_dir / file_name(first.session, "_prediction.json")
    if _made_with(summary_path) == identity:
        return None
    with unfinished_folder(job.out_dir, first.session) as folder:
        blocks = SmoothedBlocks(folder, identity)
        tables = RecordingTables(job.networks, folder, job.min_likelihood)
        numbers = job.body.numbers(tables.keypoint_names, first.session)
        if job.shared_error is not None and len(job.shared_error.std) != len(tables.keypoint_names):
            raise InputError(
                f"{first.summary}: shared_error is not that of the tables' keypoints, found "
                f"{counted(len(job.shared_error.std), 'standard deviation')}, expected {len(tables.keypoint_names)}. "
                "Predict the recording again.",
                code="damaged-file",
                path=first.summary,
            )
        noise = blocks.noise()
        bones = blocks.bones()
        wanted = named_bones(tables.keypoint_names, job.body.bones if job.rigid else (), job.lengths)
        if noise is None and len(tables) > job.block:
            noise = _learn(tables, job.cameras)
            blocks.save_noise(noise)
        if bones is None:
            # A bone that is not held has no deviation: of later blocks it would be measured again.
            bones = wanted
            if wanted and len(tables) > job.block:
                assert noise is not None
                bones = tuple(bone for bone in _measure(tables, job, noise, wanted) if bone.std is not None)
                blocks.save_bones(bones)
        starts = range(0, len(tables), job.block)
        for number, start in enumerate(starts):
            if not blocks.has(number):
                found = _smooth_block(tables, job, noise, start, min(start + job.block, len(tables)), bones)
                noise, bones = found.noise, found.bones
                blocks.save_noise(noise)
                blocks.save_bones(bones)
                blocks.save(number, found)
            if interruption.signal_number:
                done = min(start + job.block, len(tables))
                raise RunInterruptedError(
                    f"{first.session}: stopped after smoothing {done} of {len(tables)} frames",
                    interruption.signal_number,
                )
        summary = write_tables(job, tables, blocks, list(starts), numbers)
        document = summary_document(job, summary, blocks.noise(), bones, identity)
        write_text(summary_path, json.dumps(document, indent=1) + "\n")
        blocks.remove()
    return summary


def _measure(tables: RecordingTables, job: SmoothJob, noise: Noise, bones: tuple[Bone, ...]) -> tuple[Bone, ...]:
    """Measure the lengths of bones in the stretches that noise is learned from."""
    points, covariance, times = _stretches(tables)
    found = smooth(
        points, job.cameras, covariance=covariance, times=times, noise=noise, shared=job.shared_error, bones=bones
    )
    return found.bones


def _learn(tables: RecordingTables, cameras: CameraGroup) -> Noise:
    """Learn the noise from stretches of the recording."""
    points, covariance, times = _stretches(tables)
    return learn_noise(points, cameras, covariance=covariance, times=times)


def _stretches(tables: RecordingTables) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the frames that `mvgeom.learn_noise` takes of the whole recording.

    Returns:
        Points (N, V, K, 2), stated covariances (N, V, K, 2, 2) and times (N,).
    """
    starts = range(0, len(tables), _CHUNK)
    rows = learning_rows(np.concatenate([is_determined(tables.read(start, start + _CHUNK).points) for start in starts]))
    # With the row after each, the typical step is that of the recording. `learn_noise` leaves those rows out.
    rows = np.union1d(rows, rows[:-1] + 1)
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    parts = [tables.read(int(run[0]), int(run[-1]) + 1) for run in runs]
    return (
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.covariance for part in parts]),
        rows.astype(np.float64),
    )


def _smooth_block(
    tables: RecordingTables, job: SmoothJob, noise: Noise | None, start: int, stop: int, bones: tuple[Bone, ...]
) -> Smoothed:
    """Smooth the frames from start to stop, with those around them."""
    begin, before = _overlap(tables, start, -1, job.block)
    end, _ = _overlap(tables, stop, 1, job.block)
    observed = tables.read(begin, end)
    found = smooth(
        observed.points,
        job.cameras,
        covariance=observed.covariance,
        noise=noise,
        max_gap=job.max_gap,
        shared=job.shared_error,
        bones=bones,
    )
    kept = slice(start - begin, stop - begin)
    part = _each_field(found, lambda values: values[kept])
    if job.max_gap is not None and job.max_gap < job.block:
        # Not seen over a whole block: a gap that is too long, however close its end is.
        leading = np.logical_and.accumulate(~(np.nan_to_num(part.inlier) > 0.5).any(1), axis=0) & ~before
        part = replace(
            part,
            points=np.where(leading[..., None], np.nan, part.points),
            covariance=np.where(leading[..., None, None], np.nan, part.covariance),
            velocity=np.where(leading[..., None], np.nan, part.velocity),
            velocity_covariance=np.where(leading[..., None, None], np.nan, part.velocity_covariance),
        )
    return part


def _overlap(tables: RecordingTables, row: int, direction: int, longest: int) -> tuple[int, np.ndarray]:
    """Return the end of the overlap before (-1) or after (1) a row, and which keypoints (K,) are seen in it.

    At an end of the recording all count as seen: there is nothing more.
    """
    limit = len(tables)
    edge = min(max(row + direction * _OVERLAP, 0), limit)

    def seen_between(one: int, other: int) -> np.ndarray:
        points = tables.read(min(one, other), max(one, other)).points
        return np.isfinite(points).all(-1).any((0, 1))

    seen = seen_between(row, edge) | ~tables.ever
    while not seen.all() and 0 < edge < limit and abs(edge - row) < longest:
        further = min(max(edge + direction * _STEP, 0), limit)
        seen |= seen_between(edge, further)
        edge = further
    return edge, seen | (edge in (0, limit))


def _each_field(found: Smoothed, change: Callable[[np.ndarray], np.ndarray]) -> Smoothed:
    """Apply a function to every array of the frames."""
    arrays: dict[str, Any] = {
        name: change(values) for name, values in vars(found).items() if isinstance(values, np.ndarray)
    }
    return replace(found, **arrays)


def _identity(job: SmoothJob) -> dict[str, Any]:
    """Return plain values that determine every byte of the tables."""
    tables = []
    for files in job.networks:
        facts = [(path.name, path.stat()) for path in files.tables.values()]
        tables.append([[name, found.st_size, found.st_mtime_ns] for name, found in facts])
    return {
        "tables": tables,
        "calibrated": [files.calibrated for files in job.networks],
        "calibration": file_checksum(job.calibration),
        "bones": job.body.bone_names,
        "joints": job.body.joint_names,
        "frame_rate": job.frame_rate,
        "max_gap": job.max_gap,
        "min_likelihood": job.min_likelihood,
        "block": job.block,
        **({"rigid": True} if job.rigid else {}),
        **({"lengths": [list(each) for each in job.lengths]} if job.lengths else {}),
        **({} if job.shared_error is None else {"shared_error": shared_to_plain(job.shared_error)}),
    }


def _made_with(summary: Path) -> Any:
    """Return what an earlier result was made with; None without one."""
    if not summary.is_file():
        return None
    try:
        return parse_json(read_text(summary), summary)["made_with"]
    except (InputError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{summary}: not the summary of a smoothed recording: {describe_cause(error, summary)}. "
            "Remove the file, or choose another folder",
            code="damaged-file",
            path=summary,
        ) from error


@dataclass(frozen=True, kw_only=True)
class SmoothOptions:
    """Options of the command.

    Attributes:
        output: Folder to write; must not exist.
        view_names: Names of the views, for tables without a summary.
        calibration: Calibration file; None: that of the prediction.
        max_gap: Longest gap in frames that is bridged; None for all.
        min_likelihood: Likelihood below which a keypoint does not count.
        frame_rate: Frames per second, for velocities; None: that of the videos, else velocities are per frame.
        bones: Pairs of keypoints; None: those of the run's skeleton.
        joints: Triples of keypoints; None: every two bones that share a keypoint.
        rigid: True to hold the lengths of the bones, which are measured.
        lengths: Bones with lengths that are known and held, in the calibration's unit.
        block: Frames that are smoothed at a time.
    """

    output: Path
    view_names: tuple[str, ...] = ()
    calibration: Path | None = None
    max_gap: int | None = None
    min_likelihood: float = 0.05
    frame_rate: float | None = None
    bones: tuple[tuple[str, str], ...] | None = None
    joints: tuple[tuple[str, str, str], ...] | None = None
    rigid: bool = False
    lengths: tuple[tuple[str, str, float], ...] = ()
    block: int = BLOCK


def smooth_predictions(sources: Sequence[Path], options: SmoothOptions, console: Console) -> None:
    """Smooth every recording of the sources; the folder appears when it is complete.

    A recording that several sources have is that of an ensemble of networks, and so is one that `mvtrain predict` wrote
    with several. What is finished of a stopped command is in a hidden folder beside the output, from which the same
    command goes on.

    Args:
        sources: Folders that `mvtrain predict` wrote, run folders, folders of ensembles, or single summaries.
        options: Options of the command.
        console: Console for the result of every recording.

    Raises:
        InputError: A recording has no calibration (`no-calibration`) or fewer than two views (`too-few-views`), or is
            smoothed already (`unsupported-file`), `rigid` is given without bones (`missing-argument`), the networks of
            an ensemble differ in views (`views-differ`), keypoints (`keypoints-differ`) or frames (`frames-differ`);
            besides, the errors of the tables. Where others can be smoothed it is `left-out`, after they are written.
            The folder exists (`occupied-folder`).
        RunInterruptedError: A signal asked to stop; the same command goes on.
    """
    unreadable: dict[str, InputError] = {}
    recordings = find_all_predictions(sources, options.view_names, unreadable)
    number = len(recordings) + len(unreadable)
    if not recordings:
        raise error_of_left_out(unreadable, number)
    contents = {
        name: [str(path.resolve()) for files in found for path in files.tables.values()]
        for name, found in recordings.items()
    }
    with _unfinished(options.output, json.dumps(contents)) as folder:
        problems = unreadable | smooth_all(recordings, folder, options, console)
        if len(problems) == number:
            raise error_of_left_out(problems, number)
    written = "<session>_3d.csv, <session>_<view>.csv and <session>_kinematics.csv"
    text = f"wrote {options.output}: {counted(number - len(problems), 'recording')}, {written}. Next: "
    text += command("mvtrain", "convert", "FORMAT", options.output, "--output", "NEW")
    console.print(text, soft_wrap=True, highlight=False, markup=False)
    if problems:
        raise error_of_left_out(problems, number)


def smooth_all(
    recordings: Mapping[str, Sequence[PredictionFiles]], folder: Path, options: SmoothOptions, console: Console
) -> dict[str, InputError]:
    """Smooth recordings into a folder, but for those that are there already; one that cannot be is left out.

    Args:
        recordings: Files of each recording, by session: one for each source that has it.
        folder: Existing folder.
        options: Options of the command.
        console: Console for the result of every recording.

    Returns:
        Errors by session of the recordings that were left out.

    Raises:
        InputError: The folder cannot be written (`unwritable-file`), or another process works in it (`busy-folder`).
        RunInterruptedError: A signal asked to stop.
    """
    problems: dict[str, InputError] = {}
    with Interruption() as interruption:
        for name, found in recordings.items():
            networks = [one for each in found for one in each.by_network()]
            try:
                job = _make_job(networks, _shared_error(found, options), folder, options)
                summary = smooth_recording(job, interruption)
            except InputError as error:
                if error.code in ("unwritable-file", "busy-folder"):
                    raise
                shutil.rmtree(folder / PARTIAL / file_name(name), ignore_errors=True)
                with suppress(OSError):  # other sessions may be in it
                    (folder / PARTIAL).rmdir()
                console.print(f"{name}: left out", soft_wrap=True, highlight=False, markup=False)
                problems[name] = error
                continue
            line = "smoothed before, nothing to do" if summary is None else summary.describe()
            console.print(f"{name}: {line}", soft_wrap=True, highlight=False, markup=False)
            if summary is not None and summary.num_frames < FEW_FRAMES:
                line = f"  warning: fewer than {counted(FEW_FRAMES, 'frame')}, too few to tell their noise: the "
                line += "standard deviations are too small, in single frames several times"
                console.print(line, soft_wrap=True, highlight=False, markup=False)
            if job.frame_rate is None:
                line = "  the frame rate is unknown: velocities are per frame. Give it with --fps"
                console.print(line, soft_wrap=True, highlight=False, markup=False)
    return problems


def _shared_error(sources: Sequence[PredictionFiles], options: SmoothOptions) -> SharedError | None:
    """Return the shared errors of a recording that one source or several have; None where one has none.

    Of several sources it is the mean square, which holds if their networks share all errors. With a calibration in
    another unit than that of the prediction, the standard deviations are in that unit.
    """
    known = [files.shared_error for files in sources if files.shared_error is not None]
    alike = {len(each.std) for each in known}
    if len(known) < len(sources) or len(alike) != 1:  # other keypoints are refused when the tables are read
        return None
    first = sources[0].calibration
    ratio = 1.0
    if options.calibration is not None and first is not None and first.exists():
        given, before = (_baseline(load_prediction_cameras(sources[0], path)) for path in (options.calibration, first))
        ratio = given / before if before > 0 and given > 0 else 1.0
    in_other_unit = not 1 / OTHER_UNIT < ratio < OTHER_UNIT
    return SharedError(
        scale=float(np.sqrt(np.mean([each.scale**2 for each in known]))),
        std=np.sqrt(np.mean([each.std**2 for each in known], axis=0)) * (ratio if in_other_unit else 1.0),
    )


def _baseline(cameras: CameraGroup | None) -> float:
    """Return the typical distance of the cameras from their mean; 0 without cameras."""
    if cameras is None:
        return 0.0
    centers = -np.einsum("vji,vj->vi", cameras.rotation, cameras.translation)
    return float(np.median(np.linalg.norm(centers - centers.mean(0), axis=-1)))


def _make_job(
    networks: Sequence[PredictionFiles], shared_error: SharedError | None, folder: Path, options: SmoothOptions
) -> SmoothJob:
    first = networks[0]
    smoothed = next((files for files in networks if files.smoothed), None)
    if smoothed is not None:
        raise InputError(
            f"{smoothed.summary}: session {first.session!r} is smoothed already. Give the folder that mvtrain predict "
            "wrote.",
            code="unsupported-file",
            path=smoothed.summary,
            session=first.session,
        )
    cameras = load_prediction_cameras(first, options.calibration)
    if len(first.tables) < 2:
        raise InputError(
            f"session {first.session!r}: found one view, expected two or more",
            code="too-few-views",
            found=1,
            expected=2,
        )
    calibration = options.calibration or first.calibration
    if cameras is None or calibration is None:
        raise InputError(
            f"session {first.session!r}: no calibration is known. Give it with --calibration.",
            code="no-calibration",
            session=first.session,
        )
    body = Body.from_skeleton(first.skeleton if options.bones is None else options.bones)
    if options.rigid and not body.bones:
        raise InputError(
            f"session {first.session!r}: --rigid needs bones, found no skeleton of the run. Give them with --bones.",
            code="missing-argument",
            argument="--bones",
            session=first.session,
        )
    return SmoothJob(
        networks=tuple(networks),
        cameras=cameras,
        calibration=calibration,
        out_dir=folder,
        body=body if options.joints is None else Body(bones=body.bones, joints=options.joints),
        frame_rate=options.frame_rate or first.frame_rate(),
        max_gap=options.max_gap,
        min_likelihood=options.min_likelihood,
        rigid=options.rigid,
        lengths=options.lengths,
        block=options.block,
        shared_error=shared_error,
    )


@contextmanager
def _unfinished(path: Path, contents: str) -> Iterator[Path]:
    """Give a hidden folder beside `path`, and rename it to `path` at the end of the block.

    It stays if the block is interrupted, for the next attempt with the same contents; an error leaves nothing.
    """
    check_new_folder(path)
    folder = path.parent / f".{path.name}.partial"
    lock = folder.with_name(f"{folder.name}.lock")
    note = folder / ".contents"
    with locked_folder(folder, lock, what=f"the folder of {path}", busy=f"another process is writing {path}"):
        try:
            if not (note.is_file() and note.read_text(encoding="utf-8") == contents):
                shutil.rmtree(folder)
                folder.mkdir()
                write_text(note, contents)
            yield folder
            note.unlink()
            publish(folder, path)
        except InputError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise InputError(
                f"{path} cannot be written: {error.strerror}: {error.filename}", code="unwritable-file", path=path
            ) from error
