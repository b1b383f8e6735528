"""Fusion of the views' heatmaps through 3D."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from helpers.heatmaps import FACTOR, SIZE, full, peaks, scene, world
from helpers.rigs import make_batch, ring
from mvgeom import affine, project
from mvtrain.data.batch import Batch
from mvtrain.model.decode import decode, model_to_heatmap
from mvtrain.model.fusion import Fusion, HeatmapRig, _prior, fuse_views
from mvtrain.model.inference import Network, predict_frames


def logits_of(heatmaps: Tensor) -> Tensor:
    return (heatmaps + 1e-7).log()


def fuse(batch: Batch, heatmaps: Tensor, present: Tensor | None = None) -> Fusion:
    assert batch.cameras is not None
    if present is None:
        present = torch.ones(heatmaps.shape[:2], dtype=torch.bool)
    return fuse_views(logits_of(heatmaps), batch.cameras, batch.to_model, present, FACTOR)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), num_views=st.integers(2, 6))
def test_views_that_agree_keep_their_places(seed: int, num_views: int) -> None:
    batch, places = scene(seed, num_views)
    found = fuse(batch, peaks(places))
    inside = ((places > 4) & (places < SIZE - 5)).all(-1).all(1, keepdim=True).expand(places.shape[:-1])
    error = (decode(found.logits)[0] - places).norm(dim=-1)[inside]
    assert error.max() < 0.05
    shown = (found.places - full(batch, places)).norm(dim=-1)[inside]
    assert shown.max() < 0.1 * full(batch, places).std()
    assert (found.weights[inside] > 0).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), view=st.integers(0, 3))
def test_a_view_that_shows_nothing_gets_its_place_from_the_others(seed: int, view: int) -> None:
    batch, places = scene(seed)
    heatmaps = peaks(places)
    heatmaps[:, view] = 1 / SIZE**2
    found = fuse(batch, heatmaps)
    error = (decode(found.logits)[0] - places).norm(dim=-1)
    inside = ((places > 4) & (places < SIZE - 5)).all(-1).all(1, keepdim=True).expand(error.shape)
    assert error[inside].max() < 0.5
    # What the view did not show is no evidence.
    others = [other for other in range(4) if other != view]
    assert (found.weights[:, view] < 0.1 * found.weights[:, others].amin(1))[inside[:, view]].all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), view=st.integers(0, 3))
def test_the_other_views_choose_between_two_peaks(seed: int, view: int) -> None:
    batch, places = scene(seed)
    wrong = places.clone()
    wrong[..., 0] = torch.where(places[..., 0] < SIZE / 2, places[..., 0] + 9, places[..., 0] - 9)
    heatmaps = peaks(places)
    # Of all keypoints the same shift would be that of a camera which has moved.
    some = slice(0, 2)
    heatmaps[:, view, some] = 0.3 * heatmaps[:, view, some] + 0.7 * peaks(wrong)[:, view, some]
    inside = ((places > 4) & (places < SIZE - 5)).all(-1).all(1, keepdim=True).expand(places.shape[:-1])
    alone = (decode(logits_of(heatmaps))[0] - places).norm(dim=-1)
    error = (decode(fuse(batch, heatmaps).logits)[0] - places).norm(dim=-1)
    assert (alone[:, view, some][inside[:, view, some]] > 5).all()
    assert error[inside].max() < 0.3


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), side=st.sampled_from([-8.0, 8.0]))
def test_of_two_views_each_keeps_the_other_to_its_epipolar_line(seed: int, side: float) -> None:
    batch, places = scene(seed, num_views=2)
    assert batch.cameras is not None
    points_3d = torch.from_numpy(world(seed))
    centers = batch.cameras.centers[:, :1]
    nearer = project(centers + 0.99 * (points_3d - centers), batch.cameras)
    along = model_to_heatmap(affine.apply(batch.to_model, nearer), FACTOR)[:, 1] - places[:, 1]
    across = torch.stack([-along[..., 1], along[..., 0]], dim=-1) / along.norm(dim=-1, keepdim=True)
    # The second view has another, higher peak beside the line of the first view.
    decoys = places[:, 1, :2] + side * across[:, :2]
    heatmaps = peaks(places)
    heatmaps[:, 1, :2] = 0.4 * heatmaps[:, 1, :2] + 0.6 * peaks(decoys)
    inside = ((places > 4) & (places < SIZE - 5)).all(-1).all(1)[:, :2]
    error = (decode(fuse(batch, heatmaps).logits)[0] - places).norm(dim=-1)[:, 1, :2]
    assert (error[inside] < 0.5).all()


@pytest.mark.parametrize("order", [(3, 1, 0, 2), (1, 0, 3, 2)])
def test_the_order_of_the_views_changes_nothing(order: tuple[int, ...]) -> None:
    batch, places = scene(3)
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 1.5, places.shape))
    heatmaps, index = peaks(places + noise), list(order)
    assert batch.cameras is not None
    names = [batch.cameras.names[view] for view in order]
    shuffled = dataclasses.replace(
        batch, to_model=batch.to_model[:, index], cameras=batch.cameras.select(names), points=batch.points[:, index]
    )
    found, again = fuse(batch, heatmaps), fuse(shuffled, heatmaps[:, index])
    torch.testing.assert_close(found.logits[:, index], again.logits, rtol=0, atol=1e-3)


def test_samples_do_not_depend_on_their_batch() -> None:
    batch, places = scene(5)
    noise = torch.from_numpy(np.random.default_rng(1).normal(0, 2, places.shape))
    heatmaps = peaks(places + noise)
    together = fuse(batch, heatmaps).logits
    assert batch.cameras is not None
    cameras = batch.cameras
    one = cameras.replace(
        **{name: getattr(cameras, name)[1:] for name in ("sizes", "matrix", "distortion", "rotation", "translation")}
    )
    alone = fuse_views(
        logits_of(heatmaps[1:]), one, batch.to_model[1:], torch.ones(1, 4, dtype=torch.bool), FACTOR
    ).logits
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-9)


def test_views_that_are_absent_or_not_calibrated_take_no_part() -> None:
    batch, places = scene(7)
    heatmaps = peaks(places)
    present = torch.ones(2, 4, dtype=torch.bool)
    present[0, 2], present[1] = False, False
    found = fuse(batch, heatmaps, present)
    nonsense = heatmaps.clone()
    nonsense[0, 2] = peaks(torch.full_like(places[0, 2], 3.0))
    other = fuse(batch, nonsense, present)
    kept = [0, 1, 3]
    torch.testing.assert_close(found.logits[0, kept], other.logits[0, kept])
    torch.testing.assert_close(found.logits[1], logits_of(heatmaps)[1], rtol=0, atol=0)
    assert (found.weights[1] == 0).all()
    assert (found.weights[0, 2] == 0).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(4, 10), up=st.booleans())
def test_a_view_whose_camera_has_moved_keeps_what_it_sees(seed: int, shift: float, up: bool) -> None:
    batch, places = scene(seed)
    moved = places.clone()
    moved[:, 1, :, int(up)] += shift
    inside = ((moved > 2) & (moved < SIZE - 3)).all(-1).all(1)
    if inside.sum(-1).min() < 4:
        return
    found = decode(fuse(batch, peaks(moved)).logits)[0]
    error = (found - moved).norm(dim=-1)[:, 1][inside]
    assert error.median() < 1.0


@pytest.mark.parametrize("baseline", [0.25, 0.1, 0.05])
def test_cameras_side_by_side_are_no_trouble_in_float32(baseline: float) -> None:
    """Depth is uncertain by orders of magnitude more than direction, and one view shows some keypoints alone."""
    pair = ring(2)
    shift = np.array([[0.0, 0, 0], [baseline, 0, 0]])
    rig = pair.replace(rotation=pair.rotation[[0, 0]], translation=pair.translation[[0, 0]] + shift)
    batch = make_batch(0.7 * world(19), rig)
    places = model_to_heatmap(batch.points, FACTOR)
    heatmaps = peaks(places)
    heatmaps[:, 1, :3] = 0.02 * heatmaps[:, 1, :3] + 0.98 / SIZE**2
    single = batch._map(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)
    found, again = fuse(batch, heatmaps), fuse(single, heatmaps.float())
    for part in (again.logits, again.places, again.weights):
        assert torch.isfinite(part).all()
    torch.testing.assert_close(decode(found.logits)[0].float(), decode(again.logits)[0], rtol=0, atol=0.3)
    inside = ((places > 4) & (places < SIZE - 5)).all(-1).all(1)
    assert (decode(found.logits)[0] - places).norm(dim=-1)[:, 0][inside].max() < 0.1


def test_float32_finds_the_same() -> None:
    batch, places = scene(11)
    noise = torch.from_numpy(np.random.default_rng(2).normal(0, 1.5, places.shape))
    heatmaps = peaks(places + noise)
    single = batch._map(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)
    found, again = fuse(batch, heatmaps).logits, fuse(single, heatmaps.float()).logits
    assert again.dtype == torch.float32
    torch.testing.assert_close(decode(found)[0].float(), decode(again)[0], rtol=0, atol=0.02)


class Peaks(torch.nn.Module):
    """A network that shows given heatmaps whatever the images."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor, *_: object) -> Tensor:
        return self.logits[: len(images)]


def test_predictions_hold_what_each_view_showed_before() -> None:
    batch, places = scene(13)
    heatmaps = peaks(places)
    heatmaps[:, 3] = 1 / SIZE**2
    single = batch._map(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)
    single = dataclasses.replace(single, view_mask=torch.ones(2, 4, dtype=torch.bool))
    single.view_mask[0, 0] = False  # type: ignore[index]
    network = Network(
        model=Peaks(logits_of(heatmaps).float()),
        mean=torch.zeros(3),
        std=torch.ones(3),
        downsample_factor=FACTOR,
        fuses_views=True,
    )
    fused = predict_frames(network, [single], torch.device("cpu"))
    plain = predict_frames(dataclasses.replace(network, fuses_views=False), [single], torch.device("cpu"))
    assert fused.before_fusion is not None
    assert plain.before_fusion is None
    np.testing.assert_array_equal(fused.own_points, plain.points)
    np.testing.assert_array_equal(fused.own_confidence, plain.confidence)
    truth = full(batch, places).numpy()
    inside = ((places > 4) & (places < SIZE - 5)).all(-1).all(1).numpy()
    pixel = 2**FACTOR / float(batch.to_model[0, 0, 0, 0])
    error = np.linalg.norm(fused.points - truth, axis=-1) / pixel
    assert np.isnan(error[0, 0]).all()
    assert np.nanmax(error[:, 3][inside]) < 1.0
    assert np.nanmin(np.linalg.norm(plain.points - truth, axis=-1)[:, 3].mean(-1)) > pixel
    assert np.isnan(fused.before_fusion.evidence[0, 0]).all()


def test_a_view_that_is_sure_keeps_a_share_of_its_own_peak() -> None:
    """The others may all err, though they agree with each other."""
    batch, places = scene(4)
    middle = 0.25 * torch.from_numpy(world(4))
    assert batch.cameras is not None
    places = model_to_heatmap(affine.apply(batch.to_model, project(middle, batch.cameras)), FACTOR)
    own = places[:, 0, 0] + torch.where(places[:, 0, 0] < SIZE / 2, 9.0, -9.0)
    heatmaps = peaks(places)
    heatmaps[:, 0, 0] = peaks(own)
    fused = fuse(batch, heatmaps).logits[:, 0, 0]
    share = fused.flatten(-2).softmax(-1).reshape(fused.shape)
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    near = (torch.stack([columns, rows], dim=-1) - own[:, None, None]).norm(dim=-1) < 4
    kept = (share * near).sum((-2, -1))
    assert ((kept > 0.1) & (kept < 0.9)).all()


@pytest.mark.parametrize("view", range(4))
def test_what_a_view_shows_is_no_part_of_its_own_prior(view: int) -> None:
    batch, _ = scene(4)
    middle = 0.25 * torch.from_numpy(world(4))
    assert batch.cameras is not None
    places = project(middle, batch.cameras)
    moved = places.clone()
    moved[:, view] += 20
    rig = HeatmapRig(
        cameras=batch.cameras,
        to_model=batch.to_model,
        present=torch.ones(places.shape[:2], dtype=torch.bool),
        downsample_factor=FACTOR,
    )
    heatmaps, weights = torch.full((*places.shape[:-1], SIZE, SIZE), 1 / SIZE**2), torch.ones(places.shape[:-1])
    one, other = (_prior(observed, weights.double(), heatmaps.double(), rig) for observed in (places, moved))
    shift = (one.centers - other.centers).norm(dim=-1)
    assert shift[:, view].max() < 0.1
    # The same is a part of the priors of the others.
    assert shift[:, (view + 1) % 4].median() > 0.3
