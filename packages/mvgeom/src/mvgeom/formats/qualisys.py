"""Qualisys Track Manager's calibration XML (.qca.txt, .xml).

Convention: `<transform>` has the camera's position x y z in mm and r11 ... r33, rows of the rotation from world to a
camera that looks along -z with y up; OpenCV's camera is that one turned by 180 degrees about x. `<intrinsic>` is in
1/64 px, except the distortion coefficients, which are OpenCV's own numbers (Pose2Sim divides them by 64 too, which real
images of such a rig contradict). Edges of `<fov_video>` are inclusive pixel numbers: the image is right - left + 1
wide, and its first pixel's center is (left, top). Pixel (0, 0) is a pixel's center. Cameras that are not `active` are
left out with a warning.

Saved files keep the unit of the cameras; Qualisys and other software expect mm.
"""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from mvgeom.cameras import CameraGroup
from mvgeom.documents import parse_xml
from mvgeom.errors import InputError
from mvgeom.files import head, read_text, write_text
from mvgeom.formats import camera_fields, records

__all__ = ["DESCRIPTION", "NAME", "SUBPIXELS", "SUFFIXES", "load", "matches", "save"]

NAME = "qualisys"
DESCRIPTION = "Qualisys XML (.qca.txt)"
SUFFIXES = (".qca.txt",)
UNIT = "mm"

SUBPIXELS = 64
"""Qualisys counts sensor coordinates in 1/64 px."""

_FLIP = np.diag([1.0, -1.0, -1.0])
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_ENTRIES = [f"r{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3)]


def matches(path: Path) -> bool:
    """Return True if the file is XML whose root is `<calibration>`."""
    return path.is_file() and re.match(r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<calibration\b", head(path)) is not None


def load(path: Path) -> CameraGroup:
    """Load the active cameras, named by their serial number, with translations in mm.

    Raises:
        InputError: `invalid-syntax`, if the file is not XML; `missing-field`, if an element or attribute is missing;
            `bad-number` or `not-finite`, if a value is not a finite number; `unsupported-camera`, if a camera has skew
            (its unit is unknown); `not-a-rotation`, if the rotation is not a rotation matrix.
    """
    root = parse_xml(read_text(path), path)
    cameras = list(root.iterfind("cameras/*"))
    other = [element.tag for element in cameras if element.tag != "camera"]
    if other:
        raise InputError(
            f"{path}: <cameras> must hold <camera> only, found <{other[0]}>",
            code="bad-field",
            path=path,
            field=other[0],
        )
    inactive = [camera.get("serial", "without serial") for camera in cameras if camera.get("active", "1") != "1"]
    if inactive:
        warnings.warn(f"{path}: cameras that are not active are left out: {', '.join(inactive)}", stacklevel=2)
    return records.assemble(
        [_read(camera, row, path) for row, camera in enumerate(cameras) if camera.get("active", "1") == "1"], path
    )


def save(cameras: CameraGroup, path: Path) -> None:
    """Save the cameras with their names as serial numbers; translations must already be in mm.

    Raises:
        InputError: `unsupported-camera`, if a camera is fisheye or has skew, an image size that is not whole, or more
            than 5 distortion coefficients; `bad-name`, if a name has control characters, which XML has not.
    """
    root = ElementTree.Element("calibration", {"created": "mvgeom", "source": path.name, "type": "regular"})
    parent = ElementTree.SubElement(root, "cameras")
    for record in records.records_of(cameras):
        _write(parent, record)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    write_text(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def _read(camera: ElementTree.Element, row: int, path: Path) -> records.CameraRecord:
    name = camera.get("serial")
    if not name:
        raise InputError(
            f"{path}: camera number {row + 1} has no serial", code="missing-field", path=path, field="serial"
        )
    where = f"{path}: camera {name!r}: "
    left, top, right, bottom = _floats(camera, "fov_video", ["left", "top", "right", "bottom"], where)
    fu, fv, cu, cv, skew = _floats(
        camera, "intrinsic", ["focalLengthU", "focalLengthV", "centerPointU", "centerPointV", "skew"], where
    )
    if skew != 0:
        raise InputError(
            f"{where}skew is not supported because its unit in Qualisys files is unknown, found {skew:g}, expected 0",
            code="unsupported-camera",
            path=path,
            view=name,
            field="skew",
        )
    matrix = np.array(
        [[fu / SUBPIXELS, 0.0, cu / SUBPIXELS - left], [0.0, fv / SUBPIXELS, cv / SUBPIXELS - top], [0.0, 0.0, 1.0]]
    )
    k1, k2, k3, p1, p2 = _floats(
        camera,
        "intrinsic",
        [
            "radialDistortion1",
            "radialDistortion2",
            "radialDistortion3",
            "tangentalDistortion1",
            "tangentalDistortion2",
        ],
        where,
    )
    rotation = camera_fields.rotation_matrix(
        _FLIP @ np.reshape(_floats(camera, "transform", _ENTRIES, where), (3, 3)), f"{where}transform"
    )
    position = np.array(_floats(camera, "transform", ["x", "y", "z"], where))
    return records.CameraRecord(
        name=name,
        size=camera_fields.image_size([right - left + 1, bottom - top + 1], f"{where}fov_video"),
        matrix=camera_fields.intrinsics(matrix, f"{where}intrinsic"),
        distortion=np.array([k1, k2, p1, p2, k3]),
        rotation=rotation,
        translation=-rotation @ position,
    )


def _write(parent: ElementTree.Element, record: records.CameraRecord) -> None:
    records.reject_fisheye(record, "Qualisys XML")
    records.reject_skew(record, "Qualisys XML")
    if (record.size != np.round(record.size)).any():
        raise InputError(
            f"camera {record.name!r}: Qualisys XML needs whole image sizes, found {record.size.tolist()}",
            code="unsupported-camera",
            view=record.name,
            field="sizes",
        )
    if _NOT_XML.search(record.name):
        raise InputError(
            f"camera name {record.name!r}: has a character that XML cannot hold. Rename the camera.",
            code="bad-name",
            view=record.name,
        )
    k1, k2, p1, p2, k3 = records.fit_distortion(record, 5, "Qualisys XML").tolist()
    camera = ElementTree.SubElement(parent, "camera", {"active": "1", "serial": record.name, "viewrotation": "0"})
    right, bottom = (str(int(side) - 1) for side in record.size)
    for field in ("fov_marker", "fov_marker_max", "fov_video", "fov_video_max"):
        ElementTree.SubElement(camera, field, {"left": "0", "top": "0", "right": right, "bottom": bottom})
    position = -record.rotation.T @ record.translation
    rotation = _FLIP @ record.rotation
    ElementTree.SubElement(
        camera,
        "transform",
        {
            **{axis: repr(float(value)) for axis, value in zip("xyz", position, strict=True)},
            **{entry: repr(float(value)) for entry, value in zip(_ENTRIES, rotation.ravel(), strict=True)},
        },
    )
    in_subpixels = {
        "focalLengthU": record.matrix[0, 0] * SUBPIXELS,
        "focalLengthV": record.matrix[1, 1] * SUBPIXELS,
        "centerPointU": record.matrix[0, 2] * SUBPIXELS,
        "centerPointV": record.matrix[1, 2] * SUBPIXELS,
        "sensorMinU": 0.0,
        "sensorMinV": 0.0,
        "sensorMaxU": (record.size[0] - 1) * SUBPIXELS,
        "sensorMaxV": (record.size[1] - 1) * SUBPIXELS,
    }
    plain = {
        "skew": 0.0,
        "radialDistortion1": k1,
        "radialDistortion2": k2,
        "radialDistortion3": k3,
        "tangentalDistortion1": p1,
        "tangentalDistortion2": p2,
    }
    ElementTree.SubElement(
        camera, "intrinsic", {field: repr(float(value)) for field, value in {**in_subpixels, **plain}.items()}
    )


def _floats(camera: ElementTree.Element, tag: str, attributes: list[str], where: str) -> list[float]:
    element = camera.find(tag)
    if element is None:
        raise InputError(f"{where}no element <{tag}>", code="missing-field", field=tag)
    values = []
    for attribute in attributes:
        text = element.get(attribute)
        if text is None:
            raise InputError(f"{where}<{tag}> has no attribute {attribute}", code="missing-field", field=attribute)
        try:
            value = float(text)
        except ValueError as error:
            raise InputError(
                f"{where}{attribute} of <{tag}> must be a number, found {text!r}",
                code="bad-number",
                field=attribute,
                found=text,
            ) from error
        values.append(float(camera_fields.numbers(value, (), f"{where}{attribute} of <{tag}>")))
    return values
