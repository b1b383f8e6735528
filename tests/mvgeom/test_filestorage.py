"""OpenCV's YAML, XML and JSON are read without OpenCV, with the values that OpenCV reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.errors import raises_input
from mvgeom.formats import filestorage

SUFFIXES = (".yml", ".xml", ".json")
MATRICES: dict[str, np.ndarray] = {
    **{
        f"m_{np.dtype(kind).name}": np.array([[0, 1, 2], [3, 4, 100]]).astype(kind)
        for kind in (np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float32, np.float64, np.float16)
    },
    "extremes": np.array([[-(2**31), 2**31 - 1]], dtype=np.int32),
    "specials": np.array([[np.nan, np.inf, -np.inf, 1e300, -1e-300, 5e-324, -0.0, 1 / 3, 0.1, -7.0]]),
    "singles": np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32),
    "doubles": np.random.default_rng(1).normal(size=(9, 4)) * 10.0 ** np.arange(-12, 24).reshape(9, 4),
    "column": np.arange(5.0)[:, None],
    "channels": np.arange(24.0).reshape(2, 3, 4),
    "bytes of channels": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
    "four axes": np.arange(32, dtype=np.float32).reshape(2, 2, 2, 4),
    "long": np.arange(3000.0)[None] / 7,
}
SCALARS: dict[str, Any] = {
    "zero": 0,
    "one": 1,
    "negative": -3,
    "largest": 2**31 - 1,
    "smallest": -(2**31) + 1,
    "half": 0.5,
    "whole": 2.0,
    "third": 1 / 3,
    "huge": 1.5e300,
    "tiny": -1e-300,
    "pi": np.pi,
    "inf": float("inf"),
    "ninf": -float("inf"),
    "nan": float("nan"),
}
TEXTS = (
    *("word", "two words", "yes", "true", "null", "12", "-1.5", "1e3", "", " ", " padded ", "2024-01-01 10:00:00", "~"),
    *(
        "a: b",
        "a, b",
        "[a]",
        "{a}",
        "#a",
        "&a",
        "*a",
        "!a",
        "%a",
        "it's",
        'say "x"',
        "back\\slash",
        "é ü 日本",
        "<a>&b;",
    ),
    *("tab\there", "line\nend", "x" * 300, "-", ".inf", "0x10", "cam0,cam1,cam 2"),
)


def write(path: Path, entries: dict[str, Any], flags: int = 0) -> str:
    """Write entries, nested maps and sequences by OpenCV; return the text."""
    storage = cv2.FileStorage(path.suffix, cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY | flags)

    def put(key: str, value: Any) -> None:
        if isinstance(value, dict | list):
            kind = cv2.FILE_NODE_MAP if isinstance(value, dict) else cv2.FILE_NODE_SEQ
            storage.startWriteStruct(key, kind)
            for name, item in value.items() if isinstance(value, dict) else (("", item) for item in value):
                put(name, item)
            storage.endWriteStruct()
        else:
            storage.write(key, value)

    for key, value in entries.items():
        put(key.replace(" ", "_"), value)
    text = storage.releaseAndGetString()
    path.write_text(text, encoding="utf-8")
    return text


def read_by_opencv(text: str) -> dict[str, Any]:
    """Read a text by OpenCV into numbers, texts, lists, dicts and arrays."""
    storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)

    def value(node: cv2.FileNode) -> Any:
        if node.isSeq():
            return [value(node.at(row)) for row in range(node.size())]
        if node.isMap():
            if "data" in node.keys():  # noqa: SIM118 - not a dict
                return node.mat()
            return {key: value(node.getNode(key)) for key in node.keys()}  # noqa: SIM118
        if node.isNone():
            return None
        return node.string() if node.isString() else int(node.real()) if node.isInt() else node.real()

    root = storage.root()
    return {key: value(root.getNode(key)) for key in root.keys()}  # noqa: SIM118


def assert_same(found: Any, expected: Any, where: str) -> None:
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype, where
        assert found.shape == expected.shape, where
        np.testing.assert_array_equal(found, expected, err_msg=where)
    elif isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key, each in expected.items():
            assert_same(found[key], each, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for row, each in enumerate(expected):
            assert_same(found[row], each, f"{where}[{row}]")
    elif isinstance(expected, float) and np.isnan(expected):
        assert np.isnan(found), where
    else:
        assert (found, type(found)) == (expected, type(expected)), where


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("flags", [0, cv2.FILE_STORAGE_BASE64], ids=["text", "base64"])
def test_matrices_are_those_that_opencv_reads(suffix: str, flags: int, tmp_path: Path) -> None:
    halves = () if flags == 0 else ("m_float16",)  # which OpenCV cannot write as base64
    text = write(tmp_path / f"a{suffix}", {k: v for k, v in MATRICES.items() if k not in halves}, flags)
    found = filestorage.read(tmp_path / f"a{suffix}")
    assert_same(found, read_by_opencv(text), suffix)
    np.testing.assert_array_equal(found["doubles"], MATRICES["doubles"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_numbers_texts_and_nested_nodes_are_those_that_opencv_reads(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    nested = {"x": 1, "list": [1, 2.5, "t", [3, 4], {"deep": [np.eye(2), "u"]}], "map": {"a": {"b": {"c": -0.5}}}}
    texts = {f"t{number}": text for number, text in enumerate(TEXTS) if suffix != ".xml" or text.strip() == text}
    text = write(path, {**SCALARS, **texts, "nested": nested, "names": ["a", "01", "b c", "-2", "7"]})
    found = filestorage.read(path)
    assert_same(found, read_by_opencv(text), suffix)
    assert filestorage.strings(found, "names") == ["a", "01", "b c", "-2", "7"]
    assert filestorage.scalar(found, "third") == 1 / 3
    assert filestorage.scalar(found, "t0") is None


@pytest.mark.parametrize("head", ["%YAML:1.0\n---\n", "%YAML:1.0\n", "%YAML 1.2\n---\n", ""])
def test_yaml_of_all_versions(head: str, tmp_path: Path) -> None:
    matrix = "M: !!opencv-matrix\n   rows: 1\n   cols: 2\n   dt: d\n   data: [ 1., -.5 ]\n"
    (tmp_path / "a.yml").write_text(f"{head}# comment\nn: 3\n{matrix}s: [ a, 1, 2.5 ]\nempty:\nt: 010\n")
    found = filestorage.read(tmp_path / "a.yml")
    np.testing.assert_array_equal(found.pop("M"), [[1, -0.5]])
    assert found == {"n": 3, "s": ["a", 1, 2.5], "empty": None, "t": 8}


WRONG = {
    "too few numbers": ("rows: 2\n   cols: 2\n   dt: d\n   data: [ 1., 2. ]", "bad-field"),
    "a size that asks for gigabytes": ("rows: 2000000000\n   cols: 2000000000\n   dt: d\n   data: [ 1. ]", "bad-field"),
    "a negative size": ("rows: -1\n   cols: -1\n   dt: d\n   data: [ 1. ]", "bad-field"),
    "a size of text": ("rows: a\n   cols: 1\n   dt: d\n   data: [ 1. ]", "bad-field"),
    "an unknown type": ("rows: 1\n   cols: 1\n   dt: z\n   data: [ 1. ]", "bad-field"),
    "texts as numbers": ("rows: 1\n   cols: 2\n   dt: d\n   data: [ a, b ]", "bad-field"),
    "lists as numbers": ("rows: 1\n   cols: 1\n   dt: d\n   data: [ [ 1. ] ]", "bad-field"),
    "no data": ("rows: 1\n   cols: 1\n   dt: d", "bad-field"),
    "bad base64": ("rows: 1\n   cols: 1\n   dt: d\n   data: !!binary |\n      ####", "bad-field"),
    "a value twice": ("rows: 1\n   rows: 1\n   cols: 1\n   dt: d\n   data: [ 1. ]", "invalid-syntax"),
    "an alias": ("rows: 1\n   cols: *a\n   dt: d\n   data: [ 1. ]", "invalid-syntax"),
    "deep nesting": ("data: " + "[ " * 5000, "invalid-syntax"),
    "deep nesting of blocks": ("data:\n      " + "- " * 5000, "invalid-syntax"),
    "a number of 400 digits": (f"rows: {'9' * 400}\n   cols: 1\n   dt: d\n   data: [ 1. ]", "bad-field"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_matrices_are_refused(case: str, tmp_path: Path) -> None:
    content, code = WRONG[case]
    (tmp_path / "a.yml").write_text(f"%YAML:1.0\n---\nM: !!opencv-matrix\n   {content}\n")
    with raises_input(code):
        filestorage.read(tmp_path / "a.yml")


@pytest.mark.parametrize(
    "text",
    [
        "<opencv_storage>" + "<a>" * 5000,
        '<!DOCTYPE a [<!ENTITY b "bbbb">]><opencv_storage><c>&b;</c></opencv_storage>',
        "<opencv_storage><a>1</a><a>2</a></opencv_storage>",
        "<opencv_storage><a>1</opencv_storage>",
        "<",
        '{"a": ' * 5000,
        '{"a": 1',
    ],
)
def test_wrong_xml_and_json_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text)
    with raises_input("invalid-syntax", path="a.xml"):
        filestorage.read(tmp_path / "a.xml")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("text", [*(each for each in TEXTS if each.isprintable()), '"q"', "'", '"', "a\\n"])
def test_opencv_reads_texts_that_are_written(text: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    filestorage.write(path, {"text": text, "list": [text, "b"]})
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    assert (storage.getNode("text").string(), storage.getNode("list").at(0).string()) == (text, text)
    assert filestorage.read(path) == {"text": text, "list": [text, "b"]}


def test_a_text_like_the_mark_of_base64_is_refused(tmp_path: Path) -> None:
    with raises_input("bad-name", name="$base64$x"):
        filestorage.write(tmp_path / "a.yml", {"text": "$base64$x"})
