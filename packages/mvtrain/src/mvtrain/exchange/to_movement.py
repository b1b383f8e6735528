"""Writer of netCDF datasets of movement: 2D poses with a dimension `view`, and 3D poses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvgeom.tables import KinematicsTable
from mvtrain.exchange.write_options import WriteOptions
from mvtrain.predict.saved_predictions import PredictedSession
from mvtrain.runtime.imports import need

INDIVIDUAL = "subject"
SOURCE = "mvtrain"


def write(session: PredictedSession, folder: Path, options: WriteOptions) -> list[str]:
    """Write `<session>.nc` (dimensions view, time, space, keypoint, individual) and `<session>_3d.nc`.

    movement before 0.16 calls the last two keypoints and individuals; the files have the names of the version at hand.

    The 3D dataset has `std`, `reprojection_error` and `num_views` in addition to the position; its confidence is empty.
    That of a smoothed recording also has `velocity` and `speed` of keypoints, `length` along a dimension `bone`, and
    `angle` along `joint`, each with `_std`.

    Returns:
        Notes for the user.

    Raises:
        InputError: movement is not installed (`missing-library`), or another session has a file of the same name
            (`duplicate-name`).
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
        if session.kinematics is not None:
            _add_kinematics(found, session.kinematics)
        _save(found, folder / file_name(f"{session.name}_3d.nc"))
    if options.frame_rate is None:
        return ["the frame rate is unknown, so time is in frames. Give it with --fps"]
    return []


def _add_kinematics(dataset: Any, table: KinematicsTable) -> None:
    """Add the kinematics of a smoothed recording to its 3D dataset, with the dimensions of its position."""
    time, space, keypoint, individual = dataset["position"].dims
    found = table.kinematics
    if table.bone_names:
        dataset.coords["bone"] = list(table.bone_names)
    if table.joint_names:
        dataset.coords["joint"] = list(table.joint_names)
    for end in ("", "_std"):
        velocity = np.swapaxes(getattr(found, f"velocity{end}"), 1, 2)
        dataset[f"velocity{end}"] = ((time, space, keypoint, individual), velocity[..., None])
        for name, dimension in (("speed", keypoint), ("length", "bone"), ("angle", "joint")):
            values = getattr(found, f"{name}{end}")
            if values.shape[1]:
                dataset[f"{name}{end}"] = ((time, dimension, individual), values[..., None])


def _save(dataset: Any, path: Path) -> None:
    """Save a dataset into the new folder.

    Raises:
        InputError: `duplicate-name`, if another session has a file of this name; `unwritable-file`.
    """
    if path.exists():
        raise InputError(
            f"{path.name}: two sessions would write this file, because the name of one is that of the other and _3d. "
            "Convert them one by one.",
            code="duplicate-name",
            name=path.name,
        )
    # netCDF has no null, so attributes without a value are left out.
    dataset.attrs = {key: value for key, value in dataset.attrs.items() if value is not None}
    try:
        dataset.to_netcdf(path)
    except RuntimeError as error:  # of HDF5
        raise InputError(
            f"{path}: cannot be written: {error}. Is the disk full?", code="unwritable-file", path=path
        ) from error
