"""`mvtrain predict` with networks that state covariances: tables of evidence, 3D points, smoothing, ensembles."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.command import Outcome, run_mvtrain
from helpers.predicted import LENGTH, read_3d, write_recording
from helpers.runs import KEYPOINTS, VIEWS, cameras, make_run
from helpers.videos import SIZE
from mvgeom import reconstruct
from mvgeom.tables import COORDS_COVARIANCE, read_keypoints
from mvtrain import load_predictor
from mvtrain.export.graph import KeypointGraph, example_inputs
from mvtrain.model.run_folder import load_run
from mvtrain.predict.recording_tables import RecordingTables
from mvtrain.predict.saved_predictions import find_predictions

HEAD = {"covariance_head": True}
Command = Callable[..., Outcome]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return lambda *arguments: run_mvtrain(capsys, monkeypatch, *arguments)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        "fused": make_run(folder / "fused", model=HEAD),
        "other": make_run(folder / "other", model=HEAD, data={"image_resize_dims": {"width": 64, "height": 48}}),
        "alone": make_run(folder / "alone", model={**HEAD, "fuse_views": False}),
        "without": make_run(folder / "without"),
    }


def read_evidence(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, V, K, 2) and covariances (N, V, K, 2, 2) of the tables of evidence."""
    tables = [read_keypoints(folder / "evidence" / f"mouse_{view}.csv") for view in VIEWS]
    covariances = [table.covariance for table in tables if table.covariance is not None]
    return np.stack([table.points for table in tables], axis=1), np.stack(covariances, axis=1)


@pytest.mark.parametrize("name", ["fused", "alone"])
def test_points_in_3d_weigh_by_the_covariances(
    name: str, runs: dict[str, Path], videos: Path, tmp_path: Path, command: Command
) -> None:
    outcome = command("predict", runs[name], videos, "--device", "cpu", "--output", tmp_path / name)
    assert outcome.status == 0, outcome.err
    points, covariances = read_evidence(tmp_path / name)
    shown = np.isfinite(points).all(-1)
    np.testing.assert_array_equal(np.isfinite(covariances).all((-1, -2)), shown)
    assert (np.linalg.eigvalsh(covariances[shown]) > 0).all()
    found = read_3d(tmp_path / name / "mouse_3d.csv")
    of_all = (found[..., 7] == 3) & shown.all(1)
    assert of_all.any()
    expected = reconstruct(points, cameras(SIZE), method="refined", noise=1.0, covariances=covariances).points
    np.testing.assert_allclose(found[..., :3][of_all], expected[of_all], atol=2e-3)
    alike = reconstruct(points, cameras(SIZE), method="refined").points
    assert np.abs(alike[of_all] - expected[of_all]).max() > 0.02


@pytest.mark.slow
def test_smoothing_weighs_by_the_covariances(
    runs: dict[str, Path], videos: Path, tmp_path: Path, command: Command
) -> None:
    predicted = tmp_path / "predicted"
    command("predict", runs["alone"], videos, "--device", "cpu", "--output", predicted)
    wide, wrong = tmp_path / "wide", tmp_path / "wrong"
    for folder, factor in ((wide, 5.0), (wrong, -1.0)):
        shutil.copytree(predicted, folder)
        path = folder / "evidence" / f"mouse_{VIEWS[0]}.csv"
        table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
        assert tuple(table.columns.get_level_values(2)[3:6]) == COORDS_COVARIANCE
        table.loc[:, table.columns.get_level_values(2) == "x_std"] *= factor
        table.to_csv(path)
    found = {}
    for folder in (predicted, wide):
        outcome = command("smooth", folder, "--output", tmp_path / f"smoothed {folder.name}")
        assert outcome.status == 0, outcome.err
        found[folder] = read_3d(tmp_path / f"smoothed {folder.name}" / "mouse_3d.csv")[..., :3]
    assert np.nanmax(np.abs(found[predicted] - found[wide])) > 1e-3
    outcome = command("smooth", wrong, "--output", tmp_path / "nothing")
    assert outcome.status == 2
    assert "x_std" in outcome.err
    assert not (tmp_path / "nothing").exists()


def test_an_ensemble_states_its_spread_too(
    runs: dict[str, Path], videos: Path, tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "both"
    outcome = command("predict", runs["fused"], runs["other"], videos, "--device", "cpu", "--output", out)
    assert outcome.status == 0, outcome.err
    points, covariances = read_evidence(out)
    single = [read_evidence(out / "networks" / name) for name in ("fused", "other")]
    both = np.all([np.isfinite(each).all(-1) for each, _ in single], axis=0)
    assert both.any()
    sizes = np.stack([np.trace(each, axis1=-2, axis2=-1) for _, each in single])
    distance = np.linalg.norm(single[0][0] - single[1][0], axis=-1)
    total = np.trace(covariances, axis1=-2, axis2=-1)
    # The mean of the two, and w1 w2 / (w1 + w2)^2 of the squared distance between them.
    weights = 1 / sizes[:, both]
    shares = weights / weights.sum(0)
    expected = (shares * sizes[:, both]).sum(0) + shares.prod(0) * distance[both] ** 2
    np.testing.assert_allclose(total[both], expected, rtol=0.02, atol=0.02)
    assert np.isfinite(points[both]).all()
    # Smoothing combines the tables of the networks as the prediction did, by the precisions that they state.
    (tmp_path / "copies").mkdir()
    (files,) = find_predictions(out)
    observed = RecordingTables(files.networks, tmp_path / "copies", 0.0).read(0, LENGTH)
    np.testing.assert_allclose(observed.points[both], points[both], atol=2e-3)
    np.testing.assert_allclose(observed.covariance[both], covariances[both], rtol=0.02, atol=0.02)
    assert np.isfinite(read_3d(out / "mouse_3d.csv")[..., :6]).any()
    mixed = tmp_path / "mixed"
    outcome = command("predict", runs["fused"], runs["without"], videos, "--device", "cpu", "--output", mixed)
    assert outcome.status == 0, outcome.err
    assert read_keypoints(mixed / "evidence" / f"mouse_{VIEWS[0]}.csv").covariance is None


def test_the_predictor_returns_them(runs: dict[str, Path]) -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (2, SIZE[1], SIZE[0], 3), dtype=np.uint8) for _ in VIEWS]
    found = load_predictor(runs["fused"], device="cpu").predict(images, cameras(SIZE))
    assert found.covariance is not None
    assert found.covariance.shape == (2, len(VIEWS), len(KEYPOINTS), 2, 2)
    assert (np.linalg.eigvalsh(found.covariance) > 0).all()
    without = load_predictor(runs["without"], device="cpu").predict(images, cameras(SIZE))
    assert without.covariance is None


def test_exported_networks_return_them(runs: dict[str, Path]) -> None:
    run = load_run(runs["alone"], "best")
    graph = KeypointGraph(run.model, run.spec, None).eval()
    inputs = example_inputs(graph, 2)
    with torch.inference_mode():
        covariance = graph(*inputs)[2]
        images = (inputs[0].float() / 255 - graph.mean[:, None, None]) / graph.std[:, None, None]
        _, stated = run.model(images, inputs[1], None, None)
    torch.testing.assert_close(covariance, 16 * stated)
