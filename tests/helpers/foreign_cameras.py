"""Calibration files as other programs write them, for formats that mvgeom only reads.

Each writer takes a path and cameras in OpenCV's conventions. `None` as the pose is a camera that the program has not
calibrated; `further` is one more camera, written under a key or into a place that the program would not use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tomli_w


@dataclass(frozen=True, kw_only=True)
class ForeignCamera:
    """A camera by OpenCV's numbers: rotation vector and translation from the world to the camera."""

    name: str
    size: tuple[int, int]
    matrix: Any
    distortion: list[float]
    pose: tuple[list[float], list[float]] | None
    fisheye: bool = False

    @property
    def rotation(self) -> list[list[float]]:
        assert self.pose is not None
        return cv2.Rodrigues(np.array(self.pose[0]))[0].tolist()

    def project(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) px by OpenCV."""
        assert self.pose is not None
        vector, translation = (np.array(value) for value in self.pose)
        arguments = points[:, None], vector, translation, np.array(self.matrix), np.array(self.distortion)
        projected = (cv2.fisheye if self.fisheye else cv2).projectPoints(*arguments)
        return projected[0].reshape(-1, 2)


def foreign_rig(names: Sequence[str], num_coefficients: int, *, fisheye: bool = False) -> list[ForeignCamera]:
    """Cameras that look at the origin's neighborhood from 4 units away; seeded."""
    random = np.random.default_rng(7)
    return [
        ForeignCamera(
            name=name,
            size=(1280, 720),
            matrix=[[float(700 + row), 0.0, 630.5], [0.0, float(710 + row), 350.25], [0.0, 0.0, 1.0]],
            distortion=random.uniform(-0.02, 0.02, num_coefficients).tolist(),
            pose=(random.uniform(-1, 1, 3).tolist(), [*random.uniform(-0.3, 0.3, 2).tolist(), 4.0 + row]),
            fisheye=fisheye,
        )
        for row, name in enumerate(names)
    ]


def write_panoptic(path: Path, cameras: Sequence[ForeignCamera], further: ForeignCamera | None = None) -> None:
    def entry(camera: ForeignCamera) -> dict[str, Any]:
        lens = {
            "name": camera.name,
            "type": "hd",
            "resolution": list(camera.size),
            "panel": 0,
            "node": 1,
            "K": camera.matrix,
            "distCoef": camera.distortion,
        }
        pose = {} if camera.pose is None else {"R": camera.rotation, "t": [[value] for value in camera.pose[1]]}
        return lens | pose

    document = {"calibDataSource": "160422_calib_tent13_norm", "cameras": [entry(camera) for camera in cameras]}
    if further:
        document["strange"] = [entry(further)]
    path.write_text(json.dumps(document, indent=1))


def write_caliscope(path: Path, cameras: Sequence[ForeignCamera], further: ForeignCamera | None = None) -> None:
    """`camera_array.toml`, today's version."""
    tables = {camera.name.removeprefix("cam_"): _caliscope_table(camera, "cam_id") for camera in cameras}
    if further:
        tables["strange camera"] = _caliscope_table(further, "cam_id")
    path.write_text(tomli_w.dumps({"cameras": tables}))


def write_old_caliscope(path: Path, cameras: Sequence[ForeignCamera], further: ForeignCamera | None = None) -> None:
    """`config.toml` of 2023, with a rotation matrix."""
    tables = {camera.name: _caliscope_table(camera, "port") for camera in cameras}
    for camera in cameras:
        if camera.pose:
            tables[camera.name]["rotation"] = camera.rotation
    if further:
        tables["strange"] = _caliscope_table(further, "port")
    rest = {"capture_volume": {"stage": 2, "origin_sync_index": 77}, "charuco": {"columns": 7, "units": "inch"}}
    path.write_text(tomli_w.dumps({"fps_recording": 15, **tables, **rest}))


def _caliscope_table(camera: ForeignCamera, number: str) -> dict[str, Any]:
    if camera.pose is None:
        return {number: 0, "size": list(camera.size), "rotation_count": 0}
    return {
        number: 1,
        "size": list(camera.size),
        "rotation_count": 0,
        "error": 0.371,
        "matrix": camera.matrix,
        "distortions": camera.distortion,
        "translation": camera.pose[1],
        "rotation": camera.pose[0],
        "exposure": "null",
        "grid_count": 59,
        "fisheye": camera.fisheye,
    }


def write_freemocap(path: Path, cameras: Sequence[ForeignCamera], further: ForeignCamera | None = None) -> None:
    def table(camera: ForeignCamera) -> dict[str, Any]:
        lens = {
            "name": camera.name,
            "size": list(camera.size),
            "matrix": camera.matrix,
            "distortions": camera.distortion,
        }
        return lens if camera.pose is None else lens | {"rotation": camera.pose[0], "translation": camera.pose[1]}

    document: dict[str, Any] = {f"cam_{row}": table(camera) for row, camera in enumerate(cameras)}
    document["metadata"] = {
        "charuco_square_size": 58.0,
        "charuco_board_object": "CharucoBoardDefinition(...)",
        "path_to_recorded_videos": "synchronized_videos",
        "date_time_calibrated": "2025-03-11T14:19:33",
        "groundplane_calibration": False,
        "recording_info": {"recording_name": "session", "count": 3},
    }
    document["recording_info"] = {"recording_name": "session"}
    if further:
        document["strange"] = table(further)
    path.write_text(tomli_w.dumps(document))


def write_acinoset(path: Path, cameras: Sequence[ForeignCamera], further: ForeignCamera | None = None) -> None:
    def entry(camera: ForeignCamera) -> dict[str, Any]:
        lens = {"k": camera.matrix, "d": [[value] for value in camera.distortion]}
        return lens if camera.pose is None else lens | {"r": camera.rotation, "t": [[v] for v in camera.pose[1]]}

    document = {
        "timestamp": "2022-02-16 20:34:55.440171",
        "camera_resolution": list(cameras[0].size),
        "cameras": [entry(camera) for camera in cameras],
    }
    if further:
        document["strange"] = entry(further)
    path.write_text(json.dumps(document))


def write_openpose(path: Path, cameras: Sequence[ForeignCamera], further: ForeignCamera | None = None) -> None:
    path.mkdir(exist_ok=True)
    for camera in cameras:
        storage = cv2.FileStorage(str(path / f"{camera.name}.xml"), cv2.FILE_STORAGE_WRITE)
        if camera.pose:
            storage.write("CameraMatrix", np.column_stack([camera.rotation, camera.pose[1]]))
        storage.write("Intrinsics", np.array(camera.matrix))
        storage.write("Distortion", np.array(camera.distortion)[:, None])
        storage.release()
    if further:
        write_openpose(path, [further])
        (path / f"{further.name}.xml").rename(path / "strange camera.xml")


def write_multical(path: Path, cameras: Sequence[ForeignCamera], further: ForeignCamera | None = None) -> None:
    everything = [*cameras, *([further] if further else [])]
    lenses = {
        camera.name: {
            "model": "standard",
            "image_size": list(camera.size),
            "K": camera.matrix,
            "dist": [camera.distortion],
        }
        for camera in cameras
    }
    poses = {
        camera.name: {"R": camera.rotation, "T": camera.pose[1]} for camera in everything if camera.pose is not None
    }
    images = {"rgb": [{camera.name: "0.png" for camera in cameras}]}
    path.write_text(json.dumps({"cameras": lenses, "camera_poses": poses, "image_sets": images}, indent=2))


@dataclass(frozen=True, kw_only=True)
class ForeignFormat:
    """A format that is only read, and the cameras of its test."""

    file: str
    write: Callable[..., None]
    names: tuple[str, ...]
    num_coefficients: int
    fisheye: bool = False
    options: dict[str, Any] | None = None


FOREIGN = {
    "panoptic": ForeignFormat(
        file="calibration.json", write=write_panoptic, names=("00_07", "00_03", "50_01"), num_coefficients=5
    ),
    "caliscope": ForeignFormat(
        file="camera_array.toml", write=write_caliscope, names=("cam_10", "cam_2", "cam_3"), num_coefficients=5
    ),
    "freemocap": ForeignFormat(
        file="session_camera_calibration.toml",
        write=write_freemocap,
        names=("session_Cam2", "session_Cam1", "session_Cam3"),
        num_coefficients=5,
    ),
    "acinoset": ForeignFormat(
        file="3_cam_scene_sba.json",
        write=write_acinoset,
        names=("cam1", "cam2", "cam3"),
        num_coefficients=4,
        fisheye=True,
    ),
    "openpose": ForeignFormat(
        file="flir",
        write=write_openpose,
        names=("17012332", "17092861", "18079958"),
        num_coefficients=8,
        options={"sizes": (1280, 720)},
    ),
    "multical": ForeignFormat(
        file="calibration.json", write=write_multical, names=("right", "left", "top"), num_coefficients=5
    ),
}
