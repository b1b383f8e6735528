"""JSON format of mvgeom: every field of `CameraGroup`, without loss.

Convention: that of `CameraGroup`; the unit is kept. Numbers have enough digits to restore the same float64. Any
distortion length, fisheye and skew are kept. Structure: `{"format": "mvgeom cameras", "version": 1, "cameras": [...]}`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mvgeom import documents
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.files import head, read_text, write_text
from mvgeom.formats import camera_fields, records

__all__ = ["DESCRIPTION", "NAME", "SUFFIXES", "load", "matches", "parse_json", "peek_json", "save"]

NAME = "json"
DESCRIPTION = "JSON of mvgeom (.json)"
SUFFIXES = (".json",)

_FORMAT, _VERSION = "mvgeom cameras", 1
_REQUIRED = ("name", "size", "matrix", "distortion", "rotation", "translation", "fisheye")


def matches(path: Path) -> bool:
    """Return True if the file is JSON with mvgeom's format name."""
    return path.is_file() and re.match(r'\s*\{\s*"format"\s*:\s*"mvgeom', head(path)) is not None


def load(path: Path) -> CameraGroup:
    """Load the cameras of the file.

    Raises:
        InputError: `invalid-syntax`, if the file is not JSON (the message has the line); `unsupported-file`, if it has
            another version; `missing-field` or `bad-field`, if fields are missing or wrong.
    """
    document = parse_json(path)
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise InputError(f"{path}: not a JSON file of mvgeom cameras", code="unknown-format", path=path)
    if document.get("version") != _VERSION:
        raise InputError(
            f"{path}: unsupported version of the format, found {document.get('version')}, expected {_VERSION}",
            code="unsupported-file",
            path=path,
            found=document.get("version"),
            expected=_VERSION,
        )
    unknown = [key for key in document if key not in ("format", "version", "cameras", "metadata")]
    if unknown:
        raise InputError(
            f"{path}: unknown entry {unknown[0]!r}, expected format, version, cameras and maybe metadata",
            code="bad-field",
            path=path,
            field=unknown[0],
        )
    cameras = document.get("cameras")
    if not isinstance(cameras, list):
        raise InputError(
            f"{path}: cameras: must be a list, found {cameras!r}", code="bad-field", path=path, field="cameras"
        )
    return records.assemble([_read(camera, row, path) for row, camera in enumerate(cameras)], path)


def save(cameras: CameraGroup, path: Path) -> None:
    """Save all fields without loss; the `metadata` of a file that is replaced is left out with a warning."""
    if peek_json(path, "metadata") is not None:
        records.warn_not_kept(["metadata"], path)
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "cameras": [
            {
                "name": record.name,
                "size": record.size.tolist(),
                "matrix": record.matrix.tolist(),
                "distortion": record.distortion.tolist(),
                "rotation": record.rotation.tolist(),
                "translation": record.translation.tolist(),
                "fisheye": record.fisheye,
            }
            for record in records.records_of(cameras)
        ],
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    # Lists of numbers are written on one line, because one number per line is hard to read.
    text = re.sub(r"\[[\s\d.,eE+-]+\]", lambda found: re.sub(r"\s+", " ", found[0]), text)
    write_text(path, text + "\n")


def parse_json(path: Path) -> Any:
    """Parse the JSON document.

    Raises:
        InputError: when it is not JSON; the message has file, line and column.
    """
    return documents.parse_json(read_text(path), path)


def peek_json(path: Path, key: str) -> Any:
    """Return an entry of a JSON object, for guessing its format; None for any other file, or where it is far inside."""
    if not path.is_file():
        return None
    start = head(path, 65536)
    if not start.lstrip().startswith("{") or f'"{key}"' not in start:
        return None
    try:
        return parse_json(path).get(key)
    except InputError:
        return None


def _read(camera: Any, row: int, path: Path) -> records.CameraRecord:
    if not isinstance(camera, dict):
        raise InputError(
            f"{path}: camera number {row + 1}: must be an object, found {camera!r}",
            code="bad-field",
            path=path,
            field="cameras",
        )
    missing = [field for field in _REQUIRED if field not in camera]
    if missing:
        raise InputError(
            f"{path}: camera number {row + 1}: missing {', '.join(missing)}",
            code="missing-field",
            path=path,
            field=missing[0],
        )
    where = f"{path}: camera {camera['name']!r}: "
    if not isinstance(camera["name"], str) or not isinstance(camera["fisheye"], bool):
        raise InputError(
            f"{where}name must be text, and fisheye true or false", code="bad-field", path=path, view=camera["name"]
        )
    return records.CameraRecord(
        name=camera["name"],
        size=camera_fields.image_size(camera["size"], f"{where}size"),
        matrix=camera_fields.intrinsics(camera["matrix"], f"{where}matrix"),
        distortion=camera_fields.distortion_coefficients(camera["distortion"], f"{where}distortion"),
        rotation=camera_fields.rotation_matrix(camera["rotation"], f"{where}rotation"),
        translation=camera_fields.numbers(camera["translation"], (3,), f"{where}translation"),
        fisheye=camera["fisheye"],
    )
