"""OpenCV's YAML, XML or JSON files, as written by its multi-view, stereo and single-camera calibration samples.

Convention: K not transposed, `x_cam = R X + t`, distortion in OpenCV's order, pixel (0, 0) is the center of the
top-left pixel, the unit is that of the calibration board. Three layouts are read:

- multi-view (`multiview_calibration.py`): `Ks`, `distortions`, `rvecs` (rotation vectors), `Ts`, `is_fisheye`,
  `image_sizes`, `cam_ids` (names joined by commas). This layout is also written. OpenCV 5 has `Rs` (rotation matrices)
  for `rvecs`, `models` (1 is fisheye) for `is_fisheye`, and all `distortions` in one row, four of a fisheye lens.
- stereo (`stereo_calib.cpp`): `M1 D1 M2 D2` in intrinsics.yml; `R T` in extrinsics.yml in the same folder, from the
  first camera to the second; the world is the first camera. No names and image sizes.
- one camera (`calibration.cpp`, `camera_calibration.cpp`): `camera_matrix`, `distortion_coefficients`, `image_width`,
  `image_height`; `fisheye_model` 1 is a fisheye lens. The world is the camera (R = I, t = 0): such a file has no
  extrinsics; its board poses are not camera poses. Omnidirectional cameras (`xi`) are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.formats import camera_fields, filestorage, records

__all__ = ["DESCRIPTION", "NAME", "SUFFIXES", "load", "matches", "save"]

NAME = "opencv"
DESCRIPTION = "OpenCV YAML or XML (.yml, .yaml, .xml)"
SUFFIXES = (".yml", ".yaml", ".xml")


def matches(path: Path) -> bool:
    """Return True if the file is in FileStorage format."""
    return filestorage.looks_like_storage(path)


def load(
    path: Path,
    *,
    sizes: camera_fields.Sizes | None = None,
    extrinsics: str | Path | None = None,
    names: Sequence[str] | None = None,
) -> CameraGroup:
    """Load the cameras of a multi-view, stereo or single-camera file.

    Args:
        path: Path of the file; for a stereo pair, of the one with the intrinsics.
        sizes: Image width and height in px, for all cameras or by name, if the file does not have them.
        extrinsics: Path of the stereo pair's file with R and T; None means the file next to `path` with "extrinsics" in
            its name in place of "intrinsics".
        names: Names of the cameras, if the file does not have them; None means left and right, or the file's name.

    Raises:
        InputError: `invalid-syntax`, if OpenCV cannot read the file; `missing-field`, if it has no calibration;
            `wrong-shape`, `wrong-count` or `bad-field`, if entries are wrong; `missing-file`, if a stereo pair has no
            extrinsics; `unsupported-camera`, if the camera is omnidirectional; `missing-size`, if an image size is
            missing.
    """
    document = filestorage.read(path)
    present = tuple(document)
    more = [key for key in present if re.fullmatch(r"M(?!1$|2$)\w*\d|camera_matrix_?\d+", key)]
    if more:
        raise InputError(
            f"{path}: {more[0]} is a further camera than those of a single-camera or stereo file",
            code="unsupported-file",
            path=path,
            field=more[0],
        )
    if {"Ks", "Ts"} <= set(present) and {"rvecs", "Rs"} & set(present):
        return records.assemble(_read_multiview(document, sizes, names, path), path)
    if {"M1", "M2"} <= set(present):
        return records.assemble(_read_stereo(document, sizes, extrinsics, names, path), path)
    if "camera_matrix" in present:
        return records.assemble(_read_single(document, sizes, names, path), path)
    raise InputError(
        f"{path}: no calibration found, expected entries of OpenCV's samples (Ks rvecs Ts; M1 D1 M2 D2; "
        f"camera_matrix), found {', '.join(present) or 'nothing'}",
        code="missing-field",
        path=path,
        found=present,
    )


def save(cameras: CameraGroup, path: Path) -> None:
    """Save the multi-view layout as YAML or XML, depending on the suffix.

    Raises:
        InputError: `bad-name`, if a name has a comma, because the file joins names with commas, or is one that
            `filestorage.write` refuses.
    """
    rig = records.records_of(cameras)
    for record in rig:
        if "," in record.name:
            raise InputError(
                f"camera name {record.name!r}: contains a comma, which OpenCV's files cannot hold. Rename the camera.",
                code="bad-name",
                view=record.name,
            )
    records.warn_skew(rig, "OpenCV's functions")
    length = max(4, int(cameras.distortion.shape[-1]))
    size = np.stack([record.size for record in rig])
    filestorage.write(
        path,
        {
            "cam_ids": ",".join(cameras.names),
            "is_fisheye": np.array([[record.fisheye] for record in rig], dtype=np.int32),
            "image_sizes": size.astype(np.int32) if (size == np.round(size)).all() else size,
            "Ks": np.stack([record.matrix for record in rig]),
            "distortions": np.stack([records.fit_distortion(record, length, "OpenCV's file") for record in rig])[
                :, None
            ],
            "rvecs": np.stack([camera_fields.rotation_to_vector(record.rotation) for record in rig])[..., None],
            "Ts": np.stack([record.translation for record in rig])[..., None],
        },
    )


def _read_multiview(
    document: Mapping[str, Any], sizes: camera_fields.Sizes | None, names: Sequence[str] | None, path: Path
) -> list[records.CameraRecord]:
    where = f"{path}: "
    matrices = filestorage.matrix(document, "Ks", None, where)
    if matrices.size % 9:
        raise InputError(
            f"{where}Ks: wrong shape, found {matrices.size}, expected Nx3x3 numbers",
            code="wrong-shape",
            path=path,
            field="Ks",
            found=matrices.size,
        )
    num_views = matrices.size // 9
    stored_names = document["cam_ids"].split(",") if isinstance(document.get("cam_ids"), str) else None
    used = _names(stored_names or names or [str(view) for view in range(num_views)], num_views, path)
    has_sizes = document.get("image_sizes") is not None
    translations = filestorage.matrix(document, "Ts", (3 * num_views,), where).reshape(num_views, 3)
    fisheye = _fisheye_flags(document, num_views, where)
    distortions = _split_distortions(document, fisheye, where)
    stored_sizes = filestorage.matrix(document, "image_sizes", (2 * num_views,), where) if has_sizes else None
    return [
        _record(
            name,
            matrices.reshape(num_views, 3, 3)[view],
            distortions[view],
            rotation,
            translations[view],
            None if stored_sizes is None else stored_sizes.reshape(num_views, 2)[view],
            sizes,
            path,
            fisheye=fisheye[view],
        )
        for view, (name, rotation) in enumerate(zip(used, _rotations(document, used, where), strict=True))
    ]


def _fisheye_flags(document: Mapping[str, Any], num_views: int, where: str) -> list[bool]:
    """Return True for each fisheye lens of a multi-view file, by `is_fisheye` or `models`."""
    key = next((key for key in ("is_fisheye", "models") if document.get(key) is not None), None)
    if key is None:
        return [False] * num_views
    stored = document[key]
    if isinstance(stored, np.ndarray) and stored.dtype == np.bool_:
        stored = stored.astype(np.uint8)
    flags = filestorage.matrix({key: stored}, key, (num_views,), where)
    if not np.isin(flags, (0, 1)).all():
        raise InputError(
            f"{where}{key}: must be 0 (Brown-Conrady) or 1 (fisheye), found {flags.tolist()}",
            code="bad-field",
            field=key,
            found=flags.tolist(),
        )
    return [bool(flag) for flag in flags]


def _rotations(document: Mapping[str, Any], names: Sequence[str], where: str) -> list[camera_fields.Floats]:
    """Return the rotation of each camera of a multi-view file, by `rvecs` or `Rs`."""
    key = "rvecs" if document.get("rvecs") is not None else "Rs"
    values = filestorage.matrix(document, key, None, where)
    length = 9 if key == "Rs" else 3
    if values.size != length * len(names):
        raise InputError(
            f"{where}{key}: wrong shape, found {values.size} for {len(names)}, expected {length} per camera",
            code="wrong-shape",
            field=key,
            found=values.size,
        )
    named = [
        (row, f"{where}camera {name!r}: {key}") for row, name in zip(values.reshape(-1, length), names, strict=True)
    ]
    if key == "Rs":
        return [camera_fields.rotation_matrix(row.reshape(3, 3), label) for row, label in named]
    return [camera_fields.rotation_from_vector(row, label) for row, label in named]


def _split_distortions(document: Mapping[str, Any], fisheye: list[bool], where: str) -> list[camera_fields.Floats]:
    """Return the coefficients of each camera of a multi-view file."""
    values = filestorage.matrix(document, "distortions", None, where)
    in_one_row = len(fisheye) > 1 and values.size == max(np.shape(document["distortions"]))
    num_fisheye = sum(fisheye) if in_one_row else 0
    others = len(fisheye) - num_fisheye
    length, rest = divmod(values.size - 4 * num_fisheye, max(others, 1))
    if rest or length < 0 or (length and not others):
        raise InputError(
            f"{where}distortions: wrong shape, found {values.size} for {len(fisheye)}, expected as many for each lens "
            "of a model",
            code="wrong-shape",
            field="distortions",
            found=values.size,
        )
    lengths = [4 if lens and num_fisheye else length for lens in fisheye]
    return np.split(values, np.cumsum(lengths)[:-1])


def _read_stereo(
    document: Mapping[str, Any],
    sizes: camera_fields.Sizes | None,
    extrinsics: str | Path | None,
    names: Sequence[str] | None,
    path: Path,
) -> list[records.CameraRecord]:
    other = Path(extrinsics) if extrinsics else path.with_name(path.name.replace("intrinsics", "extrinsics"))
    if other == path or not other.is_file():
        absent = "" if other == path else f" (not found: {other})"
        raise InputError(
            f"{path}: the extrinsics R, T of this stereo pair are missing{absent}. Give extrinsics=, or write one file "
            "with mvgeom convert -O extrinsics=FILE.",
            code="missing-file",
            path=path,
            argument="extrinsics",
        )
    second = filestorage.read(other)
    rotation = camera_fields.rotation_matrix(filestorage.matrix(second, "R", (3, 3), f"{other}: "), f"{other}: R")
    translation = filestorage.matrix(second, "T", (3,), f"{other}: ")
    first_name, second_name = _names(names or ("left", "right"), 2, path)
    poses = [(first_name, np.eye(3), np.zeros(3)), (second_name, rotation, translation)]
    return [
        _record(
            name,
            filestorage.matrix(document, f"M{number}", (3, 3), f"{path}: camera {name!r}: "),
            filestorage.matrix(document, f"D{number}", None, f"{path}: camera {name!r}: "),
            turn,
            shift,
            None,
            sizes,
            path,
        )
        for number, (name, turn, shift) in enumerate(poses, start=1)
    ]


def _read_single(
    document: Mapping[str, Any], sizes: camera_fields.Sizes | None, names: Sequence[str] | None, path: Path
) -> list[records.CameraRecord]:
    (name,) = _names(names or (path.stem,), 1, path)
    where = f"{path}: camera {name!r}: "
    if document.get("xi") is not None:  # of opencv_contrib's omnidir, whose other entries have the same names
        raise InputError(
            f"{where}an omnidirectional camera (it has xi), which is not supported. Calibrate it as fisheye.",
            code="unsupported-camera",
            path=path,
            view=name,
            field="xi",
        )
    width, height = filestorage.scalar(document, "image_width"), filestorage.scalar(document, "image_height")
    return [
        _record(
            name,
            filestorage.matrix(document, "camera_matrix", (3, 3), where),
            filestorage.matrix(document, "distortion_coefficients", None, where),
            np.eye(3),
            np.zeros(3),
            None if width is None or height is None else (width, height),
            sizes,
            path,
            fisheye=bool(filestorage.scalar(document, "fisheye_model")),
        )
    ]


def _record(
    name: str,
    matrix: camera_fields.Floats,
    distortion: camera_fields.Floats,
    rotation: camera_fields.Floats,
    translation: camera_fields.Floats,
    stored_size: Any,
    sizes: camera_fields.Sizes | None,
    path: Path,
    *,
    fisheye: bool = False,
) -> records.CameraRecord:
    where = f"{path}: camera {name!r}: "
    matrix = camera_fields.intrinsics(matrix, f"{where}camera matrix")
    distortion = camera_fields.distortion_coefficients(distortion, f"{where}distortion")
    if fisheye and distortion[4:].any():
        raise InputError(
            f"{where}wrong number of distortion coefficients, found {distortion.tolist()}, expected 4 for fisheye",
            code="wrong-count",
            path=path,
            view=name,
        )
    return records.CameraRecord(
        name=name,
        size=camera_fields.size_or_given(stored_size, sizes, name, matrix, where),
        matrix=matrix,
        distortion=distortion,
        rotation=rotation,
        translation=translation,
        fisheye=fisheye,
    )


def _names(names: Sequence[str], num_views: int, path: Path) -> Sequence[str]:
    if len(names) != num_views:
        raise InputError(
            f"{path}: wrong number of names, found {len(names)}: {list(names)}, expected {num_views}, one per camera",
            code="wrong-count",
            path=path,
            argument="names",
            found=len(names),
            expected=num_views,
        )
    return names
