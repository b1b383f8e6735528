"""Reading and writing of OpenCV's FileStorage (YAML, XML, JSON), shared by the formats that are based on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mvgeom.errors import InputError
from mvgeom.files import head, read_text, write_text
from mvgeom.formats.camera_fields import Floats, numbers

if TYPE_CHECKING:
    import cv2

__all__ = ["keys", "looks_like_storage", "matrix", "reading", "scalar", "strings", "write"]


def looks_like_storage(path: Path) -> bool:
    """Return True if the file starts like FileStorage's YAML, XML or JSON."""
    if not path.is_file():
        return False
    start = head(path)
    return (
        start.startswith("%YAML")
        or "<opencv_storage>" in start
        or "!!opencv-matrix" in start
        or (start.lstrip().startswith("{") and '"opencv-matrix"' in start)
    )


@contextmanager
def reading(path: Path) -> Iterator[cv2.FileStorage]:
    """Open a file for reading.

    Raises:
        InputError: `invalid-syntax`, if FileStorage cannot parse the file; the message has the line if OpenCV reports
            it.
    """
    import cv2

    text = read_text(path)
    storage = cv2.FileStorage()
    try:
        opened = storage.open(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    except cv2.error as error:
        found = re.search(r"\((\d+)\): (.*?)'?\s*$", str(error), re.DOTALL)
        detail = f"line {found[1]}: {found[2]}" if found else str(error)
        raise InputError(
            f"{path}: not a file that OpenCV can read: {detail}", code="invalid-syntax", path=path
        ) from error
    if not opened:
        raise InputError(f"{path}: not a file that OpenCV can read", code="invalid-syntax", path=path)
    try:
        yield storage
    finally:
        storage.release()


def keys(storage: cv2.FileStorage) -> tuple[str, ...]:
    """Return the names of the nodes at the top level; empty if the top level is not a map."""
    root = storage.root()
    return tuple(root.keys()) if root.isMap() else ()


def matrix(storage: cv2.FileStorage, key: str, shape: tuple[int, ...] | None, where: str) -> Floats:
    """Read a matrix node as float64.

    Args:
        storage: Open file from `reading`.
        key: Name of the node.
        shape: Expected shape; None for a flat list of any length. Vectors may be rows or columns.
        where: File and camera, the start of every error message.

    Raises:
        InputError: `missing-field`, if there is no such node; `bad-field`, if it is not a matrix; further codes as in
            `mvgeom.formats.camera_fields.numbers`.
    """
    node = storage.getNode(key)
    if node.empty():
        raise InputError(f"{where}no entry {key}", code="missing-field", field=key)
    import cv2

    try:
        value = node.mat() if node.isMap() else None
    except cv2.error:  # the node is a map, not a matrix
        value = None
    if value is None:
        raise InputError(f"{where}{key} is not a matrix", code="bad-field", field=key)
    return numbers(value, shape, f"{where}{key}", reshape=shape is not None and len(shape) == 1)


def scalar(storage: cv2.FileStorage, key: str) -> float | None:
    """Read a number, or return None if the file has none under this key."""
    node = storage.getNode(key)
    return float(node.real()) if node.isInt() or node.isReal() else None


def strings(storage: cv2.FileStorage, key: str) -> list[str]:
    """Read a list of strings; whole numbers in it become text. Empty if the file has none under this key."""
    node = storage.getNode(key)
    items = [node.at(row) for row in range(node.size())] if node.isSeq() else []
    return [item.string() if item.isString() else str(int(item.real())) for item in items]


def write(path: Path, entries: Mapping[str, Any], suffix: str | None = None) -> None:
    """Write a file with the given nodes; it is replaced atomically.

    Args:
        path: Path of the file.
        entries: Numbers, strings, lists of strings, or arrays by node name.
        suffix: Suffix that selects YAML, XML or JSON; None means that of the path.
    """
    import cv2

    storage = cv2.FileStorage(suffix or path.suffix, cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    for key, value in entries.items():
        storage.write(key, np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value)
    write_text(path, storage.releaseAndGetString())
