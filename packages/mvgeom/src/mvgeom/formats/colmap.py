"""COLMAP text: a folder with `cameras.txt` (intrinsics) and `images.txt` (one pose per image).

Convention: world to camera, rotation as a unit quaternion w x y z; unit arbitrary. In COLMAP, pixel (0, 0) is the
top-left CORNER of the image, so the center of the first pixel is (0.5, 0.5): principal points are half a pixel larger
than OpenCV's. Every image becomes a camera, named like the image without its extension, in the order of image ids.
Camera models that are read: SIMPLE_PINHOLE, PINHOLE, SIMPLE_RADIAL, RADIAL, OPENCV, FULL_OPENCV, OPENCV_FISHEYE,
SIMPLE_RADIAL_FISHEYE and RADIAL_FISHEYE. Camera models that are written: OPENCV, FULL_OPENCV and OPENCV_FISHEYE, with
images named `<camera>.png` without points. COLMAP's binary files are not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.files import read_text, write_text
from mvgeom.formats import camera_fields, records

__all__ = ["DESCRIPTION", "NAME", "SUFFIXES", "load", "matches", "save"]

NAME = "colmap"
DESCRIPTION = "COLMAP text (folder with cameras.txt and images.txt)"
SUFFIXES = ()

_CAMERAS, _IMAGES, _POINTS = "cameras.txt", "images.txt", "points3D.txt"
_BINARY = ("cameras.bin", "images.bin")
_FOREIGN = ("rigs.txt", "frames.txt", *_BINARY, "points3D.bin", "rigs.bin", "frames.bin")
"""Files of COLMAP that `save` does not write, and that COLMAP would read with those in text, or instead of them."""
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


@dataclass(frozen=True, kw_only=True)
class _Model:
    """Indices of OpenCV's parameters among a model's parameters; a shared focal length has one index for fx and fy."""

    focal: tuple[int, int]
    center: tuple[int, int]
    distortion: tuple[int, ...] = ()
    fisheye: bool = False
    num_parameters: int


_MODELS = {
    "SIMPLE_PINHOLE": _Model(focal=(0, 0), center=(1, 2), num_parameters=3),
    "PINHOLE": _Model(focal=(0, 1), center=(2, 3), num_parameters=4),
    "SIMPLE_RADIAL": _Model(focal=(0, 0), center=(1, 2), distortion=(3,), num_parameters=4),
    "RADIAL": _Model(focal=(0, 0), center=(1, 2), distortion=(3, 4), num_parameters=5),
    "OPENCV": _Model(focal=(0, 1), center=(2, 3), distortion=(4, 5, 6, 7), num_parameters=8),
    "FULL_OPENCV": _Model(focal=(0, 1), center=(2, 3), distortion=tuple(range(4, 12)), num_parameters=12),
    "SIMPLE_RADIAL_FISHEYE": _Model(focal=(0, 0), center=(1, 2), distortion=(3,), fisheye=True, num_parameters=4),
    "RADIAL_FISHEYE": _Model(focal=(0, 0), center=(1, 2), distortion=(3, 4), fisheye=True, num_parameters=5),
    "OPENCV_FISHEYE": _Model(focal=(0, 1), center=(2, 3), distortion=(4, 5, 6, 7), fisheye=True, num_parameters=8),
}


@dataclass(frozen=True, kw_only=True)
class _Lens:
    size: camera_fields.Floats
    matrix: camera_fields.Floats
    distortion: camera_fields.Floats
    fisheye: bool


def matches(path: Path) -> bool:
    """Return True if the path is a folder with cameras.txt and images.txt (or .bin), or one of these files."""
    if path.is_file():
        return path.name in (_CAMERAS, _IMAGES, *_BINARY)
    return any(all((path / file).is_file() for file in files) for files in ((_CAMERAS, _IMAGES), _BINARY))


def load(path: Path) -> CameraGroup:
    """Load one camera per image of the model.

    Args:
        path: Path of the folder, or of one of the two files in it.

    Raises:
        InputError: `invalid-syntax`, if a line lacks COLMAP's fields (the message has its number);
            `unsupported-camera`, if a camera model has no counterpart in OpenCV; `missing-view`, if an image's camera
            is not in cameras.txt; `duplicate-name`, if images share a name; `unsupported-file`, if the model is binary.
    """
    folder = path.parent if path.is_file() else path
    if path.name in _BINARY or ((folder / _BINARY[0]).exists() and not (folder / _CAMERAS).exists()):
        raise InputError(
            f"{path}: a binary model of COLMAP, which is not read. Write it as text with: colmap model_converter "
            f"--input_path {folder} --output_path TEXT --output_type TXT",
            code="unsupported-file",
            path=path,
        )
    lenses = _read_lenses(folder / _CAMERAS)
    numbered = _read_images(folder / _IMAGES, lenses)
    used = {lens for lens, _, _ in numbered}
    records.warn_left_out([f"{identity} (of cameras.txt)" for identity in lenses if identity not in used], folder)
    return records.assemble([record for _, _, record in sorted(numbered, key=lambda item: item[1])], folder)


def save(cameras: CameraGroup, path: Path) -> None:
    """Save cameras.txt, images.txt and an empty points3D.txt in the folder, which is created if it does not exist.

    Raises:
        InputError: `unsupported-camera`, if a camera has skew, an image size that is not whole, or more than 8
            distortion coefficients; `bad-name`, if a name has spaces or cannot be the path of an image;
            `not-a-folder`, if the path is a file; `occupied-folder`, if the folder has a model with points, which would
            be lost, or files of another model that COLMAP would read with, or instead of, what is written.
    """
    lenses = ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]"]
    images = ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME", "# POINTS2D[] as (X, Y, POINT3D_ID)"]
    for number, record in enumerate(records.records_of(cameras), start=1):
        model, parameters = _parameters(record)
        width, height = (int(side) for side in record.size)
        pose = [*_quaternion(record.rotation), *record.translation.tolist()]
        lenses.append(f"{number} {model} {width} {height} {' '.join(map(repr, parameters))}")
        images += [f"{number} {' '.join(map(repr, pose))} {number} {record.name}.png", ""]
    if path.exists() and not path.is_dir():
        raise InputError(
            f"{path}: not a folder, found a file, expected a folder for {_CAMERAS} and {_IMAGES}",
            code="not-a-folder",
            path=path,
        )
    if _holds_points(path):
        raise InputError(
            f"{path}: the folder has a model with points, which would be lost. Choose an empty folder.",
            code="occupied-folder",
            path=path,
        )
    foreign = tuple(file for file in _FOREIGN if (path / file).exists())
    if foreign:
        raise InputError(
            f"{path}: the folder has files of another model, which COLMAP would read, found {', '.join(foreign)}. "
            "Choose an empty folder.",
            code="occupied-folder",
            path=path,
            found=foreign,
        )
    path.mkdir(parents=True, exist_ok=True)
    write_text(path / _CAMERAS, "\n".join(lenses) + "\n")
    write_text(path / _IMAGES, "\n".join(images) + "\n")
    write_text(path / _POINTS, "")


def _holds_points(folder: Path) -> bool:
    """Return True if a model in the folder has 3D points, or 2D points of an image."""
    points, images = (
        [line for line in read_text(file).splitlines() if not line.startswith("#")] if file.is_file() else []
        for file in (folder / _POINTS, folder / _IMAGES)
    )
    while images and not images[0].strip():
        del images[0]
    return any(line.strip() for line in [*points, *images[1::2]])


def _read_lenses(file: Path) -> dict[str, _Lens]:
    lenses = {}
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        where = f"{file}: line {number}: "
        if len(fields) < 4:
            raise InputError(
                f"{where}wrong fields, found {line!r}, expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]",
                code="invalid-syntax",
                path=file,
                line=number,
            )
        identity, name = fields[:2]
        model = _MODELS.get(name)
        if model is None:
            raise InputError(
                f"{where}unsupported camera model, found {name}, expected one of {', '.join(_MODELS)}",
                code="unsupported-camera",
                path=file,
                line=number,
                found=name,
            )
        values = _floats(fields[4:], f"{where}parameters of {name}")
        if len(values) != model.num_parameters:
            raise InputError(
                f"{where}wrong number of parameters, found {len(values)}, expected {model.num_parameters} for {name}",
                code="wrong-count",
                path=file,
                line=number,
                found=len(values),
                expected=model.num_parameters,
            )
        matrix = np.eye(3)
        matrix[[0, 1], [0, 1]] = values[list(model.focal)]
        matrix[:2, 2] = values[list(model.center)] - 0.5
        distortion = np.zeros(8 if len(model.distortion) > 4 else 4)
        distortion[: len(model.distortion)] = values[list(model.distortion)]
        lenses[identity] = _Lens(
            size=camera_fields.image_size(_floats(fields[2:4], f"{where}size"), f"{where}size"),
            matrix=camera_fields.intrinsics(matrix, f"{where}parameters of {name}"),
            distortion=distortion,
            fisheye=model.fisheye,
        )
    return lenses


def _read_images(file: Path, lenses: dict[str, _Lens]) -> list[tuple[str, int, records.CameraRecord]]:
    """Read lens ids, image ids and cameras. Every second line lists 2D points; it may be empty."""
    lines = [(n, line) for n, line in enumerate(read_text(file).splitlines(), start=1) if not line.startswith("#")]
    while lines and not lines[0][1].strip():
        del lines[0]
    for number, line in lines[1::2]:
        if not _is_points(line):
            raise InputError(
                f"{file}: line {number}: expected POINTS2D[] as (X, Y, POINT3D_ID) or an empty line after the image, "
                f"found {line[:80]!r}",
                code="invalid-syntax",
                path=file,
                line=number,
            )
    images = []
    for number, line in lines[::2]:
        if not line.strip():
            continue
        where = f"{file}: line {number}: "
        fields = line.split(maxsplit=9)
        if len(fields) != 10 or not fields[0].isdecimal():
            raise InputError(
                f"{where}wrong fields, found {line[:80]!r}, expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME",
                code="invalid-syntax",
                path=file,
                line=number,
            )
        lens = lenses.get(fields[8])
        if lens is None:
            raise InputError(
                f"{where}unknown camera, found {fields[8]}, expected one of {_CAMERAS}: {', '.join(lenses)}",
                code="missing-view",
                path=file,
                line=number,
                view=fields[8],
            )
        pose = _floats(fields[1:8], f"{where}pose")
        record = records.CameraRecord(
            name=_camera_name(fields[9].strip()),
            size=lens.size,
            matrix=lens.matrix,
            distortion=lens.distortion,
            rotation=_rotation(pose[:4], where),
            translation=pose[4:],
            fisheye=lens.fisheye,
        )
        images.append((fields[8], int(fields[0]), record))
    return images


def _is_points(line: str) -> bool:
    fields = line.split()
    try:
        return len([float(field) for field in fields]) % 3 == 0
    except ValueError:
        return False


def _camera_name(image: str) -> str:
    """Return the name of the camera of an image, which may be in folders."""
    # As text: from Python 3.13 on, a path "..png" has no name without its suffix.
    path = Path(image)
    return path.as_posix().removesuffix(path.suffix if path.suffix.lower() in _IMAGE_SUFFIXES else "")


def _parameters(record: records.CameraRecord) -> tuple[str, list[float]]:
    records.reject_skew(record, "COLMAP")
    name = record.name
    # COLMAP reads the name of an image up to the first space.
    if len(name.split()) > 1 or name != name.strip() or _camera_name(f"{name}.png") != name:
        raise InputError(
            f"camera name {record.name!r}: with spaces, or not the path of an image in a folder, which COLMAP needs. "
            "Rename the camera.",
            code="bad-name",
            view=record.name,
        )
    if (record.size != np.round(record.size)).any():
        raise InputError(
            f"camera {record.name!r}: COLMAP needs whole image sizes, found {record.size.tolist()}",
            code="unsupported-camera",
            view=record.name,
            field="sizes",
        )
    focal = [record.matrix[0, 0], record.matrix[1, 1], record.matrix[0, 2] + 0.5, record.matrix[1, 2] + 0.5]
    full = not record.fisheye and bool(record.distortion[4:].any())
    distortion = records.fit_distortion(record, 8 if full else 4, "COLMAP")
    model = "OPENCV_FISHEYE" if record.fisheye else "FULL_OPENCV" if full else "OPENCV"
    return model, [float(value) for value in (*focal, *distortion)]


def _quaternion(rotation: camera_fields.Floats) -> list[float]:
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat(canonical=True).tolist()
    return [w, x, y, z]


def _rotation(quaternion: camera_fields.Floats, where: str) -> camera_fields.Floats:
    from scipy.spatial.transform import Rotation

    off = abs(float(np.linalg.norm(quaternion)) - 1)
    if off > camera_fields.ROTATION_TOLERANCE:
        raise InputError(
            f"{where}quaternion {quaternion.tolist()} is not of length 1, found a difference of {off:.2g}",
            code="not-a-rotation",
            found=quaternion.tolist(),
        )
    return np.asarray(Rotation.from_quat(np.roll(quaternion, -1)).as_matrix())


def _floats(fields: list[str], where: str) -> camera_fields.Floats:
    try:
        values = [float(field) for field in fields]
    except ValueError as error:
        raise InputError(
            f"{where} must be numbers, found {' '.join(fields)!r}", code="bad-number", found=" ".join(fields)
        ) from error
    return camera_fields.numbers(values, None, where)
