"""Error bars in 3D that labels show: their fit, where they are kept, and where they arrive."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from helpers.command import run_mvtrain
from helpers.errors import raises_input
from helpers.foreign import write_prediction
from helpers.projects import random_project
from helpers.runs import KEYPOINTS, VIEWS, cameras, make_run
from helpers.videos import SIZE, write_session
from mvgeom import CameraGroup, Noise, project
from mvgeom.smoothing import smoother
from mvgeom.smoothing.trajectories import Observations
from mvtrain.evaluation import fits_to_labels
from mvtrain.evaluation.fits_to_labels import Residuals, fit_error_bars, fit_scale_and_std, label_deviation
from mvtrain.model.error_bars import (
    ErrorBars,
    combined_error_bars,
    ensemble_checksum,
    load_error_bars,
    save_error_bars,
    subject_size_3d,
)
from mvtrain.model.inference import FramePredictions
from mvtrain.model.run_folder import load_run
from mvtrain.predict.ensemble import find_error_bars
from mvtrain.predict.saved_predictions import find_predictions, load_predictions
from mvtrain.predict.smooth_predictions import SmoothOptions, smooth_predictions
from mvtrain.project.project import Project

RIG = cameras((200, 200))
CHECKSUM = "0123456789abcdef"


def make_bars(**changes: object) -> ErrorBars:
    fields = {"scale": 1.5, "std": (0.1,) * 4, "factor": 1.2, "size": 2.0, "num_frames": 20, "num_points": 80}
    return ErrorBars(**fields | changes)  # type: ignore[arg-type]


def draw(
    rng: np.random.Generator, count: int, scale: float, std: np.ndarray, label: float, tails: float
) -> tuple[np.ndarray, Residuals]:
    """Draw residuals, and standard deviations of what they are from."""
    keypoint = rng.integers(0, len(std), count)
    stated = rng.lognormal(0, 0.5, count)
    true = np.sqrt((scale * stated) ** 2 + std[keypoint] ** 2 + label**2)
    value = true * (rng.normal(size=count) if np.isinf(tails) else rng.standard_t(tails, count))
    return true, Residuals(value=value, stated=stated, label=np.full(count, label), keypoint=keypoint)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(
    ("scale", "std", "label", "tails", "wrong"),
    [
        (1.0, [0.0, 0.0, 0.0], 0.0, np.inf, 0.0),
        (2.5, [0.0, 0.0, 0.0], 0.0, np.inf, 0.0),
        (1.0, [1.0, 2.0, 4.0], 0.0, np.inf, 0.0),
        (1.5, [1.0, 2.0, 4.0], 0.5, np.inf, 0.02),
        (1.5, [3.0, 3.0, 3.0], 0.0, 3.0, 0.02),
    ],
)
def test_intervals_hold_their_share(
    scale: float, std: list[float], label: float, tails: float, wrong: float, unit: float
) -> None:
    """On residuals that were not fitted to, per keypoint; a few wrong labels have no influence."""
    rng = np.random.default_rng(0)
    _, fitted = draw(rng, 900, scale, np.array(std), label, tails)
    fitted.value[rng.random(900) < wrong] *= 1000
    fitted = Residuals(
        value=unit * fitted.value, stated=unit * fitted.stated, label=unit * fitted.label, keypoint=fitted.keypoint
    )
    found_scale, found_std = fit_scale_and_std(fitted, 3)
    assert found_scale >= 1
    _, new = draw(rng, 6000, scale, np.array(std), label, tails)
    variance = (found_scale * new.stated) ** 2 + (found_std[new.keypoint] / unit) ** 2 + new.label**2
    inside = np.abs(new.value) < 1.645 * np.sqrt(variance)
    assert 0.87 < inside.mean() < 0.94
    for number in range(3):
        assert 0.83 < inside[new.keypoint == number].mean() < 0.96
    if np.isinf(tails):
        assert found_scale == pytest.approx(scale, rel=0.35)


def test_a_keypoint_without_labels_has_the_deviation_of_all() -> None:
    rng = np.random.default_rng(0)
    _, fitted = draw(rng, 300, 1.0, np.array([2.0, 2.0]), 0.0, np.inf)
    _, std = fit_scale_and_std(fitted, 3)
    assert std[2] == pytest.approx(std[:2].mean(), rel=0.2)


def make_project(num_frames: int, shared: float, *, unit: float = 1.0) -> tuple[Project, FramePredictions]:
    """Labels with 0.5 px of noise, and predictions off by 1 px in each view and `shared` in all alike."""
    rng = np.random.default_rng(0)
    rig = RIG.replace(translation=unit * RIG.translation)
    truth = rng.uniform(-1, 1, (num_frames, len(KEYPOINTS), 3))
    frames = random_project(num_frames, VIEWS, KEYPOINTS)
    pixels = project(unit * truth, rig)
    labeled = dataclasses.replace(frames, points=pixels + rng.normal(0, 0.5, pixels.shape), cameras=(rig,) * num_frames)
    predicted = project(unit * (truth + rng.normal(0, shared, truth.shape)), rig) + rng.normal(0, 1, pixels.shape)
    confidence = np.full(predicted.shape[:3], 0.8)
    return labeled, FramePredictions(index=np.arange(num_frames), points=predicted, confidence=confidence)


def test_labels_show_what_the_views_share() -> None:
    for unit in (1.0, 1000.0):
        labeled, predictions = make_project(60, 0.2, unit=unit)
        found = fit_error_bars(labeled, predictions, np.arange(60) < 40, None)
        assert found is not None
        assert (found.num_frames, found.num_points) == (40, 40 * len(KEYPOINTS))
        np.testing.assert_allclose(found.std, 0.18 * unit, rtol=0.2)
        assert found.size == pytest.approx(2.5 * unit, rel=0.1)
    nothing = fit_error_bars(*make_project(60, 0.0), np.ones(60, dtype=bool), None)
    assert nothing is not None
    assert nothing.scale < 1.4
    assert max(nothing.std) < 0.05


def test_too_little_is_no_error() -> None:
    labeled, predictions = make_project(30, 0.2)
    some = np.arange(30) < fits_to_labels.LEAST_FRAMES
    assert fit_error_bars(labeled, predictions, some, None) is None, "40 positions"
    assert fit_error_bars(labeled, predictions, np.zeros(30, dtype=bool), None) is None
    bare = dataclasses.replace(labeled, cameras=(None,) * 30)
    assert fit_error_bars(bare, predictions, np.ones(30, dtype=bool), None) is None
    nowhere = dataclasses.replace(labeled, visibility=np.zeros_like(labeled.visibility))
    assert fit_error_bars(nowhere, predictions, np.ones(30, dtype=bool), None) is None


def test_labels_that_contradict_each_other_are_uncertain() -> None:
    labeled, _ = make_project(30, 0.0)
    points = labeled.points.copy()
    points[3, 0, 1] += 40.0
    deviation = label_deviation(dataclasses.replace(labeled, points=points))
    usual = np.median(deviation)
    assert (deviation[3, 1] > 10 * usual).all()
    assert usual == pytest.approx(np.median(label_deviation(labeled)), rel=0.2)


def test_the_unit_of_a_recording_may_be_another() -> None:
    bars = make_bars()
    assert bars.in_recording(1.0, 2.5).std.tolist() == [0.1] * 4
    np.testing.assert_allclose(bars.in_recording(1.0, 2000.0).std, 100.0)
    np.testing.assert_allclose(bars.in_recording(1.0, 0.002).std, 1e-4)
    assert bars.in_recording(1.0, float("nan")).std.tolist() == [0.1] * 4
    assert bars.in_recording(1.0, 2.0).scale == 1.5
    assert bars.in_recording(2.4, 2.0).scale == 3.0, "views disagree by more than in the labeled frames"


def test_the_size_of_a_subject_is_that_of_whole_frames() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (21, 5, 3))
    size = subject_size_3d(points)
    points[:5, 1:] = np.nan
    assert subject_size_3d(points) == pytest.approx(size, rel=0.1)
    assert np.isnan(subject_size_3d(points[:0]))
    assert np.isnan(subject_size_3d(np.full((3, 5, 3), np.nan)))
    assert np.isnan(subject_size_3d(points[:5]))


def test_they_are_kept_beside_their_weights(tmp_path: Path) -> None:
    bars = make_bars()
    path = save_error_bars(tmp_path, CHECKSUM, bars)
    assert path is not None
    assert load_error_bars(tmp_path, CHECKSUM, 4) == bars
    assert load_error_bars(tmp_path, "f" * 16, 4) is None, "further training has other weights"
    other = save_error_bars(tmp_path, "f" * 16, bars)
    assert list(tmp_path.iterdir()) == [other], "one set of weights at a time"
    assert save_error_bars(tmp_path, "f" * 16, None) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["[]", "scale: 1", "std: [1, 2, 3, 4]", "{", "scale: 0.5\nstd: [0, 0, 0, 0]\nfactor: 1\nsize: 1\n", "std: 1"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    path = save_error_bars(tmp_path, CHECKSUM, make_bars())
    assert path is not None
    with raises_input("damaged-file", path=path):
        load_error_bars(tmp_path, CHECKSUM, 3)
    path.write_text(text)
    with raises_input("damaged-file", path=path):
        load_error_bars(tmp_path, CHECKSUM, 4)


def test_an_ensemble_has_its_own_or_those_of_its_networks(tmp_path: Path) -> None:
    runs = [load_run(make_run(tmp_path / name, model={"backbone_args": args})) for name, args in (
        ("a", {"depth": 1, "embed_dim": 24, "num_heads": 3}),
        ("b", {"depth": 2, "embed_dim": 24, "num_heads": 3}),
    )]  # fmt: skip
    one, other = make_bars(std=(0.3,) * 4, scale=1.0), make_bars(std=(0.4,) * 4, scale=2.0)
    with_bars = [dataclasses.replace(run, error_bars=bars) for run, bars in zip(runs, (one, other), strict=True)]
    assert find_error_bars([tmp_path], with_bars[:1]) == one
    assert find_error_bars([tmp_path], runs) is None
    assert find_error_bars([tmp_path], [with_bars[0], runs[1]]) is None, "nothing is known of one"
    both = find_error_bars([tmp_path], with_bars)
    assert both == combined_error_bars([one, other])
    assert both is not None
    np.testing.assert_allclose(both.std, np.sqrt((0.3**2 + 0.4**2) / 2))
    assert both.scale == pytest.approx(np.sqrt(2.5))
    fitted = make_bars(std=(0.2,) * 4)
    save_error_bars(tmp_path, ensemble_checksum([run.checksum for run in reversed(runs)]), fitted)
    assert find_error_bars([tmp_path], with_bars) == fitted


def test_they_reach_every_prediction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mvtrain predict`, what it writes, and `mvtrain smooth` of that."""
    folder = make_run(tmp_path / "run")
    write_session(tmp_path / "videos", VIEWS, (6, 6, 6))
    cameras(SIZE).save(tmp_path / "calibration.toml")

    def predict(name: str) -> Path:
        command = ("predict", folder, tmp_path / "videos", "-o", tmp_path / name, "--device", "cpu")
        outcome = run_mvtrain(capsys, monkeypatch, *command)
        assert outcome.status == 0, outcome.err
        assert ("those of the labels" in outcome.out) == (name == "after")
        return tmp_path / name

    def std_of(output: Path) -> np.ndarray:
        in_3d = load_predictions(find_predictions(output)[0]).in_3d
        assert in_3d is not None
        return in_3d.std

    before = std_of(predict("before"))
    assert find_predictions(tmp_path / "before")[0].shared_error is None
    run = load_run(folder)
    stds = np.array([0.5, 1.0, 1.5, 2.0])
    # Whatever the unit of these cameras is: the size of the subject is about that.
    bars = make_bars(scale=1.0, factor=100.0, std=tuple(stds.tolist()), size=2.0)
    save_error_bars(run.checkpoint, run.checksum, bars)
    after = std_of(predict("after"))
    (files,) = find_predictions(tmp_path / "after")
    assert files.shared_error is not None
    added = files.shared_error.std
    np.testing.assert_allclose(added / added[0], stds / stds[0], rtol=1e-4)
    known = np.isfinite(before)
    ratio = np.sqrt(after**2 - added[:, None] ** 2)[known] / before[known]
    assert ratio.max() < 1.05
    assert np.median(np.abs(ratio / np.median(ratio) - 1)) < 0.02, "the views' disagreement, without a factor"
    assert "predicted before" in run_mvtrain(
        capsys, monkeypatch, "predict", folder, tmp_path / "videos", "-o", tmp_path / "after", "--device", "cpu"
    ).out  # fmt: skip


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A predicted recording of 40 frames without shared errors, of which the noise is known."""

    def known(stretches: Sequence[Observations]) -> Noise:
        rig, ones = stretches[0].cameras, np.ones(3)
        assert rig is not None
        unit = float(np.abs(rig.translation).max() / np.abs(RIG.translation).max())
        motion = np.full(2, 1e-3 * unit**2)
        return Noise(scale=ones, floor=ones, keypoint=ones[:2], share=0.0, decay=0.0, motion=motion, outliers=0.01)

    monkeypatch.setattr(smoother, "learn", known)
    RIG.save(tmp_path / "rig.toml")
    frames = np.arange(40)[:, None] / 10
    truth = np.stack([np.sin(frames), np.cos(frames), 0.2 * frames], axis=-1) + np.array([[0.0, 0, 0], [0.5, 0, 0]])
    points = project(truth, RIG) + np.random.default_rng(0).normal(0, 1, (40, 3, 2, 2))
    return write_prediction(
        tmp_path / "predicted",
        points,
        np.full(points.shape[:3], 0.9),
        session="mouse",
        view_names=VIEWS,
        keypoint_names=("nose", "tail"),
        cameras=RIG,
        calibration=tmp_path / "rig.toml",
    )


def write_shared(folder: Path, shared: object) -> None:
    path = folder / "mouse_prediction.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shared_error": shared}))


def smooth_std(source: Path, output: Path, **options: Path) -> np.ndarray:
    smooth_predictions([source], SmoothOptions(output=output, **options), Console(quiet=True))  # type: ignore[arg-type]
    in_3d = load_predictions(find_predictions(output)[0]).in_3d
    assert in_3d is not None
    return in_3d.std


def test_smoothing_adds_them(recording: Path, tmp_path: Path) -> None:
    plain = smooth_std(recording, tmp_path / "plain")
    write_shared(recording, {"scale": 1.0, "std": [0.3, 0.4]})
    found = smooth_std(recording, tmp_path / "shared")
    np.testing.assert_allclose(found, np.hypot(plain, np.array([0.3, 0.4])[:, None]), rtol=1e-3)
    document = json.loads((tmp_path / "shared" / "mouse_prediction.json").read_text())
    assert document["smoothed"]["shared_error"] == {"scale": 1.0, "std": [0.3, 0.4]}
    rig = CameraGroup.load(tmp_path / "rig.toml")
    rig.replace(translation=1000 * rig.translation).save(tmp_path / "mm.toml")
    in_mm = smooth_std(recording, tmp_path / "mm", calibration=tmp_path / "mm.toml")
    np.testing.assert_allclose(in_mm, 1000 * found, rtol=1e-3)


@pytest.mark.parametrize(
    "shared",
    [3, [], {"scale": 1}, {"scale": 0.1, "std": [0, 0]}, {"scale": 1, "std": ["a", 0]}, {"scale": 1, "std": [0]}],
)
def test_a_damaged_summary_is_refused(recording: Path, tmp_path: Path, shared: object) -> None:
    write_shared(recording, shared)
    with raises_input("damaged-file", path="mouse_prediction.json"):
        smooth_std(recording, tmp_path / "smoothed")
