"""The place in space on which the views' heatmaps agree."""

import itertools

import numpy as np
import torch
from torch import Tensor

from helpers.heatmaps import FACTOR, SIZE, full, peaks, scene, world
from mvtrain.data.batch import Batch
from mvtrain.model.fusion import NO_EVIDENCE, HeatmapRig, _choose, _combinations, find_agreement

MIDDLE = 0.25
"""Share of the world in which every view has its keypoints well inside of its image."""


def rig_of(batch: Batch, present: Tensor | None = None) -> HeatmapRig:
    assert batch.cameras is not None
    if present is None:
        present = torch.ones(batch.to_model.shape[:2], dtype=torch.bool)
    return HeatmapRig(cameras=batch.cameras, to_model=batch.to_model, present=present, downsample_factor=FACTOR)


def two_candidates() -> tuple[Batch, Tensor, Tensor]:
    """Return a batch, candidates (B, K, 2, 3), and their places (B, V, K, 2, 2) in heatmap px."""
    batch, _ = scene(4)
    right, wrong = (MIDDLE * torch.from_numpy(world(seed)) for seed in (4, 5))
    wrong = wrong + 0.25 * torch.sign(wrong - right)
    candidates = torch.stack([right, wrong], dim=2)
    places = rig_of(batch).project(candidates.flatten(1, 2)).unflatten(2, candidates.shape[1:3])
    assert ((places > 2) & (places < SIZE - 3)).all()
    return batch, candidates, places


def test_every_pair_of_peaks_is_tried() -> None:
    chosen = _combinations(4, torch.device("cpu")).tolist()
    for one, other in itertools.combinations(chosen, 2):
        assert set(zip(one, other, strict=True)) == set(itertools.product(range(3), repeat=2))


def test_one_view_that_is_sure_does_not_outvote_three_that_are_not() -> None:
    batch, candidates, places = two_candidates()
    unsure = 0.9 / SIZE**2 + 0.1 * peaks(places[..., 0, :])
    sure = peaks(places[..., 1, :])
    heatmaps = torch.cat([unsure[:, :3], sure[:, 3:]], dim=1)
    # As a sum the sure view would win: its peak is higher than the three others together.
    assert (sure.amax((-2, -1))[:, 3] > unsure.amax((-2, -1))[:, :3].sum(1)).all()
    torch.testing.assert_close(_choose(candidates, heatmaps, rig_of(batch)), candidates[:, :, 0])


def test_absent_views_have_no_vote() -> None:
    batch, candidates, places = two_candidates()
    heatmaps = peaks(places[..., 1, :])
    heatmaps[:, 0] = peaks(places[..., 0, :])[:, 0]
    present = torch.tensor([[True, False, False, False]]).expand(len(heatmaps), -1)
    torch.testing.assert_close(_choose(candidates, heatmaps, rig_of(batch, present)), candidates[:, :, 0])


def test_a_view_shows_its_own_place_not_one_half_way_to_the_others() -> None:
    batch, _ = scene(4)
    exact = rig_of(batch).project(MIDDLE * torch.from_numpy(world(4)))
    own = exact + torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, exact.shape))
    shown, weights = find_agreement(peaks(own), rig_of(batch))
    scale = rig_of(batch).scale.diagonal(dim1=-2, dim2=-1)[:, :, None]
    apart = ((shown - full(batch, own)) * scale).norm(dim=-1)
    assert (weights > 0).all()
    # The gate's mean lies up to half way between.
    assert apart.median() < 0.1 * (own - exact).norm(dim=-1).median()


def test_what_a_view_hardly_shows_is_no_evidence_at_all() -> None:
    batch, _ = scene(4)
    places = rig_of(batch).project(MIDDLE * torch.from_numpy(world(4)))
    heatmaps = peaks(places)
    heatmaps[:, 2] = (1 - 1e-5) / SIZE**2 * torch.ones_like(heatmaps[:, 2])
    _, weights = find_agreement(heatmaps, rig_of(batch))
    others = weights[:, [0, 1, 3]]
    assert (others > NO_EVIDENCE * others.amax()).all()
    assert ((weights[:, 2] == 0) | (weights[:, 2] > NO_EVIDENCE * others.amax(1))).all()
    assert (weights[:, 2] == 0).any()
