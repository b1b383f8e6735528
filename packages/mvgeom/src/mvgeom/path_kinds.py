"""Kinds of files and folders, told by name and first bytes, for messages about a path that was given by mistake.

A kind never decides how a path is read; the readers do. It decides what an error says: a video that is given where a
table is expected is called a video, and the message names the next step.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mvgeom.errors import InputError
from mvgeom.files import head, list_files
from mvgeom.tables.cells import find_delimiter
from mvgeom.tables.readers import READERS
from mvgeom.tables.readers.hdf5 import is_hdf5

__all__ = ["DESCRIPTIONS", "IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "Role", "check_role", "has_files", "kind_of_path"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".webm")

DESCRIPTIONS = {
    "empty-file": "an empty file",
    "video": "a video",
    "image": "an image",
    "archive": "an archive",
    "workbook": "a spreadsheet program's workbook",
    "weights": "a file of network weights",
    "sleap-project": "a project of SLEAP",
    "hdf5": "an HDF5 file",
    "keypoint-table": "a table of keypoints",
    "box-table": "a table of bounding boxes",
    "keypoint-json": "a JSON file of keypoints",
    "coco": "a JSON file of COCO annotations",
    "calibration": "a calibration",
    "yaml": "a YAML file",
    "folder-of-videos": "a folder of videos",
    "folder-of-images": "a folder of images",
    "folder-of-tables": "a folder with tables of keypoints",
    "folder-of-json": "a folder of JSON keypoints",
    "empty-folder": "an empty folder",
}
"""Kinds that can be told, with their descriptions; any other path is of the kind "file" or "folder"."""

_WORKBOOKS = (".xlsx", ".xls", ".ods", ".numbers")
_ARCHIVES = (".zip", ".gz", ".tgz", ".tar", ".7z", ".rar", ".bz2", ".xz")
_WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors", ".onnx", ".pt2")


@dataclass(frozen=True, kw_only=True)
class Role:
    """Expectation of a command about a path.

    Attributes:
        expected: Description of what is expected.
        refused: Next step for each kind that is certainly wrong; {path} and {first}, the first file of the kind in a
            folder, are replaced, in quotes where a shell needs them. Kinds that are not here are left to the reader.
    """

    expected: str
    refused: Mapping[str, str] = field(default_factory=dict)


def check_role(
    path: Path,
    role: Role,
    where: str = "",
    kind: str | None = None,
    descriptions: Mapping[str, str] = DESCRIPTIONS,
) -> None:
    """Refuse a path that is certainly of another kind than a command expects, and name the next step.

    Args:
        path: Existing file or folder.
        role: What the command expects.
        where: Option or view that the path belongs to, for the message.
        kind: Kind of the path; None finds it out by `kind_of_path`.
        descriptions: Descriptions of the kinds.

    Raises:
        InputError: `unsupported-file`, if the role refuses this kind; facts `path`, `kind` and `expected`.
    """
    kind = kind if kind is not None else kind_of_path(path)
    if kind not in role.refused:
        return
    step = role.refused[kind]
    for place, named in {"{first}": _first_file(path, kind), "{path}": path}.items():
        step = step.replace(place, shlex.quote(str(named)))
    found, prefix = descriptions.get(kind, f"a {kind}"), f"{where}: " if where else ""
    raise InputError(
        f"{prefix}{path}: found {found}, expected {role.expected}. {step}",
        code="unsupported-file",
        path=path,
        kind=kind,
        expected=role.expected,
    )


def kind_of_path(path: Path) -> str:
    """Return the kind of an existing file or folder: a key of `DESCRIPTIONS`, or "file" or "folder"."""
    try:
        return _kind_of_folder(path) if path.is_dir() else _kind_of_file(path)
    except (OSError, InputError):
        return "folder" if path.is_dir() else "file"


def has_files(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Return True for a folder with a file of one of these suffixes, whatever else is in it; False for a file."""
    return path.is_dir() and any(file.suffix.lower() in suffixes for file in list_files(path))


def _kind_of_folder(path: Path) -> str:
    files = list_files(path)
    if not files:
        return "empty-folder"
    if any(READERS[name].matches(path) for name in ("openpose", "mmpose")):
        return "folder-of-json"
    if _is_calibration(path):
        return "calibration"
    if any(file.suffix.lower() == ".csv" and _kind_of_file(file) == "keypoint-table" for file in files):
        return "folder-of-tables"
    suffixes = {file.suffix.lower() for file in files if file.is_file()}
    videos, images = suffixes & set(VIDEO_SUFFIXES), suffixes & set(IMAGE_SUFFIXES)
    if bool(videos) == bool(images):  # none or both: nobody knows what the folder was given for
        return "folder"
    return "folder-of-videos" if videos else "folder-of-images"


def _kind_of_file(path: Path) -> str:
    suffix = path.suffix.lower()
    if path.stat().st_size == 0:
        return "empty-file"
    for kind, suffixes in (
        ("video", VIDEO_SUFFIXES),
        ("image", IMAGE_SUFFIXES),
        ("workbook", _WORKBOOKS),
        ("archive", _ARCHIVES),
        ("weights", _WEIGHTS),
        ("sleap-project", (".slp",)),
    ):
        if suffix in suffixes:
            return kind
    if is_hdf5(path):
        return "file" if suffix == ".mat" else "hdf5"
    start = head(path, 65536)
    if start.startswith("PK\x03\x04"):
        return "archive"
    if suffix == ".json" and any(READERS[name].matches(path) for name in ("openpose", "mmpose")):
        return "keypoint-json"
    if suffix == ".json" and '"annotations"' in start and '"images"' in start:
        return "coco"
    cells = [cell.strip().lower() for cell in start.partition("\n")[0].split(find_delimiter(start))]
    if cells[0] == "scorer":
        return "keypoint-table"
    if {"x", "y", "h", "w"} <= set(cells):
        return "box-table"
    if _is_calibration(path):
        return "calibration"
    return "yaml" if suffix in (".yaml", ".yml") else "file"


def _is_calibration(path: Path) -> bool:
    from mvgeom import formats

    try:
        formats.identify(path)
    except InputError:
        return False
    return True


def _first_file(path: Path, kind: str) -> Path:
    """Return the first file in a folder that gave it its kind; the path itself for other kinds."""
    suffixes = {"folder-of-videos": VIDEO_SUFFIXES, "folder-of-tables": (".csv",), "folder-of-images": IMAGE_SUFFIXES}
    files = list_files(path) if kind in suffixes else []
    found = (file for file in files if file.suffix.lower() in suffixes[kind])
    if kind == "folder-of-tables":
        found = (file for file in files if file.suffix.lower() == ".csv" and _kind_of_file(file) == "keypoint-table")
    return next(found, path)
