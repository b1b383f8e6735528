"""Reading and writing of OpenCV's FileStorage (YAML, XML, JSON), shared by the formats that are based on it.

OpenCV's own reader loops for ever over some damaged files and ends the process over others, so the text is parsed here.
Files are still written by OpenCV.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
import yaml

from mvgeom.documents import parse_json, parse_xml, yaml_events
from mvgeom.errors import InputError
from mvgeom.files import head, read_text, write_text
from mvgeom.formats.camera_fields import Floats, numbers

__all__ = ["looks_like_storage", "matrix", "read", "scalar", "strings", "write"]

_MATRICES = ("opencv-matrix", "opencv-nd-matrix")
"""Types of nodes that are matrices: `rows`, `cols` (or `sizes`), `dt` and `data`."""

_TYPES = {
    "u": np.uint8,
    "c": np.int8,
    "w": np.uint16,
    "s": np.int16,
    "i": np.int32,
    "f": np.float32,
    "d": np.float64,
    "h": np.float16,
    "n": np.uint32,
    "b": np.bool_,
    "I": np.int64,
    "U": np.uint64,
}
"""NumPy's types by OpenCV's letters; the last ones are those of OpenCV 5."""

_INTEGER = re.compile(r"[-+]?\d{1,300}|0[xX][\da-fA-F]{1,16}")
_REAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_SPECIAL = {".inf": np.inf, "+.inf": np.inf, "-.inf": -np.inf, ".nan": np.nan, "-.nan": np.nan}
_WORDS = {"true": 1, "false": 0, "null": None}
"""Words of YAML that are no texts for OpenCV 5."""

_BASE64 = "$base64$"
"""Mark of base64 in OpenCV's JSON, here in all texts."""

_BASE64_HEADER = 24
"""Bytes before the numbers in base64: the type of the numbers, filled up with spaces."""

_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ue000\ufeff\ufffe\uffff]|\A\$base64\$")
"""Control characters, ends of lines, halves of characters, which UTF-8 has not, `_QUOTE`, and the mark `_BASE64`."""

_MAX_TEXT = 4000
"""Bytes of a text at most, a little less than OpenCV's buffer."""

_QUOTE = "\ue000"
"""Character of private use for quotation marks within texts of XML, until the texts are separated."""

_JSON_PARTS = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/|[-+]?\.(?:Inf|Nan)\b|(?<=\d)\.(?!\d)', re.DOTALL)
"""Parts of OpenCV's JSON that may not be JSON: texts with escaped apostrophes, comments, `.Inf`, `.Nan`, `1.`"""


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


def read(path: Path) -> dict[str, Any]:
    """Read a file.

    Returns:
        Nodes at the top level by name: int, float, str, list, dict, NumPy arrays for matrices (rows, columns and, if
        there are several, channels), and None for empty nodes; empty if the top level is not a map.

    Raises:
        InputError: `invalid-syntax`, if the file is not YAML, XML or JSON as OpenCV writes it; the message has the line
            if it is known; `bad-field`, if the numbers of a matrix do not fit its size.
    """
    text = read_text(path)
    start = text.lstrip()
    if start.startswith("<"):
        document = _from_xml(parse_xml(text.replace("&quot;", _QUOTE), path), path, "")
    elif start.startswith("{"):
        document = _with_matrices(parse_json(_JSON_PARTS.sub(_plain_json, text), path), path, "")
    else:
        document = _from_yaml(text, path)
    return document if isinstance(document, dict) else {}


def matrix(document: Mapping[str, Any], key: str, shape: tuple[int, ...] | None, where: str) -> Floats:
    """Return a matrix as float64.

    Args:
        document: Nodes from `read`.
        key: Name of the node.
        shape: Expected shape; None for a flat list of any length. Vectors may be rows or columns.
        where: File and camera, the start of every error message.

    Raises:
        InputError: `missing-field`, if there is no such node; `bad-field`, if it is not a matrix; further codes as in
            `mvgeom.formats.camera_fields.numbers`.
    """
    value = document.get(key)
    if value is None:
        raise InputError(f"{where}no entry {key}", code="missing-field", field=key)
    if not isinstance(value, np.ndarray):
        raise InputError(f"{where}{key} is not a matrix", code="bad-field", field=key)
    return numbers(value, shape, f"{where}{key}", reshape=shape is not None and len(shape) == 1)


def scalar(document: Mapping[str, Any], key: str) -> float | None:
    """Return a number, or None if the file has none under this key."""
    value = document.get(key)
    return float(value) if isinstance(value, int | float) else None


def strings(document: Mapping[str, Any], key: str) -> list[str]:
    """Return a list of strings; whole numbers in it become text. Empty if the file has none under this key.

    Raises:
        InputError: `bad-field`, if the list has anything else.
    """
    items = document.get(key)
    found = []
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, int | str):
            raise InputError(f"{key}: must be a list of names, found {item!r}", code="bad-field", field=key)
        found.append(str(item))
    return found


def write(path: Path, entries: Mapping[str, Any], suffix: str | None = None) -> None:
    """Write a file with the given nodes; it is replaced atomically.

    Args:
        path: Path of the file.
        entries: Numbers, strings, lists of strings, or arrays by node name.
        suffix: Suffix that selects YAML, XML or JSON; None means that of the path.

    Raises:
        InputError: `bad-name`, if a text has characters over which OpenCV would end the process or cut the text off.
    """
    import cv2

    for key, value in entries.items():
        for text in (key, *(value if isinstance(value, list) else [value])):
            if isinstance(text, str) and (_UNWRITABLE.search(text) or len(text.encode()) > _MAX_TEXT):
                raise InputError(
                    f"{key}: OpenCV's files cannot hold the text {text[:40]!r}. Rename the camera.",
                    code="bad-name",
                    name=text,
                )

    kind = suffix or path.suffix
    storage = cv2.FileStorage(kind, cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    for key, value in entries.items():
        storage.write(key, np.ascontiguousarray(value) if isinstance(value, np.ndarray) else _quoted(value, kind))
    write_text(path, storage.releaseAndGetString())


def _quoted(value: Any, kind: str) -> Any:
    """Return texts in quotation marks, which OpenCV then writes as they are; its own are missing around true, null."""
    if isinstance(value, list):
        return [_quoted(each, kind) for each in value]
    if not isinstance(value, str):
        return value
    if kind.lower() == ".xml":
        return '"{}"'.format(escape(value, {'"': "&quot;", "'": "&apos;"}))
    return '"{}"'.format(value.replace("\\", "\\\\").replace('"', '\\"'))


def _from_yaml(text: str, path: Path) -> Any:
    """Make the nodes of OpenCV's YAML, which has tags and rules for numbers of its own."""
    # Versions before 5 begin with `%YAML:1.0`, which is not YAML; and an apostrophe needs no escape there.
    text = re.sub(r"\A\s*%YAML[^\n]*", "", text)
    text = re.sub(r"\\(.)", lambda found: "'" if found[1] == "'" else found[0], text)
    events = yaml_events(text, path)
    for event in events:
        if isinstance(event, yaml.NodeEvent):
            node = _yaml_node(event, events, path, "")
            for _ in events:  # to the end, for errors behind the document
                pass
            return node
    return None


def _yaml_node(event: yaml.Event, events: Iterator[yaml.Event], path: Path, name: str) -> Any:
    """Make the node that begins with an event; its other events are taken from `events`."""
    if isinstance(event, yaml.ScalarEvent):
        if str(event.tag or "").endswith(":binary"):
            return f"{_BASE64}{event.value}"
        return (
            event.value
            if event.style
            else _WORDS[event.value]
            if event.value in _WORDS
            else _number_or_text(event.value)
        )
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_yaml_node(event, events, path, name))
        return items
    if not isinstance(event, yaml.MappingStartEvent):
        raise InputError(
            f"{path}: {name}: an alias of YAML, which OpenCV's files have not", code="invalid-syntax", path=path
        )
    entries: dict[str, Any] = {}
    kind = str(event.tag or "").rpartition(":")[2]
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = str(event.value) if isinstance(event, yaml.ScalarEvent) else ""
        if not isinstance(event, yaml.ScalarEvent) or key in entries:
            problem = f"entry {key!r} occurs twice" if key in entries else "a name is a list or a map"
            raise InputError(f"{path}: not a file that OpenCV can read: {problem}", code="invalid-syntax", path=path)
        entries[key] = _yaml_node(next(events), events, path, key)
    return _matrix(entries, path, name) if kind in _MATRICES else entries


def _from_xml(element: ElementTree.Element, path: Path, name: str) -> Any:
    """Make the node of an element of OpenCV's XML."""
    kind = element.get("type_id", "")
    children = list(element)
    if kind == "binary":
        return f"{_BASE64}{element.text or ''}"
    if all(child.tag == "_" for child in children):  # a list, whose numbers and words have no elements of their own
        items = _xml_items(element.text)
        for child in children:
            items += [_from_xml(child, path, name), *_xml_items(child.tail)]
        return items[0] if len(items) == 1 and not children and kind != "seq" else items or None
    entries: dict[str, Any] = {}
    for child in children:
        if child.tag in entries:
            raise InputError(
                f"{path}: not a file that OpenCV can read: entry {child.tag!r} occurs twice",
                code="invalid-syntax",
                path=path,
            )
        entries[child.tag] = _from_xml(child, path, child.tag)
    return _matrix(entries, path, name) if kind in _MATRICES else entries


def _xml_items(text: str | None) -> list[Any]:
    """Return the numbers and words of a text, and the texts in quotation marks."""
    text = text or ""
    return [_xml_item(item) for item in (re.findall(r'"[^"]*"|[^\s"]+', text) if '"' in text else text.split())]


def _xml_item(item: str) -> int | float | str | None:
    if item.startswith('"'):
        return item[1:-1].replace(_QUOTE, '"')
    value = _number_or_text(item)
    return value.replace(_QUOTE, '"') if isinstance(value, str) else value


def _plain_json(found: re.Match[str]) -> str:
    """Return JSON for a part of OpenCV's JSON."""
    part = found[0]
    if part.startswith('"'):
        return re.sub(r"\\(.)", lambda escape: "'" if escape[1] == "'" else escape[0], part, flags=re.DOTALL)
    if part.startswith("/"):
        return " "
    if part == ".":
        return ".0"
    return "NaN" if part.endswith("Nan") else "-Infinity" if part.startswith("-") else "Infinity"


def _with_matrices(node: Any, path: Path, name: str) -> Any:
    """Return a node of JSON whose maps with the type of a matrix are matrices."""
    if isinstance(node, list):
        return [_with_matrices(item, path, name) for item in node]
    if not isinstance(node, dict):
        return node
    entries = {key: _with_matrices(value, path, key) for key, value in node.items()}
    return _matrix(entries, path, name) if entries.get("type_id") in _MATRICES else entries


def _number_or_text(text: str) -> int | float | str | None:
    """Return the value of a scalar without quotation marks."""
    if not text:
        return None
    if _INTEGER.fullmatch(text):
        # As in C: 0x is hexadecimal, and a leading 0 octal.
        is_octal = re.fullmatch(r"[-+]?0[0-7]+", text)
        return int(text, 8 if is_octal else 16 if text[:2].lower() == "0x" else 10)
    if _REAL.fullmatch(text):
        return float(text)
    return _SPECIAL.get(text.lower(), text)


def _matrix(entries: Mapping[str, Any], path: Path, name: str) -> npt.NDArray[Any]:
    """Make the array of a matrix node: (rows, columns), with channels as the last axis if there are several."""
    where = f"{path}: matrix {name}: "
    sizes = _values(entries.get("sizes", [entries.get("rows"), entries.get("cols")]), where)
    dtype, channels = _number_type(str(entries.get("dt")), where)
    if len(sizes) > 32 or not all(isinstance(size, int) and 0 <= size < 2**31 for size in sizes):
        raise InputError(f"{where}not a size, found {sizes[:3]}", code="bad-field", path=path, field=name)
    shape = (*sizes, channels) if channels > 1 else tuple(sizes)
    values = _values(entries.get("data"), where)
    if len(values) != math.prod(shape):
        raise InputError(
            f"{where}wrong number of numbers, found {len(values)}, expected {' x '.join(map(str, shape))}",
            code="bad-field",
            path=path,
            field=name,
            found=len(values),
            expected=shape,
        )
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "fiub" or array.ndim != 1:
            raise TypeError("a value is not a number")
        with np.errstate(over="ignore", invalid="ignore"):
            return array.astype(dtype).reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{where}not numbers: {error}", code="bad-field", path=path, field=name) from error


def _values(node: Any, where: str) -> list[Any]:
    """Return the items of a node: of a list, of numbers in base64, or the node itself if it is a single one."""
    if not isinstance(node, str) or not node.startswith(_BASE64):
        return node if isinstance(node, list) else [] if node is None else [node]
    try:
        content = base64.b64decode("".join(node[len(_BASE64) :].split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{where}not base64: {error}", code="bad-field") from error
    kind, numbers_only = content[:_BASE64_HEADER].decode("latin-1").strip(), content[_BASE64_HEADER:]
    dtype, _ = _number_type(kind, where)
    whole = len(numbers_only) // dtype.itemsize * dtype.itemsize
    return list(np.frombuffer(numbers_only[:whole], dtype.newbyteorder("<")).tolist())


def _number_type(text: str, where: str) -> tuple[np.dtype[Any], int]:
    """Return NumPy's type and the number of channels of OpenCV's text for them, such as `3u`."""
    found = re.fullmatch(r"(\d{0,3})([a-zA-Z])", text)
    if found is None or found[2] not in _TYPES:
        raise InputError(f"{where}not a type of numbers, found {text[:20]!r}", code="bad-field", found=text[:20])
    return np.dtype(_TYPES[found[2]]), int(found[1] or 1)
