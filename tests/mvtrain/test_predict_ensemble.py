"""Several networks: their combination, and `mvtrain predict RUN1 RUN2 ...` from videos to tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from helpers.command import Outcome, run_mvtrain
from helpers.rigs import ring
from helpers.runs import KEYPOINTS, VIEWS, cameras, make_run
from helpers.videos import SIZE, write_session
from mvgeom import CameraGroup, project
from mvgeom.smoothing import covariance_from_likelihood
from mvgeom.tables import read_keypoints
from mvtrain.exchange.run_convert import ConvertOptions, convert
from mvtrain.model.checkpoint import save_checkpoint
from mvtrain.model.inference import BeforeFusion, FramePredictions, join_predictions
from mvtrain.model.likelihood import ConfidenceMap, save_confidence, view_weights, weights_from_likelihood
from mvtrain.model.reconstruction import Observations, observations
from mvtrain.model.run_folder import load_run
from mvtrain.predict import outputs, session, video_batches
from mvtrain.predict.ensemble import (
    combine,
    combine_frames,
    combine_records,
    comparable_weights,
    typical_weights,
    weight_field,
)
from mvtrain.predict.recording_tables import observe
from mvtrain.predict.records import Records, prediction_record, view_fields
from mvtrain.predict.saved_predictions import find_predictions, load_predictions
from mvtrain.predict.smooth_predictions import SmoothOptions, smooth_predictions

LENGTH = 9
MODELS: dict[str, dict[str, Any]] = {
    "small": {},
    "wide": {"data": {"image_resize_dims": {"width": 64, "height": 48}}},
    "deep": {"model": {"backbone_args": {"depth": 2, "embed_dim": 24, "num_heads": 3}}},
}


def random_predictions(seed: int, networks: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 3, (networks, 4, 2, 1, 2))
    points[rng.random(points.shape[:-1]) < 0.3] = np.nan
    return points, np.where(np.isfinite(points[..., 0]), rng.uniform(0.1, 1, points.shape[:-1]), np.nan)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 100), networks=st.integers(1, 4))
def test_equal_weights_give_the_mean_and_its_covariance(seed: int, networks: int) -> None:
    points, likelihood = random_predictions(seed, networks)
    seen = observe(points, likelihood, np.full_like(likelihood, 0.4))
    for place in np.ndindex(4, 2, 1):
        found = points[(slice(None), *place)]
        found = found[np.isfinite(found).all(-1)]
        if not len(found):
            assert np.isnan(seen.points[place]).all()
            continue
        expected = np.nansum(likelihood[(slice(None), *place)]) / networks
        np.testing.assert_allclose(seen.points[place], found.mean(0))
        assert seen.likelihood[place] == pytest.approx(expected)
        spread = np.cov(found.T) / len(found) if len(found) > 1 else np.zeros((2, 2))
        np.testing.assert_allclose(seen.covariance[place], spread + covariance_from_likelihood(np.array(expected)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 100), networks=st.integers(2, 4), factor=st.floats(1e-3, 1e3))
def test_order_and_unit_of_the_weights_change_nothing(seed: int, networks: int, factor: float) -> None:
    points, likelihood = random_predictions(seed, networks)
    found = combine(points, likelihood, likelihood)
    other = combine(points[::-1], likelihood[::-1], factor * likelihood[::-1])
    np.testing.assert_allclose(other.points, found.points, atol=1e-12)
    np.testing.assert_allclose(other.spread, found.spread, atol=1e-12)
    np.testing.assert_allclose(other.likelihood, found.likelihood)
    np.testing.assert_allclose(other.weights, factor * found.weights)
    known = np.isfinite(points).all(-1)
    lowest = np.where(known[..., None], points, np.inf).min(0)
    assert (found.points >= lowest - 1e-9)[np.isfinite(lowest)].all()


def test_precisions_are_those_of_the_errors() -> None:
    """Weighted by their inverse variances, networks give the mean of least variance, and the spread says how large."""
    rng = np.random.default_rng(0)
    deviation = np.array([1.0, 2.0, 4.0])
    points = rng.normal(0, deviation[:, None, None, None, None], (3, 20000, 1, 1, 2))
    weights = np.broadcast_to((deviation**-2)[:, None, None, None], points.shape[:-1])
    found = combine(points, np.full(points.shape[:-1], 0.5), weights)
    expected = 1 / (deviation**-2).sum()
    assert found.points.var() == pytest.approx(expected, rel=0.03)
    np.testing.assert_allclose(found.spread.mean((0, 1, 2)), expected * np.eye(2), atol=0.03)


@pytest.mark.parametrize("calibrated", [(True, True), (True, False), (False, False)])
def test_weights_of_networks_that_are_alike_are_alike(calibrated: tuple[bool, bool]) -> None:
    """A network that halves its confidence is not worse; one with a calibrated likelihood half as high is."""
    likelihood = np.random.default_rng(1).uniform(0.2, 0.9, 50)
    both = [likelihood, likelihood / 2]
    weights = comparable_weights(both, calibrated, typical_weights(both, calibrated))
    ratio = np.median(weights[0]) / np.median(weights[1])
    assert ratio > 2 if all(calibrated) else ratio == pytest.approx(1)


def test_weights_from_tables_are_those_of_the_network() -> None:
    confidence_map = ConfidenceMap(
        share=0.1, low_power=1.2, high_power=0.7, offset=0.1, lowest=0.05, highest=0.95, num_points=99
    )
    confidence = np.linspace(0, 1, 11)
    found = weights_from_likelihood(confidence_map(confidence), is_calibrated=True)
    np.testing.assert_allclose(found, view_weights(confidence, confidence_map))


SURE = ConfidenceMap(share=0.1, low_power=1, high_power=1, offset=0.5, lowest=0, highest=1, num_points=50)


def disagreeing(rig: CameraGroup, rng: np.random.Generator, noise: float) -> list[FramePredictions]:
    """Predictions of three networks, which differ by ten times as much about some keypoints, at equal confidence."""
    truth = project(rng.normal(0, 0.2, (12, len(KEYPOINTS), 3)), rig)
    deviation = np.where(rng.random(truth.shape[:-1]) < 0.2, 10 * noise, noise)[..., None]
    found = []
    for _ in range(3):
        points = truth + deviation * rng.standard_normal(truth.shape)
        confidence = rng.uniform(0.5, 0.9, points.shape[:-1])
        evidence = np.concatenate([points + rng.normal(0, noise, points.shape), 1 / confidence[..., None]], axis=-1)
        before = BeforeFusion(points=points, confidence=confidence, evidence=evidence)
        stated = np.eye(2) * rng.uniform(0.5, 2, (*confidence.shape, 1, 1))
        found.append(
            FramePredictions(
                index=np.arange(len(points)),
                points=points,
                confidence=confidence,
                before_fusion=before,
                own_covariance=stated,
            )
        )
    return found


def combined_recording(networks: list[FramePredictions], rig: CameraGroup, folder: Path) -> Observations:
    """Observations of the same predictions, as of the frames of a video."""
    shape = (len(VIEWS), len(KEYPOINTS))
    names = [name for name in prediction_record(networks[0]) if name != "keypoints"]
    records = []
    for number, each in enumerate(networks):
        part = Records(folder / str(number), *shape, extra=view_fields(names, *shape))
        part.folder.mkdir(parents=True)
        fields = prediction_record(each) | {"status": np.zeros((len(each.points), len(VIEWS)))}
        with part.appending() as file:
            part.append(file, 0, fields)
        records.append(part)
    extra = [*view_fields(names, *shape), *(() if "evidence" in names else weight_field(*shape))]
    combined = Records(folder / "combined", *shape, extra=extra)
    combine_records(records, [SURE] * len(networks), combined, {}, rig)
    return outputs._observations(combined.read(0, len(combined)), None)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("states", [True, False])
def test_images_are_observed_as_the_frames_of_a_video(fused: bool, states: bool, tmp_path: Path) -> None:
    """The weights of a session follow from its own cameras and frames."""
    rng = np.random.default_rng(0)
    rigs = [ring(len(VIEWS), size=200), ring(len(VIEWS), size=300)]
    sessions = [disagreeing(rig, rng, noise) for rig, noise in zip(rigs, (0.2, 1.0), strict=True)]
    for networks in sessions:
        for number, each in enumerate(networks):
            before, stated = each.before_fusion if fused else None, each.own_covariance if states else None
            networks[number] = replace(each, before_fusion=before, own_covariance=stated)
    images = [join_predictions(parts) for parts in zip(*sessions, strict=True)]
    of_images = observations(combine_frames(images, [SURE] * 3, [rigs[0]] * 12 + [rigs[1]] * 12), None)
    for number, (networks, rig) in enumerate(zip(sessions, rigs, strict=True)):
        of_video = combined_recording(networks, rig, tmp_path / str(number))
        rows = slice(12 * number, 12 * number + 12)
        np.testing.assert_allclose(of_images.points[rows], of_video.points, rtol=1e-5)
        np.testing.assert_allclose(of_images.weights[rows], of_video.weights, rtol=1e-4)
        assert (of_images.covariances is not None) == (of_video.covariances is not None) == states
        if of_images.covariances is not None and of_video.covariances is not None:
            np.testing.assert_allclose(of_images.covariances[rows], of_video.covariances, rtol=1e-4, atol=1e-4)
    # Keypoints about which the networks disagree weigh less.
    assert np.nanpercentile(of_images.weights[:12], 5) < np.nanmedian(of_images.weights[:12]) / 2


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Networks that differ in backbone and size of input; the likelihoods of one are calibrated."""
    folder = tmp_path_factory.mktemp("runs")
    made = [make_run(folder / name, **changes) for name, changes in MODELS.items()]
    deep = load_run(made[2])
    save_confidence(deep.checkpoint, deep.checksum, SURE)
    return made


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    write_session(folder / "videos", VIEWS, (LENGTH, LENGTH - 2, LENGTH))
    cameras(SIZE).save(folder / "calibration.toml")
    return folder


@pytest.fixture
def predict(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    def command(*arguments: object) -> Outcome:
        return run_mvtrain(capsys, monkeypatch, "predict", *arguments, "--device", "cpu")

    return command


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    (files,) = find_predictions(folder)
    found = load_predictions(files)
    return found.points, found.likelihood


@pytest.mark.slow
def test_networks_are_combined_and_each_is_kept(
    runs: list[Path], recorded: Path, tmp_path: Path, predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    original = video_batches.read_frames
    monkeypatch.setattr(
        video_batches, "read_frames", lambda video, *rest: opened.append(video.path) or original(video, *rest)
    )
    out = tmp_path / "out"
    outcome = predict(*runs, recorded / "videos", "-o", out)
    assert outcome.status == 0, outcome.err
    assert len(opened) == len(VIEWS), "a video is decoded once"
    (files,) = find_predictions(out)
    assert [each.calibrated for each in files.networks] == [False, False, True]
    alone = []
    for run, network in zip(runs, files.networks, strict=True):
        assert predict(run, recorded / "videos", "-o", tmp_path / run.name).status == 0
        for path in (tmp_path / run.name).glob("*.csv"):
            assert (out / "networks" / run.name / path.name).read_bytes() == path.read_bytes()
        alone.append(load_predictions(network))
    points, likelihood = np.stack([each.points for each in alone]), np.stack([each.likelihood for each in alone])
    calibrated = [False, False, True]
    weights = comparable_weights(list(likelihood), calibrated, typical_weights(list(likelihood), calibrated))
    expected = combine(points, likelihood, weights)
    found, found_likelihood = read(out)
    np.testing.assert_allclose(found, expected.points, atol=0.02)  # likelihoods in tables have four digits
    np.testing.assert_allclose(found_likelihood, expected.likelihood, atol=2e-4)
    assert np.isnan(found[-2:, 1]).all()
    in_3d = load_predictions(files).in_3d
    assert in_3d is not None
    assert (in_3d.std[np.isfinite(in_3d.points)] > 0).all()
    assert len((out / "mouse_3d.csv").read_text().splitlines()) == 3 + LENGTH
    convert("eks", [out], ConvertOptions(out=tmp_path / "eks"), Console(quiet=True))
    assert len(list((tmp_path / "eks" / "mouse").glob("*.csv"))) == len(VIEWS) * len(runs)
    assert predict(*runs, recorded / "videos", "-o", out).out.count("predicted before") == 1
    assert "predicted mouse" in predict(*runs[:2], recorded / "videos", "-o", out).out


@pytest.mark.slow
def test_a_stopped_ensemble_goes_on_with_the_same_bytes(
    runs: list[Path], recorded: Path, tmp_path: Path, predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert predict(*runs, recorded / "videos", "-o", tmp_path / "whole").status == 0
    original, batches = session.predict_batches, []

    def counted(network: Any, feed: Any, device: Any) -> Any:
        for number, found in enumerate(original(network, feed, device)):
            batches.append(number)
            if len(batches) == 5:  # the second network's second batch
                raise KeyboardInterrupt
            yield found

    monkeypatch.setattr(session, "predict_batches", counted)
    out = tmp_path / "stopped"
    assert predict(*runs, recorded / "videos", "-o", out).status != 0
    assert len(batches) == 5
    assert predict(*runs, recorded / "videos", "-o", out).status == 0
    files = sorted(path.relative_to(out) for path in out.rglob("*.*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*") if path.is_file()
    )
    for path in files:
        assert (out / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()


def test_predict_and_smooth_is_predict_then_smooth(
    runs: list[Path],
    recorded: Path,
    tmp_path: Path,
    predict,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    outcome = predict(*runs, recorded / "videos", "-o", out, "--smooth")
    assert outcome.status == 0, outcome.err
    assert "3 networks" in outcome.out
    apart = tmp_path / "apart"
    assert run_mvtrain(capsys, monkeypatch, "smooth", out, "-o", apart).status == 0
    names = sorted(path.name for path in apart.iterdir())
    assert names == sorted(path.name for path in (out / "smoothed").iterdir())
    for name in names:
        assert (apart / name).read_bytes() == (out / "smoothed" / name).read_bytes()
    table = read_keypoints(apart / f"mouse_{VIEWS[0]}.csv")
    assert table.keypoint_names == KEYPOINTS
    assert "smoothed before" in predict(*runs, recorded / "videos", "-o", out, "--smooth").out
    skeleton = json.loads((apart / "mouse_prediction.json").read_text())["skeleton"]
    assert skeleton == [list(KEYPOINTS[:2]), list(KEYPOINTS[1:3])]


def test_what_cannot_be_an_ensemble_is_refused(runs: list[Path], recorded: Path, tmp_path: Path, predict) -> None:
    other = make_run(tmp_path / "keypoints", keypoints=("nose", "ear", "tail"))
    renamed = make_run(tmp_path / "views", views=("top", "left", "side"))
    for arguments, name in (
        ((runs[0], other, recorded / "videos", "-o", tmp_path / "out"), "keypoints"),
        ((runs[0], renamed, recorded / "videos", "-o", tmp_path / "out"), "views"),
        ((runs[0], runs[1], recorded / "videos"), "--output"),
        ((runs[0],), "inputs"),
    ):
        outcome = predict(*arguments)
        assert outcome.status == 2
        assert name in outcome.err
    assert not (tmp_path / "out").exists()


def test_views_in_another_order_are_matched_by_name(runs: list[Path], recorded: Path, tmp_path: Path, predict) -> None:
    turned = make_run(tmp_path / "turned", views=VIEWS[::-1])
    loaded = load_run(turned)
    with torch.no_grad():
        loaded.model.view_embedding.normal_()  # so that each view is seen in its own way
    save_checkpoint(loaded.checkpoint, loaded.model.state_dict(), loaded.spec, {"epoch": 1})
    assert predict(turned, recorded / "videos", "-o", tmp_path / "alone").status == 0
    for number, order in enumerate(((turned, runs[0]), (runs[0], turned))):
        outcome = predict(*order, recorded / "videos", "-o", tmp_path / str(number))
        assert outcome.status == 0, outcome.err
        for view in VIEWS:
            of_ensemble, alone = (
                read_keypoints(folder / f"mouse_{view}.csv")
                for folder in (tmp_path / str(number) / "networks" / "turned", tmp_path / "alone")
            )
            np.testing.assert_allclose(of_ensemble.points, alone.points, atol=0.02)
    files = [find_predictions(tmp_path / str(number))[0] for number in (0, 1)]
    assert list(files[0].tables) == list(VIEWS[::-1])
    one, other = (load_predictions(each).arranged(VIEWS, KEYPOINTS) for each in files)
    np.testing.assert_allclose(one.points, other.points, atol=0.02)
    results = []
    for sources in ((tmp_path / "alone", tmp_path / "1" / "networks" / runs[0].name), (tmp_path / "1",)):
        smooth_predictions(sources, SmoothOptions(output=tmp_path / str(len(sources) + 5)), Console(quiet=True))
        results.append(read_keypoints(tmp_path / str(len(sources) + 5) / f"mouse_{VIEWS[0]}.csv").points)
    np.testing.assert_allclose(results[0], results[1], atol=0.1)
