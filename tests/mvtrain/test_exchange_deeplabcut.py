"""DeepLabCut's tables and projects, and what is wrong with them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from mvtrain.exchange import from_deeplabcut as deeplabcut
from mvtrain.exchange.deeplabcut_tables import read_table
from mvtrain.exchange.foreign_labels import ForeignLabels, ReadOptions, Source
from mvtrain.project.names import pattern_rule

OPTIONS = ReadOptions(rule=pattern_rule("<session>_<view>"))
LEVELS = ["scorer", "bodyparts", "coords"]


def table(columns: list[tuple[str, ...]], rows: int = 2, levels: list[str] = LEVELS) -> pd.DataFrame:
    images = [f"labeled-data/mouse_top/img{row:03d}.png" for row in range(rows)]
    values = np.arange(rows * len(columns), dtype=np.float64).reshape(rows, -1)
    return pd.DataFrame(values, index=images, columns=pd.MultiIndex.from_tuples(columns, names=levels))


def single(*names: str) -> list[tuple[str, ...]]:
    return [("me", name, coord) for name in names for coord in "xy"]


def several() -> pd.DataFrame:
    columns = [("me", animal, name, coord) for animal in ("a", "b") for name in ("nose", "tail") for coord in "xy"]
    return table(columns, levels=["scorer", "individuals", "bodyparts", "coords"])


def project(folder: Path, config: dict[str, object] | None = None, size: tuple[int, int] = (20, 10)) -> Path:
    labeled = folder / "labeled-data" / "mouse_top"
    labeled.mkdir(parents=True)
    table(single("nose", "tail")).to_csv(labeled / "CollectedData_me.csv")
    for number in range(3):
        cv2.imwrite(str(labeled / f"img{number:03d}.png"), np.zeros((size[1], size[0], 3), np.uint8))
    document = {"scorer": "me", "bodyparts": ["nose", "tail"], "video_sets": {}, **(config or {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return folder


def read(path: Path, view: str | None = None) -> ForeignLabels:
    return deeplabcut.read([Source(path=path, view=view)], OPTIONS)[0]


def save(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".h5":
        frame.to_hdf(path, key="df_with_missing", mode="w")
    else:
        frame.to_csv(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".h5"])
def test_one_animal_of_several_can_be_chosen(tmp_path: Path, suffix: str) -> None:
    path = save(several(), tmp_path / f"CollectedData_me{suffix}")
    rows = read_table(path, "b")
    assert rows.keypoint_names == ("nose", "tail")
    np.testing.assert_array_equal(rows.points[1], [[12, 13], [14, 15]])
    with pytest.raises(ValueError, match=re.escape("labels of several animals (a, b), but a project here has one")):
        read_table(path, None)
    with pytest.raises(ValueError, match=re.escape("no animal named 'c'; the table has the animals a, b")):
        read_table(path, "c")


@pytest.mark.parametrize("suffix", [".csv", ".h5"])
def test_paths_of_windows_and_keypoints_that_are_not_sorted(tmp_path: Path, suffix: str) -> None:
    frame = table(single("tail", "nose"))
    frame.index = pd.Index([name.replace("/", "\\") for name in frame.index])
    rows = read_table(save(frame, tmp_path / f"CollectedData_me{suffix}"), None)
    assert rows.keypoint_names == ("tail", "nose")
    assert rows.images == ("labeled-data/mouse_top/img000.png", "labeled-data/mouse_top/img001.png")


@pytest.mark.parametrize(
    "start", [".", "config.yaml", "labeled-data/mouse_top", "labeled-data/mouse_top/CollectedData_me.csv"]
)
def test_a_project_can_be_named_by_any_of_its_parts(tmp_path: Path, start: str) -> None:
    labels = read(project(tmp_path / "dlc", {"skeleton": [["nose", "tail"], ["nose", "gone"]]}) / start)
    assert [image.place for image in labels.images] == [("mouse", "top", 0), ("mouse", "top", 1)]
    assert all(image.image is not None and image.crop is None for image in labels.images)
    assert labels.skeleton == (("nose", "tail"),)
    assert ("mouse", "top", 2) in labels.unlabelled


def test_a_video_folder_named_without_view_is_the_session(tmp_path: Path) -> None:
    assert read(project(tmp_path / "dlc"), view="side").images[0].place == ("mouse_top", "side", 0)


def test_images_that_were_cropped_know_where_from(tmp_path: Path) -> None:
    config: dict[str, object] = {"video_sets": {"D:\\videos\\mouse_top.mp4": {"crop": "100, 120, 30, 40"}}}
    assert read(project(tmp_path / "cropped", config)).images[0].crop == (100, 30)
    # The crop was set after these images had been taken from the whole frame.
    assert read(project(tmp_path / "whole", config, size=(200, 100))).images[0].crop is None


def test_images_that_are_lost_are_none(tmp_path: Path) -> None:
    folder = project(tmp_path / "dlc")
    (folder / "labeled-data" / "mouse_top" / "img001.png").unlink()
    first, second = read(folder).images
    assert first.image is not None
    assert second.image is None


def test_several_scorers(tmp_path: Path) -> None:
    folder = project(tmp_path / "dlc")
    labeled = folder / "labeled-data" / "mouse_top"
    save(table(single("nose", "tail")), labeled / "CollectedData_you.csv")
    assert len(read(folder).images) == 2
    (folder / "config.yaml").unlink()
    with pytest.raises(ValueError, match=re.escape("several scorers (CollectedData_me, CollectedData_you)")):
        read(folder)


CSV = "scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no table of DeepLabCut: it must start with rows scorer, bodyparts, coords"),
        ("", "no table of DeepLabCut"),
        (CSV + "a/img1.png,1\n", "rows of different length (2, 3 cells)"),
        (CSV + "a/img1.png,1,one\n", "a/img1.png: 'one' is not a number"),
        (CSV + "a/img1.png,1,\n", "a/img1.png: 'nose' has only one of x and y"),
        (CSV.replace("x,y", "x,z") + "a/img1.png,1,2\n", "keypoint 'nose' has no column y"),
        (CSV + '"a/img1.png,1,2\n', "is not CSV"),
    ],
)
def test_damaged_csv(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "CollectedData_me.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")):
        read_table(path, None)


def test_damaged_h5(tmp_path: Path) -> None:
    path = tmp_path / "CollectedData_me.h5"
    path.write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match="is no h5 file of DeepLabCut, or damaged"):
        read_table(path, None)
    pd.DataFrame({"a": [1.0]}).to_hdf(path, key="df_with_missing", mode="w")
    with pytest.raises(ValueError, match="its columns need the levels bodyparts and coords"):
        read_table(path, None)


def test_h5_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(table(single("nose")), tmp_path / "CollectedData_me.h5")
    monkeypatch.setitem(sys.modules, "tables", None)
    with pytest.raises(ValueError, match=re.escape('install it with: pip install "mvtrain[exchange]"')):
        read_table(path, None)


def test_no_project(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no labels of DeepLabCut: no CollectedData_<scorer>"):
        read(tmp_path)
    (tmp_path / "labeled-data" / "mouse_top").mkdir(parents=True)
    with pytest.raises(ValueError, match="in any folder of labeled-data"):
        read(tmp_path)
    (tmp_path / "config.yaml").write_text("data: {}")
    with pytest.raises(ValueError, match="is no config of DeepLabCut: it has neither bodyparts nor video_sets"):
        read(tmp_path)
    (tmp_path / "labels.txt").write_text("")
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(ValueError, match=re.escape("labels.txt: is no table of DeepLabCut (csv or h5)")):
        read(tmp_path / "labels.txt")
