"""Smoothed recordings on disk: finished blocks, bones and joints, and the tables that are written of them."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom import (
    Bone,
    CameraGroup,
    Kinematics,
    Noise,
    Reconstruction,
    SharedError,
    Smoothed,
    compute_kinematics,
    joints_of_bones,
)
from mvgeom.errors import InputError
from mvgeom.files import file_name, replace_file, write_text
from mvgeom.tables import ViewPoints, write_kinematics, write_points_3d, write_view_blocks
from mvgeom.wording import counted
from mvtrain.model.error_bars import shared_to_plain
from mvtrain.predict.recording_tables import RecordingTables
from mvtrain.predict.saved_predictions import PredictionFiles

BLOCK = 4000
"""Frames that are smoothed at a time; shorter recordings are solved as a whole."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """Bones and joints of an animal.

    Attributes:
        bones: Pairs of keypoints.
        joints: Triples of keypoints; the angle is at the second.
    """

    bones: tuple[tuple[str, str], ...] = ()
    joints: tuple[tuple[str, str, str], ...] = ()

    @classmethod
    def from_skeleton(cls, skeleton: Sequence[tuple[str, str]]) -> Body:
        """Take the bones of a skeleton, and every two of them that share a keypoint as a joint."""
        names = list(dict.fromkeys(name for bone in skeleton for name in bone))
        found = joints_of_bones([(names.index(a), names.index(b)) for a, b in skeleton])
        return cls(bones=tuple(skeleton), joints=tuple((names[a], names[b], names[c]) for a, b, c in found))

    @property
    def bone_names(self) -> list[str]:
        """Names such as `hip:knee`."""
        return [":".join(bone) for bone in self.bones]

    @property
    def joint_names(self) -> list[str]:
        """Names such as `hip:knee:ankle`."""
        return [":".join(joint) for joint in self.joints]

    def numbers(
        self, keypoint_names: Sequence[str], session: str
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int, int]]]:
        """Return bones and joints by the numbers of their keypoints.

        Raises:
            InputError: `unknown-choice` for a name that is not one of the keypoints.
        """
        for name in (name for group in (*self.bones, *self.joints) for name in group):
            if name not in keypoint_names:
                raise InputError(
                    f"session {session!r}: unknown keypoint in a bone or joint, found {name}, expected one of "
                    f"{', '.join(keypoint_names)}",
                    code="unknown-choice",
                    session=session,
                    found=name,
                    expected=tuple(keypoint_names),
                )
        index = {name: number for number, name in enumerate(keypoint_names)}
        bones = [(index[a], index[b]) for a, b in self.bones]
        return bones, [(index[a], index[b], index[c]) for a, b, c in self.joints]


def parse_groups(text: str | None, size: int, option: str) -> tuple[tuple[str, ...], ...] | None:
    """Read `a:b:c,d:e:f`; None for None.

    Raises:
        InputError: `bad-option` for a group of another size, or with a name twice.
    """
    if text is None:
        return None
    groups = tuple(tuple(name.strip() for name in part.split(":")) for part in text.split(",") if part.strip())
    example = ":".join("abc"[:size])
    for group in groups:
        found = ":".join(group)
        if len(group) != size or len(set(group)) != size or not all(group):
            raise InputError(
                f"{option}: found {found}, expected {size} different keypoints joined by colons, such as {example}",
                code="bad-option",
                option=option,
                found=found,
            )
    return groups


class SmoothedBlocks:
    """Blocks of a recording and its noise.

    Args:
        folder: Existing folder of the recording's unfinished result; what is in it from other inputs is removed.
        identity: Plain values that determine every byte of the result.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self._folder = folder
        manifest, text = folder / "manifest.json", json.dumps(identity, indent=1)
        if not (manifest.is_file() and manifest.read_text(encoding="utf-8") == text):
            for old in folder.glob("*.npz"):
                old.unlink()
            write_text(manifest, text)

    def noise(self) -> Noise | None:
        """Return the noise; None before it is saved, or where its file is damaged."""
        found = _load(self._folder / "noise.npz")
        if found is None or found.keys() != {field.name for field in dataclasses.fields(Noise)}:
            return None
        return Noise(**{name: value if value.ndim else value.item() for name, value in found.items()})  # type: ignore[arg-type]

    def save_noise(self, noise: Noise) -> None:
        """Save the noise."""
        _save(
            self._folder / "noise.npz", {name: np.asarray(value) for name, value in dataclasses.asdict(noise).items()}
        )

    def bones(self) -> tuple[Bone, ...] | None:
        """Return the bones with their lengths; None before they are saved, or where their file is damaged."""
        found = _load(self._folder / "bones.npz")
        if found is None or found.keys() != {"ends", "sizes"}:
            return None
        rows = zip(found["ends"], found["sizes"], strict=True)
        return tuple(
            Bone(first=int(ends[0]), second=int(ends[1]), length=_number(sizes[0]), std=_number(sizes[1]))
            for ends, sizes in rows
        )

    def save_bones(self, bones: Sequence[Bone]) -> None:
        """Save the bones."""
        ends = np.array([(bone.first, bone.second) for bone in bones], dtype=int).reshape(-1, 2)
        sizes = np.array([(bone.length, bone.std) for bone in bones], dtype=np.float64).reshape(-1, 2)
        _save(self._folder / "bones.npz", {"ends": ends, "sizes": sizes})

    def has(self, number: int) -> bool:
        """Return True if a block and the noise are there as a whole."""
        return self.noise() is not None and _load(self._path(number)) is not None

    def save(self, number: int, found: Smoothed) -> None:
        """Save a block; its noise is that of the recording."""
        _save(self._path(number), {name: each for name, each in vars(found).items() if isinstance(each, np.ndarray)})

    def load(self, number: int) -> Smoothed:
        """Load a block that is there."""
        found, noise = _load(self._path(number)), self.noise()
        assert found is not None
        assert noise is not None
        return Smoothed(**found, noise=noise)  # type: ignore[arg-type]

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self._folder)

    def _path(self, number: int) -> Path:
        return self._folder / f"block{number:06d}.npz"


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    replace_file(path, write)


def _load(path: Path) -> dict[str, np.ndarray] | None:
    """Read arrays; None for a file that is not there or, after a power cut, not whole."""
    try:
        with np.load(path, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (FileNotFoundError, EOFError, ValueError, KeyError, NotImplementedError, zlib.error, zipfile.BadZipFile):
        return None


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
        rigid: True to hold the lengths of the bones.
        lengths: Bones with lengths that are known and held, in the calibration's unit.
        block: Frames that are smoothed at a time.
        shared_error: Errors that all views share; None where they are not known.
    """

    networks: tuple[PredictionFiles, ...]
    cameras: CameraGroup
    calibration: Path
    out_dir: Path
    body: Body
    frame_rate: float | None = None
    max_gap: int | None = None
    min_likelihood: float = 0.05
    rigid: bool = False
    lengths: tuple[tuple[str, str, float], ...] = ()
    block: int = BLOCK
    shared_error: SharedError | None = None


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
        typical = f"{self.typical_std:.3g}" if np.isfinite(self.typical_std) else "none"
        return (
            f"{counted(self.num_networks, 'network')}, {counted(self.num_frames, 'frame')}, {self.num_solved} of "
            f"{self.num_points} points, {counted(self.num_outliers, 'outlier')}; standard deviation in the "
            f"calibration's unit: median {typical}"
        )


def write_tables(
    job: SmoothJob,
    tables: RecordingTables,
    blocks: SmoothedBlocks,
    starts: Sequence[int],
    numbers: tuple[list[tuple[int, int]], list[tuple[int, int, int]]],
) -> SmoothedSummary:
    """Write the tables in 3D, of every view and of the kinematics; one block is in memory at a time.

    Args:
        job: Recording.
        tables: Keypoints that were smoothed.
        blocks: Smoothed blocks.
        starts: First frame of each block.
        numbers: Bones and joints by the numbers of their keypoints.
    """
    names, session, cameras = tables.keypoint_names, job.networks[0].session, job.cameras
    rate = job.frame_rate or 1.0
    solved = outliers = 0
    deviations = []

    def parts() -> Iterator[tuple[list[str], Smoothed, int, int]]:
        for number, start in enumerate(starts):
            part = blocks.load(number)
            stop = start + len(part.points)
            yield [str(row) for row in range(start, stop)], part, start, stop

    def in_3d() -> Iterator[tuple[list[str], Reconstruction]]:
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

    write_points_3d(job.out_dir / file_name(f"{session}_3d.csv"), names, in_3d())
    for view, name in enumerate(cameras.names):
        write_view_blocks(job.out_dir / _view_table(session, name), names, in_view(view, name))
    path = job.out_dir / file_name(f"{session}_kinematics.csv")
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


def summary_document(
    job: SmoothJob, summary: SmoothedSummary, noise: Noise | None, bones: Sequence[Bone], identity: dict[str, Any]
) -> dict[str, Any]:
    """Return the contents of `<session>_prediction.json`."""
    first = job.networks[0]
    videos = dict(zip(first.tables, first.videos, strict=True)) if first.videos else {}
    views = []
    for view in first.tables:
        # Readers find the table by the video's name.
        name = _view_table(first.session, view).removesuffix(".csv")
        video = videos.get(view, Path(name))
        views.append({"name": view, "video": str(video.with_name(f"{name}{video.suffix}"))})
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
            **({"bones": [asdict(bone) for bone in bones]} if bones else {}),
            **({} if job.shared_error is None else {"shared_error": shared_to_plain(job.shared_error)}),
        },
        "made_with": identity,
    }


def _view_table(session: str, view: str) -> str:
    """Return the name of the table of a view."""
    return file_name(f"{session}_{view}.csv")
