"""OpenCV's FileStorage (YAML, XML, JSON), shared by the formats that are written with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mvgeom.errors import InputError
from mvgeom.files import head, read_text, write_text
from mvgeom.formats.records import Floats, numbers

if TYPE_CHECKING:
    import cv2


def looks_like_storage(path: Path) -> bool:
    """Whether the file starts as FileStorage writes YAML, XML or JSON."""
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
    """The opened file.

    Raises:
        ValueError: for a file that FileStorage cannot parse, with the line where OpenCV says it.
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
    """Return the names of the nodes at the top level; none where the top level is not a map."""
    root = storage.root()
    return tuple(root.keys()) if root.isMap() else ()


def matrix(storage: cv2.FileStorage, key: str, shape: tuple[int, ...] | None, where: str) -> Floats:
    """A matrix node as float64.

    Args:
        storage: from `reading`.
        key: the node.
        shape: expected; None for a flat list of any length. Vectors may be rows or columns.
        where: file and camera, the start of every message.

    Raises:
        ValueError: when there is no such node, it is not a matrix, or see `mvgeom.formats.records.numbers`.
    """
    node = storage.getNode(key)
    if node.empty():
        raise InputError(f"{where}no entry {key}", code="missing-field", field=key)
    import cv2

    try:
        value = node.mat() if node.isMap() else None
    except cv2.error:  # a map of other things
        value = None
    if value is None:
        raise InputError(f"{where}{key} is not a matrix", code="bad-field", field=key)
    return numbers(value, shape, f"{where}{key}", reshape=shape is not None and len(shape) == 1)


def scalar(storage: cv2.FileStorage, key: str) -> float | None:
    """A number, or None where the file has none under this key."""
    node = storage.getNode(key)
    return float(node.real()) if node.isInt() or node.isReal() else None


def strings(storage: cv2.FileStorage, key: str) -> list[str]:
    """A list of strings; whole numbers in it become text. Empty where the file has none under this key."""
    node = storage.getNode(key)
    items = [node.at(row) for row in range(node.size())] if node.isSeq() else []
    return [item.string() if item.isString() else str(int(item.real())) for item in items]


def write(path: Path, entries: Mapping[str, Any], suffix: str | None = None) -> None:
    """Write a file with these nodes, whole or not at all.

    Args:
        path: the file.
        entries: numbers, strings, lists of strings, or arrays.
        suffix: chooses YAML, XML or JSON; that of the path when None.
    """
    import cv2

    storage = cv2.FileStorage(suffix or path.suffix, cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    for key, value in entries.items():
        storage.write(key, np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value)
    write_text(path, storage.releaseAndGetString())
