"""Smoothing of one recording, block by block: memory does not depend on its length, and a stopped one is resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom import CameraGroup, Kinematics, Noise, Smoothed, compute_kinematics, learn_noise, smooth
from mvgeom.errors import InputError
from mvgeom.files import write_text
from mvgeom.tables import ViewPoints, write_kinematics, write_points_3d, write_view_blocks
from mvtrain.predict.bodies import Body
from mvtrain.predict.recording_tables import RecordingTables
from mvtrain.predict.records import unfinished_folder
from mvtrain.predict.saved_predictions import PredictionFiles
from mvtrain.predict.smoothed_blocks import SmoothedBlocks
from mvtrain.runtime.checksums import file_checksum
from mvtrain.runtime.interruption import Interruption, RunInterruptedError

BLOCK = 4000
"""Frames that are smoothed at a time; shorter recordings are solved as a whole."""

_OVERLAP = 250
"""Frames before and after a block that are smoothed with it and dropped."""

_STRETCHES, _STRETCH = 4, 100
"""Stretches that the noise of a long recording is learned from, and their frames."""

_STEP = 500
"""Frames by which an overlap grows while a keypoint is not yet seen in it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SmoothJob:
    """A recording to smooth.

    Attributes:
        networks: Files of the recording, one per network.
        cameras: Cameras in the order of the views.
        calibration: File of the cameras.
        out_dir: Output folder.
        body: Bones and joints of which the kinematics are written.
        frame_rate: Frames per second; None for velocities per frame.
        max_gap: Longest gap in frames that is bridged; None for all.
        min_likelihood: Likelihood below which a keypoint does not count.
        block: Frames that are smoothed at a time.
    """

    networks: tuple[PredictionFiles, ...]
    cameras: CameraGroup
    calibration: Path
    out_dir: Path
    body: Body
    frame_rate: float | None = None
    max_gap: int | None = None
    min_likelihood: float = 0.05
    block: int = BLOCK


@dataclass(frozen=True, kw_only=True)
class SmoothedSummary:
    """Summary of a smoothed recording.

    Attributes:
        num_networks: Number of networks.
        num_frames: Number of frames.
        num_solved: Number of positions.
        num_points: Number of keypoints of all frames.
        num_outliers: Number of predicted keypoints that are outliers.
        typical_std: Median standard deviation of the positions in the calibration's unit; NaN without any.
    """

    num_networks: int
    num_frames: int
    num_solved: int
    num_points: int
    num_outliers: int
    typical_std: float

    def describe(self) -> str:
        """Describe the result in a line."""
        count = "1 network" if self.num_networks == 1 else f"{self.num_networks} networks"
        typical = f"{self.typical_std:.3g}" if np.isfinite(self.typical_std) else "none"
        return (
            f"{count}, {self.num_frames} frames, {self.num_solved} of {self.num_points} points, {self.num_outliers} "
            f"outliers; standard deviation in the calibration's unit: median {typical}"
        )


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
    summary_path = job.out_dir / f"{first.session}_prediction.json"
    if _made_with(summary_path) == identity:
        return None
    with unfinished_folder(job.out_dir, first.session) as folder:
        blocks = SmoothedBlocks(folder, identity)
        tables = RecordingTables(job.networks, folder, job.min_likelihood)
        numbers = job.body.numbers(tables.keypoint_names, first.session)
        noise = blocks.noise()
        if noise is None and len(tables) > job.block:
            noise = _learn(tables, job.cameras)
            blocks.save_noise(noise)
        starts = range(0, len(tables), job.block)
        for number, start in enumerate(starts):
            if not blocks.has(number):
                found = _smooth_block(tables, job, noise, start, min(start + job.block, len(tables)))
                noise = found.noise
                blocks.save_noise(noise)
                blocks.save(number, found)
            if interruption.signal_number:
                done = min(start + job.block, len(tables))
                raise RunInterruptedError(
                    f"{first.session}: stopped after smoothing {done} of {len(tables)} frames",
                    interruption.signal_number,
                )
        summary = _write(job, tables, blocks, list(starts), numbers)
        write_text(summary_path, json.dumps(_to_json(job, summary, blocks.noise(), identity), indent=1) + "\n")
        blocks.remove()
    return summary


def _learn(tables: RecordingTables, cameras: CameraGroup) -> Noise:
    """Learn the noise from stretches that are spread evenly over the recording, or from all of a short one."""
    length = _STRETCH + 1
    starts = np.linspace(0, len(tables) - _STRETCH, _STRETCHES).astype(int)
    if len(tables) <= 2 * _STRETCHES * length:
        rows = [np.arange(len(tables))]
    else:
        # One row after each but the last: of so many rows `learn_noise` takes these stretches, and no row between.
        rows = [np.arange(start, start + length) for start in starts[:-1]]
        rows.append(np.arange(starts[-1], starts[-1] + _STRETCH))
    parts = [tables.read(int(part[0]), int(part[-1]) + 1) for part in rows]
    return learn_noise(
        np.concatenate([part.points for part in parts]),
        cameras,
        covariance=np.concatenate([part.covariance for part in parts]),
        times=np.concatenate(rows).astype(np.float64),
    )


def _smooth_block(tables: RecordingTables, job: SmoothJob, noise: Noise | None, start: int, stop: int) -> Smoothed:
    """Smooth the frames from start to stop, with those around them."""
    begin, before = _overlap(tables, start, -1, job.block)
    end, _ = _overlap(tables, stop, 1, job.block)
    observed = tables.read(begin, end)
    found = smooth(observed.points, job.cameras, covariance=observed.covariance, noise=noise, max_gap=job.max_gap)
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


def _write(
    job: SmoothJob,
    tables: RecordingTables,
    blocks: SmoothedBlocks,
    starts: Sequence[int],
    numbers: tuple[list[tuple[int, int]], list[tuple[int, int, int]]],
) -> SmoothedSummary:
    """Write the tables of all blocks."""
    names, session, cameras = tables.keypoint_names, job.networks[0].session, job.cameras
    rate = job.frame_rate or 1.0
    solved = outliers = 0
    deviations = []

    def parts() -> Iterator[tuple[list[str], Smoothed, int, int]]:
        for number, start in enumerate(starts):
            part = blocks.load(number)
            stop = start + len(part.points)
            yield [str(row) for row in range(start, stop)], part, start, stop

    def in_3d() -> Iterator[tuple[list[str], Any]]:
        nonlocal solved, outliers
        for rows, part, start, stop in parts():
            known = np.isfinite(part.points).all(-1)
            solved, outliers = solved + int(known.sum()), outliers + int((part.inlier <= 0.5).sum())
            deviations.append(np.sqrt(np.trace(part.covariance[known], axis1=-2, axis2=-1)).astype(np.float32))
            yield rows, part.to_reconstruction(tables.read(start, stop).points, cameras)

    def in_view(view: int, name: str) -> Iterator[ViewPoints]:
        for rows, part, start, stop in parts():
            projected, spread = part.project(cameras.select((name,)))
            likelihood = tables.read(start, stop).likelihood[:, view]
            yield ViewPoints(
                rows=rows,
                points=projected[:, 0],
                covariance=spread[:, 0],
                # A place that is only bridged has no network's word for it.
                likelihood=np.where(np.isfinite(projected[:, 0, :, 0]), np.nan_to_num(likelihood), likelihood),
                inlier=part.inlier[:, view],
            )

    def moving() -> Iterator[tuple[list[str], Kinematics]]:
        for rows, part, _, _ in parts():
            yield (
                rows,
                compute_kinematics(
                    part.points,
                    part.covariance,
                    part.velocity * rate,
                    part.velocity_covariance * rate**2,
                    bones=numbers[0],
                    joints=numbers[1],
                ),
            )

    write_points_3d(job.out_dir / f"{session}_3d.csv", names, in_3d())
    for view, name in enumerate(cameras.names):
        write_view_blocks(job.out_dir / f"{session}_{name}.csv", names, in_view(view, name))
    path = job.out_dir / f"{session}_kinematics.csv"
    write_kinematics(path, names, job.body.bone_names, job.body.joint_names, moving())
    found = np.concatenate(deviations)
    return SmoothedSummary(
        num_networks=len(job.networks),
        num_frames=len(tables),
        num_solved=solved,
        num_points=len(tables) * len(names),
        num_outliers=outliers,
        typical_std=float(np.median(found)) if len(found) else float("nan"),
    )


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
    }


def _made_with(summary: Path) -> Any:
    """Return what an earlier result was made with; None without one."""
    try:
        return json.loads(summary.read_text(encoding="utf-8"))["made_with"]
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"{summary}: not the summary of a smoothed recording: {error!r}. Remove the file, or choose another folder",
            code="damaged-file",
            path=summary,
        ) from error


def _to_json(job: SmoothJob, summary: SmoothedSummary, noise: Noise | None, identity: dict[str, Any]) -> dict[str, Any]:
    first = job.networks[0]
    videos = dict(zip(first.tables, first.videos, strict=True)) if first.videos else {}
    views = []
    for view in first.tables:
        # Readers find the table by the video's name.
        video = videos.get(view, Path(f"{first.session}_{view}"))
        views.append({"name": view, "video": str(video.with_stem(f"{first.session}_{view}"))})
    assert noise is not None
    learned = {name: np.asarray(value).round(6).tolist() for name, value in asdict(noise).items()}
    return {
        "session": first.session,
        "frames": summary.num_frames,
        "views": views,
        "calibration": {"file": str(job.calibration.resolve())},
        **({"skeleton": [list(bone) for bone in first.skeleton]} if first.skeleton else {}),
        "smoothed": {
            "networks": summary.num_networks,
            "frame_rate": job.frame_rate,
            "outliers": summary.num_outliers,
            "noise": learned,
        },
        "made_with": identity,
    }
