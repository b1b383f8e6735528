"""The 3D move: what is drawn, how each view follows, and what happens when it cannot."""

from __future__ import annotations

from dataclasses import replace

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from mvaug.move import MAX_ATTEMPTS, Move, MoveOutcome, MoveRanges, draw_move, move_subject
from mvgeom import affine
from mvgeom.projection import project

seeds = st.integers(0, 2**32 - 1)
STILL = MoveRanges(scale=(1.0, 1.0), shift=0.0)


def a_move(generator: np.random.Generator) -> Move:
    return Move(
        center=generator.normal(size=3),
        scale=float(generator.uniform(0.5, 2)),
        rotation_vector=generator.normal(size=3),
        shift=generator.normal(size=3),
    )


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_a_move_is_a_similarity_of_the_world_about_its_center(seed):
    generator = np.random.default_rng(seed)
    move, points = a_move(generator), generator.normal(size=(5, 3))
    moved = move.apply(points)
    before = np.linalg.norm(points[:, None] - points, axis=-1)
    after = np.linalg.norm(moved[:, None] - moved, axis=-1)
    np.testing.assert_allclose(after, move.scale * before, atol=1e-9)
    np.testing.assert_allclose(move.apply(move.center), move.center + move.shift, atol=1e-12)


@given(seed=seeds)
@settings(max_examples=40, deadline=None)
def test_moving_the_subject_is_moving_the_cameras_the_other_way(make_rig, subject, seed):
    """Scale about the center, turn and shift, projected: as unmoved points are by cameras that moved instead."""
    generator = np.random.default_rng(seed)
    move = replace(a_move(generator), shift=generator.uniform(-0.5, 0.5, 3), center=generator.uniform(-0.5, 0.5, 3))
    rig, rotation = make_rig(), cv2.Rodrigues(move.rotation_vector)[0]
    offset = move.center + move.shift - move.scale * rotation @ move.center
    moved_rig = rig.replace(
        rotation=rig.rotation @ rotation, translation=(rig.translation + rig.rotation @ offset) / move.scale
    )
    projected = project(move.apply(subject), rig)
    assert np.isfinite(projected).all()
    np.testing.assert_allclose(projected, project(subject, moved_rig), atol=1e-8)


def test_halving_goes_to_the_identity():
    move, points = a_move(np.random.default_rng(0)), np.random.default_rng(1).normal(size=(4, 3))
    half = move.halved()
    np.testing.assert_allclose(half.scale**2, move.scale)
    for _ in range(40):
        half = half.halved()
    np.testing.assert_allclose(half.apply(points), points, atol=1e-9)


def test_draws_are_as_defined(subject):
    """Scale U(0.8, 1.2) about the median, shift 0.25 extent U(-1, 1) per axis, missing points ignored."""
    stretched = subject * np.array([1.0, 3.0, 0.2]) + 100
    with_gap = np.concatenate([stretched, np.full((2, 3), np.nan)])
    moves = [draw_move(with_gap, MoveRanges(), np.random.default_rng(seed)) for seed in range(400)]
    np.testing.assert_allclose(moves[0].center, np.median(stretched, axis=0))
    assert all((move.rotation_vector == 0).all() for move in moves)
    scales = np.array([move.scale for move in moves])
    assert 0.8 <= scales.min() < 0.81
    assert 1.19 < scales.max() <= 1.2
    shifts = np.array([move.shift for move in moves]) / np.ptp(stretched, axis=0)
    assert (np.abs(shifts) <= 0.25).all()
    np.testing.assert_allclose(np.abs(shifts).max(axis=0), 0.25, atol=0.01)
    np.testing.assert_allclose(shifts.mean(axis=0), 0, atol=0.03)


def test_rotation_turns_about_the_axis_asked_for(subject):
    ranges = MoveRanges(scale=(1, 1), shift=0, rotate=(90, 90), axis=(0, 0, 2))
    moved = draw_move(subject, ranges, np.random.default_rng(0)).apply(subject)
    center = np.median(subject, axis=0)
    np.testing.assert_allclose((moved - center)[:, 0], -(subject - center)[:, 1], atol=1e-12)
    np.testing.assert_allclose(moved[:, 2], subject[:, 2], atol=1e-12)


def test_no_move_is_the_identity_in_every_view(make_rig, subject):
    moved = move_subject(subject, make_rig(), STILL, np.random.default_rng(0))
    assert moved.outcome is MoveOutcome.MOVED
    np.testing.assert_allclose(moved.points, subject, atol=1e-12)
    np.testing.assert_allclose(moved.full_to_moved, np.tile(np.eye(2, 3), (4, 1, 1)), atol=1e-7)
    np.testing.assert_allclose(moved.residual, 0, atol=1e-7)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_each_view_follows_its_own_projection(make_rig, subject, seed):
    """The residual is what it says, and small beside the subject for an ordinary rig."""
    rig = make_rig()
    moved = move_subject(subject, rig, MoveRanges(), np.random.default_rng(seed))
    assert moved.outcome is MoveOutcome.MOVED
    mapped = affine.apply(moved.full_to_moved, project(subject, rig))
    distance = np.linalg.norm(mapped - project(moved.points, rig), axis=-1)
    np.testing.assert_allclose(np.sqrt((distance**2).mean(-1)), moved.residual, rtol=1e-9)
    assert moved.residual.max() < 5


def test_far_away_the_affine_is_exact(make_rig, subject):
    """Seen through a long lens, scaling and shifting the subject is an affine map of the image."""
    rig = make_rig(distance=8000.0, focal=1e6, distortion=0.0)
    moved = move_subject(subject, rig, MoveRanges(), np.random.default_rng(3))
    near = move_subject(subject, make_rig(distortion=0.0), MoveRanges(), np.random.default_rng(3))
    assert moved.residual.max() < 0.02
    assert near.residual.max() > 20 * moved.residual.max()


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_permuting_views_permutes_the_result(make_rig, subject, seed):
    rig = make_rig()
    order = [2, 0, 3, 1]
    moved = move_subject(subject, rig, MoveRanges(), np.random.default_rng(seed))
    permuted = move_subject(
        subject, rig.select([rig.names[v] for v in order]), MoveRanges(), np.random.default_rng(seed)
    )
    np.testing.assert_array_equal(permuted.points, moved.points)
    np.testing.assert_allclose(permuted.full_to_moved, moved.full_to_moved[order], atol=1e-9)


def test_missing_points_change_nothing_for_the_others(make_rig, subject):
    with_gaps = np.concatenate([np.full((1, 3), np.nan), subject, np.full((2, 3), np.nan)])
    moved = move_subject(subject, make_rig(), MoveRanges(), np.random.default_rng(0))
    gappy = move_subject(with_gaps, make_rig(), MoveRanges(), np.random.default_rng(0))
    np.testing.assert_allclose(gappy.points[1:-2], moved.points)
    assert np.isnan(gappy.points[[0, -2, -1]]).all()
    np.testing.assert_allclose(gappy.full_to_moved, moved.full_to_moved, atol=1e-9)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_points_pass_unmoved(make_rig, subject, count):
    points = np.full_like(subject, np.nan)
    points[:count] = subject[:count]
    moved = move_subject(points, make_rig(), MoveRanges(), np.random.default_rng(0))
    assert moved.outcome is MoveOutcome.TOO_FEW_POINTS
    np.testing.assert_array_equal(moved.points, points)
    np.testing.assert_array_equal(moved.full_to_moved, np.tile(np.eye(2, 3), (4, 1, 1)))
    assert (moved.residual == 0).all()


@pytest.mark.parametrize("points", [np.zeros((5, 3)), np.arange(5.0)[:, None] * [0.1, 0.05, 0.1]])
def test_coincident_and_collinear_subjects_move_sanely(make_rig, points):
    for seed in range(10):
        moved = move_subject(points, make_rig(), MoveRanges(), np.random.default_rng(seed))
        assert moved.outcome is MoveOutcome.MOVED
        singular = np.linalg.svd(moved.full_to_moved[:, :, :2], compute_uv=False)
        assert (singular > 0.5).all()
        assert (singular < 2.0).all()


def test_a_large_residual_halves_the_move(make_rig):
    """A deep subject right before the lens: the first move's parallax no affine can follow."""
    points = np.random.default_rng(0).uniform(-1, 1, (15, 3))
    rig = make_rig(distance=2.6, focal=200.0)
    free = MoveRanges(max_residual=1e9)
    halved = 0
    for seed in range(20):
        first = move_subject(points, rig, free, np.random.default_rng(seed))
        moved = move_subject(points, rig, MoveRanges(max_residual=0.05), np.random.default_rng(seed))
        if first.outcome is not MoveOutcome.MOVED or moved.outcome is not MoveOutcome.MOVED:
            continue
        step, free_step = np.linalg.norm(moved.points - points), np.linalg.norm(first.points - points)
        if step < 0.75 * free_step:
            halved += 1
            size = np.sqrt(
                ((project(moved.points, rig) - project(moved.points, rig).mean(1, keepdims=True)) ** 2).sum(-1).mean(-1)
            )
            assert (moved.residual <= 0.0501 * size).all()
    assert halved > 5


def test_a_move_that_never_fits_passes_unmoved(make_rig, subject):
    moved = move_subject(subject, make_rig(), MoveRanges(max_residual=1e-9), np.random.default_rng(0))
    assert moved.outcome is MoveOutcome.NO_FIT
    np.testing.assert_array_equal(moved.points, subject)
    np.testing.assert_array_equal(moved.full_to_moved, np.tile(np.eye(2, 3), (4, 1, 1)))


def test_a_point_that_would_go_behind_a_camera_makes_the_move_smaller(make_rig):
    """Camera 0 sits 1.3 from a subject that reaches 0.9 towards it; a full shift would go through it."""
    rig = make_rig(num_views=2, distance=1.6, focal=60.0, distortion=0.0)
    points = np.random.default_rng(0).uniform(-0.9, 0.9, (12, 3))
    assert np.isfinite(project(points, rig)).all()
    ranges = MoveRanges(shift=1.5, max_residual=1e9)
    for seed in range(20):
        moved = move_subject(points, rig, ranges, np.random.default_rng(seed))
        assert np.isfinite(project(moved.points, rig)).all()
        assert np.isfinite(moved.full_to_moved).all()
    drawn = [draw_move(points, ranges, np.random.default_rng(seed)).apply(points) for seed in range(20)]
    assert sum(np.isnan(project(first, rig)).any() for first in drawn) > 5


def test_a_camera_that_never_saw_the_subject_does_not_object(make_rig, subject):
    """One camera looks away: nothing projects there, and its image stays as it is."""
    rig = make_rig()
    rotation = rig.rotation.copy()
    rotation[1] = np.diag([-1.0, 1.0, -1.0]) @ rotation[1]
    translation = rig.translation.copy()
    translation[1] = np.diag([-1.0, 1.0, -1.0]) @ translation[1]
    moved = move_subject(
        subject, rig.replace(rotation=rotation, translation=translation), MoveRanges(), np.random.default_rng(0)
    )
    assert moved.outcome is MoveOutcome.MOVED
    np.testing.assert_array_equal(moved.full_to_moved[1], np.eye(2, 3))
    assert moved.residual[1] == 0


def test_the_number_of_draws_does_not_depend_on_the_attempts(make_rig, subject):
    """So that what follows in the sample is the same whether or not the move had to be halved."""
    states = []
    for limit in (1e-9, 1e9):
        generator = np.random.default_rng(0)
        move_subject(subject, make_rig(), MoveRanges(max_residual=limit), generator)
        states.append(generator.random())
    assert states[0] == states[1]
    assert MAX_ATTEMPTS > 1
