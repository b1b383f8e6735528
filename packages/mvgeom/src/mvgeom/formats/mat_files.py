"""Reading of MATLAB's MAT files of version 5 to 7 (`save -v6` and `-v7`, Octave, SciPy), bounded by the file's size.

SciPy's reader ends the process over some damaged files, so this one checks every size before it takes the bytes. Layout
after MathWorks' "MAT-File Format" (R2024a), chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mvgeom.wording import counted

__all__ = ["MatFileError", "is_version_5", "read_variables"]

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Numbers of data elements by their type, as NumPy names them."""

_TEXTS = {16: "utf-8", 17: "utf-16", 18: "utf-32", 4: "utf-16", 2: "latin-1", 1: "latin-1"}
"""Encodings of text by the type of the data element; UTF-16 and UTF-32 in the byte order of the file."""

_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, _LAST_NUMBER = 1, 2, 3, 4, 5, 15
_COMPLEX, _LOGICAL = 0x0800, 0x0200
_MAX_BYTES = 2**28
"""Bytes of one variable at most; cameras have a few hundred."""
_MAX_DEPTH = 20
_MAX_ITEMS = 10**6
"""Cells and fields of structs of a file at most."""


class MatFileError(ValueError):
    """A file is not a MAT file, or is damaged."""


@dataclass(kw_only=True)
class _Reader:
    """Position in the bytes of a file or of a decompressed variable."""

    content: memoryview
    order: Literal["<", ">"]
    items_left: int = _MAX_ITEMS

    def elements(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield type, start and end of the data elements in a piece."""
        while start + 8 <= end:
            first, size = struct.unpack_from(f"{self.order}II", self.content, start)
            if first >> 16:  # small: size and type share four bytes, and the data are in the next four
                kind, size, begin, after = first & 0xFFFF, first >> 16, start + 4, start + 8
                if size > 4:
                    raise MatFileError("a small data element with more than 4 bytes")
            else:
                kind, begin = first, start + 8
                # Elements end at multiples of 8 bytes, but for compressed ones.
                after = begin + size + (0 if kind == _COMPRESSED else -size % 8)
            if begin + size > end:
                raise MatFileError("a data element is longer than what it is in")
            yield kind, begin, begin + size
            start = after

    def numbers(self, element: tuple[int, int, int]) -> np.ndarray:
        """Return the numbers of a data element."""
        kind, start, end = element
        if kind not in _TYPES:
            raise MatFileError(f"a data element of type {kind} where numbers are expected")
        dtype = np.dtype(_TYPES[kind]).newbyteorder(self.order)
        return np.frombuffer(self.content[start : start + (end - start) // dtype.itemsize * dtype.itemsize], dtype)

    def take(self, number: int) -> None:
        """Count items that take memory."""
        self.items_left -= number
        if self.items_left < 0:
            raise MatFileError(f"more than {_MAX_ITEMS} cells and fields")


def is_version_5(content: bytes) -> bool:
    """Return True for a file with the header of version 5."""
    return len(content) >= 128 and content[126:128] in (b"IM", b"MI") and content[124:126] in (b"\x00\x01", b"\x01\x00")


def read_variables(content: bytes, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, Any]:
    """Read the variables of a file.

    Args:
        content: Bytes of the file.
        wanted: Function of a variable's name; the values of others are None.

    Returns:
        Variables by name without axes of length 1: numbers as scalars or arrays, texts as str, cells as arrays of
        objects, structs as dicts, arrays of structs as arrays of dicts. None for what has no counterpart, such as
        functions.

    Raises:
        MatFileError: The file is not one of version 5, or is damaged.
    """
    if not is_version_5(content):
        raise MatFileError("no header of version 5")
    order: Literal["<", ">"] = "<" if content[126:128] == b"IM" else ">"
    reader = _Reader(content=memoryview(content), order=order)
    found: dict[str, Any] = {}
    try:
        for element in reader.elements(128, len(content)):
            inner, piece = reader, element
            if element[0] == _COMPRESSED:
                inner = _Reader(content=memoryview(_decompress(reader.content[element[1] : element[2]])), order=order)
                inner.items_left = reader.items_left
                piece = next(inner.elements(0, len(inner.content)), (0, 0, 0))
            if piece[0] == _MATRIX:
                name, value = _read_matrix(inner, piece, 0, wanted)
                if name:  # SciPy and MATLAB keep data of functions in variables without a name
                    found[name] = value
            reader.items_left = inner.items_left
    except (struct.error, zlib.error, UnicodeDecodeError, OverflowError, IndexError, ValueError) as error:
        raise MatFileError(str(error)) from error
    return found


def _decompress(content: memoryview) -> bytes:
    decoder = zlib.decompressobj()
    data = decoder.decompress(content, _MAX_BYTES)
    if decoder.unconsumed_tail:
        raise MatFileError(f"a variable of more than {_MAX_BYTES} bytes")
    return data


def _read_matrix(
    reader: _Reader, element: tuple[int, int, int], depth: int, wanted: Callable[[str], bool] = lambda _: True
) -> tuple[str, Any]:
    """Read name and value of an array, text, cell array or struct."""
    if depth > _MAX_DEPTH:
        raise MatFileError(f"more than {_MAX_DEPTH} nested cells and structs")
    parts = reader.elements(element[1], element[2])
    head = next(parts, None)
    if head is None:
        return "", np.zeros((0, 0))  # an empty cell or field
    flags = int(reader.numbers(head)[0])
    kind = flags & 0xFF
    if kind > _LAST_NUMBER:
        return "", None  # functions and objects of MATLAB's own
    shape = tuple(int(length) for length in reader.numbers(_next(parts)))
    if len(shape) < 2 or len(shape) > 32 or min(shape) < 0:
        raise MatFileError(f"an array of shape {shape[:4]}")
    name = bytes(reader.numbers(_next(parts)).astype(np.uint8)).decode("latin-1")
    count = math.prod(shape)
    if depth == 0 and not wanted(name):
        return name, None
    if kind == _CELL:
        reader.take(count)
        cells = np.empty(count, dtype=object)
        for number in range(count):
            cells[number] = _read_matrix(reader, _next(parts, _MATRIX), depth + 1)[1]
        return name, _squeezed(cells.reshape(shape, order="F"))
    if kind in (_STRUCT, _OBJECT):
        if kind == _OBJECT:
            _next(parts)  # name of the class
        return name, _squeezed(_read_structs(reader, parts, count, depth).reshape(shape, order="F"))
    if kind == _CHAR:
        return name, _read_text(reader, next(parts, None), shape)
    if kind == _SPARSE:
        raise MatFileError(f"variable {name!r} is a sparse array, which is not supported")
    values = reader.numbers(_next(parts))
    if len(values) != count:
        raise MatFileError(f"variable {name!r} has {counted(len(values), 'number')}, expected {count}")
    if flags & _COMPLEX:
        values = values + 1j * reader.numbers(_next(parts))[:count]
    elif flags & _LOGICAL:
        values = values.astype(bool)
    if count == 0:
        return name, np.zeros(0)
    squeezed = np.squeeze(values.reshape(shape, order="F"))
    return name, squeezed.astype(squeezed.dtype.newbyteorder("="))[()]


def _read_structs(reader: _Reader, parts: Iterator[tuple[int, int, int]], count: int, depth: int) -> np.ndarray:
    """Read an array of structs as an array of dicts."""
    length = int(reader.numbers(_next(parts))[0])
    text = bytes(reader.numbers(_next(parts)).astype(np.uint8))
    if length < 1 or len(text) % length:
        raise MatFileError("names of fields of a wrong length")
    fields = [
        text[start : start + length].partition(b"\x00")[0].decode("latin-1") for start in range(0, len(text), length)
    ]
    reader.take(count * max(len(fields), 1))
    structs = np.empty(count, dtype=object)
    for number in range(count):
        structs[number] = {field: _read_matrix(reader, _next(parts, _MATRIX), depth + 1)[1] for field in fields}
    return structs


def _read_text(reader: _Reader, element: tuple[int, int, int] | None, shape: tuple[int, ...]) -> Any:
    """Read a text, or an array of texts if it has several rows."""
    if element is None or math.prod(shape) == 0:
        return ""
    kind, start, end = element
    if kind not in _TEXTS:
        raise MatFileError(f"a text in a data element of type {kind}")
    encoding = _TEXTS[kind]
    if encoding.startswith("utf-") and encoding != "utf-8":
        encoding += "-le" if reader.order == "<" else "-be"
    text = bytes(reader.content[start:end]).decode(encoding)
    if math.prod(shape) != len(text) or len(shape) > 2:
        raise MatFileError(f"a text of {counted(len(text), 'character')}, expected {shape}")
    rows = ["".join(text[row :: shape[0]]).rstrip() for row in range(shape[0])]
    return rows[0] if len(rows) == 1 else np.array(rows, dtype=object)


def _squeezed(array: np.ndarray) -> Any:
    return np.squeeze(array)[()] if array.size else np.empty(0, dtype=object)


def _next(parts: Iterator[tuple[int, int, int]], kind: int | None = None) -> tuple[int, int, int]:
    """Return the next data element."""
    element = next(parts, None)
    if element is None or (kind is not None and element[0] != kind):
        raise MatFileError("a part of an array is missing, or of another type")
    return element
