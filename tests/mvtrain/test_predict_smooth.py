"""`mvtrain smooth`: predictions of one network and of several, combined and smoothed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from helpers.command import run_mvtrain
from helpers.errors import raises_input
from helpers.foreign import write_prediction
from helpers.runs import VIEWS, cameras
from helpers.smoothing import make_noise
from mvgeom import Noise, learn_noise, project, smooth
from mvgeom.smoothing import smoother
from mvtrain.predict import smooth_predictions as smoothing
from mvtrain.predict.recording_tables import RecordingTables
from mvtrain.predict.saved_predictions import find_predictions, load_predictions
from mvtrain.predict.smooth_predictions import SmoothOptions, smooth_predictions
from mvtrain.predict.smoothed_tables import SmoothedBlocks

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


def run(sources: list[Path], output: Path, **options: Any) -> None:
    smooth_predictions(sources, SmoothOptions(output=output, **options), Console(quiet=True))


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


@pytest.mark.parametrize(("length", "warned"), [(19, True), (20, False)])
def test_a_recording_too_short_to_learn_its_noise_is_named(
    length: int,
    warned: bool,
    truth: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    RIG.save(tmp_path / "rig.toml")
    points = project(truth[:length], RIG) + np.random.default_rng(0).normal(0, 0.5, (length, len(VIEWS), 2, 2))
    (tmp_path / "short").mkdir()
    folder = write_prediction(
        tmp_path / "short",
        points,
        np.full(points.shape[:3], 0.9),
        session="mouse",
        view_names=VIEWS,
        keypoint_names=KEYPOINTS,
        cameras=RIG,
        calibration=tmp_path / "rig.toml",
    )
    outcome = run_mvtrain(capsys, monkeypatch, "smooth", folder, "-o", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    assert ("warning" in outcome.out) == warned


@pytest.mark.slow
def test_a_recording_in_blocks_is_that_of_the_whole(runs: list[Path], tmp_path: Path) -> None:
    """Blocks overlap by so many frames that what is left out has next to no influence."""
    files, times = find_predictions(runs[0])[0], 12
    rng = np.random.default_rng(7)
    length = LENGTH * times
    frames = np.arange(length)[:, None]
    swing = np.stack([np.sin(frames / 9), np.cos(frames / 11), np.sin(frames / 14)], axis=-1)
    world = 0.5 * swing + np.array([[0.2, 0.0, 0.0], [-0.2, 0.1, 0.0]])
    points = project(world, RIG) + rng.normal(0, 0.5, (length, len(VIEWS), 2, 2))
    points[170:230, :, 0] = np.nan  # a gap over the seam at 200
    assert files.calibration is not None
    source = write_prediction(
        tmp_path / "long",
        points,
        np.where(np.isfinite(points[..., 0]), 0.9, np.nan),
        session="mouse",
        view_names=VIEWS,
        keypoint_names=KEYPOINTS,
        cameras=RIG,
        calibration=files.calibration,
    )
    for name, block in (("whole", 1000), ("blocks", 200)):
        run([source], tmp_path / name, block=block)
    whole, blocks = (
        pd.read_csv(tmp_path / name / "mouse_3d.csv", header=[0, 1, 2], index_col=0).to_numpy().reshape(length, 2, 8)
        for name in ("whole", "blocks")
    )
    std = np.linalg.norm(whole[..., 3:6], axis=-1)
    assert (np.linalg.norm(whole[..., :3] - blocks[..., :3], axis=-1) / std).max() < 0.02
    np.testing.assert_allclose(blocks[..., 3:6], whole[..., 3:6], rtol=0.01)


@pytest.mark.parametrize("shown", [slice(0, 3000), slice(1200, 1900)])
def test_the_noise_of_blocks_is_learned_from_the_stretches_of_the_whole(
    shown: slice, runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that `mvgeom.learn_noise` takes of a long recording, of the frames that show a subject."""
    length, taken = 3000, []
    points = np.full((length, len(VIEWS), 2, 2), np.nan)
    points[shown] = np.random.default_rng(0).uniform(0, 64, points[shown].shape)
    options = {"session": "mouse", "view_names": VIEWS, "keypoint_names": KEYPOINTS}
    folder = write_prediction(tmp_path / "long", points, np.full(points.shape[:3], 0.9), **options)  # type: ignore[arg-type]
    tables = RecordingTables(find_predictions(folder), tmp_path, 0.05)
    monkeypatch.setattr(smoother, "learn", lambda stretches: taken.append(stretches))
    smoothing._learn(tables, RIG)
    whole = tables.read(0, length)
    learn_noise(whole.points, RIG, covariance=whole.covariance)
    for ours, theirs in zip(*taken, strict=True):
        np.testing.assert_array_equal(ours.times, theirs.times)
        np.testing.assert_array_equal(ours.points, theirs.points)
        np.testing.assert_array_equal(ours.covariance, theirs.covariance)


@pytest.mark.slow
def test_a_stopped_command_goes_on(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(runs[:1], tmp_path / "whole", block=20)
    solved = []
    original = smoothing._smooth_block

    def counted(*arguments: Any) -> Any:
        solved.append(arguments[3])
        return original(*arguments)

    def stopped(*arguments: Any) -> Any:
        if arguments[3] == 40:
            raise KeyboardInterrupt
        return counted(*arguments)

    monkeypatch.setattr(smoothing, "_smooth_block", stopped)
    (tmp_path / ".stopped.partial").mkdir()
    (tmp_path / ".stopped.partial" / "of_another_command.csv").write_text("")
    with pytest.raises(KeyboardInterrupt):
        run(runs[:1], tmp_path / "stopped", block=20)
    assert not (tmp_path / "stopped").exists()
    monkeypatch.setattr(smoothing, "_smooth_block", counted)
    run(runs[:1], tmp_path / "stopped", block=20)
    assert solved == [0, 20, 40]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped", "whole"]
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "stopped" / path.name).read_bytes()


def test_kinematics_are_written_beside_the_3d(
    runs: list[Path],
    truth: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    command = ("smooth", *runs, "-o", out, "--fps", 50, "--bones", "nose:tail")
    outcome = run_mvtrain(capsys, monkeypatch, *command)
    assert outcome.status == 0, outcome.err
    table = pd.read_csv(out / "mouse_kinematics.csv", header=[0, 1, 2], index_col=0)["mvgeom"]
    velocity = 50 * np.gradient(truth[:, 0], axis=0)
    np.testing.assert_allclose(table["nose"][["vx", "vy", "vz"]], velocity, atol=1.5)
    length = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=-1)
    error = np.abs(table["nose:tail"]["length"] - length) / table["nose:tail"]["length_std"]
    assert error.median() < 2
    assert run_mvtrain(capsys, monkeypatch, "smooth", out, "-o", tmp_path / "again").status == 2
    (files,) = find_predictions(out)
    assert files.smoothed
    assert load_predictions(files).in_3d is not None
    outcome = run_mvtrain(capsys, monkeypatch, *command[:-1], "nose:ear", "-o", tmp_path / "wrong")
    assert outcome.status == 2
    assert "ear" in outcome.err


@pytest.mark.parametrize("block", [20, 4000])
@pytest.mark.parametrize("options", [{"rigid": True}, {"lengths": (("tail", "nose", 0.41),)}])
def test_lengths_of_bones_are_held(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], block: int
) -> None:
    """Measured once for all blocks, and told in the summary."""
    ones = np.ones(len(VIEWS))
    noise = Noise(
        scale=ones, floor=0.5 * ones, keypoint=ones[:2], share=0.0, decay=0.0, motion=1e-4 * ones[:2], outliers=0.01
    )
    monkeypatch.setattr(smoother, "learn", lambda stretches: noise)
    run(runs[:1], tmp_path / "free", bones=(("nose", "tail"),), block=block)
    run(runs[:1], tmp_path / "held", bones=(("nose", "tail"),), block=block, **options)
    (bone,) = json.loads((tmp_path / "held" / "mouse_prediction.json").read_text())["smoothed"]["bones"]
    assert bone["length"] == pytest.approx(0.412, rel=0.03)
    assert bone["length"] == 0.41 or "rigid" in options
    assert "bones" not in json.loads((tmp_path / "free" / "mouse_prediction.json").read_text())["smoothed"]
    lengths = {
        name: np.linalg.norm(
            np.subtract(*np.moveaxis(read_points(tmp_path / name / "mouse_3d.csv"), 1, 0)[..., :3]), axis=-1
        )
        for name in ("free", "held")
    }
    assert lengths["held"].std() < 0.8 * lengths["free"].std()
    with raises_input("unknown-choice", found="paw"):
        run(runs[:1], tmp_path / "unknown", lengths=(("nose", "paw", 1.0),))
    with raises_input("missing-argument", argument="--bones"):
        run(runs[:1], tmp_path / "no_skeleton", rigid=True)


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


@pytest.mark.parametrize(
    "fault", ["no calibration", "one view", "damaged table", "other rows", "table is gone", "damaged summary"]
)
def test_a_recording_that_cannot_be_smoothed_leaves_the_others(
    fault: str, runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shutil.copytree(runs[0], tmp_path / "source")
    views = VIEWS[:1] if fault == "one view" else VIEWS
    points = np.ones((LENGTH, len(views), 2, 2))
    names: dict[str, Any] = {"view_names": views, "keypoint_names": KEYPOINTS}
    write_prediction(source, points, np.ones(points.shape[:3]), session="worse", **names)
    summary = source / "worse_prediction.json"
    if fault != "no calibration":
        document = json.loads(summary.read_text()) | {"calibration": {"file": str(source / "rig.toml")}}
        summary.write_text(json.dumps(document))
    table = source / f"worse_{VIEWS[0]}.csv"
    lines = table.read_text().splitlines()
    if fault == "damaged table":
        table.write_text("\n".join([*lines[:20], "x,y", *lines[20:]]))
    elif fault == "table is gone":
        table.unlink()
    elif fault == "damaged summary":
        summary.write_text("{")
    elif fault == "other rows":
        table.write_text("\n".join(lines[:20] + lines[21:]))
    outcome = run_mvtrain(capsys, monkeypatch, "smooth", source, "-o", tmp_path / "out")
    assert outcome.status == 2
    assert "worse" in outcome.err
    assert outcome.err.count("\n") == 1
    run(runs[:1], tmp_path / "alone")
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")}
    assert files == {path.relative_to(tmp_path / "alone").as_posix() for path in (tmp_path / "alone").rglob("*")}
    for name in ("mouse_3d.csv", "mouse_kinematics.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    with raises_input("left-out", problems={"worse": ANY}):
        run([source], tmp_path / "again")


def test_noise_that_was_saved_averages_stated_covariances_as_before(tmp_path: Path) -> None:
    noise = make_noise(3, 2, window=4, factor=1.5)
    blocks = SmoothedBlocks(tmp_path, {})
    blocks.save_noise(noise)
    loaded = SmoothedBlocks(tmp_path, {}).noise()
    assert loaded is not None
    rng = np.random.default_rng(0)
    points = project(rng.normal(0, 0.1, (30, 2, 3)), RIG) + rng.normal(size=(30, 3, 2, 2))
    likelihood = rng.random((30, 3, 2))
    before, after = (smooth(points, RIG, likelihood=likelihood, noise=each) for each in (noise, loaded))
    np.testing.assert_array_equal(before.covariance, after.covariance)
    plain = smooth(points, RIG, likelihood=likelihood, noise=replace(noise, window=0))
    assert np.abs(plain.points - after.points).max() > 1e-6
