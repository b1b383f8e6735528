"""Writer of the triangulated 3D table: three header rows (scorer, bodyparts, coords), one row per frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mvgeom.files import replace_file

if TYPE_CHECKING:
    from mvgeom.reconstruction import Reconstruction

__all__ = ["COORDS_3D", "write_points_3d"]

COORDS_3D = ("x", "y", "z", "x_std", "y_std", "z_std", "error", "num_views")

_HEADER = ("scorer", "bodyparts", "coords")


def write_points_3d(
    path: str | Path, keypoint_names: Sequence[str], blocks: Iterable[tuple[Sequence[str], Reconstruction]]
) -> None:
    """Save the 3D table: x, y, z, x_std, y_std, z_std, error, num_views per keypoint; missing values are empty cells.

    Args:
        path: Path of the CSV file, replaced atomically.
        keypoint_names: K keypoint names.
        blocks: Consecutive parts of the table, each with its index entries; only one is in memory at a time. Points and
            standard deviations are in the calibration's unit, errors in px.

    Raises:
        InputError: `unwritable-file`, if the file cannot be written.
    """
    import pandas as pd

    columns = pd.MultiIndex.from_tuples(
        [("mvgeom", name, coord) for name in keypoint_names for coord in COORDS_3D], names=_HEADER
    )

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            pd.DataFrame(columns=columns).to_csv(file)
            for rows, found in blocks:
                values = np.concatenate(
                    [found.points, found.std, found.error[..., None], found.num_views[..., None]], axis=-1
                )
                table = pd.DataFrame(values.reshape(len(rows), -1), index=pd.Index(rows), columns=columns)
                table = table.astype({("mvgeom", name, "num_views"): np.int64 for name in keypoint_names})
                # A world's origin may be far away: meters of a national grid keep their millimeters.
                table.to_csv(file, header=False, float_format="%.10g")

    replace_file(Path(path), write)
