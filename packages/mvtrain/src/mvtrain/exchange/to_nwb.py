"""Writer of NWB files with ndx-pose: 2D poses of every view with its calibrated camera, and 3D poses."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom import CameraGroup
from mvgeom.files import file_name
from mvtrain.exchange.write_options import WriteOptions
from mvtrain.predict.saved_predictions import PredictedSession
from mvtrain.runtime.imports import need

_UNITS = {"m": "meters", "cm": "centimeters", "mm": "millimeters"}
_UNKNOWN_START = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_PIXELS = "x to the right, y down; (0, 0) is the center of the top-left pixel"


def write(session: PredictedSession, folder: Path, options: WriteOptions) -> list[str]:
    """Write `<session>.nwb`.

    The processing module `behavior` has a `MultiCameraPoseEstimation` with the 3D poses and a `PoseEstimation` per
    view, which links to the `CalibratedCamera` of that view; without 3D, only the `PoseEstimation` of every view.
    Beside the 3D poses a view with the name of a keypoint is `<view>_view`. Standard deviations in 3D are time series
    `<keypoint>_std`. The files hold 32-bit numbers, as ndx-pose defines.

    Returns:
        Notes for the user.

    Raises:
        InputError: pynwb or ndx-pose is not installed (`missing-library`).
    """
    pynwb, pose = need("pynwb", "convert nwb", "nwb"), need("ndx_pose", "convert nwb", "nwb")
    h5py = need("h5py", "convert nwb", "nwb")
    file = pynwb.NWBFile(
        session_description=_text(f"poses of the recording {session.name}, predicted by mvtrain"),
        identifier=str(uuid.uuid4()),
        session_start_time=options.start or _UNKNOWN_START,
    )
    notes = []
    if options.start is None:
        notes.append("the time of the recording is unknown and is stored as 1970-01-01. Give it with --start")
    if options.frame_rate is None:
        notes.append("the frame rate is unknown, so time is in frames. Give it with --fps")
    unit = "unknown" if options.unit is None else _UNITS[options.unit]
    if options.unit is None and session.in_3d is not None:
        notes.append("the unit of the 3D poses is unknown. Give it with --unit")
    rate = 1.0 if options.frame_rate is None else float(options.frame_rate)
    writer = _Writer(file, pynwb, pose, session, options.cameras, unit, {"rate": rate, "starting_time": 0.0})
    writer.write(options.skeleton)
    # To memory first: on a full disk HDF5 has errors of several kinds.
    with (
        h5py.File("memory", "w", driver="core", backing_store=False) as memory,
        pynwb.NWBHDF5IO(file=memory, mode="w") as opened,
    ):
        opened.write(file)
        memory.flush()
        content = memory.id.get_file_image()
    (folder / file_name(f"{session.name}.nwb")).write_bytes(content)
    return notes


@dataclass(frozen=True, eq=False)
class _Writer:
    """Objects of one recording in a file.

    Attributes:
        file: File of pynwb.
        pynwb: Library pynwb.
        pose: Library ndx_pose.
        session: Recording.
        cameras: Cameras of the views; None if unknown.
        unit: Unit of the world.
        timing: Rate and starting time of all series.
    """

    file: Any
    pynwb: Any
    pose: Any
    session: PredictedSession
    cameras: CameraGroup | None
    unit: str
    timing: dict[str, float]

    def write(self, bones: Sequence[tuple[str, str]]) -> None:
        """Add everything."""
        module = self.file.create_processing_module(name="behavior", description="poses predicted by mvtrain")
        skeleton = self._skeleton(bones)
        module.add(self.pose.Skeletons(skeletons=[skeleton]))
        shared = {
            "skeleton": skeleton,
            "scorer": "mvtrain",
            "source_software": "mvtrain",
            "source_software_version": version("mvtrain"),
        }
        views = [self._view(number, shared) for number in range(len(self.session.view_names))]
        if self.session.in_3d is None:
            for view in views:
                module.add(view)
            return
        world = "world of the calibration, whose cameras are the devices of this file"
        series = self._series(self.session.in_3d.points, {"reference_frame": world, "unit": self.unit})
        poses = self.pose.MultiCameraPoseEstimation(
            pose_estimation_series=series, pose_estimations=views, description="3D keypoints from all views", **shared
        )
        module.add(poses)
        for place, keypoint in enumerate(self.session.keypoint_names):
            values = self.session.in_3d.std[:, place].astype(np.float32)
            about = {"description": _text(f"standard deviations of x, y, z of {keypoint}"), "unit": self.unit}
            module.add(
                self.pynwb.TimeSeries(
                    name=f"{_name(keypoint, self.session.keypoint_names)}_std", data=values, **about, **self.timing
                )
            )

    def _view(self, number: int, shared: dict[str, Any]) -> Any:
        """Add the camera of a view, and return the poses in its images."""
        view, likelihood = self.session.view_names[number], self.session.likelihood[:, number].astype(np.float32)
        device = self._camera(number)
        self.file.add_device(device)
        series = self._series(
            self.session.points[:, number],
            {"reference_frame": _PIXELS, "confidence_definition": "likelihood of the network, 0 to 1"},
            likelihood,
        )
        return self.pose.PoseEstimation(
            name=self._view_name(view),
            pose_estimation_series=series,
            description=_text(f"keypoints in the images of {view}"),
            device=device,
            **shared,
        )

    def _view_name(self, view: str) -> str:
        """Return the name of the poses of a view, which are in one group with the 3D poses of the keypoints."""
        keypoints, views = self.session.keypoint_names, self.session.view_names
        name = _name(view, views)
        if self.session.in_3d is None:
            return name
        series, others = {_name(each, keypoints) for each in keypoints}, {_name(each, views) for each in views} - {name}
        while name in series | others:
            name += "_view"
        return name

    def _series(self, points: np.ndarray, about: dict[str, str], confidence: np.ndarray | None = None) -> list[Any]:
        """Return the series (T, D) of each keypoint."""
        series = []
        for place, keypoint in enumerate(self.session.keypoint_names):
            further = {} if confidence is None else {"confidence": confidence[:, place]}
            values = points[:, place].astype(np.float32)
            named = {"name": _name(keypoint, self.session.keypoint_names), "description": _text(keypoint)}
            made = self.pose.PoseEstimationSeries(data=values, **named, **about, **further, **self.timing)
            series.append(made)
        return series

    def _skeleton(self, bones: Sequence[tuple[str, str]]) -> Any:
        """Return the keypoints, and the bones whose ends are among them."""
        names = self.session.keypoint_names
        edges = [(names.index(a), names.index(b)) for a, b in bones if a in names and b in names]
        # ndx-pose's uint8 is the least width: HDMF takes a wider one, which over 256 keypoints need.
        numbers = np.min_scalar_type(max(len(names) - 1, 0))
        further = {"edges": np.array(edges, dtype=numbers)} if edges else {}
        return self.pose.Skeleton(name="subject", nodes=[_text(name) for name in names], **further)

    def _camera(self, number: int) -> Any:
        """Return the camera of a view as a device."""
        name = _name(self.session.view_names[number], self.session.view_names)
        if self.cameras is None:
            return self.pynwb.device.Device(name=name)
        width, height = np.asarray(self.cameras.sizes)[number]
        fisheye = self.cameras.fisheye[number]
        coefficients = np.asarray(self.cameras.distortion)[number][: 4 if fisheye else None]
        distortion = {"distortion_coefficients": coefficients.astype(np.float32)} if len(coefficients) else {}
        return self.pose.CalibratedCamera(
            name=name,
            description=(
                f"images of {width:g} x {height:g} px; {_PIXELS}; {'fisheye' if fisheye else 'Brown-Conrady'} lens "
                f"with OpenCV's coefficients; from world to camera R x + t, in {self.unit}"
            ),
            intrinsic_matrix=np.asarray(self.cameras.matrix)[number].astype(np.float32),
            rotation_matrix=np.asarray(self.cameras.rotation)[number].astype(np.float32),
            translation_vector=np.asarray(self.cameras.translation)[number].astype(np.float32),
            **distortion,
        )


def _name(text: str, among: Sequence[str]) -> str:
    """Return a name of an object of NWB, without slashes and colons, that differs from those of the other texts."""
    plain = [file_name(re.sub("[/:]", "_", each)) for each in among]
    name = file_name(re.sub("[/:]", "_", text))
    return name if plain.count(name) == 1 else file_name(text.replace(":", "/"))


def _text(text: str) -> str:
    """Return a text without what HDF5 does not store: zeros, and halves of characters."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "_")
