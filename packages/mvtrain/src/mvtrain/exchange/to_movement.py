"""Writer of netCDF datasets of movement: 2D poses with a dimension `view`, and 3D poses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mvgeom.files import file_name
from mvtrain.exchange.write_options import WriteOptions
from mvtrain.predict.saved_predictions import PredictedSession
from mvtrain.runtime.optional_imports import need

INDIVIDUAL = "subject"
SOURCE = "mvtrain"


def write(session: PredictedSession, folder: Path, options: WriteOptions) -> list[str]:
    """Write `<session>.nc` (dimensions view, time, space, keypoint, individual) and `<session>_3d.nc`.

    movement before 0.16 calls the last two keypoints and individuals; the files have the names of the version at hand.

    The 3D dataset has `std`, `reprojection_error` and `num_views` in addition to the position; its confidence is empty.

    Returns:
        Notes for the user.

    Raises:
        InputError: movement is not installed (`missing-library`).
    """
    load_poses = need("movement.io.load_poses", "convert movement")
    xarray = need("xarray", "convert movement")

    def dataset(points: np.ndarray, confidence: np.ndarray | None) -> Any:
        return load_poses.from_numpy(
            position_array=np.swapaxes(points, 1, 2)[..., None],
            confidence_array=None if confidence is None else confidence[..., None],
            individual_names=[INDIVIDUAL],
            keypoint_names=list(session.keypoint_names),
            fps=options.frame_rate,
            source_software=SOURCE,
        )

    views = [dataset(session.points[:, view], session.likelihood[:, view]) for view in range(len(session.view_names))]
    joined = xarray.concat(views, dim=xarray.DataArray(list(session.view_names), dims="view", name="view"))
    _save(joined, folder / file_name(f"{session.name}.nc"))
    if session.in_3d is not None:
        found = dataset(session.in_3d.points, None)
        time, space, keypoint, individual = found["position"].dims
        found["std"] = ((time, space, keypoint, individual), np.swapaxes(session.in_3d.std, 1, 2)[..., None])
        for name, values in (
            ("reprojection_error", session.in_3d.error),
            ("num_views", session.in_3d.num_views),
        ):
            found[name] = ((time, keypoint, individual), values[..., None])
        _save(found, folder / file_name(f"{session.name}_3d.nc"))
    if options.frame_rate is None:
        return ["the frame rate is unknown, so time is in frames. Give it with --fps"]
    return []


def _save(dataset: Any, path: Path) -> None:
    # netCDF has no null, so attributes without a value are left out.
    dataset.attrs = {key: value for key, value in dataset.attrs.items() if value is not None}
    dataset.to_netcdf(path)
