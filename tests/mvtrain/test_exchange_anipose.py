"""anipose projects: cameras, recordings and calibrations of labels that are in a DeepLabCut project."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli_w

from mvtrain.exchange import from_anipose as anipose
from mvtrain.exchange.foreign_labels import ForeignLabels, ReadOptions, Source
from mvtrain.project.names import pattern_rule


def make(folder: Path, config: dict[str, object] | None = None) -> Path:
    """Two recordings, labels of the first; a calibration common to both and one for the second."""
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


def test_labels_can_be_named_apart(tmp_path: Path) -> None:
    root = make(tmp_path, {"model_folder": "/nowhere"})
    assert len(read(root, tmp_path / "dlc")[0].images) == 1
    with pytest.raises(ValueError, match="model_folder names no folder that is there; add the DeepLabCut project"):
        read(root)


def test_mistakes(tmp_path: Path) -> None:
    root = make(tmp_path)
    with pytest.raises(
        ValueError, match=r"one of the sources must be an anipose project \(a folder with config.toml\)"
    ):
        read(tmp_path / "dlc")
    (root / "other" / "videos-raw").mkdir(parents=True)
    (root / "other" / "videos-raw" / "vid1-camA.mp4").touch()
    with pytest.raises(ValueError, match="two videos of camera 'A' of recording 'vid1': "):
        read(root)
    (root / "config.toml").write_text("[triangulation]\n")
    with pytest.raises(ValueError, match=re.escape("no cam_regex in [triangulation]")):
        read(root)
    (root / "config.toml").write_text("pipeline = 1\n[triangulation]\ncam_regex = '(.)'\n")
    with pytest.raises(ValueError, match="pipeline must be a section, found 1"):
        read(root)
    (root / "config.toml").write_text("[")
    with pytest.raises(ValueError, match="not valid TOML"):
        read(root)
