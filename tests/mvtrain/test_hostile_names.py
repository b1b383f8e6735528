"""Names of sessions, views and cameras that come out of files lead no writer out of the folder that the user named."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from helpers.errors import raises_input
from helpers.foreign import write_prediction
from helpers.hostile import NAMES, nothing_escapes
from helpers.projects import random_project
from helpers.readers import SAVED
from helpers.rigs import ring
from mvgeom import CameraGroup, formats, project
from mvgeom.calibration.report import _draw
from mvgeom.errors import InputError
from mvtrain.exchange.alignment import align
from mvtrain.exchange.foreign_labels import DecodedImage, ForeignLabels, LabeledImage, Place
from mvtrain.exchange.media import write_calibrations
from mvtrain.exchange.project_folder import write_project
from mvtrain.exchange.run_convert import ENSEMBLE_WRITERS, WRITERS, ConvertOptions, convert
from mvtrain.exchange.write_options import WriteOptions
from mvtrain.model.inference import FramePredictions
from mvtrain.predict.labeled_images import write_project_predictions
from mvtrain.predict.recordings import OutputPaths, Session
from mvtrain.predict.records import unfinished_folder
from mvtrain.predict.saved_predictions import Points3D, PredictedSession, find_predictions, load_predictions
from mvtrain.predict.session import network_folders
from mvtrain.predict.smooth_predictions import SmoothOptions, smooth_predictions
from mvtrain.project.frame_rows import JOURNAL, recover_project
from mvtrain.project.label_tables import image_name

RIG = ring(2)
KEYPOINTS = ("nose", "../../escaped")
PAIRS = [(name, NAMES[number - 1]) for number, name in enumerate(NAMES)]
"""Hostile names, each with another one."""


def session(name: str, views: tuple[str, ...]) -> PredictedSession:
    points = np.random.default_rng(0).uniform(10, 90, (3, len(views), 2, 2))
    in_3d = Points3D(
        points=np.zeros((3, 2, 3)), std=np.ones((3, 2, 3)), error=np.ones((3, 2)), num_views=np.full((3, 2), 2.0)
    )
    return PredictedSession(
        name=name,
        view_names=views,
        keypoint_names=KEYPOINTS,
        points=points,
        likelihood=np.full(points.shape[:-1], 0.9),
        in_3d=in_3d,
    )


def rig(names: tuple[str, ...]) -> CameraGroup:
    return RIG.replace(names=names)


def options(views: tuple[str, ...]) -> WriteOptions:
    return WriteOptions(frame_rate=25.0, cameras=rig(views), unit="mm", up="z")


def write_images(folder: Path, name: str, views: tuple[str, ...]) -> None:
    for view in views:
        path = folder / image_name(name, view, 3)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_outputs(folder: Path, name: str, views: tuple[str, ...]) -> None:
    paths = OutputPaths.from_session(Session(name=name, videos=(folder / "a.mp4", folder / "b.mp4")), folder)
    for path in (
        *paths.tables,
        paths.table_3d,
        *paths.evidence,
        *paths.tracks,
        *paths.labeled,
        paths.overlay,
        paths.still,
        paths.summary,
    ):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for network in network_folders([Path(view) for view in views if "\0" not in view]):
        (folder / network).mkdir(parents=True, exist_ok=True)
    with unfinished_folder(folder, name) as records:
        (records / "records").touch()


def write_imported(folder: Path, name: str, views: tuple[str, ...]) -> None:
    image = DecodedImage(name="image", read=lambda: np.zeros((8, 8, 3), np.uint8))
    images = [
        LabeledImage(
            place=Place(name, view, number),
            points=np.full((2, 2), 3.0 + number),
            visibility=np.full(2, 2, np.int8),
            image=image,
            origin="here",
        )
        for view in views
        for number in (1, 2)
    ]
    labels = ForeignLabels(
        origin="here", keypoint_names=("nose", "tail"), images=tuple(images), calibrations={None: rig(views)}
    )
    write_project(folder / "project", align(labels), labels, labels.calibrations)


def write_evaluated(folder: Path, name: str, views: tuple[str, ...]) -> None:
    labeled = replace(random_project(2, views, ("nose", "tail")), sessions=(name, name))
    predictions = FramePredictions(index=np.arange(2), points=labeled.points, confidence=np.ones((2, len(views), 2)))
    write_project_predictions(folder, labeled, predictions, None, None)


def write_report(folder: Path, name: str, views: tuple[str, ...]) -> None:
    points = np.random.default_rng(0).uniform(10, 90, (2, 5, 2))
    _draw(folder, rig(views), points, points / 100)


WRITE: dict[str, Callable[[Path, str, tuple[str, ...]], Any]] = {
    **{
        f"convert: {name}": lambda folder, one, views, write=write: write(session(one, views), folder, options(views))
        for name, write in WRITERS.items()
    },
    **{
        f"convert: {name}": lambda folder, one, views, write=write: write(
            [session(one, views), session(one, views)], folder, options(views)
        )
        for name, write in ENSEMBLE_WRITERS.items()
    },
    **{
        f"calibration: {name}": lambda folder, one, views, name=name, file=file: formats.save(
            rig(views).replace(distortion=np.zeros((2, 0))), folder / file, file_format=name
        )
        for name, file in SAVED.items()
    },
    "calibrations of sessions": lambda folder, one, views: write_calibrations(
        folder / "calibrations", {None: rig(views)}, [one], views
    ),
    "images": write_images,
    "outputs": write_outputs,
    "import": write_imported,
    "evaluate": write_evaluated,
    "calibration report": write_report,
}
"""Writers of names that come out of files: folder, name of the session, names of the views."""


SLOW = {
    "calibration report": 20,
    "convert: movement": 12,
    "convert: nwb": 12,
    "import": 6,
    "convert: deeplabcut": 3,
    "convert: anipose": 6,
}
"""Writers that take only every n-th pair of names."""


@pytest.mark.parametrize("writer", WRITE)
@pytest.mark.filterwarnings("ignore")
def test_no_writer_leaves_the_folder(writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = 0
    with nothing_escapes(tmp_path, monkeypatch) as output:
        for number, (one, other) in enumerate(PAIRS[:: SLOW.get(writer, 1)]):
            folder = output / str(number)
            folder.mkdir()
            try:
                WRITE[writer](folder, one, (one, other))
            except (InputError, UnicodeEncodeError):  # the last one: half a character, which no file can have
                refused += 1
    written = len([path for path in output.rglob("*") if path.is_file()])
    assert written or refused, writer


@pytest.mark.parametrize("writer", ["convert: eks", "convert: deeplabcut", "convert: nwb", "images", "evaluate"])
def test_names_that_are_cleaned_alike_stay_apart(writer: str, tmp_path: Path) -> None:
    counts = []
    for number, views in enumerate((("a/b", "a\\b"), ("top", "side"))):
        (tmp_path / str(number)).mkdir()
        WRITE[writer](tmp_path / str(number), "mouse", views)
        counts.append(len([path for path in (tmp_path / str(number)).rglob("*") if path.is_file()]))
    assert counts[0] == counts[1]


def test_the_session_of_a_summary_is_not_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 of 10 attempts escaped."""
    points = np.asarray(project(np.random.default_rng(0).uniform(-1, 1, (12, 2, 3)), RIG))
    source = tmp_path / "source"
    source.mkdir()
    RIG.save(source / "rig.toml")
    summary = source / "mouse_prediction.json"
    write_prediction(
        source,
        points,
        np.full(points.shape[:-1], 0.9),
        session="mouse",
        view_names=RIG.names,
        keypoint_names=("nose", "tail"),
        calibration=source / "rig.toml",
    )
    document, written = json.loads(summary.read_text()), 0
    with nothing_escapes(tmp_path / "work", monkeypatch) as output:
        for number, name in enumerate(NAMES):
            summary.write_text(json.dumps({**document, "session": name}))
            with suppress(InputError):
                convert("eks", [summary], ConvertOptions(out=output / f"{number}"), Console(quiet=True))
                written += 1
        smoothed = SmoothOptions(output=output / "smooth", calibration=source / "rig.toml")
        summary.write_text(json.dumps({**document, "session": "../../escaped"}))
        smooth_predictions([summary], smoothed, Console(quiet=True))
    assert written == len(NAMES) - 1  # all but half a character
    assert len(list((output / "smooth").iterdir())) == 5
    (files,) = find_predictions(output / "smooth")
    found = load_predictions(files)
    assert files.session == "../../escaped"
    assert found.in_3d is not None
    assert found.kinematics is not None


@pytest.mark.parametrize("entry", [{"file": "../x.csv", "bytes": 0, "rows": "a"}, {"file": "a.png", "move": "/x.png"}])
def test_a_journal_of_frames_stays_in_the_project(entry: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "x.csv").touch()
    (tmp_path / "project" / JOURNAL).write_text(json.dumps([entry]))
    with raises_input("damaged-file"):
        recover_project(tmp_path / "project")
    assert (tmp_path / "x.csv").read_bytes() == b""
