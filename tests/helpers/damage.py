"""Seeded damage to files: bytes flipped and lost, values swapped for odd ones, deep nesting, huge numbers."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.weights import damage_pickle

DEEP = 50_000
"""Nesting that no parser's stack holds."""

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "x", "../../x", "1e3", "nan", [], {}, [[]], [None], {"a": 1}, {"name": []}),
    *(0, -1, 1, 3, 2**31, 2**63, -(2**70), 10**30, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    [[1, 2], [3]],
    ["a", 1, None],
    [[[[[[1]]]]]],
    [1] * 1000,
)
"""Values that a JSON file can have where another is expected."""

ODD_TEXTS = (
    *("", "0", "-1", "1", "3", "1e400", "-1e-400", "nan", ".nan", ".inf", "-.inf", "inf", "9" * 400, "0x" + "f" * 400),
    *("1:2:3", "2024-01-01", "true", "null", "~", "yes", "''", '"', "'", "[]", "{}", "[[]]", "{a: 1}", "[1, 2", "}"),
    *("!!int x", "!!python/object:os.system x", "&a [*a]", "*a", "!!binary x", "|", "%", "\t", "\x00", "\u2028", "é"),
    *("../../x", "C:\\x", "/etc/passwd", "a" * 70_000, ",,,", ";", "<a>", "&amp;", "&x;", "<!--", "<![CDATA["),
    "<!DOCTYPE a [<!ENTITY b 'c'>]>",
)
"""Texts that stand in the place of a number, a word or a quoted text."""

_TOKEN = re.compile(rb"[-+]?\d[\d.eE+-]*|\"[^\"\n]*\"|[A-Za-z_]\w*")


def flip(content: bytes, rng: random.Random) -> bytes:
    """Change some bytes."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 4, 32])):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def flip_start(content: bytes, rng: random.Random) -> bytes:
    """Change some bytes among the first, where headers are."""
    return flip(content[:512], rng) + content[512:]


def truncate(content: bytes, rng: random.Random) -> bytes:
    """Cut the end off."""
    return content[: rng.randrange(len(content) + 1)]


def cut_out(content: bytes, rng: random.Random) -> bytes:
    """Remove a piece."""
    first, length = rng.randrange(len(content) + 1), rng.choice([1, 7, 100, 4000])
    return content[:first] + content[first + length :]


def double(content: bytes, rng: random.Random) -> bytes:
    """Repeat a piece."""
    first, length = rng.randrange(len(content) + 1), rng.choice([1, 7, 100, 4000])
    return content[: first + length] + content[first:]


def blank(content: bytes, rng: random.Random) -> bytes:
    """Zero a piece, as a power cut does."""
    first, length = rng.randrange(len(content) + 1), rng.choice([4, 64, 4096])
    return content[:first] + bytes(min(length, len(content) - first)) + content[first + length :]


def swap_token(content: bytes, rng: random.Random) -> bytes:
    """Replace numbers, words or quoted texts by odd ones."""
    for _ in range(rng.choice([1, 1, 2])):
        found = list(_TOKEN.finditer(content)) if len(content) < 200_000 else []
        if not found:
            return flip(content, rng)
        token = rng.choice(found)
        content = content[: token.start()] + rng.choice(ODD_TEXTS).encode() + content[token.end() :]
    return content


def exchange_tokens(content: bytes, rng: random.Random) -> bytes:
    """Replace a number, word or quoted text by another of the file."""
    found = list(_TOKEN.finditer(content)) if len(content) < 200_000 else []
    if not found:
        return cut_out(content, rng)
    token, other = rng.choice(found), rng.choice(found)
    return content[: token.start()] + other[0] + content[token.end() :]


def change_lines(content: bytes, rng: random.Random) -> bytes:
    """Remove, repeat or move a line."""
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return truncate(content, rng)
    line = lines.pop(rng.randrange(len(lines)))
    for _ in range(rng.choice([0, 1, 2])):
        lines.insert(rng.randrange(len(lines) + 1), line)
    return b"".join(lines)


def change_cell(content: bytes, rng: random.Random) -> bytes:
    """Remove or repeat a column of a table, or a single cell."""
    lines = content.split(b"\n")
    number = rng.randrange(max(len(cells := lines[0].split(b",")), 1))
    rows = range(len(lines)) if rng.random() < 0.6 else [rng.randrange(len(lines))]
    keep = rng.choice([b"", None])
    for row in rows:
        cells = lines[row].split(b",")
        if number < len(cells):
            cells[number : number + 1] = [] if keep is None else [keep]
            lines[row] = b",".join(cells)
    return b"\n".join(lines)


def nest(content: bytes, rng: random.Random) -> bytes:
    """Put deep nesting in the place of a value."""
    opening, closing = rng.choice([(b"[", b"]"), (b'{"a":', b"}"), (b"{a: ", b"}"), (b"- ", b""), (b"<a>", b"</a>")])
    depth = rng.choice([100, 1000, DEEP])
    deep = opening * depth + b"1" + closing * rng.choice([depth, 0])
    found = list(_TOKEN.finditer(content)) if len(content) < 200_000 else []
    if not found:
        return deep
    token = rng.choice(found)
    return content[: token.start()] + deep + content[token.end() :]


def swap_json_value(content: bytes, rng: random.Random) -> bytes:
    """Replace, remove or repeat a value of a JSON document; other files get `swap_token`."""
    try:
        document = json.loads(content)
    except ValueError:
        return swap_token(content, rng)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(value, dict | list):
                walk(value)

    if isinstance(document, dict | list):
        walk(document)
    if not places:
        return swap_token(content, rng)
    # Names and lists near the top decide more than one number among thousands.
    node, key = rng.choice(places[:200]) if rng.random() < 0.7 else rng.choice(places)
    if rng.random() < 0.2:
        del node[key]
    else:
        node[key] = rng.choice(ODD_VALUES)
    return json.dumps(document).encode()


BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (flip, flip_start, truncate, cut_out, double, blank)
TEXT: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(flip, truncate, cut_out, double),
    *(swap_token, swap_token, swap_token, exchange_tokens, change_lines, change_cell, nest),
    *(swap_json_value, swap_json_value),
)


def damage(path: Path, rng: random.Random) -> str:
    """Damage a file, or one of a folder, in place.

    Returns:
        Name of the damage, with the name of the file.
    """
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    file = rng.choice(files)
    if file.suffix in STRUCTURED and rng.random() < 0.5:
        return f"{file.name}: {STRUCTURED[file.suffix](file, rng)}"
    content = file.read_bytes()
    is_text = b"\x00" not in content[:4096]
    change = rng.choice(TEXT if is_text else BYTES)
    file.write_bytes(change(content, rng))
    return f"{file.name}: {change.__name__}"


def damage_hdf5(path: Path, rng: random.Random) -> str:
    """Replace a dataset or attribute of an HDF5 file by one of another type, shape or content."""
    import h5py
    import numpy as np

    odd: tuple[Any, ...] = (
        *(0, -1, 2**40, 1.5, float("nan"), b"", b"{", b"[[]]", b"null", "text", "{}", "[1, 2]"),
        *(np.zeros((0,)), np.zeros((3, 0)), np.zeros(5, np.int8), np.full((2, 2), np.nan), np.arange(4.0)),
        np.array([b"a", b"b"]),
        np.zeros((2, 3, 4, 5)),
    )
    with h5py.File(path, "r+") as file:
        nodes: list[Any] = [file]
        file.visititems(lambda _, node: nodes.append(node))
        node = rng.choice(nodes)
        attributes = list(node.attrs)
        if attributes and rng.random() < 0.5:
            name = rng.choice(attributes)
            del node.attrs[name]
            if rng.random() < 0.8:
                node.attrs[name] = rng.choice(odd)
            return f"attribute {node.name}.{name}"
        if node.name == "/" or node.name is None:
            node = rng.choice(nodes[1:]) if len(nodes) > 1 else None
        if node is None:
            return "nothing"
        name = node.name
        value = rng.choice(odd)
        if isinstance(node, h5py.Dataset) and node.shape and rng.random() < 0.4:
            rows = node[()]
            del file[name]
            file[name] = rows[: rng.randrange(len(rows) + 1)] if rng.random() < 0.5 else rows[..., None]
            return f"dataset {name}, other shape"
        del file[name]
        if rng.random() < 0.8:
            file[name] = value
        return f"dataset {name}"


def damage_mat(path: Path, rng: random.Random) -> str:
    """Replace a variable of a MAT file, or a field in it, by one of another type or shape."""
    import numpy as np
    from scipy.io import loadmat, savemat

    odd: tuple[Any, ...] = (
        *("", "text", 0, -1, 1.5, float("nan"), 1j, True, np.zeros((0, 0)), np.zeros((2, 3, 4)), np.eye(3), np.eye(4)),
        *({"a": 1}, {"K": {"K": 1}}, np.array([["a"], ["bb"]], dtype=object), np.zeros((2, 2), dtype=object)),
    )
    document = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    name = rng.choice(sorted(document))
    if rng.random() < 0.6 and document[name].dtype == object:
        cell = document[name].ravel()
        if len(cell):
            number = rng.randrange(len(cell))
            struct = cell[number]
            if getattr(struct, "dtype", None) is not None and struct.dtype.names and rng.random() < 0.8:
                fields = {field: struct[field][0, 0] for field in struct.dtype.names}
                field = rng.choice(sorted(fields))
                fields[field] = rng.choice(odd)
                document[name].ravel()[number] = fields
            else:
                document[name].ravel()[number] = rng.choice(odd)
    else:
        document[name] = rng.choice(odd)
    savemat(path, document)
    return f"variable {name}"


def damage_safetensors(path: Path, rng: random.Random) -> str:
    """Replace a value in the header of a safetensors file, whose length is set right."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    change = rng.choice((swap_json_value, swap_json_value, swap_token, exchange_tokens, nest))
    header = change(content[8 : 8 + length], rng)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    return f"header, {change.__name__}"


STRUCTURED: dict[str, Callable[[Path, random.Random], str]] = {
    ".h5": damage_hdf5,
    ".slp": damage_hdf5,
    ".mat": damage_mat,
    ".pt": damage_pickle,
    ".pth": damage_pickle,
    ".safetensors": damage_safetensors,
}
"""Damage by suffix to the values in a file, whose own structure stays whole."""
