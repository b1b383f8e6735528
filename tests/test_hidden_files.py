"""Files that their user does not see, such as macOS's `._NAME` beside every NAME, change nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from helpers.errors import raises_input
from helpers.foreign import write_prediction
from helpers.rigs import ring
from helpers.videos import write_session
from mvgeom import CameraGroup
from mvgeom.calibration.sources import open_source
from mvgeom.files import list_files
from mvgeom.path_kinds import kind_of_path
from mvgeom.tables.readers import READERS, find_keypoints
from mvtrain.exchange.deeplabcut_tables import prediction_tables
from mvtrain.exchange.media import find_calibrations, images_in, videos_in
from mvtrain.label.open_tables import list_images
from mvtrain.label.run_label import project_config
from mvtrain.predict.recordings import find_sessions
from mvtrain.predict.saved_predictions import find_predictions
from mvtrain.project.view_tables import find_tables
from mvtrain.start.init_project import read_rigs
from mvtrain.start.session_plan import VideoInput, find_videos

SOURCES = sorted((Path(__file__).parents[1] / "packages").glob("*/src/**/*.py"))
VIEWS = ("top", "side")
JUNK = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(100)

OF_OURS = {
    "temporary.py": "temporary files, which are hidden",
    "folders.py": "whether a folder is empty, but for temporary files",
    "run_folder.py": "checkpoints of a run",
    "likelihood.py": "files of a checkpoint",
    "error_bars.py": "files of a run",
    "checksums.py": "files of a run",
    "smoothed_tables.py": "blocks of an unfinished smoothing",
    "server.py": "files of the page in the package",
    "into_project.py": "a folder that the import has written",
    "view_tables.py": "a hint in an error",
    "saved_predictions.py": "summaries of predictions, whose names may begin with a dot",
}
"""Modules that list folders by themselves, which only this program writes to."""


def test_folders_of_users_are_listed_without_hidden_files() -> None:
    """`Path.iterdir` and `Path.glob` give what `list_files` leaves out."""
    found = {
        path.name
        for path in SOURCES
        for line in path.read_text(encoding="utf-8").splitlines()
        if any(call in line for call in (".iterdir(", ".rglob(", ".glob(", "scandir(")) and " glob.glob(" not in line
    }
    assert found - OF_OURS.keys() - {"files.py"} == set()


def test_files_are_listed_by_name_without_hidden_ones_at_any_depth(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "._a.png", "in/c.png", "in/._c.png", ".hidden/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    below = tmp_path / ".hidden"
    assert [path.name for path in list_files(tmp_path)] == ["a.png", "b.png", "in"]
    assert [path.name for path in list_files(tmp_path, "**/*.png")] == ["a.png", "b.png", "c.png"]
    assert list_files(below) == [below / "d.png"], "a folder that was given may itself be hidden"
    assert list_files(tmp_path / "none") == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one of everything that commands look for."""
    folder = tmp_path / "folder"
    write_session(folder / "videos", VIEWS, [3, 3], session="m1")
    cameras = ring(2, size=64).replace(names=VIEWS)
    (folder / "calibrations").mkdir()
    cameras.save(folder / "calibrations" / "m1.toml")
    (folder / "jarvis").mkdir()
    cameras.save(folder / "jarvis", file_format="jarvis")
    points = np.zeros((3, 2, 1, 2))
    write_prediction(
        folder / "video_preds",
        points,
        points[..., 0],
        session="m1",
        view_names=VIEWS,
        keypoint_names=("a",),
    )
    (folder / "tables").mkdir()
    for view in VIEWS:
        shutil.copy(folder / "video_preds" / f"m1_{view}.csv", folder / "tables" / f"m1_{view}.csv")
    (folder / "dlc").mkdir()
    shutil.copy(folder / "tables" / "m1_top.csv", folder / "dlc" / "m1_topDLC_resnet50_x.csv")
    for view in VIEWS:
        for number in range(2):
            path = folder / "labeled-data" / f"m1_{view}" / f"img{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    (folder / "people").mkdir()
    (folder / "people" / "m1_000000000000_keypoints.json").write_text('{"people": []}')
    data = {"data_dir": str(folder), "view_names": list(VIEWS), "keypoint_names": ["a"]}
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    return folder


def listed_images(folder: Path) -> list[str]:
    number = list_images(folder, project_config(folder).data)
    tables = find_tables(folder, project_config(folder).data)[1]
    texts = [path.read_text(encoding="utf-8") for path in tables]
    for path in tables:
        path.unlink()
    return [str(number), *texts]


LISTINGS: dict[str, Callable[[Path], Any]] = {
    "images without tables": listed_images,
    "sessions": lambda folder: find_sessions([folder / "videos"], VIEWS),
    "videos of init": lambda folder: find_videos(VideoInput(path=folder)),
    "calibrations of init": lambda folder: list(read_rigs(folder / "calibrations", {})),
    "predictions": lambda folder: find_predictions(folder),
    "tables of predictions": lambda folder: find_predictions(folder / "tables", VIEWS),
    "videos of an import": lambda folder: videos_in(folder / "videos"),
    "images of an import": lambda folder: images_in(folder / "labeled-data" / "m1_top"),
    "calibrations of an import": lambda folder: [
        find_calibrations([folder], None),
        find_calibrations([], folder / "calibrations"),
    ],
    "predictions of DeepLabCut": lambda folder: prediction_tables(folder / "dlc"),
    "a calibration in a folder": lambda folder: CameraGroup.load(folder / "jarvis").names,
    "images of a camera": lambda folder: open_source("top", folder / "labeled-data" / "m1_top").images,
    "keypoints of a folder": lambda folder: find_keypoints(folder / "people", READERS["openpose"]),
    "kinds of paths": lambda folder: [kind_of_path(path) for path in sorted(folder.iterdir()) if path.name[0] != "."],
}


@pytest.mark.parametrize("name", LISTINGS)
def test_listings_are_the_same_beside_hidden_files(folder: Path, name: str) -> None:
    before = LISTINGS[name](folder)
    for path in sorted(folder.rglob("*")):
        path.with_name(f"._{path.name}").write_bytes(JUNK)
        path.with_name(".DS_Store").write_bytes(JUNK)
    assert LISTINGS[name](folder) == before


def test_images_that_cannot_be_read_leave_the_project_without_tables(folder: Path) -> None:
    """`mvtrain label` reads all headers first: a table with a row of such an image could not be opened again."""
    (folder / "labeled-data" / "m1_side" / "img1.png").write_bytes(JUNK)
    with raises_input("damaged-file", path="img1.png"):
        list_images(folder, project_config(folder).data)
    assert not list_files(folder, "CollectedData_*")
