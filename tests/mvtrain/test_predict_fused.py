"""`mvtrain predict` of calibrated views: fused tables, and the evidence that 3D points and smoothing come from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.command import Outcome, run_mvtrain
from helpers.predicted import read_3d, write_recording
from helpers.runs import VIEWS, cameras, make_run
from helpers.videos import SIZE
from mvgeom import project
from mvgeom.tables import read_keypoints

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
        "fused": make_run(folder / "fused"),
        "alone": make_run(folder / "alone", model={"fuse_views": False}),
        "other": make_run(folder / "other", data={"image_resize_dims": {"width": 64, "height": 48}}),
    }


def read_tables(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    tables = [read_keypoints(folder / f"mouse_{view}.csv") for view in VIEWS]
    likelihoods = [table.likelihood for table in tables]
    return np.stack([table.points for table in tables], axis=1), np.stack(likelihoods, axis=1)  # type: ignore[arg-type]


def test_points_come_from_the_evidence(runs: dict[str, Path], videos: Path, tmp_path: Path, command: Command) -> None:
    for name in ("fused", "alone"):
        outcome = command("predict", runs[name], videos, "--device", "cpu", "--output", tmp_path / name)
        assert outcome.status == 0, outcome.err
    fused, _ = read_tables(tmp_path / "fused")
    alone, _ = read_tables(tmp_path / "alone")
    shown, likelihood = read_tables(tmp_path / "fused" / "evidence")
    assert not (tmp_path / "alone" / "evidence").exists()
    assert np.abs(fused - alone).max() > 1
    np.testing.assert_array_equal(np.isfinite(shown).all(-1), np.isfinite(likelihood))
    assert np.nanmedian(likelihood) == pytest.approx(0.5, abs=0.02)
    found = read_3d(tmp_path / "fused" / "mouse_3d.csv")
    distance = np.linalg.norm(project(found[..., :3], cameras(SIZE)) - shown, axis=-1)
    # The mean over the views in use, of which those that show nothing are none.
    of_all = (found[..., 7] == 3) & np.isfinite(distance).all(1)
    assert of_all.any()
    np.testing.assert_allclose(found[..., 6][of_all], distance.mean(1)[of_all], rtol=1e-2, atol=1e-2)
    assert (found[..., 7] <= np.isfinite(distance).sum(1)).all()
    # An older prediction without fusion leaves nothing behind.
    command("predict", runs["alone"], videos, "--device", "cpu", "--output", tmp_path / "fused")
    assert not list((tmp_path / "fused" / "evidence").glob("*.csv"))


@pytest.mark.slow
def test_smoothing_reads_the_evidence(runs: dict[str, Path], videos: Path, tmp_path: Path, command: Command) -> None:
    predicted = tmp_path / "predicted"
    command("predict", runs["fused"], videos, "--device", "cpu", "--output", predicted)
    changed = {}
    for name, folder in (("tables", "."), ("evidence", "evidence")):
        copy = tmp_path / name
        shutil.copytree(predicted, copy)
        path = copy / folder / f"mouse_{VIEWS[0]}.csv"
        table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
        table.loc[:, table.columns.get_level_values(2) == "x"] += 5.0
        table.to_csv(path)
        changed[name] = copy
    found = {}
    for name, folder in {"as it is": predicted, **changed}.items():
        outcome = command("smooth", folder, "--output", tmp_path / f"smoothed {name}")
        assert outcome.status == 0, outcome.err
        found[name] = read_3d(tmp_path / f"smoothed {name}" / "mouse_3d.csv")[..., :3]
    np.testing.assert_array_equal(found["tables"], found["as it is"])
    assert np.nanmax(np.abs(found["evidence"] - found["as it is"])) > 0
    _, predicted_likelihood = read_tables(predicted)
    smoothed = pd.read_csv(tmp_path / "smoothed as it is" / f"mouse_{VIEWS[0]}.csv", header=[0, 1, 2], index_col=0)
    stated = smoothed.xs("likelihood", axis=1, level=2).to_numpy()
    kept = stated > 0  # bridged keypoints have 0
    np.testing.assert_allclose(stated[kept], predicted_likelihood[:, 0][kept], atol=1e-3)


def test_an_ensemble_combines_the_evidence(
    runs: dict[str, Path], videos: Path, tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "both"
    outcome = command("predict", runs["fused"], runs["other"], videos, "--device", "cpu", "--output", out)
    assert outcome.status == 0, outcome.err
    together, _ = read_tables(out / "evidence")
    single = np.stack([read_tables(out / "networks" / name / "evidence")[0] for name in ("fused", "other")])
    both = np.isfinite(single).all((0, -1))
    assert both.any()
    low, high = single.min(0)[both], single.max(0)[both]
    assert ((together[both] >= low - 1e-3) & (together[both] <= high + 1e-3)).all()
    assert np.isfinite(read_3d(out / "mouse_3d.csv")[..., :6]).any()
    mixed = tmp_path / "mixed"
    outcome = command("predict", runs["fused"], runs["alone"], videos, "--device", "cpu", "--output", mixed)
    assert outcome.status == 0, outcome.err
    assert not (mixed / "evidence").exists()
    assert np.isfinite(read_3d(mixed / "mouse_3d.csv")[..., :6]).any()
