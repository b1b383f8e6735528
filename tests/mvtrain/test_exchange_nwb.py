"""NWB files, read back with pynwb and ndx-pose: poses of views and in 3D, cameras, skeleton."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.foreign import write_prediction
from helpers.runs import VIEWS, cameras
from mvgeom import project
from mvtrain.exchange import to_nwb
from mvtrain.exchange.write_options import WriteOptions
from mvtrain.predict.saved_predictions import PredictedSession, find_predictions, load_predictions

KEYPOINTS = ("nose", "left/paw", "tail")
RIG = cameras((64, 48)).replace(distortion=np.tile([-0.1, 0.02, 0.001, -0.001, 0.01], (3, 1)))
START = datetime.datetime(2026, 3, 1, 14, 30, tzinfo=datetime.UTC)
OPTIONS = WriteOptions(
    frame_rate=50.0, cameras=RIG, unit="mm", up="z", start=START, skeleton=(("nose", "tail"), ("tail", "left/paw"))
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> PredictedSession:
    rng = np.random.default_rng(0)
    points = np.asarray(project(rng.uniform(-1, 1, size=(6, 3, 3)), RIG))
    likelihood = rng.uniform(0.2, 1.0, size=points.shape[:-1])
    points[2, 1, 0], likelihood[2, 1, 0] = np.nan, np.nan
    points[5], likelihood[5] = np.nan, np.nan
    folder = write_prediction(
        tmp_path_factory.mktemp("predictions"),
        points,
        likelihood,
        session="mouse",
        view_names=VIEWS,
        keypoint_names=KEYPOINTS,
        cameras=RIG,
        calibration=Path("calibration.toml"),
    )
    return load_predictions(find_predictions(folder)[0])


def opened(path: Path) -> Any:
    """Open a file for reading."""
    pynwb = pytest.importorskip("pynwb")
    return pynwb.NWBHDF5IO(str(path), "r", load_namespaces=True)


def test_poses_cameras_and_skeleton_are_read_back(session: PredictedSession, tmp_path: Path) -> None:
    with_library = pytest.importorskip("ndx_pose")
    assert to_nwb.write(session, tmp_path, OPTIONS) == []
    assert session.in_3d is not None
    with opened(tmp_path / "mouse.nwb") as reader:
        file = reader.read()
        assert file.session_start_time == START
        behavior = file.processing["behavior"]
        poses = behavior["MultiCameraPoseEstimation"]
        assert isinstance(poses, with_library.MultiCameraPoseEstimation)
        for place, keypoint in enumerate(("nose", "left_paw", "tail")):
            series = poses.pose_estimation_series[keypoint]
            np.testing.assert_allclose(series.data[:], session.in_3d.points[:, place], rtol=1e-6)
            assert (series.unit, series.rate, series.starting_time) == ("millimeters", 50.0, 0.0)
            std = behavior[f"{keypoint}_std"]
            np.testing.assert_allclose(std.data[:], session.in_3d.std[:, place], rtol=1e-6)
            for number, view in enumerate(VIEWS):
                series = poses.pose_estimations[view].pose_estimation_series[keypoint]
                np.testing.assert_allclose(series.data[:], session.points[:, number, place], rtol=1e-6)
                np.testing.assert_allclose(series.confidence[:], session.likelihood[:, number, place], rtol=1e-6)
                assert series.unit == "pixels"
        for number, view in enumerate(VIEWS):
            camera = poses.pose_estimations[view].device
            assert camera is file.devices[view]
            for name, values in (
                ("intrinsic_matrix", RIG.matrix),
                ("rotation_matrix", RIG.rotation),
                ("translation_vector", RIG.translation),
                ("distortion_coefficients", RIG.distortion),
            ):
                np.testing.assert_allclose(getattr(camera, name)[:], np.asarray(values)[number], rtol=1e-6, atol=1e-6)
        (skeleton,) = behavior["Skeletons"].skeletons.values()
        assert list(skeleton.nodes[:]) == list(KEYPOINTS)
        assert skeleton.edges[:].tolist() == [[0, 2], [2, 1]]
        assert poses.skeleton is skeleton


def test_what_is_unknown_is_reported(session: PredictedSession, tmp_path: Path) -> None:
    pytest.importorskip("ndx_pose")
    plain = WriteOptions(frame_rate=None, cameras=None, unit=None, up="z")
    assert [note.rsplit(" ", 1)[1] for note in to_nwb.write(session, tmp_path, plain)] == ["--start", "--fps", "--unit"]
    with opened(tmp_path / "mouse.nwb") as reader:
        file = reader.read()
        assert file.session_start_time.year == 1970
        poses = file.processing["behavior"]["MultiCameraPoseEstimation"]
        assert poses.pose_estimation_series["nose"].unit == "unknown"
        assert poses.pose_estimations[VIEWS[0]].device.name == VIEWS[0]


def test_without_3d_every_view_is_an_estimation_of_its_own(session: PredictedSession, tmp_path: Path) -> None:
    pytest.importorskip("ndx_pose")
    ideal = RIG.replace(distortion=np.zeros((3, 0)))
    to_nwb.write(replace(session, in_3d=None), tmp_path, replace(OPTIONS, cameras=ideal))
    with opened(tmp_path / "mouse.nwb") as reader:
        behavior = reader.read().processing["behavior"]
        assert {*VIEWS, "Skeletons"} == set(behavior.data_interfaces)
        assert behavior[VIEWS[1]].device.distortion_coefficients is None


def test_views_and_keypoints_of_one_name_are_both_there(session: PredictedSession, tmp_path: Path) -> None:
    pytest.importorskip("ndx_pose")
    names = (VIEWS[0], f"{VIEWS[1]}_view", VIEWS[1])
    to_nwb.write(replace(session, keypoint_names=names), tmp_path, OPTIONS)
    assert session.in_3d is not None
    with opened(tmp_path / "mouse.nwb") as reader:
        poses = reader.read().processing["behavior"]["MultiCameraPoseEstimation"]
        for place, keypoint in enumerate(names):
            series = poses.pose_estimation_series[keypoint]
            np.testing.assert_allclose(series.data[:], session.in_3d.points[:, place], rtol=1e-6)
        stored = (f"{VIEWS[0]}_view", f"{VIEWS[1]}_view_view", VIEWS[2])
        assert set(poses.pose_estimations) == set(stored)
        for number, view in enumerate(stored):
            assert poses.pose_estimations[view].device.name == VIEWS[number]
            series = poses.pose_estimations[view].pose_estimation_series[names[1]]
            np.testing.assert_allclose(series.data[:], session.points[:, number, 1], rtol=1e-6)


def test_bones_between_more_than_256_keypoints(session: PredictedSession) -> None:
    pynwb, pose = pytest.importorskip("pynwb"), pytest.importorskip("ndx_pose")
    many = replace(session, keypoint_names=tuple(f"k{number}" for number in range(300)))
    # The skeleton alone: 300 series take seconds.
    writer = to_nwb._Writer(None, pynwb, pose, many, None, "mm", {})
    assert writer._skeleton([("k3", "k299"), ("k256", "k0")]).edges.tolist() == [[3, 299], [256, 0]]
