"""Table of kinematics: velocities and speeds of keypoints, lengths of bones, angles of joints, standard deviations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mvgeom.errors import InputError
from mvgeom.files import replace_file
from mvgeom.wording import counted

if TYPE_CHECKING:
    from mvgeom.kinematics import Kinematics

__all__ = ["COORDS_KINEMATICS", "KinematicsTable", "read_kinematics", "write_kinematics"]

Floats = npt.NDArray[np.float64]

COORDS_KINEMATICS = ("vx", "vy", "vz", "vx_std", "vy_std", "vz_std", "speed", "speed_std")
"""Columns of a keypoint; a bone `a:b` has `length` and `length_std`, a joint `a:b:c` `angle` and `angle_std`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KinematicsTable:
    """Kinematics as stored.

    Attributes:
        kinematics: Kinematics of N frames.
        bone_names: B names of the bones.
        joint_names: A names of the joints.
    """

    kinematics: Kinematics
    bone_names: tuple[str, ...]
    joint_names: tuple[str, ...]


def write_kinematics(
    path: str | Path,
    keypoint_names: Sequence[str],
    bone_names: Sequence[str],
    joint_names: Sequence[str],
    blocks: Iterable[tuple[Sequence[str], Kinematics]],
) -> None:
    """Save kinematics in 3D as a table with three header rows; missing values are empty cells.

    Args:
        path: Path of the CSV file, replaced atomically.
        keypoint_names: K keypoint names.
        bone_names: B names of the bones.
        joint_names: A names of the joints.
        blocks: Consecutive parts of the table, each with its index entries; only one is in memory at a time.

    Raises:
        InputError: `unwritable-file`, if the file cannot be written.
    """
    import pandas as pd

    names = _columns(keypoint_names, bone_names, joint_names)
    columns = pd.MultiIndex.from_tuples([("mvgeom", *each) for each in names], names=("scorer", "bodyparts", "coords"))

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            pd.DataFrame(columns=columns).to_csv(file)
            for rows, found in blocks:
                values = np.concatenate(
                    [
                        _flat(found.velocity, found.velocity_std, found.speed[..., None], found.speed_std[..., None]),
                        _flat(found.length[..., None], found.length_std[..., None]),
                        _flat(found.angle[..., None], found.angle_std[..., None]),
                    ],
                    axis=-1,
                )
                pd.DataFrame(values, index=pd.Index(rows)).to_csv(file, header=False, float_format="%.6g")

    replace_file(Path(path), write)


def read_kinematics(path: str | Path, keypoint_names: Sequence[str]) -> KinematicsTable:
    """Read a table of `write_kinematics`.

    Args:
        path: Path of the CSV file.
        keypoint_names: K keypoint names, with which the table begins.

    Raises:
        InputError: `damaged-file`, if it is not such a table.
    """
    import pandas as pd

    from mvgeom.kinematics import Kinematics

    try:
        table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
        values = table.to_numpy(dtype=np.float64)
        columns = list(zip(table.columns.get_level_values(1), table.columns.get_level_values(2), strict=True))
    except (OSError, ValueError, IndexError) as error:  # pandas raises any of these for a file that is not such a table
        raise InputError(f"{path}: not a table of kinematics: {error}", code="damaged-file", path=path) from error
    bones = tuple(name for name, coord in columns if coord == "length")
    joints = tuple(name for name, coord in columns if coord == "angle")
    if columns != _columns(keypoint_names, bones, joints):
        raise InputError(
            f"{path}: not the kinematics of these keypoints, found {counted(len(columns), 'column')}, expected "
            f"{', '.join(COORDS_KINEMATICS)} for each of {', '.join(keypoint_names)}, then bones and joints",
            code="damaged-file",
            path=path,
        )
    ends = np.cumsum([len(COORDS_KINEMATICS) * len(keypoint_names), 2 * len(bones)])
    moving, length, angle = np.split(values, ends, axis=1)
    moving = moving.reshape(len(values), len(keypoint_names), len(COORDS_KINEMATICS))
    found = Kinematics(
        velocity=moving[..., :3],
        velocity_std=moving[..., 3:6],
        speed=moving[..., 6],
        speed_std=moving[..., 7],
        length=length[:, ::2],
        length_std=length[:, 1::2],
        angle=angle[:, ::2],
        angle_std=angle[:, 1::2],
    )
    return KinematicsTable(kinematics=found, bone_names=bones, joint_names=joints)


def _columns(
    keypoint_names: Sequence[str], bone_names: Sequence[str], joint_names: Sequence[str]
) -> list[tuple[str, str]]:
    return [
        *((name, coord) for name in keypoint_names for coord in COORDS_KINEMATICS),
        *((name, coord) for name in bone_names for coord in ("length", "length_std")),
        *((name, coord) for name in joint_names for coord in ("angle", "angle_std")),
    ]


def _flat(*values: Floats) -> Floats:
    """Return (N, columns) of values (N, things, any)."""
    joined = np.concatenate(values, axis=-1)
    return joined.reshape(len(joined), -1)
