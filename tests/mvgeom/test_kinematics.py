"""Velocity, speed, lengths of bones and angles of joints: properties, and standard deviations by Monte Carlo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import raises_input
from helpers.geometry import random_rotation
from mvgeom import Kinematics, compute_kinematics, joints_of_bones
from mvgeom.tables import COORDS_KINEMATICS, write_kinematics

BONES = ((0, 1), (1, 2), (3, 1))
JOINTS = ((0, 1, 2), (3, 1, 0))
FIELDS = ("velocity", "velocity_std", "speed", "speed_std", "length", "length_std", "angle", "angle_std")


def random_covariance(rng: np.random.Generator, shape: tuple[int, ...], scale: float, dims: int = 3) -> np.ndarray:
    factor = rng.normal(0, scale, (*shape, dims, dims))
    return np.asarray(factor @ np.swapaxes(factor, -1, -2))


def random_motion(seed: int, number: int = 6, dims: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (number, 4)
    return {
        "points": rng.normal(0, 5, (*shape, dims)),
        "covariance": random_covariance(rng, shape, 0.1, dims),
        "velocity": rng.normal(0, 3, (*shape, dims)),
        "velocity_covariance": random_covariance(rng, shape, 0.1, dims),
    }


def compute(motion: dict[str, np.ndarray]) -> Kinematics:
    return compute_kinematics(**motion, bones=BONES, joints=JOINTS)  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_rigid_motion_changes_neither_speeds_lengths_nor_angles(seed: int) -> None:
    motion, rng = random_motion(seed), np.random.default_rng(seed + 1)
    rotation, shift = random_rotation(rng), rng.normal(0, 100, 3)
    turned = {
        "points": motion["points"] @ rotation.T + shift,
        "velocity": motion["velocity"] @ rotation.T,
        **{name: rotation @ motion[name] @ rotation.T for name in ("covariance", "velocity_covariance")},
    }
    before, after = compute(motion), compute(turned)
    for name in ("speed", "speed_std", "length", "length_std", "angle", "angle_std"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(after.velocity, before.velocity @ rotation.T, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(1e-3, 1e3))
def test_a_unit_of_length_scales_all_but_angles(seed: int, factor: float) -> None:
    motion = random_motion(seed)
    scaled = {name: values * factor ** (2 if "covariance" in name else 1) for name, values in motion.items()}
    before, after = compute(motion), compute(scaled)
    for name in FIELDS:
        expected = getattr(before, name) * (1.0 if name.startswith("angle") else factor)
        np.testing.assert_allclose(getattr(after, name), expected, rtol=1e-9)


@pytest.mark.parametrize("dims", [2, 3])
def test_standard_deviations_are_those_of_samples(dims: int) -> None:
    motion, rng = random_motion(3, dims=dims), np.random.default_rng(4)
    number = 4000
    expected = compute(motion)

    def sampled(values: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        factor = np.linalg.cholesky(covariance + 1e-12 * np.eye(dims))
        return np.asarray(values + (factor @ rng.normal(size=(number, *values.shape, 1)))[..., 0])

    points = sampled(motion["points"], motion["covariance"])
    velocity = sampled(motion["velocity"], motion["velocity_covariance"])
    shape = (number * 6, 4, dims)
    many = compute_kinematics(
        points.reshape(shape),
        np.zeros((*shape, dims)),
        velocity.reshape(shape),
        np.zeros((*shape, dims)),
        bones=BONES,
        joints=JOINTS,
    )
    for name in ("velocity", "speed", "length", "angle"):
        values = getattr(many, name)
        found = values.reshape(number, 6, *values.shape[1:]).std(0)
        std = getattr(expected, f"{name}_std")
        # First order ends where a length reaches 0, or an angle 0 or 180 degrees.
        room = {"velocity": np.full(found.shape, np.inf), "angle": np.minimum(expected.angle, 180 - expected.angle)}
        far = room.get(name, getattr(expected, name)) > 4 * std
        assert far.mean() > 0.7
        np.testing.assert_allclose(found[far], std[far], rtol=0.12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_velocities_from_positions_are_differences(seed: int) -> None:
    motion, rng = random_motion(seed, 9), np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.1, 1, 9))
    straight = motion["points"][:1] + times[:, None, None] * motion["velocity"][:1]
    covariance = motion["covariance"]
    found = compute_kinematics(straight, covariance, times=times)
    np.testing.assert_allclose(found.velocity, np.broadcast_to(motion["velocity"][:1], (9, 4, 3)), atol=1e-9)
    duration = times[5] - times[3]
    variance = np.diagonal(covariance[3] + covariance[5], axis1=-2, axis2=-1) / duration**2
    np.testing.assert_allclose(found.velocity_std[4], np.sqrt(variance))
    np.testing.assert_allclose(
        compute_kinematics(motion["points"], covariance).velocity[1:-1],
        np.gradient(motion["points"], axis=0)[1:-1],
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_missing_keypoint_empties_what_it_is_part_of_and_nothing_else(seed: int) -> None:
    motion, rng = random_motion(seed), np.random.default_rng(seed)
    missing = rng.random((6, 4)) < 0.3
    gaps = {
        name: np.where(missing.reshape(6, 4, *(1,) * (values.ndim - 2)), np.nan, values)
        for name, values in motion.items()
    }
    whole, found = compute(motion), compute(gaps)
    absent = {
        "velocity": missing,
        "speed": missing,
        "length": np.stack([missing[:, list(bone)].any(1) for bone in BONES], axis=1),
        "angle": np.stack([missing[:, list(joint)].any(1) for joint in JOINTS], axis=1),
    }
    for name in FIELDS:
        gone = absent[name.removesuffix("_std")]
        values = getattr(found, name)
        assert np.isnan(values[gone]).all()
        np.testing.assert_array_equal(values[~gone], getattr(whole, name)[~gone])
    alone = compute_kinematics(gaps["points"], gaps["covariance"])
    known = np.isfinite(gaps["points"]).all(-1)
    beside = np.zeros_like(known)
    beside[1:] |= known[:-1]
    beside[:-1] |= known[1:]
    np.testing.assert_array_equal(np.isfinite(alone.speed), known & beside)


@pytest.mark.parametrize(("bend", "angle"), [(0.0, 180.0), (180.0, 0.0)])
def test_a_straight_joint_has_the_error_of_the_widest_direction(bend: float, angle: float) -> None:
    turn = np.radians(bend)
    points = np.array([[[-1.0, 0, 0], [0, 0, 0], [2 * np.cos(turn), 2 * np.sin(turn), 0]]])
    covariance = np.broadcast_to(0.01**2 * np.eye(3), (1, 3, 3, 3))
    found = compute_kinematics(points, covariance, joints=[(0, 1, 2)])
    assert found.angle[0, 0] == pytest.approx(angle, abs=1e-5)
    ends = 1 + 1 / 4 + (1 + 1 / 2 * (1 if angle == 180 else -1)) ** 2
    assert found.angle_std[0, 0] == pytest.approx(np.degrees(0.01 * np.sqrt(ends)), rel=1e-6)


def test_a_keypoint_at_rest_and_a_bone_without_length_have_standard_deviations() -> None:
    points, covariance = np.zeros((3, 2, 3)), np.broadcast_to(np.diag([1.0, 4.0, 9.0]), (3, 2, 3, 3))
    found = compute_kinematics(points, covariance, np.zeros((3, 2, 3)), covariance, bones=[(0, 1)])
    np.testing.assert_allclose(found.speed_std, 3.0)
    np.testing.assert_allclose(found.length_std, np.sqrt(18))
    assert np.isnan(compute_kinematics(np.zeros((1, 3, 3)), np.zeros((1, 3, 3, 3)), joints=[(0, 1, 2)]).angle).all()


def test_joints_are_bones_that_share_a_keypoint() -> None:
    assert joints_of_bones(BONES) == [(0, 1, 2), (0, 1, 3), (2, 1, 3)]
    assert joints_of_bones([(0, 1), (2, 3), (1, 0)]) == []


def test_wrong_arguments_are_refused() -> None:
    motion = random_motion(0)
    points, covariance = motion["points"], motion["covariance"]
    with raises_input("wrong-shape", argument="covariance"):
        compute_kinematics(points, covariance[:-1])
    with raises_input("wrong-shape", argument="points"):
        compute_kinematics(points[0], covariance)
    with raises_input("missing-argument", argument="velocity_covariance"):
        compute_kinematics(points, covariance, points)
    with raises_input("wrong-shape", argument="times"):
        compute_kinematics(points, covariance, times=np.arange(3.0))
    with raises_input("out-of-range", argument="times", row=2):
        compute_kinematics(points, covariance, times=np.array([0, 1, 1, 2, 3, 4.0]))
    for bone in ((0, 4), (1, 1), (-1, 0)):
        with raises_input("out-of-range", argument="bones", found=bone):
            compute_kinematics(points, covariance, bones=[bone])
    with raises_input("out-of-range", argument="joints"):
        compute_kinematics(points, covariance, joints=[(0, 1)])  # type: ignore[list-item]


def test_the_table_has_all_numbers(tmp_path: Path) -> None:
    found = compute(random_motion(1))
    names, bones, joints = ["a", "b", "c", "d"], ["a:b", "b:c", "d:b"], ["a:b:c", "d:b:a"]
    rows = [str(row) for row in range(6)]
    write_kinematics(tmp_path / "kinematics.csv", names, bones, joints, [(rows, found)])
    table = pd.read_csv(tmp_path / "kinematics.csv", header=[0, 1, 2], index_col=0)["mvgeom"]
    np.testing.assert_allclose(table["b"][list(COORDS_KINEMATICS[:3])], found.velocity[:, 1], rtol=1e-5)
    np.testing.assert_allclose(table["c"]["speed_std"], found.speed_std[:, 2], rtol=1e-5)
    np.testing.assert_allclose(table["b:c"]["length"], found.length[:, 1], rtol=1e-5)
    np.testing.assert_allclose(table["d:b:a"]["angle_std"], found.angle_std[:, 1], rtol=1e-5)
    assert len(table.columns) == 4 * 8 + 3 * 2 + 2 * 2
