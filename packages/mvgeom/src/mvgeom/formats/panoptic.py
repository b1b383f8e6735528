"""CMU Panoptic JSON, which MMPose's multi-view demos take, too: a list `cameras` with K, distCoef, R, t per camera.

Convention: OpenCV's throughout (K not transposed, world to camera, five coefficients k1 k2 p1 p2 k3), translations in
cm. Pixel (0, 0) is the center of the top-left pixel. `name` and `resolution` (width, height) stand in the file; `type`,
`panel` and `node` are not read. Cameras with neither `R` nor `t` are left out with a warning.

Layout after `calibration_<sequence>.json` of the Panoptic Studio data set, the projection of its panoptic-toolbox
(`python/panutils.py`), and `camera_parameters.json` of MMPose's demo of VoxelPose.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.formats import camera_fields, json_file, records

__all__ = ["DESCRIPTION", "NAME", "READ_ONLY", "SUFFIXES", "load", "matches", "save"]

NAME = "panoptic"
DESCRIPTION = "CMU Panoptic or MMPose JSON (.json)"
SUFFIXES = ()
UNIT = "cm"
READ_ONLY = True

_POSE = ("R", "t")
_REQUIRED = ("K", "distCoef", *_POSE)


def matches(path: Path) -> bool:
    """Return True if the file is JSON with a list `cameras`, one of them with K or distCoef."""
    cameras = json_file.peek_json(path, "cameras")
    return isinstance(cameras, list) and any(
        isinstance(each, dict) and {"K", "distCoef"} & each.keys() for each in cameras
    )


def load(path: Path, *, sizes: camera_fields.Sizes | None = None) -> CameraGroup:
    """Load the cameras of the file, in its order, translations in cm.

    Args:
        path: File of the cameras.
        sizes: Image width and height in px, for all cameras or by name, where the file has no `resolution`.

    Raises:
        InputError: for what is not JSON (with the line), entries beside `cameras` that are lists or objects, missing or
            wrong fields, a missing image size.
    """
    document = json_file.parse_json(path)
    cameras = document.get("cameras") if isinstance(document, dict) else None
    if not isinstance(cameras, list):
        raise InputError(f"{path}: no list cameras", code="missing-field", path=path, field="cameras")
    other = [key for key, value in document.items() if key != "cameras" and isinstance(value, dict | list)]
    if other:
        raise InputError(
            f"{path}: {other[0]} is not known; cameras must be in the list cameras",
            code="bad-field",
            path=path,
            field=other[0],
        )
    named = [(_name(camera, row, path), camera) for row, camera in enumerate(cameras)]
    unplaced = [name for name, camera in named if camera_fields.is_unplaced(camera, _POSE)]
    records.warn_left_out(unplaced, path)
    return records.assemble(
        [_read(camera, name, sizes, path) for name, camera in named if not camera_fields.is_unplaced(camera, _POSE)],
        path,
    )


def save(cameras: CameraGroup, path: Path) -> NoReturn:
    """Raise InputError: the format is only read."""
    records.refuse_to_write(DESCRIPTION)


def _name(camera: Any, row: int, path: Path) -> str:
    camera_fields.require(camera, ["name"], f"number {row + 1}", path)
    name = camera["name"]
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        raise InputError(
            f"{path}: camera number {row + 1}: name must be text or a number, found {name!r}",
            code="bad-field",
            path=path,
            field="name",
        )
    return str(name)


def _read(camera: dict[str, Any], name: str, sizes: camera_fields.Sizes | None, path: Path) -> records.CameraRecord:
    camera_fields.require(camera, _REQUIRED, name, path)
    where = f"{path}: camera {name!r}: "
    matrix = camera_fields.intrinsics(camera["K"], f"{where}K")
    return records.CameraRecord(
        name=name,
        size=camera_fields.size_or_given(camera.get("resolution"), sizes, name, matrix, where),
        matrix=matrix,
        distortion=camera_fields.distortion_coefficients(camera["distCoef"], f"{where}distCoef"),
        rotation=camera_fields.rotation_matrix(camera["R"], f"{where}R"),
        translation=camera_fields.numbers(camera["t"], (3,), f"{where}t", reshape=True),
    )
