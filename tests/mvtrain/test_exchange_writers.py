"""Writers of predictions: files of each format, read back by the libraries of other programs."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from movement.io import load_dataset
from movement.validators.datasets import ValidPosesInputs
from rich.console import Console

from helpers.errors import raises_input
from helpers.foreign import write_prediction
from helpers.human4 import FOLDER, human4
from helpers.runs import VIEWS, cameras
from mvgeom import CameraGroup, compute_kinematics, project, triangulate
from mvgeom.tables import read_keypoints, read_kinematics, write_kinematics
from mvtrain.exchange import to_anipose as anipose
from mvtrain.exchange import to_deeplabcut as deeplabcut
from mvtrain.exchange import to_eks as eks
from mvtrain.exchange import to_movement as movement
from mvtrain.exchange import to_nwb as nwb
from mvtrain.exchange import to_pose2sim as pose2sim
from mvtrain.exchange.run_convert import ConvertOptions, convert
from mvtrain.exchange.write_options import WriteOptions
from mvtrain.predict.saved_predictions import Points3D, PredictedSession, find_predictions, load_predictions

KEYPOINTS = ("nose", "tail_base", "paw")
RIG = cameras((64, 64))
PLAIN = WriteOptions(frame_rate=25.0, cameras=RIG, unit="mm", up="z")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> PredictedSession:
    """Predict six frames: one lacks a keypoint in a view, one lacks a view, one lacks all views."""
    rng = np.random.default_rng(0)
    points = np.asarray(project(rng.uniform(-1, 1, size=(6, 3, 3)), RIG))
    likelihood = rng.uniform(0.2, 1.0, size=points.shape[:-1])
    points[2, 1, 0], likelihood[2, 1, 0] = np.nan, np.nan
    points[4, 0], likelihood[4, 0] = np.nan, np.nan
    points[5], likelihood[5] = np.nan, np.nan
    folder = write_prediction(
        tmp_path_factory.mktemp("predictions"),
        points,
        likelihood,
        session="mouse_1",
        view_names=VIEWS,
        keypoint_names=KEYPOINTS,
        cameras=RIG,
        calibration=Path("calibration.toml"),
    )
    read = load_predictions(find_predictions(folder)[0])
    np.testing.assert_allclose(read.points, points, atol=1e-4)
    np.testing.assert_allclose(read.likelihood, likelihood, atol=1e-4)
    return read


def three_d(session: PredictedSession) -> Points3D:
    assert session.in_3d is not None
    assert np.isfinite(session.in_3d.points[:5]).all()
    assert np.isnan(session.in_3d.points[5]).all()
    return session.in_3d


def from_movement(array: xr.DataArray) -> np.ndarray:
    """Convert movement's (time, space, keypoint, individual), whose names its version tells, to (T, K, dimensions)."""
    keypoint, individual = array.dims[-2:]
    order = array.sel({keypoint: list(KEYPOINTS)}).transpose("time", keypoint, "space", individual)
    return order.values[..., 0]


def test_deeplabcut_h5_and_csv_read_by_movement(session: PredictedSession, tmp_path: Path) -> None:
    assert deeplabcut.write(session, tmp_path, PLAIN) == []
    for view, name in enumerate(VIEWS):
        for suffix in (".h5", ".csv"):
            path = tmp_path / f"mouse_1_{name}DLC_mvtrain{suffix}"
            dataset = load_dataset(path, source_software="DeepLabCut")
            np.testing.assert_array_equal(from_movement(dataset.position), session.points[:, view])
            np.testing.assert_array_equal(dataset.confidence.values[..., 0], session.likelihood[:, view])
    for suffix in (".h5", ".csv"):
        dataset = load_dataset(tmp_path / f"mouse_1_3dDLC_mvtrain{suffix}", source_software="DeepLabCut")
        np.testing.assert_array_equal(from_movement(dataset.position), three_d(session).points)


def test_deeplabcut_h5_has_deeplabcuts_own_layout(session: PredictedSession, tmp_path: Path) -> None:
    deeplabcut.write(session, tmp_path, PLAIN)
    table = pd.read_hdf(tmp_path / "mouse_1_topDLC_mvtrain.h5", "df_with_missing")
    assert table.columns.names == ["scorer", "bodyparts", "coords"]
    assert table.columns.get_level_values(0).unique().tolist() == ["DLC_mvtrain"]
    assert table.index.tolist() == list(range(6))
    np.testing.assert_array_equal(table["DLC_mvtrain"]["tail_base"]["likelihood"], session.likelihood[:, 0, 1])


def test_anipose_3d_read_by_movement(session: PredictedSession, tmp_path: Path) -> None:
    anipose.write(session, tmp_path, PLAIN)
    path = tmp_path / "mouse_1" / "pose-3d" / "mouse_1.csv"
    dataset = load_dataset(path, source_software="Anipose")
    np.testing.assert_array_equal(from_movement(dataset.position), three_d(session).points)
    table = pd.read_csv(path)
    np.testing.assert_array_equal(table["paw_error"], three_d(session).error[:, 2])
    # The lowest likelihood of the views that have the keypoint.
    assert table["nose_score"][2] == min(session.likelihood[2, 0, 0], session.likelihood[2, 2, 0])
    assert table["nose_ncams"][2] == 2
    assert table.loc[5, ["nose_x", "nose_error", "nose_ncams", "nose_score"]].isna().all()


def test_anipose_project_distinguishes_cameras_and_has_their_calibration(
    session: PredictedSession, tmp_path: Path
) -> None:
    anipose.write(session, tmp_path, PLAIN)
    expression = tomllib.loads((tmp_path / "config.toml").read_text())["triangulation"]["cam_regex"]
    files = sorted((tmp_path / "mouse_1" / "pose-2d").iterdir())
    # As in anipose: the first group is the camera, the rest of the name is the recording.
    found = {re.search(expression, path.stem)[1]: re.sub(expression, "", path.stem) for path in files}
    assert found == dict.fromkeys(sorted(VIEWS), "mouse_1")
    for path, view in zip(files, sorted(VIEWS), strict=True):
        values = pd.read_hdf(path).to_numpy().reshape(6, 3, 3)
        np.testing.assert_array_equal(values[..., :2], session.points[:, VIEWS.index(view)])
    written = CameraGroup.load(tmp_path / "mouse_1" / "calibration" / "calibration.toml")
    assert written.names == VIEWS
    np.testing.assert_allclose(project(np.ones((1, 3)), written), project(np.ones((1, 3)), RIG))


def test_eks_has_a_file_per_view_and_model(session: PredictedSession, tmp_path: Path) -> None:
    other = replace(session, points=session.points + 1)
    assert eks.write([session, other], tmp_path, PLAIN) == []
    for number, model in enumerate((session, other)):
        for view, name in enumerate(VIEWS):
            path = tmp_path / "mouse_1" / f"{name}_{number}.csv"
            dataset = load_dataset(path, source_software="LightningPose")
            np.testing.assert_allclose(from_movement(dataset.position), model.points[:, view], atol=1e-4)
    assert CameraGroup.load(tmp_path / "calibrations" / "mouse_1.toml").names == VIEWS


def test_notes_name_files_that_eks_would_mistake(session: PredictedSession, tmp_path: Path) -> None:
    confusable = replace(session, view_names=("cam1", "cam10", "cam2"))
    (ensemble, note) = eks.write([confusable], tmp_path, PLAIN)
    assert "training.rng_seed_model_pt" in ensemble
    assert "cam10_0.csv" in note
    assert "--camera-names cam1_" in note


def test_models_of_an_ensemble_must_have_the_same_keypoints(session: PredictedSession, tmp_path: Path) -> None:
    other = replace(session, keypoint_names=("nose", "tail", "paw"))
    with raises_input("tables-differ", session="mouse_1", found=other.keypoint_names, expected=KEYPOINTS):
        eks.write([session, other], tmp_path, PLAIN)


def test_movement_datasets_are_valid_and_complete(session: PredictedSession, tmp_path: Path) -> None:
    assert movement.write(session, tmp_path, PLAIN) == []
    with xr.load_dataset(tmp_path / "mouse_1.nc") as dataset:
        assert dataset.view.values.tolist() == list(VIEWS)
        assert dataset.attrs["fps"] == 25.0
        np.testing.assert_allclose(dataset.time, np.arange(6) / 25)
        for view, name in enumerate(VIEWS):
            one = dataset.sel(view=name, drop=True)
            ValidPosesInputs.validate(one)
            np.testing.assert_array_equal(from_movement(one.position), session.points[:, view])
            np.testing.assert_array_equal(one.confidence.values[..., 0], session.likelihood[:, view])
    with xr.load_dataset(tmp_path / "mouse_1_3d.nc") as dataset:
        ValidPosesInputs.validate(dataset)
        np.testing.assert_array_equal(from_movement(dataset.position), three_d(session).points)
        np.testing.assert_array_equal(from_movement(dataset["std"]), three_d(session).std)
        np.testing.assert_array_equal(dataset.reprojection_error.values[..., 0], three_d(session).error)
        np.testing.assert_array_equal(dataset.num_views.values[..., 0], three_d(session).num_views)


def test_movement_has_the_kinematics_of_a_smoothed_recording(session: PredictedSession, tmp_path: Path) -> None:
    points = three_d(session).points
    covariance = np.where(np.isfinite(points[..., None]), np.eye(3), np.nan)
    found = compute_kinematics(points, covariance, bones=[(0, 1)], joints=[(0, 1, 2)])
    bones, joints = ("nose:tail_base",), ("nose:tail_base:paw",)
    write_kinematics(tmp_path / "k.csv", KEYPOINTS, bones, joints, [(list(map(str, range(6))), found)])
    table = read_kinematics(tmp_path / "k.csv", KEYPOINTS)
    movement.write(replace(session, kinematics=table), tmp_path, PLAIN)
    with xr.load_dataset(tmp_path / "mouse_1_3d.nc") as dataset:
        ValidPosesInputs.validate(dataset)
        np.testing.assert_allclose(from_movement(dataset.velocity), found.velocity, rtol=1e-5)
        np.testing.assert_allclose(from_movement(dataset.velocity_std), found.velocity_std, rtol=1e-5)
        np.testing.assert_allclose(dataset.speed_std.values[..., 0], found.speed_std, rtol=1e-5)
        np.testing.assert_allclose(dataset.length.sel(bone=bones[0]).values[:, 0], found.length[:, 0], rtol=1e-5)
        np.testing.assert_allclose(dataset.angle.sel(joint=joints[0]).values[:, 0], found.angle[:, 0], rtol=1e-5)
    with raises_input("damaged-file", path=tmp_path / "k.csv"):
        read_kinematics(tmp_path / "k.csv", KEYPOINTS[:2])


@pytest.mark.parametrize(("given", "rate"), [(None, 40.0), (80.0, 80.0)])
def test_velocities_are_of_the_time_that_is_written(
    session: PredictedSession, tmp_path: Path, given: float | None, rate: float
) -> None:
    """Smoothed with `--fps`, and without the videos."""
    folder = write_prediction(
        tmp_path / "smooth",
        session.points,
        session.likelihood,
        session="mouse_1",
        view_names=VIEWS,
        keypoint_names=KEYPOINTS,
        cameras=RIG,
        calibration=Path("calibration.toml"),
    )
    summary = folder / "mouse_1_prediction.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"smoothed": {"frame_rate": 40.0}}))
    points = np.arange(54.0).reshape(6, 3, 3)
    found = compute_kinematics(points, np.tile(np.eye(3), (6, 3, 1, 1)), times=np.arange(6) / 40)
    write_kinematics(folder / "mouse_1_kinematics.csv", KEYPOINTS, (), (), [(list(map(str, range(6))), found)])
    convert("movement", [folder], ConvertOptions(out=tmp_path / "out", frame_rate=given), Console(quiet=True))
    with xr.load_dataset(tmp_path / "out" / "mouse_1_3d.nc") as dataset:
        np.testing.assert_allclose(dataset.time, np.arange(6) / rate)
        expected = compute_kinematics(points, np.tile(np.eye(3), (6, 3, 1, 1)), times=np.arange(6) / rate)
        for end in ("", "_std"):
            velocity, speed = (getattr(expected, f"{name}{end}") for name in ("velocity", "speed"))
            np.testing.assert_allclose(from_movement(dataset[f"velocity{end}"]), velocity, rtol=1e-5)
            np.testing.assert_allclose(dataset[f"speed{end}"].values[..., 0], speed, rtol=1e-5)


def test_movement_without_frame_rate_counts_frames(session: PredictedSession, tmp_path: Path) -> None:
    (note,) = movement.write(session, tmp_path, replace(PLAIN, frame_rate=None))
    assert "--fps" in note
    with xr.load_dataset(tmp_path / "mouse_1.nc") as dataset:
        assert dataset.time.values.tolist() == list(range(6))


def test_movement_never_writes_a_file_twice(session: PredictedSession, tmp_path: Path) -> None:
    movement.write(session, tmp_path, PLAIN)
    before = (tmp_path / "mouse_1_3d.nc").read_bytes()
    with raises_input("duplicate-name", name="mouse_1_3d.nc"):
        movement.write(replace(session, name="mouse_1_3d"), tmp_path, PLAIN)
    assert (tmp_path / "mouse_1_3d.nc").read_bytes() == before


def read_trc(path: Path) -> tuple[list[str], np.ndarray, list[str]]:
    """Read markers, (T, 2 + 3 K) numbers and third line of a .trc, as Pose2Sim's own reader does."""
    lines = path.read_text().split("\n")
    markers = [name.strip() for name in lines[3].split("\t")[2::3] if name.strip()]
    table = pd.read_csv(path, sep="\t", skiprows=4)
    return markers, table.loc[:, ~table.columns.str.startswith("Unnamed: ") | (np.arange(table.shape[1]) < 2)], lines[2]


def test_trc_is_in_meters_with_y_up(session: PredictedSession, tmp_path: Path) -> None:
    pose2sim.write(session, tmp_path, PLAIN)
    markers, table, facts = read_trc(tmp_path / "mouse_1" / "pose-3d" / "mouse_1_0-5.trc")
    assert markers == list(KEYPOINTS)
    assert facts.split("\t") == ["25", "25", "6", "3", "m", "25", "0", "6"]
    values = table.to_numpy(dtype=np.float64)
    np.testing.assert_array_equal(values[:, 0], range(6))
    np.testing.assert_allclose(values[:, 1], np.arange(6) / 25)
    x, y, z = np.moveaxis(three_d(session).points, -1, 0) / 1000
    np.testing.assert_allclose(values[:, 2:].reshape(6, 3, 3), np.stack([y, z, x], axis=-1), rtol=1e-9)
    pose2sim.write(session, tmp_path / "as_it_is", replace(PLAIN, up="y", unit="m"))
    _, table, _ = read_trc(tmp_path / "as_it_is" / "mouse_1" / "pose-3d" / "mouse_1_0-5.trc")
    np.testing.assert_allclose(table.to_numpy()[:, 2:].reshape(6, 3, 3), three_d(session).points, rtol=1e-9)


def test_times_of_a_trc_do_not_jitter_in_long_recordings(session: PredictedSession, tmp_path: Path) -> None:
    rate = 60.0 / 1.001 / 1e5  # frames are as far apart as every 100,000th of 59.94 Hz, up to 2.3 hours
    pose2sim.write(session, tmp_path, replace(PLAIN, frame_rate=rate))
    _, table, _ = read_trc(tmp_path / "mouse_1" / "pose-3d" / "mouse_1_0-5.trc")
    np.testing.assert_allclose(table.iloc[:, 1], np.arange(6) / rate, rtol=0, atol=1e-5)


def test_a_keypoints_name_does_not_shift_the_columns_of_a_trc(session: PredictedSession, tmp_path: Path) -> None:
    (note,) = pose2sim.write(replace(session, keypoint_names=("a\tb", "c\nd", "e f")), tmp_path, PLAIN)
    assert "'a\\tb'" in note
    path = tmp_path / "mouse_1" / "pose-3d" / "mouse_1_0-5.trc"
    markers, table, _ = read_trc(path)
    assert markers == ["a_b", "c_d", "e f"]
    assert table.shape == (6, 11)
    assert len(path.read_text().splitlines()) == 11


def test_pose2sim_json_and_calibration_triangulate_to_the_same_points(
    session: PredictedSession, tmp_path: Path
) -> None:
    pose2sim.write(session, tmp_path, PLAIN)
    home = tmp_path / "mouse_1"
    config = tomllib.loads((home / "Config.toml").read_text())
    assert [(child["name"], child["id"]) for child in config["pose"]["CUSTOM"]["children"]] == [
        (name, number) for number, name in enumerate(KEYPOINTS)
    ]
    folders = sorted((home / "pose").iterdir(), key=lambda path: int(re.findall(r"\d+", path.name)[-1]))
    assert [path.name for path in folders] == ["top_1_json", "left_2_json", "right_3_json"]
    found = np.zeros((6, 3, 3, 3))
    for view, folder in enumerate(folders):
        for frame in range(6):
            document = json.loads((folder / f"mouse_1_{VIEWS[view]}_{frame:06d}.json").read_text())
            if document["people"]:
                found[frame, view] = np.reshape(document["people"][0]["pose_keypoints_2d"], (3, 3))
    missing = np.isnan(session.points).any(axis=-1)
    assert (found[missing] == 0).all()
    np.testing.assert_array_equal(found[~missing][:, :2], session.points[~missing])
    np.testing.assert_array_equal(found[~missing][:, 2], session.likelihood[~missing])
    in_meters = CameraGroup.load(home / "calibration" / "Calib.toml")
    points = np.where(missing[..., None], np.nan, found[..., :2])
    np.testing.assert_allclose(triangulate(points, in_meters), triangulate(session.points, RIG) / 1000, atol=1e-7)


def test_pose2sim_needs_frame_rate_and_unit(session: PredictedSession, tmp_path: Path) -> None:
    with raises_input("missing-option", option="--fps", session="mouse_1"):
        pose2sim.write(session, tmp_path, replace(PLAIN, frame_rate=None))
    with raises_input("missing-option", option="--unit", session="mouse_1"):
        pose2sim.write(session, tmp_path, replace(PLAIN, unit=None))
    strong = RIG.replace(distortion=np.tile([-0.1, 0.02, 0.001, -0.001, 0.01], (3, 1)))
    (note,) = pose2sim.write(session, tmp_path, replace(PLAIN, cameras=strong))
    assert "camera 'top'" in note
    assert not (tmp_path / "mouse_1" / "calibration").exists()
    (note,) = anipose.write(session, tmp_path / "anipose", replace(PLAIN, cameras=None))
    assert "--calibration" in note


@pytest.mark.parametrize(
    ("write", "module", "library", "extra"),
    [
        (deeplabcut.write, "tables", "tables", "exchange"),
        (anipose.write, "tables", "tables", "exchange"),
        (movement.write, "movement.io.load_poses", "movement", "exchange"),
        (nwb.write, "pynwb", "pynwb", "nwb"),
        (nwb.write, "ndx_pose", "ndx_pose", "nwb"),
    ],
)
def test_without_the_extra(
    session: PredictedSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write,
    module: str,
    library: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with raises_input("missing-library", library=library, extra=extra):
        write(session, tmp_path, PLAIN)


def test_human4_as_pose2sim_is_an_upright_person(tmp_path: Path) -> None:
    cameras_of_human4, points = human4()
    names = read_keypoints(FOLDER / "CollectedData_cam1.csv").keypoint_names
    folder = write_prediction(
        tmp_path / "predictions",
        points,
        np.where(np.isfinite(points).all(axis=-1), 0.9, np.nan),
        session="balancing",
        view_names=cameras_of_human4.names,
        keypoint_names=names,
        cameras=cameras_of_human4,
        calibration=FOLDER / "calibration.toml",
        videos=FOLDER / "videos",
    )
    (files,) = find_predictions(folder)
    rate = files.frame_rate()
    assert rate == 60.0
    pose2sim.write(load_predictions(files), tmp_path, WriteOptions(frame_rate=rate, cameras=None, unit="m", up="z"))
    _, table, _ = read_trc(tmp_path / "balancing" / "pose-3d" / "balancing_0-99.trc")
    values = table.to_numpy(dtype=np.float64)[:, 2:].reshape(100, -1, 3)
    height = np.nanmedian(np.nanmax(values, axis=1) - np.nanmin(values, axis=1), axis=0)
    assert 1.2 < height[1] < 2.0
    assert height.argmax() == 1
