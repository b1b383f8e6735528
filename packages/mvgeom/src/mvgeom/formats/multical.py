"""multical's calibration.json: `cameras` (model, image_size, K, dist) and `camera_poses` (R, T), both by camera name.

Convention: OpenCV's throughout (K not transposed, distortion in OpenCV's order), the unit of the board. Pixel (0, 0) is
the center of the top-left pixel. A pose `name` is from the rig (the world) to the camera: x_cam = R X + T. With a
master camera, which is the world then, the other poses are named `name_to_master` and are from the master to the
camera; where `other` in `name_to_other` has a pose of its own, both are combined. Four coefficients are those of a
fisheye lens (multical's other models write at least five), unless `fisheye` says otherwise. The order is that of
`cameras`.

Cameras without a pose are left out with a warning. `image_sets` and other entries are not read.

Layout after `export_json` in multical's `multical/io/export_calib.py`; the direction after `Calibration.projected` in
its `optimization/calibration.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.formats import camera_fields, json_file, records

__all__ = ["DESCRIPTION", "NAME", "READ_ONLY", "SUFFIXES", "load", "matches", "save"]

NAME = "multical"
DESCRIPTION = "multical JSON (calibration.json)"
SUFFIXES = ()
READ_ONLY = True

_Pose = tuple[camera_fields.Floats, camera_fields.Floats]


def matches(path: Path) -> bool:
    """Return True if the file is JSON with an object `cameras`, one of them with K and dist."""
    cameras = json_file.peek_json(path, "cameras")
    return isinstance(cameras, dict) and any(
        isinstance(each, dict) and {"K", "dist"} <= each.keys() for each in cameras.values()
    )


def load(path: Path, *, sizes: camera_fields.Sizes | None = None, fisheye: bool | None = None) -> CameraGroup:
    """Load the cameras of the file that have a pose, in its order.

    Args:
        path: File of the cameras.
        sizes: Image width and height in px, for all cameras or by name, where the file has no `image_size`.
        fisheye: True if the lenses are fisheye; None takes those with four coefficients for fisheye lenses.

    Raises:
        InputError: for what is not JSON (with the line), a pose of a camera that `cameras` does not have, missing or
            wrong fields, a missing image size, a `fisheye` that is not a truth value.
    """
    if fisheye is not None:
        camera_fields.check_truth(fisheye, "fisheye")
    document = json_file.parse_json(path)
    cameras, poses = (document.get(key) if isinstance(document, dict) else None for key in ("cameras", "camera_poses"))
    for key, value in (("cameras", cameras), ("camera_poses", poses)):
        if not isinstance(value, dict):
            raise InputError(f"{path}: no object {key}", code="missing-field", path=path, field=key)
    assert isinstance(cameras, dict)
    assert isinstance(poses, dict)
    placed = _poses(poses, list(cameras), path)
    records.warn_left_out([name for name in cameras if name not in placed], path)
    return records.assemble(
        [_read(cameras[name], name, placed[name], sizes, fisheye, path) for name in cameras if name in placed], path
    )


def save(cameras: CameraGroup, path: Path) -> NoReturn:
    """Raise InputError: the format is only read."""
    records.refuse_to_write(DESCRIPTION)


def _poses(entries: dict[str, Any], names: list[str], path: Path) -> dict[str, _Pose]:
    """Return the pose from the world to each camera, by name."""
    relative: dict[str, tuple[str | None, _Pose]] = {}
    for key, entry in entries.items():
        pairs = [(one, other) for one in names for other in names if key == f"{one}_to_{other}"]
        name, origin = (key, None) if key in names else pairs[0] if pairs else (None, None)
        if name is None:
            raise InputError(
                f"{path}: camera_poses has {key!r}, but cameras has only {', '.join(names)}",
                code="missing-view",
                path=path,
                view=key,
            )
        if name in relative:
            raise InputError(f"{path}: two poses of camera {name!r}", code="duplicate-name", path=path, name=name)
        camera_fields.require(entry, ["R", "T"], key, path)
        where = f"{path}: camera {name!r}: camera_poses "
        rotation = camera_fields.rotation_matrix(entry["R"], f"{where}R")
        relative[name] = origin, (rotation, camera_fields.numbers(entry["T"], (3,), f"{where}T", reshape=True))
    placed: dict[str, _Pose] = {}
    worlds: dict[str | None, str] = {}
    for name in relative:
        rotation, translation, at, seen = np.eye(3), np.zeros(3), name, {name}
        while True:
            origin, (turn, shift) = relative[at]
            rotation, translation = rotation @ turn, rotation @ shift + translation
            if origin is None or origin not in relative:
                break
            if origin in seen:
                raise InputError(
                    f"{path}: the poses of {', '.join(sorted(seen))} refer to each other in a circle",
                    code="missing-field",
                    path=path,
                    view=name,
                )
            seen.add(origin)
            at = origin
        placed[name] = rotation, translation
        worlds.setdefault(origin, name)
    if len(worlds) > 1:
        raise InputError(
            f"{path}: the poses of {' and '.join(worlds.values())} are not related to each other",
            code="missing-field",
            path=path,
            views=tuple(worlds.values()),
        )
    placed.update({world: (np.eye(3), np.zeros(3)) for world in worlds if world is not None})
    return placed


def _read(
    camera: Any, name: str, pose: _Pose, sizes: camera_fields.Sizes | None, fisheye: bool | None, path: Path
) -> records.CameraRecord:
    camera_fields.require(camera, ["K", "dist"], name, path)
    where = f"{path}: camera {name!r}: "
    matrix = camera_fields.intrinsics(camera["K"], f"{where}K")
    distortion = camera_fields.distortion_coefficients(camera["dist"], f"{where}dist")
    is_fisheye = len(distortion) == 4 if fisheye is None else fisheye
    if is_fisheye and len(distortion) != 4:
        raise InputError(
            f"{where}a fisheye camera has 4 distortion coefficients, found {len(distortion)}",
            code="wrong-count",
            path=path,
            view=name,
            found=len(distortion),
            expected=4,
        )
    rotation, translation = pose
    return records.CameraRecord(
        name=name,
        size=camera_fields.size_or_given(camera.get("image_size"), sizes, name, matrix, where),
        matrix=matrix,
        distortion=distortion,
        rotation=rotation,
        translation=translation,
        fisheye=is_fisheye,
    )
