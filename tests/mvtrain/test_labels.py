"""Label tables: written ones are read back, and every error has file, line and column."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from helpers.errors import raises_input
from mvgeom.errors import InputError
from mvtrain.config import DataConfig
from mvtrain.project.label_tables import read_labels
from mvtrain.project.view_tables import find_tables

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
    """No cut adds a row: it is an error, or, at a line's end or within a number, the rows before are unchanged."""
    text = HEADER + "a.png,1,2,3,4\nb.png,5,6,,\nc.png,7,8,9,10\n"
    with tempfile.TemporaryDirectory() as folder:
        try:
            table = read_labels(write(Path(folder), text[:length]))
        except InputError:
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


@pytest.mark.parametrize("separator", [";", "\t"])
def test_tables_saved_by_a_spreadsheet(tmp_path: Path, separator: str) -> None:
    header = HEADER.replace(",", separator)
    for decimal in ".,":
        cells = ["labeled-data/s_top/img1.png", f"1{decimal}5", "2", f"4{decimal}0", f"-3{decimal}25"]
        table = read_labels(write(tmp_path, f"{header}{separator.join(cells)}\n"))
        np.testing.assert_array_equal(table.points, [[[1.5, 2], [4, -3.25]]])
        assert table.image_names == ("labeled-data/s_top/img1.png",)
    with raises_input("bad-number", found=("1,5", "2.5"), path="CollectedData_top.csv"):
        read_labels(write(tmp_path, header + separator.join(["i.png", "1,5", "2.5", "", ""]) + "\n"))


def test_byte_order_mark_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + '"a, b.png",1,2,3,4\r\n').encode())
    assert read_labels(path).image_names == ("a, b.png",)


@pytest.mark.parametrize(
    ("text", "code", "facts"),
    [
        ("", "empty-file", {}),
        ("\n\n", "empty-file", {}),
        ("image,x,y\na.png,1,2\n", "bad-header", {"found": ("image", "a.png")}),
        ("bodyparts,nose,nose\ncoords,x,y\na.png,1,2\n", "bad-header", {"found": ("bodyparts", "coords", "a.png")}),
        (HEADER.replace("x,y,x,y", "x,y,x,likelihood"), "bad-header", {"column": 4, "keypoint": "tail"}),
        (HEADER.replace("x,y,x,y", "y,x,y,x"), "bad-header", {"column": 2, "keypoint": "nose"}),
        (
            "scorer,m,m,m,m,m\nbodyparts,a,a,a,b,b\ncoords,x,y,visible,x,y\n",
            "bad-header",
            {"column": 5, "keypoint": "b"},
        ),
        (HEADER.replace("tail", "nose"), "bad-header", {"column": 2, "keypoint": "nose"}),
        ("scorer,m,m,m,m,m,m\nbodyparts,a,a,b,b,a,a\ncoords,x,y,x,y,x,y\n", "duplicate-name", {"name": "a"}),
        (HEADER.replace("nose,nose", ","), "bad-header", {"column": 2, "keypoint": ""}),
        ("scorer\nbodyparts\ncoords\n", "bad-header", {}),
        (HEADER + "a.png,1,2,3,4\nb.png,1,x2,3,4\n", "bad-number", {"line": 5, "column": 3, "found": "x2"}),
        (HEADER + "a.png,1,2,3,inf\n", "bad-number", {"line": 4, "column": 5, "found": "inf"}),
        (HEADER + "a.png,1,2,3\n", "wrong-count", {"line": 4, "found": 4, "expected": 5}),
        (HEADER + "a.png,1,2,3,4,5\n", "wrong-count", {"line": 4, "found": 6, "expected": 5}),
        (HEADER + 'a.png,1,2,"3,4\n', "invalid-syntax", {"line": 4}),
        (HEADER + "a.png,1,,3,4\n", "empty-cell", {"line": 4, "keypoint": "nose"}),
        (HEADER + "a.png,1,2,3,4\n,1,2,3,4\n", "empty-cell", {"line": 5}),
        (HEADER + "a.png,1,2,3,4\nb.png,,,,\na.png,1,2,3,4\n", "duplicate-name", {"line": 6, "name": "a.png"}),
        (WITH_VISIBLE + "a.png,1,2,3\n", "bad-field", {"line": 4, "keypoint": "nose", "field": "visible"}),
        (WITH_VISIBLE + "a.png,1,2,0.5\n", "bad-field", {"line": 4, "keypoint": "nose", "field": "visible"}),
        ("image,m,m\nparts,nose,nose\nkind,x,z\na.png,1,2\n", "bad-header", {"found": ("image", "parts", "kind")}),
    ],
)
def test_errors_name_file_and_place(tmp_path: Path, text: str, code: str, facts: dict[str, Any]) -> None:
    path = write(tmp_path, text)
    with raises_input(code, path=path, **facts) as caught:
        read_labels(path)
    assert str(path) in str(caught.value)
    for name in ("line", "column"):
        if name in facts:
            assert str(facts[name]) in str(caught.value)


def test_visible_beside_empty_cells_is_read_with_a_warning(tmp_path: Path) -> None:
    """Lightning Pose reads both: no target without x and y, a visible label where the cell is empty."""
    table = read_labels(write(tmp_path, WITH_VISIBLE + "a.png,,,2\nb.png,1,2,\nc.png,,,\nd.png,1,2,2\n"))
    assert table.visible is not None
    assert table.visible[:, 0].tolist() == [0, 2, 0, 2]
    assert ["line 4" in text for text in table.warnings] == [True, False]
    assert ["line 5" in text for text in table.warnings] == [False, True]
    assert not read_labels(write(tmp_path, WITH_VISIBLE + "c.png,,,\nd.png,1,2,2\n")).warnings


@pytest.mark.parametrize("first", [("", "", ""), ("Scorer", "bodypart", "coordinates"), ("image", "", "x")])
def test_first_cells_of_the_header_have_any_text(tmp_path: Path, first: tuple[str, str, str]) -> None:
    lines = HEADER.splitlines()
    header = "".join(f"{cell},{line.partition(',')[2]}\n" for cell, line in zip(first, lines, strict=True))
    table = read_labels(write(tmp_path, header + "a.png,1,2,3,4\n"))
    assert table.keypoint_names == ("nose", "tail")
    assert table.points.tolist() == [[[1, 2], [3, 4]]]


@pytest.mark.parametrize("text", ["nan", "-nan", "NaN", "NA", "N/A", "n/a", "<NA>", "null", "NULL", "None", "#N/A"])
def test_cells_that_pandas_takes_for_missing_are_missing(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, HEADER + f"a.png,{text},{text},3,4\n")
    assert pd.read_csv(path, header=[0, 1, 2], index_col=0).isna().sum(axis=1).tolist() == [2]
    assert np.isnan(read_labels(path).points[0]).tolist() == [[True, True], [False, False]]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with raises_input("missing-file", path=tmp_path / "absent.csv"):
        read_labels(tmp_path / "absent.csv")
    with raises_input("unreadable-file", path=tmp_path):
        read_labels(tmp_path)
    (tmp_path / "latin.csv").write_bytes(HEADER.replace("nose", "né").encode("latin-1"))
    with raises_input("not-text", path=tmp_path / "latin.csv"):
        read_labels(tmp_path / "latin.csv")


def test_line_numbers_agree_with_the_csv_module(tmp_path: Path) -> None:
    """A quoted line break makes lines and rows differ; the error has the line."""
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["scorer", "m\nm", "m"], ["bodyparts", "a", "a"], ["coords", "x", "y"], ["i.png", "1", "?"]])
    with raises_input("bad-number", line=5, column=3):
        read_labels(path)


@pytest.mark.parametrize(
    "header",
    [
        "scorer,,,me,me\nbodyparts,,,nose,nose\ncoords,,,x,y\nlabeled-data,s,1.png,1,2\n",
        "scorer,me,me\nindividuals,a,a\nbodyparts,nose,nose\ncoords,x,y\ni.png,1,2\n",
    ],
)
def test_tables_of_deeplabcut_name_their_import(tmp_path: Path, header: str) -> None:
    with raises_input("bad-header", path="CollectedData_top.csv") as caught:
        read_labels(write(tmp_path, header))
    assert f"mvtrain import deeplabcut {tmp_path / 'CollectedData_top.csv'} --output" in str(caught.value)


def test_a_project_of_deeplabcut_names_its_import(tmp_path: Path) -> None:
    folder = tmp_path / "labeled-data" / "s_top"
    folder.mkdir(parents=True)
    (folder / "CollectedData_me.csv").write_text("scorer\n")
    with raises_input("missing-file", key="data.csv_file") as caught:
        find_tables(tmp_path, DataConfig())
    assert f"mvtrain import deeplabcut {tmp_path} --output" in str(caught.value)


@pytest.mark.parametrize("name", ["3d", "3D", "kinematics"])
def test_a_view_cannot_have_the_name_of_tables_in_3d(tmp_path: Path, name: str) -> None:
    for view in ("top", name):
        (tmp_path / f"CollectedData_{view}.csv").write_text(HEADER)
    with raises_input("bad-name", key="data.view_names", name=name):
        find_tables(tmp_path, DataConfig(view_names=("top", name)))
    assert find_tables(tmp_path, DataConfig(view_names=(name,)))[0] == (name,)
