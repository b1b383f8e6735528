"""AcinoSet JSON (`4_cam_scene_sba.json`): a list `cameras` with k, d, r, t, and one `camera_resolution`.

Convention: OpenCV's fisheye lens (four coefficients), K not transposed, world to camera, translations in m. Pixel
(0, 0) is the center of the top-left pixel. `fisheye` false, for the whole rig or a camera, makes a lens Brown-Conrady.
The lists `k_arr`, `d_arr`, `r_arr`, `t_arr` (the names in AcinoSet's code) are read in place of `cameras`, too. Cameras
have no names: they are called cam1, cam2, ... like AcinoSet's videos. Those with neither `r` nor `t` are left out
with a warning.

Layout after `save_scene` and `load_scene` in `src/lib/utils.py` of AcinoSet, and the scene files of its repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.formats import camera_fields, json_file, records
from mvgeom.wording import counted

__all__ = ["DESCRIPTION", "NAME", "READ_ONLY", "SUFFIXES", "load", "matches", "save"]

NAME = "acinoset"
DESCRIPTION = "AcinoSet fisheye JSON (.json)"
SUFFIXES = ()
UNIT = "m"
READ_ONLY = True

_POSE = ("r", "t")
_FIELDS = ("k", "d", *_POSE)


def matches(path: Path) -> bool:
    """Return True if the file is JSON with a list `cameras`, one of them with k and d, or with a list `k_arr`."""
    cameras = json_file.peek_json(path, "cameras")
    if isinstance(cameras, list) and any(isinstance(each, dict) and {"k", "d"} <= each.keys() for each in cameras):
        return True
    return isinstance(json_file.peek_json(path, "k_arr"), list)


def load(path: Path, *, sizes: camera_fields.Sizes | None = None, names: Sequence[str] | None = None) -> CameraGroup:
    """Load the cameras of the file, in its order, translations in m.

    Args:
        path: File of the cameras.
        sizes: Image width and height in px, for all cameras or by name, where the file has no `camera_resolution`.
        names: Names of the cameras, in the order of the file; cam1, cam2, ... by default.

    Raises:
        InputError: for what is not JSON (with the line), lists of different lengths, unknown entries, missing or
            wrong fields, another number of names, a missing image size.
    """
    document = json_file.parse_json(path)
    if not isinstance(document, dict):
        raise InputError(f"{path}: not a JSON object", code="missing-field", path=path, field="cameras")
    cameras = _cameras(document, path)
    used = list(names) if names is not None else [f"cam{number}" for number in range(1, len(cameras) + 1)]
    if len(used) != len(cameras):
        raise InputError(
            f"{path}: {counted(len(cameras), 'camera')}, but {counted(len(used), 'name')}: {used}",
            code="wrong-count",
            path=path,
            argument="names",
            found=len(used),
            expected=len(cameras),
        )
    for name, camera in zip(used, cameras, strict=True):
        camera_fields.require(camera, [], name, path)
    named = list(zip(used, cameras, strict=True))
    records.warn_left_out([name for name, camera in named if camera_fields.is_unplaced(camera, _POSE)], path)
    placed = [(name, camera) for name, camera in named if not camera_fields.is_unplaced(camera, _POSE)]
    return records.assemble([_read(camera, name, document, sizes, path) for name, camera in placed], path)


def save(cameras: CameraGroup, path: Path) -> NoReturn:
    """Raise InputError: the format is only read."""
    records.refuse_to_write(DESCRIPTION)


def _cameras(document: dict[str, Any], path: Path) -> list[Any]:
    arrays = {field: document.get(f"{field}_arr") for field in _FIELDS}
    known = {"cameras", "camera_resolution", "fisheye", *(f"{field}_arr" for field in _FIELDS)}
    other = [key for key, value in document.items() if key not in known and isinstance(value, dict | list)]
    if other:
        raise InputError(
            f"{path}: {other[0]} is not known; cameras must be in the list cameras",
            code="bad-field",
            path=path,
            field=other[0],
        )
    cameras = document.get("cameras")
    if isinstance(cameras, list) and all(value is None for value in arrays.values()):
        return cameras
    missing = [f"{field}_arr" for field, value in arrays.items() if not isinstance(value, list)]
    if missing or cameras is not None:
        field = "cameras" if cameras is not None or len(missing) == len(arrays) else missing[0]
        raise InputError(
            f"{path}: expected either a list cameras or the lists {', '.join(f'{each}_arr' for each in _FIELDS)}",
            code="missing-field",
            path=path,
            field=field,
        )
    lengths = {f"{field}_arr": len(value) for field, value in arrays.items() if isinstance(value, list)}
    if len(set(lengths.values())) != 1:
        raise InputError(
            f"{path}: the lists must have an entry per camera, found {lengths}",
            code="wrong-count",
            path=path,
            found=lengths,
        )
    return [{field: arrays[field][row] for field in _FIELDS} for row in range(lengths["k_arr"])]  # type: ignore[index]


def _read(
    camera: dict[str, Any], name: str, document: dict[str, Any], sizes: camera_fields.Sizes | None, path: Path
) -> records.CameraRecord:
    camera_fields.require(camera, _FIELDS, name, path)
    where = f"{path}: camera {name!r}: "
    fisheye = camera.get("fisheye", document.get("fisheye", True))
    if not isinstance(fisheye, bool):
        raise InputError(
            f"{where}fisheye must be true or false, found {fisheye!r}",
            code="bad-field",
            path=path,
            view=name,
            field="fisheye",
        )
    matrix = camera_fields.intrinsics(camera["k"], f"{where}k")
    lengths = (4,) if fisheye else (4, 5, 8, 12, 14)
    return records.CameraRecord(
        name=name,
        size=camera_fields.size_or_given(document.get("camera_resolution"), sizes, name, matrix, where),
        matrix=matrix,
        distortion=camera_fields.distortion_coefficients(camera["d"], f"{where}d", lengths=lengths),
        rotation=camera_fields.rotation_matrix(camera["r"], f"{where}r"),
        translation=camera_fields.numbers(camera["t"], (3,), f"{where}t", reshape=True),
        fisheye=fisheye,
    )
