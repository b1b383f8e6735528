"""Signs that a network has not learned."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.evaluations import made_up_evaluation
from mvtrain.evaluation.evaluation import describe_unlearned
from mvtrain.metrics import flat_confidence, starving_keypoints
from mvtrain.model.decode import decode

SIZE = (24, 32)


@given(st.integers(4, 80), st.integers(4, 80))
@settings(max_examples=30, deadline=None)
def test_a_flat_heatmap_has_the_confidence_of_its_window(height: int, width: int) -> None:
    # Decoding cuts off only what is smaller than its window.
    logits = torch.zeros(1, height, width, dtype=torch.float64)
    logits[0, height // 2, width // 2] = 1e-9
    _, confidence = decode(logits)
    assert flat_confidence((height, width)) == pytest.approx(confidence.item(), rel=0.25)
    if height >= 9 and width >= 9:
        assert flat_confidence((height, width)) == pytest.approx(confidence.item(), rel=1e-6)


def test_keypoints_without_a_peak_are_found_where_others_have_one() -> None:
    flat = flat_confidence(SIZE)
    confidence = np.tile([0.9, flat * 1.1, 0.8, flat, 0.7], (6, 2, 1))
    visible = np.ones(confidence.shape, dtype=bool)
    assert list(starving_keypoints(confidence, visible, SIZE)) == [3, 1]
    # Keypoints without a label or an image do not count.
    visible[..., 3] = False
    confidence[:, 0] = np.nan
    assert list(starving_keypoints(confidence, visible, SIZE)) == [1]
    # A network at the start of training has no peak at all, and a keypoint of low confidence has one.
    assert starving_keypoints(np.full((6, 2, 5), flat), visible, SIZE) == {}
    assert starving_keypoints(np.tile([0.9, 0.35, 0.8, 0.9, 0.7], (6, 2, 1)), visible, SIZE) == {}
    assert starving_keypoints(np.full((6, 2, 5), np.nan), visible, SIZE) == {}


def test_a_run_that_is_no_better_than_the_mean_pose_is_reported() -> None:
    evaluation = made_up_evaluation(views=("a", "b"), keypoints=("nose", "tail", "paw"), sets=("train", "test", "test"))
    rows = evaluation.split == "test"
    better = dataclasses.replace(evaluation, mean_pose_error=evaluation.pixel_error * 2)
    worse = dataclasses.replace(evaluation, mean_pose_error=evaluation.pixel_error * 0.9)
    assert rows.any()
    assert not any("mean pose" in line for line in describe_unlearned(better, SIZE, "kl"))
    assert "mean pose" in describe_unlearned(worse, SIZE, "kl")[-1]


def test_the_starving_keypoint_is_named_with_another_loss_only_where_that_helps() -> None:
    evaluation = made_up_evaluation(views=("a", "b"), keypoints=("nose", "tail", "paw"), sets=("train", "test", "test"))
    confidence = np.full(evaluation.raw_confidence.shape, 0.9)
    confidence[..., 1] = flat_confidence(SIZE)
    starving = dataclasses.replace(evaluation, own_confidence=confidence)
    for loss, advised in (("mse", True), ("js", True), ("kl", False)):
        (line, *_) = describe_unlearned(starving, SIZE, loss)
        assert evaluation.keypoint_names[1] in line
        assert ("heatmap_loss_type" in line) == advised
