"""Table of kinematics: velocities and speeds of keypoints, lengths of bones, angles of joints, standard deviations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mvgeom.files import replace_file

if TYPE_CHECKING:
    from mvgeom.kinematics import Kinematics

__all__ = ["COORDS_KINEMATICS", "write_kinematics"]

Floats = npt.NDArray[np.float64]

COORDS_KINEMATICS = ("vx", "vy", "vz", "vx_std", "vy_std", "vz_std", "speed", "speed_std")
"""Columns of a keypoint; a bone `a:b` has `length` and `length_std`, a joint `a:b:c` `angle` and `angle_std`."""


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

    columns = pd.MultiIndex.from_tuples(
        [
            *(("mvgeom", name, coord) for name in keypoint_names for coord in COORDS_KINEMATICS),
            *(("mvgeom", name, coord) for name in bone_names for coord in ("length", "length_std")),
            *(("mvgeom", name, coord) for name in joint_names for coord in ("angle", "angle_std")),
        ],
        names=("scorer", "bodyparts", "coords"),
    )

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


def _flat(*values: Floats) -> Floats:
    """Return (N, columns) of values (N, things, any)."""
    joined = np.concatenate(values, axis=-1)
    return joined.reshape(len(joined), -1)
