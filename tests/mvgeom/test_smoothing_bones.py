"""Lengths of bones: they help where a keypoint is seen badly, and the standard deviations stay honest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.errors import Expectation, raises_input
from helpers.geometry import random_rig
from helpers.mvgeom_command import run
from mvgeom import Bone, Noise, project, smooth
from mvgeom.cli.bone_options import describe_bones, parse_pairs
from mvgeom.smoothing.bones import hold_lengths, measure_bones, named_bones

NUM_FRAMES = 400
CHAIN = (Bone(first=0, second=1), Bone(first=1, second=2), Bone(first=1, second=3))
LENGTHS = np.array([0.10, 0.06, 0.08])


def bodies(rng: np.random.Generator, stretch: float = 0.0) -> np.ndarray:
    """Positions (N, 4, 3) of a body of three bones, turning, whose lengths vary by a share."""
    points = np.zeros((NUM_FRAMES, 4, 3))
    points[:, 0] = rng.normal(0, 0.05, (NUM_FRAMES, 3))
    for bone, length in zip(CHAIN, LENGTHS, strict=True):
        direction = rng.normal(size=(NUM_FRAMES, 3))
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        long = length * (1 + stretch * rng.normal(size=(NUM_FRAMES, 1)))
        points[:, bone.second] = points[:, bone.first] + long * direction
    return points


def blurred(rng: np.random.Generator, truth: np.ndarray, hidden: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions with errors of 2 mm, every fifth with `hidden` in one direction as well, and their covariances."""
    axis = rng.normal(size=truth.shape)
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    is_hidden = rng.random(truth.shape[:2]) < 0.2
    along = np.where(is_hidden, hidden, 0.0)[..., None, None] ** 2 * axis[..., None] * axis[..., None, :]
    covariance = along + 0.002**2 * np.eye(3)
    error = np.linalg.cholesky(covariance) @ rng.normal(size=(*truth.shape, 1))
    return truth + error[..., 0], covariance


def coverage(points: np.ndarray, covariance: np.ndarray, truth: np.ndarray, chosen: np.ndarray) -> float:
    """Share of true positions in their 90 % region."""
    difference = points - truth
    square = np.einsum("nki,nkij,nkj->nk", difference, np.linalg.inv(covariance), difference)
    return float((square[chosen] < 6.251).mean())


@pytest.mark.parametrize("hidden", [0.004, 0.01, 0.03, 0.1])
@pytest.mark.parametrize("stretch", [0.0, 0.05])
def test_hidden_keypoints_are_nearer_and_covered(hidden: float, stretch: float) -> None:
    """Also where the doubt is as large as the bones."""
    rng = np.random.default_rng(0)
    truth = bodies(rng, stretch)
    points, covariance = blurred(rng, truth, hidden)
    bones = measure_bones(points, covariance, CHAIN)
    found, spread = hold_lengths(points, covariance, bones)
    assert (np.linalg.eigvalsh(spread) > 0).all()
    seldom = np.trace(covariance, axis1=-2, axis2=-1) > 1.1 * 3 * 0.002**2
    before, after = (np.sqrt(np.mean((each - truth)[seldom] ** 2)) for each in (points, found))
    assert after < before * (0.93 if hidden in (0.01, 0.03) else 1.0)
    assert np.sqrt(np.mean((found - truth)[~seldom] ** 2)) < 1.02 * 0.002, "those that are seen are none the worse"
    for chosen in (seldom, ~seldom):
        assert coverage(found, spread, truth, chosen) > 0.86
    no_worse = np.trace(spread, axis1=-2, axis2=-1) <= (1 + 1e-9) * np.trace(covariance, axis1=-2, axis2=-1)
    assert no_worse.all()


@pytest.mark.parametrize("stretch", [0.0, 0.1])
def test_lengths_are_measured_with_what_they_vary(stretch: float) -> None:
    rng = np.random.default_rng(1)
    bones = measure_bones(*blurred(rng, bodies(rng, stretch), 0.02), CHAIN)
    for bone, length in zip(bones, LENGTHS, strict=True):
        assert bone.length == pytest.approx(length, rel=0.02)
        assert bone.std is not None
        assert 0.7 * stretch * length < bone.std < 1.5 * stretch * length + 0.003


def test_a_known_length_is_kept_and_one_of_other_places_is_loose() -> None:
    rng = np.random.default_rng(2)
    points, covariance = blurred(rng, bodies(rng), 0.01)
    right, wrong = measure_bones(
        points, covariance, [Bone(first=0, second=1, length=0.1), Bone(first=1, second=2, length=0.09)]
    )
    assert (right.length, wrong.length) == (0.1, 0.09)
    assert right.std is not None
    assert wrong.std is not None
    assert right.std < 0.004
    assert wrong.std > 0.025, "the keypoints are 0.06 apart"
    given = Bone(first=0, second=1, length=0.1, std=0.001)
    assert measure_bones(points, covariance, [given]) == (given,)


def test_a_bone_that_is_never_sure_holds_nothing() -> None:
    rng = np.random.default_rng(3)
    points, covariance = blurred(rng, bodies(rng), 0.01)
    for change in (points[:10], np.where(np.arange(4)[:, None] == 2, np.nan, points)):
        part = covariance[: len(change)]
        bones = measure_bones(change, part, CHAIN[1:2])
        assert bones[0].std is None
        for found, given in zip(hold_lengths(change, part, bones), (change, part), strict=True):
            np.testing.assert_array_equal(found, given)
        assert "not held" in describe_bones(bones, ("a", "b", "c", "d"))


def test_missing_positions_stay_missing_and_change_nothing() -> None:
    rng = np.random.default_rng(4)
    points, covariance = blurred(rng, bodies(rng), 0.02)
    bones = measure_bones(points, covariance, CHAIN)
    whole, _ = hold_lengths(points, covariance, bones[:1])
    points[:, 2:] = np.nan
    found, _ = hold_lengths(points, covariance, bones)
    assert np.isnan(found[:, 2:]).all()
    np.testing.assert_allclose(found[:, :2], whole[:, :2])


def test_a_wild_position_does_not_take_its_neighbor_along() -> None:
    rng = np.random.default_rng(5)
    truth = bodies(rng)
    points, covariance = blurred(rng, truth, 0.0)
    bones = measure_bones(points, covariance, CHAIN)
    points[:, 0] += 0.3
    found, _ = hold_lengths(points, covariance, bones)
    assert np.linalg.norm(found - truth, axis=-1)[:, 1].mean() < 0.02


def test_units_order_and_direction_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    points, covariance = blurred(rng, bodies(rng), 0.02)
    expected = hold_lengths(points, covariance, measure_bones(points, covariance, CHAIN))
    in_mm = 1000 * points, 1e6 * covariance
    reverse = [Bone(first=bone.second, second=bone.first) for bone in reversed(CHAIN)]
    found = hold_lengths(*in_mm, measure_bones(*in_mm, reverse))
    np.testing.assert_allclose(found[0], 1000 * expected[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found[1], 1e6 * expected[1], rtol=1e-6, atol=1e-6)
    monkeypatch.setattr("mvgeom.smoothing.bones.CHUNK", 7)
    parts = hold_lengths(points, covariance, measure_bones(points, covariance, CHAIN))
    np.testing.assert_allclose(parts[0], expected[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("bones", "expected"),
    [
        ([Bone(first=0, second=0)], raises_input("out-of-range", argument="bones")),
        ([Bone(first=0, second=4)], raises_input("out-of-range", argument="bones")),
        ([Bone(first=0, second=-1)], raises_input("out-of-range", argument="bones")),
        ([Bone(first=0, second=1, length=0.0)], raises_input("out-of-range", argument="bones")),
        ([Bone(first=0, second=1, length=1.0, std=-1.0)], raises_input("out-of-range", argument="bones")),
        ([Bone(first=0, second=1), Bone(first=1, second=0)], raises_input("duplicate-name", argument="bones")),
    ],
)
def test_wrong_bones(bones: list[Bone], expected: Expectation) -> None:
    rig = random_rig(np.random.default_rng(0), 2)
    with expected:
        smooth(np.zeros((3, 2, 4, 2)), rig, bones=bones)


def test_names() -> None:
    names = ("nose", "neck", "tail")
    found = named_bones(names, [("nose", "neck"), ("neck", "tail")], [("neck", "nose", 0.12)])
    assert found == (Bone(first=1, second=0, length=0.12), Bone(first=1, second=2))
    with raises_input("unknown-choice", found="paw"):
        named_bones(names, [("nose", "paw")], [])
    assert parse_pairs("a:b, c:d", "--bones") == [("a", "b"), ("c", "d")]
    for text in ("a", "a:b:c", "a:"):
        with raises_input("bad-option", option="--bones"):
            parse_pairs(text, "--bones")


@pytest.mark.parametrize("seed", [0, 3])
def test_smoothing_holds_them(seed: int) -> None:
    """From keypoints of three views, one of which alone sees a keypoint for a while."""
    rng = np.random.default_rng(seed)
    rig = random_rig(rng, 3, distance=(1.0, 1.3))
    angle = np.arange(60)[:, None] / 15
    first = 0.05 * np.concatenate([np.sin(angle), np.cos(angle), 0.5 * np.sin(2 * angle)], axis=-1)
    turn = angle * 1.3 + 0.4
    second = first + 0.08 * np.concatenate([np.cos(turn), np.sin(turn), np.zeros_like(turn)], axis=-1)
    truth = np.stack([first, second], axis=1)
    points = project(truth, rig) + rng.normal(0, 1.5, (60, 3, 2, 2))
    points[20:40, 1:, 1] = np.nan
    ones = np.ones(3)
    motion = np.full(2, 1e-5)
    noise = Noise(scale=ones, floor=1.5 * ones, keypoint=ones[:2], share=0.0, decay=0.0, motion=motion, outliers=0.01)
    plain = smooth(points, rig, noise=noise)
    found = smooth(points, rig, noise=noise, bones=[Bone(first=0, second=1)])
    errors = [np.linalg.norm(each.points - truth, axis=-1)[20:40, 1].mean() for each in (plain, found)]
    assert errors[1] < 0.8 * errors[0]
    assert found.bones[0].length == pytest.approx(0.08, rel=0.03)
    assert plain.bones == ()
    np.testing.assert_array_equal(found.velocity, plain.velocity)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--bone", "a", "b"], "--bone: wrong form"),
        (["--bone", "a", "b", "0.1"], "unknown keypoint, found b"),
        (["--bones", "a"], "--bones: found a"),
    ],
)
def test_the_command_takes_them(tmp_path: Path, options: list[str], line: str) -> None:
    rig = random_rig(np.random.default_rng(0), 2)
    rig.save(tmp_path / "rig.toml")
    views = [f"{name}={tmp_path / name}.csv" for name in rig.names]
    for name in rig.names:
        (tmp_path / f"{name}.csv").write_text("scorer,x,x,x\nbodyparts,a,a,a\ncoords,x,y,likelihood\n0,1,2,0.9\n")
    outcome = run("smooth", tmp_path / "rig.toml", *views, "-o", tmp_path / "out.csv", *options)
    assert outcome.exit_code == 2
    assert line in outcome.stderr
