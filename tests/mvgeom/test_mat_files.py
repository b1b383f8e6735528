"""MAT files are read without SciPy, with the values that SciPy reads."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from mvgeom.formats.mat_files import MatFileError, read_variables

CELL = np.empty((1, 3), dtype=object)
CELL[0, 0], CELL[0, 1], CELL[0, 2] = np.eye(2), "text", {"a": 1.5, "b": np.arange(3)}
VARIABLES: dict[str, Any] = {
    **{
        f"v_{np.dtype(kind).name}": np.array([[0, 1, 2], [3, 4, 100]]).astype(kind)
        for kind in (*(np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32), np.float32, np.float64, np.int64)
    },
    "number": 3.25,
    "whole": 7,
    "truth": np.array([[True, False]]),
    "complex": np.array([[1 + 2j, 3.0]]),
    "row": np.arange(5.0)[None],
    "column": np.arange(5.0)[:, None],
    "cube": np.arange(24.0).reshape(2, 3, 4),
    "empty": np.zeros((0, 3)),
    "specials": np.array([[np.nan, np.inf, -np.inf, 5e-324]]),
    "text": "camera é ü",
    "blank": "",
    "texts": np.array(["one", "three"]),
    "cell": CELL,
    "struct": {"K": np.eye(3), "inner": {"x": 1, "y": "deep"}, "list": CELL},
    "structs": np.array([(1.0, "a"), (2.0, "b")], dtype=[("n", object), ("s", object)]),
}


def write(**options: Any) -> bytes:
    content = io.BytesIO()
    savemat(content, VARIABLES, **options)
    return content.getvalue()


def assert_same(found: Any, expected: Any, where: str) -> None:
    if hasattr(expected, "_fieldnames"):  # a struct in a cell, which SciPy does not simplify
        expected = {name: getattr(expected, name) for name in expected._fieldnames}
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key in expected:
            assert_same(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, np.ndarray) and expected.dtype.kind == "U":
        assert [str(each).rstrip() for each in found] == [str(each).rstrip() for each in expected], where
    elif isinstance(expected, list) or (isinstance(expected, np.ndarray) and expected.dtype == object):
        assert len(found) == len(expected), where
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(one, other, f"{where}[{number}]")
    else:
        assert np.shape(found) == np.shape(expected), where
        np.testing.assert_array_equal(found, expected, err_msg=where)


@pytest.mark.parametrize("compressed", [False, True])
def test_values_are_those_that_scipy_reads(compressed: bool) -> None:
    content = write(do_compression=compressed)
    expected = loadmat(io.BytesIO(content), simplify_cells=True)
    found = read_variables(content)
    for name in VARIABLES:
        assert_same(found[name], expected[name], name)


def test_only_the_names_are_read_on_request() -> None:
    assert read_variables(write(), lambda name: name == "number") == {**dict.fromkeys(VARIABLES), "number": 3.25}


def nested(depth: int) -> bytes:
    content, value = io.BytesIO(), np.eye(2)
    for _ in range(depth):
        cell = np.empty((1, 1), dtype=object)
        cell[0, 0] = value
        value = cell
    savemat(content, {"a": value})
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MATLAB 5.0 MAT-file",
        write()[:127],
        nested(50),
        # A number of 2 x 2 that says it is 2^31 x 2.
        write().replace(np.array([2, 3], "<i4").tobytes(), np.array([2**31 - 1, 3], "<i4").tobytes(), 1),
        # A compressed variable of a gigabyte of zeros.
        write()[:128] + np.array([15, 0], "<u4").tobytes(),
        write()[:128] + np.array([15, 4], "<u4").tobytes() + b"abcd",
    ],
    ids=["nothing", "part of the header", "header cut off", "nested", "large", "nothing compressed", "not compressed"],
)
def test_damaged_files_are_refused(content: bytes) -> None:
    try:
        found = read_variables(content)
    except MatFileError:
        return
    assert found == {}
