"""Label tables: what is written is read, and every fault is named with file, line and column."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mvtrain.project.label_tables import read_labels

HEADER = "scorer,me,me,me,me\nbodyparts,nose,nose,tail,tail\ncoords,x,y,x,y\n"
WITH_VISIBLE = "scorer,me,me,me\nbodyparts,nose,nose,nose\ncoords,x,y,visible\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "CollectedData_top.csv"
    path.write_text(text, encoding="utf-8")
    return path


@given(
    points=hnp.arrays(
        np.float64, st.tuples(st.integers(0, 4), st.integers(1, 3), st.just(2)), elements=st.floats(-1e4, 1e4)
    ),
    seed=st.integers(0, 2**16),
    with_visible=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_table_written_by_pandas_is_read_back(points: np.ndarray, seed: int, with_visible: bool) -> None:
    generator = np.random.default_rng(seed)
    num_frames, num_keypoints = points.shape[:2]
    points = np.where(generator.random((num_frames, num_keypoints, 1)) < 0.3, np.nan, points)
    located = np.isfinite(points[..., 0])
    visible = np.where(located, generator.integers(0, 3, located.shape), generator.integers(0, 2, located.shape))
    coords = ["x", "y", "visible"][: 3 if with_visible else 2]
    names = [f"part {k}" for k in range(num_keypoints)]
    columns = pd.MultiIndex.from_product([["me"], names, coords], names=["scorer", "bodyparts", "coords"])
    values = np.concatenate([points, visible[..., None]], axis=-1)[..., : len(coords)]
    images = [f"labeled-data/s_top/img{i}.png" for i in range(num_frames)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        pd.DataFrame(values.reshape(num_frames, num_keypoints * len(coords)), index=images, columns=columns).to_csv(
            path
        )
        table = read_labels(path)
    assert table.keypoint_names == tuple(names)
    assert table.image_names == tuple(images)
    np.testing.assert_array_equal(table.points, points)
    if with_visible:
        assert table.visible is not None
        np.testing.assert_array_equal(table.visible, visible)
    else:
        assert table.visible is None


@given(st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_table_cut_off_anywhere_is_refused_or_shorter(length: int) -> None:
    """No cut makes up a row: it is an error, or, at a line's end or within a number, the rows before are untouched."""
    text = HEADER + "a.png,1,2,3,4\nb.png,5,6,,\nc.png,7,8,9,10\n"
    with tempfile.TemporaryDirectory() as folder:
        try:
            table = read_labels(write(Path(folder), text[:length]))
        except ValueError:
            return
    complete = max(0, text[:length].count("\n") - 3)
    np.testing.assert_array_equal(table.points[:complete, 0, 0], [1, 5, 7][:complete])
    assert complete <= len(table) <= complete + 1


def test_lines_and_missing_cells(tmp_path: Path) -> None:
    table = read_labels(write(tmp_path, HEADER + "\na.png,1.5,-2e1, ,NaN\n,,,,\n\nb.png,,,3,4\n"))
    assert table.image_names == ("a.png", None, "b.png")
    assert table.lines.tolist() == [5, 6, 8]
    np.testing.assert_array_equal(table.points[0], [[1.5, -20.0], [np.nan, np.nan]])
    assert np.isnan(table.points[1]).all()


def test_take(tmp_path: Path) -> None:
    table = read_labels(write(tmp_path, WITH_VISIBLE + "a.png,1,2,2\nb.png,3,4,1\nc.png,,,\n")).take([2, 0])
    assert table.image_names == ("c.png", "a.png")
    assert table.lines.tolist() == [6, 4]
    assert table.visible is not None
    assert table.visible[:, 0].tolist() == [0, 2]
    np.testing.assert_array_equal(table.points[1, 0], [1, 2])


def test_byte_order_mark_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + '"a, b.png",1,2,3,4\r\n').encode())
    assert read_labels(path).image_names == ("a, b.png",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("image,x,y\na.png,1,2\n", "first cells are scorer, bodyparts, coords, found 'image', 'a.png'"),
        ("bodyparts,nose,nose\ncoords,x,y\na.png,1,2\n", "found 'bodyparts', 'coords', 'a.png'"),
        (HEADER.replace("x,y,x,y", "x,y,x,likelihood"), "column 4 (tail): coords must be x, y or x, y, visible"),
        (HEADER.replace("x,y,x,y", "y,x,y,x"), "column 2 (nose): coords must be x, y"),
        ("scorer,m,m,m,m,m\nbodyparts,a,a,a,b,b\ncoords,x,y,visible,x,y\n", "column 5 (b): coords must be"),
        (HEADER.replace("tail", "nose"), "column 2 (nose): coords must be"),
        ("scorer,m,m,m,m,m,m\nbodyparts,a,a,b,b,a,a\ncoords,x,y,x,y,x,y\n", "names body parts twice: a"),
        (HEADER.replace("nose,nose", ","), "column 2 (no body part)"),
        ("scorer\nbodyparts\ncoords\n", "has a single column; is it separated by commas?"),
        (HEADER + "a.png,1,2,3,4\nb.png,1,x2,3,4\n", "line 5, column 3 (nose y): 'x2' is not a number"),
        (HEADER + "a.png,1,2,3,inf\n", "line 4, column 5 (tail y): 'inf' is not a number"),
        (HEADER + "a.png,1,2,3\n", "line 4: has 4 cells, the first line has 5"),
        (HEADER + "a.png,1,2,3,4,5\n", "line 4: has 6 cells, the first line has 5"),
        (HEADER + 'a.png,1,2,"3,4\n', "is not CSV"),
        (HEADER + "a.png,1,,3,4\n", "line 4, nose: only one of x and y is given ([1.0, nan])"),
        (HEADER + "a.png,1,2,3,4\n,1,2,3,4\n", "line 5: has labels but names no image"),
        (HEADER + "a.png,1,2,3,4\nb.png,,,,\na.png,1,2,3,4\n", "image a.png is named twice, in lines 4 and 6"),
        (WITH_VISIBLE + "a.png,1,2,3\n", "line 4, nose: visible must be 0, 1 or 2, found 3"),
        (WITH_VISIBLE + "a.png,1,2,0.5\n", "line 4, nose: visible must be 0, 1 or 2, found 0.5"),
        (WITH_VISIBLE + "a.png,1,2,\n", "line 4, nose: visible must be 0, 1 or 2, found an empty cell"),
        (WITH_VISIBLE + "a.png,,,2\n", "line 4, nose: visible is 2 but x and y are empty"),
    ],
)
def test_messages(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=str(path)) as caught:
        read_labels(path)
    assert expected in str(caught.value)


def test_messages_about_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.csv does not exist"):
        read_labels(tmp_path / "absent.csv")
    with pytest.raises(ValueError, match="cannot be read"):
        read_labels(tmp_path)
    (tmp_path / "latin.csv").write_bytes(HEADER.replace("nose", "né").encode("latin-1"))
    with pytest.raises(ValueError, match="is not text in UTF-8"):
        read_labels(tmp_path / "latin.csv")


def test_line_numbers_agree_with_the_csv_module(tmp_path: Path) -> None:
    """A quoted line break makes lines and rows differ; the message goes by lines."""
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["scorer", "m\nm", "m"], ["bodyparts", "a", "a"], ["coords", "x", "y"], ["i.png", "1", "?"]])
    with pytest.raises(ValueError, match=r"line 5, column 3 \(a y\)"):
        read_labels(path)
