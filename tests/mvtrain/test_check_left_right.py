"""Proportions of the two sides of a body, names over the wrong columns, and mirrored pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from helpers.errors import raises_input
from mvtrain.check.left_right import compare_sides, mirrored_pairs, symmetry_findings

NAMES = ("nose", *(f"{side}_{part}" for part in ("ear", "elbow", "paw", "knee") for side in ("left", "right")))
PAIRS = mirrored_pairs(NAMES)


def bodies(rng: np.random.Generator, num_frames: int = 30, looseness: float = 0.1) -> np.ndarray:
    """Return the points (N, K, 3) of a mirror-symmetric body at random poses, its parts moving independently."""
    halves = rng.uniform(0.3, 2, (len(PAIRS), 3)) * [1, 1, 3]
    parts = [np.zeros(3), *(half * sign for half in halves for sign in ([1, 1, 1], [-1, 1, 1]))]
    moving = np.stack(parts) + looseness * rng.normal(size=(num_frames, len(NAMES), 3))
    turn = Rotation.random(num_frames, random_state=0).as_matrix()
    return np.einsum("nij,nkj->nki", turn, moving) + rng.normal(size=(num_frames, 1, 3))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3), missing=st.floats(0, 0.5))
def test_a_symmetric_body_passes(seed: int, scale: float, missing: float) -> None:
    rng = np.random.default_rng(seed)
    points = scale * bodies(rng)
    points[rng.random(points.shape[:2]) < missing] = np.nan
    assert symmetry_findings(NAMES, points, PAIRS) == []


def test_names_over_the_wrong_columns() -> None:
    """Warn where one name is lost in the middle, so that all that follow are one column off."""
    points = bodies(np.random.default_rng(1))
    (finding,) = symmetry_findings(NAMES, np.roll(points, 1, axis=1), PAIRS)
    assert (finding.severity, finding.code) == ("warning", "unequal_sides")
    assert finding.evidence["ratio"] > 1.25
    assert "labels.png" in finding.text


def test_the_most_unequal_comes_first_with_its_lengths() -> None:
    points = bodies(np.random.default_rng(2), looseness=0)
    points[:, NAMES.index("left_paw")] = points[:, NAMES.index("left_elbow")] + [9.0, 0, 0]
    first = compare_sides(points, PAIRS)[0]
    assert "left_paw" in {NAMES[k] for k in first.one}
    for keypoints, length in zip((first.one, first.other), first.lengths, strict=True):
        start, end = keypoints
        assert length == pytest.approx(np.median(np.linalg.norm(points[:, start] - points[:, end], axis=-1)))


def test_too_few_frames_or_pairs() -> None:
    points = np.roll(bodies(np.random.default_rng(1)), 1, axis=1)
    assert symmetry_findings(NAMES, points[:4], PAIRS) == []
    assert symmetry_findings(NAMES, points, PAIRS[:2]) == []
    assert symmetry_findings(NAMES, np.full_like(points, np.nan), PAIRS) == []


def test_mirrored_pairs_are_found_by_name() -> None:
    assert mirrored_pairs(("nose", "left_ear", "right_ear", "tail")) == [(1, 2)]
    assert mirrored_pairs(("nose", "tail")) == []
    with raises_input("missing-counterpart", keypoint="left_ear", counterpart="right_ear"):
        mirrored_pairs(("nose", "left_ear", "ear"))
