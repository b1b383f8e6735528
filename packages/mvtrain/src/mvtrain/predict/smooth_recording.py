"""Smoothing of one recording, block by block: memory does not depend on its length, and a stopped one is resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom import Bone, CameraGroup, Noise, Smoothed, learn_noise, smooth
from mvgeom.documents import parse_json
from mvgeom.errors import InputError
from mvgeom.files import file_name, read_text, write_text
from mvgeom.smoothing import is_determined, learning_rows, named_bones
from mvgeom.wording import counted
from mvtrain.model.error_bars import shared_to_plain
from mvtrain.predict.recording_tables import RecordingTables
from mvtrain.predict.records import unfinished_folder
from mvtrain.predict.smoothed_blocks import SmoothedBlocks
from mvtrain.predict.smoothed_tables import SmoothedSummary, SmoothJob, summary_document, write_tables
from mvtrain.runtime.checksums import file_checksum
from mvtrain.runtime.damaged_files import describe_cause
from mvtrain.runtime.interruption import Interruption, RunInterruptedError

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
