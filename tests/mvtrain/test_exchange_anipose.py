"""Reader of anipose projects: cameras, recordings and calibrations of labels in a DeepLabCut project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import tomli_w

from helpers.errors import raises_input
from mvtrain.exchange import from_anipose as anipose
from mvtrain.exchange.foreign_labels import ForeignLabels, ReadOptions, Source
from mvtrain.project.names import pattern_rule


def make(folder: Path, config: dict[str, object] | None = None) -> Path:
    """Write two recordings with labels of the first, a calibration for both and one for the second."""
    labeled = folder / "dlc" / "labeled-data" / "vid1-camA"
    labeled.mkdir(parents=True)
    columns = pd.MultiIndex.from_product([["me"], ["nose"], ["x", "y"]], names=["scorer", "bodyparts", "coords"])
    frame = pd.DataFrame(np.ones((1, 2)), index=["labeled-data/vid1-camA/img3.png"], columns=columns)
    frame.to_csv(labeled / "CollectedData_me.csv")
    for recording in ("vid1", "vid2"):
        videos = folder / "project" / "day" / recording / "videos-raw"
        videos.mkdir(parents=True)
        (videos / f"{recording}-camA.avi").touch()
        (videos / "notes.avi").touch()
    for above in ("day", "day/vid2"):
        (folder / "project" / above / "calibration").mkdir()
        (folder / "project" / above / "calibration" / "calibration.toml").touch()
    document = {"model_folder": "../dlc", "triangulation": {"cam_regex": "-cam([A-Z])$"}, **(config or {})}
    (folder / "project" / "config.toml").write_text(tomli_w.dumps(document))
    return folder / "project"


def read(*paths: Path) -> list[ForeignLabels]:
    return anipose.read([Source(path=path) for path in paths], ReadOptions(rule=pattern_rule("<session>_<view>")))


def test_recordings_cameras_and_the_nearest_calibration(tmp_path: Path) -> None:
    root = make(tmp_path)
    (labels,) = read(root)
    day = root / "day"
    assert [image.place for image in labels.images] == [("vid1", "A", 3)]
    assert labels.videos == {
        ("vid1", "A"): day / "vid1" / "videos-raw" / "vid1-camA.avi",
        ("vid2", "A"): day / "vid2" / "videos-raw" / "vid2-camA.avi",
    }
    assert labels.calibrations == {
        "vid1": day / "calibration" / "calibration.toml",
        "vid2": day / "vid2" / "calibration" / "calibration.toml",
    }


def test_labels_can_be_a_source_of_their_own(tmp_path: Path) -> None:
    root = make(tmp_path, {"model_folder": "/nowhere"})
    assert len(read(root, tmp_path / "dlc")[0].images) == 1
    with raises_input("missing-file", key="model_folder", path=root / "config.toml"):
        read(root)


def test_mistakes(tmp_path: Path) -> None:
    root = make(tmp_path)
    with raises_input("wrong-count", found=0, expected=1):
        read(tmp_path / "dlc")
    (root / "other" / "videos-raw").mkdir(parents=True)
    (root / "other" / "videos-raw" / "vid1-camA.mp4").touch()
    with raises_input("duplicate-name", session="vid1", view="A"):
        read(root)
    (root / "config.toml").write_text("[triangulation]\n")
    with raises_input("missing-field", key="triangulation.cam_regex", path=root / "config.toml"):
        read(root)
    (root / "config.toml").write_text("pipeline = 1\n[triangulation]\ncam_regex = '(.)'\n")
    with raises_input("bad-field", key="pipeline", found=1):
        read(root)
    for name in ("''", "'/data'", "3"):
        (root / "config.toml").write_text(f"pipeline.videos_raw = {name}\ntriangulation.cam_regex = '(.)'\n")
        with raises_input("bad-field", key="pipeline.videos_raw", path=root / "config.toml"):
            read(root)
    (root / "config.toml").write_text("[")
    with raises_input("invalid-syntax", path=root / "config.toml"):
        read(root)


def test_offsets_of_cameras(tmp_path: Path) -> None:
    root = make(tmp_path, {"cameras": {"A": {"offset": [100, 20]}, "B": {"exposure": 3}}})
    assert read(root)[0].offsets == {"A": (100, 20)}
    for wrong in ("3", "[1]", "[1.5, 2]", "['a', 2]"):
        (root / "config.toml").write_text(f"triangulation.cam_regex = '(.)'\ncameras.A.offset = {wrong}\n")
        with raises_input("bad-field", key="cameras.A.offset", path=root / "config.toml"):
            read(root)
