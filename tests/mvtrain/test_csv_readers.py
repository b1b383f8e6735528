"""Every reader of CSV tables reads those that a spreadsheet saved with semicolons or tabs, and decimal commas."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.errors import raises_input
from mvgeom.tables import COORDS_3D, read_keypoints, read_labeled_boxes, read_positions, read_video_boxes
from mvtrain.config import load_config
from mvtrain.exchange.deeplabcut_tables import read_animals
from mvtrain.label.frame_list import read_frame_list
from mvtrain.label.open_tables import TableText, list_images
from mvtrain.predict.saved_predictions import _read_3d
from mvtrain.project.calibrations import find_calibrations
from mvtrain.project.frame_rows import append_frames, read_frame_rows
from mvtrain.project.label_tables import VISIBLE, read_labels
from mvtrain.project.labels_3d import TRUTH_FILE, read_truth
from mvtrain.project.listed_frames import read_listed_frames

PACKAGES = Path(__file__).parents[2] / "packages"

LABELS = "scorer,me,me,me,me\nbodyparts,nose,nose,tail,tail\ncoords,x,y,x,y\n"
ROWS = "labeled-data/s_top/img1.png,1.5,2.25,,\nlabeled-data/s_top/img2.png,3.5,4,5,6.125\n"
IN_3D = "scorer,me,me,me\nbodyparts,nose,nose,nose\ncoords,x,y,z\nlabeled-data/s/img1.png,1.5,-2.25,1e-3\n"


def read_calibrations(path: Path) -> Any:
    (path.parent / "a.toml").touch()
    return find_calibrations(path.parent, [("s", "img1.png")], path.name)[0]


def read_true_points(path: Path) -> Any:
    path = path.rename(path.with_name(TRUTH_FILE))
    names = (("labeled-data/s_top/img1.png",),)
    found = SimpleNamespace(root=path.parent, keypoint_names=("nose",), image_names=names, view_names=("top",))
    return read_truth(found)  # type: ignore[arg-type]


def read_frames(path: Path) -> Any:
    names = (("labeled-data/s_top/img1.png",), ("labeled-data/s_top/img2.png",))
    found = SimpleNamespace(root=path.parent, image_names=names, view_names=("top",), sessions=("s", "s"))
    return read_frame_list(path, found)  # type: ignore[arg-type]


def predicted_3d() -> str:
    cells = [("scorer", "mvtrain"), ("bodyparts", "nose")]
    lines = [",".join([first, *[each] * len(COORDS_3D)]) for first, each in cells]
    return "\n".join([*lines, ",".join(["coords", *COORDS_3D]), "0,1.5,2,3,.5,.25,.125,0.75,2", ""])


Read = Callable[[Path], Any]
TABLES: dict[str, tuple[str, str, Read]] = {
    "keypoints": ("mvgeom.tables.readers.csv_keypoints", LABELS + ROWS, lambda path: read_keypoints(path).points),
    "boxes of a video": ("mvgeom.tables.box_tables", ",x,y,h,w\n0,1.5,2,3.5,4\n1,,,,\n", read_video_boxes),
    "boxes of images": (
        "mvgeom.tables.box_tables",
        ",x,y,h,w\nlabeled-data/s_top/img1.png,1.5,2,3.5,4\n",
        lambda path: read_labeled_boxes(path).boxes,
    ),
    "known positions": (
        "mvgeom.tables.known_positions",
        "name,x,y,z\na,1.5,2.25,3.5\nb,1.25,2.5,0.5\n",
        lambda path: np.stack([*read_positions(path).values()]),
    ),
    "labels": ("mvtrain.project.label_tables", LABELS + ROWS, lambda path: read_labels(path).points),
    "calibrations": (
        "mvtrain.project.calibrations",
        ",note,file\nlabeled-data/s/img1.png,x,a.toml\n",
        read_calibrations,
    ),
    "true points": ("mvtrain.project.labels_3d", IN_3D, read_true_points),
    "labels of DeepLabCut": (
        "mvtrain.exchange.deeplabcut_tables",
        LABELS + ROWS,
        lambda path: read_animals(path).values,
    ),
    "images of DeepLabCut in three cells": (
        "mvtrain.exchange.deeplabcut_tables",
        re.sub(r"^(\w+),", r"\1,,,", LABELS, flags=re.MULTILINE) + ROWS.replace("/", ","),
        lambda path: read_animals(path).images,
    ),
    "frames to label": (
        "mvtrain.project.listed_frames",
        "score,image\n1.5,labeled-data/s_top/img2.png\n2,labeled-data/s_top/img1.png\n",
        read_frames,
    ),
    "frames by session and number": (
        "mvtrain.project.listed_frames",
        "session,frame,work\ns,2,1.5\ns,10,1.25\n",
        lambda path: tuple((frame.session, frame.frame) for frame in read_listed_frames(path)),
    ),
    "predictions in 3D": (
        "mvtrain.predict.saved_predictions",
        predicted_3d(),
        lambda path: _read_3d(path, ["nose"], 1).points,
    ),
}
"""Module, table and reader by content."""

EDITORS = {
    *("mvtrain.label.open_tables", "mvtrain.project.frame_rows"),
    *("mvtrain.exchange.into_project", "mvtrain.start.session_choice"),
}
"""Modules that read a table in order to write into it: tried by the last tests, and those of `import` and `frames`."""

OWN = {
    "mvgeom.tables.kinematics_table": "kinematics that `mvtrain smooth` wrote",
    "mvtrain.project.splits": "split and predictions in a run folder",
    "mvtrain.predict.overlay": "predictions that the same command wrote",
    "mvtrain.report.learning_curves": "log of a run",
    "mvtrain.training.metrics_log": "log of a run",
}
"""Modules that read only what the program itself wrote and nobody edits."""


def test_every_module_that_reads_csv_is_tried() -> None:
    found = set()
    for path in PACKAGES.glob("*/src/**/*.py"):
        if re.search(r"csv\.(reader|DictReader)\(|read_csv\(|genfromtxt\(|loadtxt\(", path.read_text()):
            found.add(".".join(path.relative_to(PACKAGES).with_suffix("").parts[2:]))
    assert found == {module for module, _, _ in TABLES.values()} | EDITORS | set(OWN)


@pytest.mark.parametrize("delimiter", [";", "\t"], ids=["semicolons", "tabs"])
@pytest.mark.parametrize("decimal", [".", ","], ids=["points", "commas"])
@pytest.mark.parametrize("content", TABLES)
def test_tables_of_spreadsheets(content: str, delimiter: str, decimal: str, tmp_path: Path) -> None:
    _, text, read = TABLES[content]
    (tmp_path / "usual").mkdir()
    usual = tmp_path / "usual" / "table.csv"
    usual.write_text(text)
    rows = list(csv.reader(io.StringIO(text)))
    rows = [[re.sub(r"^([\d-]*)\.(\d+)$", rf"\1{decimal}\2", cell) for cell in row] for row in rows]
    path = tmp_path / "table.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    expected, found = read(usual), read(path)
    if content == "calibrations":
        assert found == (tmp_path / "a.toml",)
    elif isinstance(expected, tuple):
        assert found == expected
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("row", ["1,2,3", "1,2,0.5", ",,-1"])
@pytest.mark.parametrize("read", [read_keypoints, read_labels])
def test_both_packages_refuse_the_same_cells_of_visible(row: str, read: Read, tmp_path: Path) -> None:
    path = tmp_path / "CollectedData_top.csv"
    rows = f"labeled-data/s_top/i0.png,,,\nlabeled-data/s_top/i1.png,{row}\n"
    path.write_text(f"scorer,m,m,m\nbodyparts,a,a,a\ncoords,x,y,visible\n{rows}")
    with raises_input("bad-field", path=path, line=5, keypoint="a", field="visible"):
        read(path)


@pytest.mark.filterwarnings("ignore:.*visible is empty")
@pytest.mark.parametrize(("row", "points"), [("1,2,", [1, 2]), ("1,2,2", [1, 2]), (",,2", None), (",,", None)])
def test_both_packages_take_the_same_labels_for_visible(row: str, points: list[int] | None, tmp_path: Path) -> None:
    path = tmp_path / "CollectedData_top.csv"
    rows = f"labeled-data/s_top/i0.png,5,6,2\nlabeled-data/s_top/i1.png,{row}\n"
    path.write_text(f"scorer,m,m,m\nbodyparts,a,a,a\ncoords,x,y,visible\n{rows}")
    table = read_labels(path)
    assert table.visible is not None
    seen = np.where((table.visible == VISIBLE)[..., None], table.points, np.nan)
    np.testing.assert_array_equal(seen, read_keypoints(path).points)
    np.testing.assert_array_equal(seen[1, 0], [np.nan, np.nan] if points is None else points)


@pytest.mark.parametrize("first", [("", "", ""), ("Scorer", "bodypart", "coordinates")])
def test_both_packages_read_headers_of_other_writers(first: tuple[str, str, str], tmp_path: Path) -> None:
    path = tmp_path / "CollectedData_top.csv"
    rows = [line.partition(",")[2] for line in LABELS.splitlines()]
    path.write_text("".join(f"{cell},{row}\n" for cell, row in zip(first, rows, strict=True)) + ROWS)
    table, keypoints = read_labels(path), read_keypoints(path)
    assert table.keypoint_names == keypoints.keypoint_names == ("nose", "tail")
    np.testing.assert_array_equal(table.points, keypoints.points)


FORMATS = [(",", "."), (";", "."), (";", ","), ("\t", ",")]


def write_labels_as(folder: Path, delimiter: str, decimal: str, *, rows: bool = True) -> Path:
    """A project of one view with a table in this format."""
    path = folder / "CollectedData_top.csv"
    (folder / "config.yaml").write_text("data: {data_dir: ., view_names: [top]}\n")
    header = LABELS.replace("x,y,x,y", "x,y,visible,x,y,visible").replace("nose,nose", "nose,nose,nose")
    header = header.replace("tail,tail", "tail,tail,tail").replace("me,me,me,me", ",".join(["me"] * 6))
    body = "labeled-data/s_top/img1.png,1.5,2.25,2,,,0\nlabeled-data/s_top/img2.png,3.5,4,2,5,6.125,2\n"
    number = re.compile(r"(?<=\d)\.(?=\d)")
    lines = [number.sub(decimal, line.replace(",", delimiter)) for line in body.splitlines(keepends=True)]
    path.write_text(header.replace(",", delimiter) + ("".join(lines) if rows else ""))
    return path


@pytest.mark.parametrize(("delimiter", "decimal"), FORMATS)
def test_cells_are_written_as_those_of_the_table(delimiter: str, decimal: str, tmp_path: Path) -> None:
    path = write_labels_as(tmp_path, delimiter, decimal)
    before = path.read_text()
    table = read_labels(path)
    TableText.read(path).with_cells({int(table.lines[0]): {4: "7.75", 5: "8.5", 6: "2"}}).write()
    np.testing.assert_array_equal(read_labels(path).points[0], [[1.5, 2.25], [7.75, 8.5]])
    assert path.read_text().splitlines()[4:] == before.splitlines()[4:]
    path.write_text(before)
    assert TableText.read(path).with_cells({}).content == path.read_bytes()


@pytest.mark.parametrize(("delimiter", "decimal"), FORMATS)
def test_the_column_visible_is_written_as_the_table(delimiter: str, decimal: str, tmp_path: Path) -> None:
    path = tmp_path / "CollectedData_top.csv"
    number = re.compile(r"(?<=\d)\.(?=\d)")
    path.write_text(number.sub(decimal, (LABELS + "labeled-data/s_top/img1,1.5,2.25,,\n").replace(",", delimiter)))
    TableText.read(path).with_visible(missing=1).write()
    table = read_labels(path)
    np.testing.assert_array_equal(table.points[0, 0], [1.5, 2.25])
    assert table.visible is not None
    assert table.visible.tolist() == [[2, 1]]


@pytest.mark.parametrize(("delimiter", "decimal"), FORMATS)
def test_rows_are_added_as_those_of_the_table(delimiter: str, decimal: str, tmp_path: Path) -> None:
    path = write_labels_as(tmp_path, delimiter, decimal)
    append_frames(read_frame_rows(load_config(tmp_path / "config.yaml")), [["labeled-data/s_top/img3.png"]])
    table = read_labels(path)
    assert table.image_names == tuple(f"labeled-data/s_top/img{number}.png" for number in (1, 2, 3))
    np.testing.assert_array_equal(table.points[1], [[3.5, 4], [5, 6.125]])
    write_labels_as(tmp_path, delimiter, decimal, rows=False)
    (tmp_path / "labeled-data" / "s_top").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "labeled-data" / "s_top" / "img1.png"), np.zeros((8, 8, 3), np.uint8))
    assert list_images(tmp_path, load_config(tmp_path / "config.yaml").data) == 1
    assert read_labels(path).image_names == ("labeled-data/s_top/img1.png",)
