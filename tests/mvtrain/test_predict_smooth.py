"""`mvtrain smooth`: predictions of one network and of several, combined and smoothed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from helpers.command import run_mvtrain
from helpers.errors import raises_input
from helpers.foreign import write_prediction
from helpers.runs import VIEWS, cameras
from mvgeom import project
from mvgeom.smoothing import covariance_from_likelihood
from mvtrain.predict.saved_predictions import PredictedSession
from mvtrain.predict.smooth_predictions import SmoothOptions, combine_networks, smooth_predictions

KEYPOINTS = ("nose", "tail")
RIG = cameras((64, 64))
LENGTH = 50


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    frames = np.arange(LENGTH)[:, None]
    swing = np.stack([np.sin(frames / 9), np.cos(frames / 11), np.sin(frames / 14)], axis=-1)
    return 0.5 * swing + np.array([[0.2, 0.0, 0.0], [-0.2, 0.1, 0.0]])


@pytest.fixture(scope="module")
def runs(truth: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three networks whose errors are independent."""
    folders = []
    for seed in range(3):
        folder = tmp_path_factory.mktemp("network")
        RIG.save(folder / "rig.toml")
        rng = np.random.default_rng(seed)
        points = project(truth, RIG) + rng.normal(0, 0.5, (LENGTH, len(VIEWS), 2, 2))
        points[20:25, 1, 0] = np.nan
        likelihood = np.where(np.isfinite(points[..., 0]), 0.9, np.nan)
        folders.append(
            write_prediction(
                folder,
                points,
                likelihood,
                session="mouse",
                view_names=VIEWS,
                keypoint_names=KEYPOINTS,
                cameras=RIG,
                calibration=folder / "rig.toml",
            )
        )
    return folders


def run(sources: list[Path], output: Path) -> None:
    smooth_predictions(sources, SmoothOptions(output=output), Console(quiet=True))


def read_points(path: Path) -> np.ndarray:
    return pd.read_csv(path, header=[0, 1, 2], index_col=0).to_numpy().reshape(LENGTH, 2, 8)


def test_an_ensemble_is_better_than_one_network_and_knows_it(
    runs: list[Path],
    truth: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(runs[:1], tmp_path / "one")
    outcome = run_mvtrain(capsys, monkeypatch, "smooth", *runs, "-o", tmp_path / "three")
    assert outcome.status == 0, outcome.err
    one, three = (read_points(tmp_path / name / "mouse_3d.csv") for name in ("one", "three"))
    errors = [np.linalg.norm(each[..., :3] - truth, axis=-1).mean() for each in (one, three)]
    assert errors[1] < 0.9 * errors[0]
    assert np.median(three[..., 3:6]) < 0.9 * np.median(one[..., 3:6])
    assert (three[20:25, 0, 7] == len(VIEWS) - 1).all()
    for view in VIEWS:
        table = pd.read_csv(tmp_path / "three" / f"mouse_{view}.csv", header=[0, 1, 2], index_col=0)
        assert np.isfinite(table["mvgeom"]["nose"][["x", "y", "x_std", "y_std"]]).all(axis=None)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100), networks=st.integers(1, 4))
def test_the_mean_and_its_covariance(seed: int, networks: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 3, (networks, 4, 2, 1, 2))
    points[rng.random(points.shape[:-1]) < 0.3] = np.nan
    likelihood = np.where(np.isfinite(points[..., 0]), rng.uniform(0.1, 1, points.shape[:-1]), np.nan)
    sessions = [
        PredictedSession(name="s", view_names=("a", "b"), keypoint_names=("k",), points=one, likelihood=two, in_3d=None)
        for one, two in zip(points, likelihood, strict=True)
    ]
    mean, doubt, covariance = combine_networks(sessions)
    for place in np.ndindex(4, 2, 1):
        found = points[(slice(None), *place)]
        found = found[np.isfinite(found).all(-1)]
        if not len(found):
            assert np.isnan(mean[place]).all()
            continue
        expected = np.nansum(likelihood[(slice(None), *place)]) / networks
        np.testing.assert_allclose(mean[place], found.mean(0))
        assert doubt[place] == pytest.approx(expected)
        spread = np.cov(found.T) / len(found) if len(found) > 1 else np.zeros((2, 2))
        np.testing.assert_allclose(covariance[place], spread + covariance_from_likelihood(np.array(expected)))


def test_what_cannot_be_smoothed_is_refused_and_leaves_nothing(runs: list[Path], tmp_path: Path) -> None:
    def other(name: str, length: int, views: tuple[str, ...], keypoints: tuple[str, ...]) -> Path:
        points = np.ones((length, len(views), len(keypoints), 2))
        return write_prediction(
            tmp_path / name,
            points,
            np.ones(points.shape[:3]),
            session="mouse",
            view_names=views,
            keypoint_names=keypoints,
        )

    out = tmp_path / "out"
    with raises_input("keypoints-differ", session="mouse"):
        run([runs[0], other("keypoints", LENGTH, VIEWS, ("nose", "ear"))], out)
    with raises_input("views-differ", session="mouse"):
        run([runs[0], other("views", LENGTH, VIEWS[:2], KEYPOINTS)], out)
    with raises_input("frames-differ", session="mouse"):
        run([runs[0], other("frames", 7, VIEWS, KEYPOINTS)], out)
    with raises_input("no-calibration", session="mouse"):
        run([other("calibration", LENGTH, VIEWS, KEYPOINTS)], out)
    with raises_input("too-few-views"):
        run([other("one", LENGTH, VIEWS[:1], KEYPOINTS)], out)
    assert not out.exists()
    out.mkdir()
    with raises_input("occupied-folder"):
        run(runs[:1], out)
