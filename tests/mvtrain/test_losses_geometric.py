import dataclasses
from itertools import combinations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.geometry import slow_triangulate
from helpers.rigs import make_batch, make_prediction, ring
from mvgeom import CameraGroup, affine, project, rays, triangulate
from mvtrain.data.batch import Batch
from mvtrain.losses import LOSSES
from mvtrain.losses.geometric import pairwise_projection_loss, reprojection_heatmap_mse
from mvtrain.losses.heatmap import target_factors
from mvtrain.model.decode import model_to_heatmap
from mvtrain.model.inference import Prediction


def pose(seed: int = 0, num_samples: int = 2, num_keypoints: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (num_samples, num_keypoints, 3))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("num_views", [2, 4])
def test_labels_as_predictions_cost_nothing(name: str, num_views: int) -> None:
    batch = make_batch(pose(), ring(num_views))
    assert LOSSES[name](make_prediction(batch, batch.points), batch, 1.0).item() == pytest.approx(0, abs=1e-9)


def test_a_pose_error_of_one_camera_does_not_make_right_predictions_wrong() -> None:
    # Labels and predictions are triangulated alike, so an imperfect calibration displaces both alike.
    batch = make_batch(pose(), ring())
    assert batch.cameras is not None
    shift = torch.zeros_like(batch.cameras.translation)
    shift[:, 2] = 0.3
    batch = dataclasses.replace(batch, cameras=batch.cameras.replace(translation=batch.cameras.translation + shift))
    loss = LOSSES["supervised_pairwise_projections"](make_prediction(batch, batch.points), batch, 1.0)
    assert loss.item() == pytest.approx(0, abs=1e-9)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A batch with everything missing that can be, and a prediction with a confidence per point."""

    batch: Batch
    prediction: Prediction
    cameras: CameraGroup

    @property
    def frame_labels(self) -> np.ndarray:
        """(B, V, K, 2) full-image px, NaN where a label does not count."""
        labels = affine.apply(affine.invert(self.batch.to_model), self.batch.points).numpy()
        counts = (self.batch.visibility.numpy() == 2) & self.batch.calibrated.numpy()[:, None, None]
        return np.where(counts[..., None], labels, np.nan)

    @property
    def weights(self) -> np.ndarray:
        """(B, V, K) confidence, 0 for views without an image."""
        assert self.batch.view_mask is not None
        return self.prediction.confidence.numpy() * self.batch.view_mask.numpy()[..., None]


def incomplete(seed: int, num_views: int) -> Case:
    generator = torch.Generator().manual_seed(seed)
    cameras = ring(num_views)
    batch = make_batch(pose(seed, num_samples=4), cameras)
    shape = batch.visibility.shape
    fate = torch.rand(shape, generator=generator)
    visibility = torch.where(fate < 0.2, 0, torch.where(fate < 0.35, 1, batch.visibility))
    present = torch.rand(shape[:2], generator=generator) < 0.8
    visibility[~present] = 0
    calibrated = torch.tensor([True, True, False, True])
    batch = dataclasses.replace(batch, visibility=visibility, view_mask=present, calibrated=calibrated)
    noise = torch.randn(batch.points.shape, dtype=torch.float64, generator=generator)
    # Some far off: the pairwise loss grows linearly from there.
    noise = noise * torch.where(torch.rand(shape, generator=generator) < 0.1, 20.0, 1.0)[..., None]
    prediction = make_prediction(batch, batch.points + noise)
    confidence = torch.rand(shape, dtype=torch.float64, generator=generator)
    return Case(batch=batch, prediction=dataclasses.replace(prediction, confidence=confidence), cameras=cameras)


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), num_views=st.integers(2, 5), scale=st.sampled_from([0.3, 1.0, 4.0]))
def test_pairwise_loss_equals_a_slow_reference_with_missing_data(seed: int, num_views: int, scale: float) -> None:
    case = incomplete(seed, num_views)
    labels, weights, predicted = case.frame_labels, case.weights, case.prediction.full_points.numpy()
    total = weight_sum = 0.0
    for first, second in combinations(range(num_views), 2):
        two = case.cameras.select([case.cameras.names[first], case.cameras.names[second]])
        for sample, keypoint in np.ndindex(len(labels), labels.shape[2]):
            pair = np.ix_([sample], [first, second], [keypoint])
            truth = slow_triangulate(labels[pair], two)[0, 0]
            if not np.isfinite(truth).all():
                continue
            found = slow_triangulate(predicted[pair], two)[0, 0]
            if not np.isfinite(found).all():
                continue
            _, directions = rays(labels[pair], two)
            one, other = directions[0, :, 0]
            cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
            weight = weights[sample, first, keypoint] * weights[sample, second, keypoint] * (1 - cosine**2)
            distance = np.linalg.norm(found - truth) / scale
            total += weight * (distance**2 if distance < 1 else 2 * distance - 1)
            weight_sum += weight
    expected = total / weight_sum if weight_sum > 0 else 0.0
    loss = LOSSES["supervised_pairwise_projections"](case.prediction, case.batch, scale)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), num_views=st.integers(2, 5))
def test_reprojection_loss_equals_a_slow_reference_with_missing_data(seed: int, num_views: int) -> None:
    case = incomplete(seed, num_views)
    batch, predicted = case.batch, case.prediction.full_points.numpy()
    points_3d = triangulate(predicted, case.cameras, weights=case.weights)
    size = case.prediction.logits.shape[-1]
    squared = []
    for sample, view, keypoint in np.argwhere(np.isfinite(case.frame_labels).all(-1)):
        point = points_3d[sample, keypoint]
        if not np.isfinite(point).all():
            continue
        camera = case.cameras.select([case.cameras.names[view]])
        # Behind a camera or beyond its lens's range there is no image of a point, though OpenCV gives a pixel.
        if not np.isfinite(project(point[None], camera)).all():
            continue
        turn, _ = cv2.Rodrigues(camera.rotation[0])
        pixel, _ = cv2.projectPoints(point[None], turn, camera.translation[0], camera.matrix[0], camera.distortion[0])
        in_model = batch.to_model[sample, view].numpy() @ [*pixel.ravel(), 1.0]
        label = batch.points[sample, view, keypoint].numpy()
        heatmaps = [slow_gaussian((place + 0.5) / 4 - 0.5, size) for place in (in_model, label)]
        squared.append(((heatmaps[0] - heatmaps[1]) ** 2).sum())
    loss = LOSSES["supervised_reprojection_heatmap_mse"](case.prediction, batch, 1.0)
    assert loss.item() == pytest.approx(np.mean(squared) if squared else 0.0, rel=1e-6, abs=1e-12)


def slow_gaussian(center: np.ndarray, size: int) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    exponent = -((columns - center[0]) ** 2 + (rows - center[1]) ** 2) / (2 * 1.25**2)
    heatmap = np.exp(exponent - exponent.max())
    return heatmap / heatmap.sum()


@pytest.mark.parametrize("num_views", [2, 3, 6])
@pytest.mark.parametrize("num_keypoints", [1, 7])
def test_losses_do_not_scale_with_the_number_of_views_or_keypoints(num_views: int, num_keypoints: int) -> None:
    # The existing system's reprojection loss does. All views and keypoints are off by the same: the mean is the same.
    shift = torch.tensor([1.7, 0.6])
    batch = make_batch(pose(num_samples=1, num_keypoints=num_keypoints), ring(num_views))
    reprojected = model_to_heatmap(batch.points + shift, 2)
    size = (16, 16)
    target_x, target_y = target_factors(model_to_heatmap(batch.points, 2), batch.visibility, size)
    loss = reprojection_heatmap_mse(reprojected, target_x, target_y, batch.visibility == 2, size=size)
    one = reprojection_heatmap_mse(
        reprojected[:, :1, :1], target_x[:, :1, :1], target_y[:, :1, :1], batch.visibility[:, :1, :1] == 2, size=size
    )
    assert loss.item() == pytest.approx(one.item(), rel=0.05)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_matches_finite_differences(name: str) -> None:
    batch = make_batch(pose(num_samples=1, num_keypoints=2), ring(3))
    batch.visibility[0, 0, 0] = 0
    noise = 0.5 * torch.randn(batch.points.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def loss(points: torch.Tensor) -> torch.Tensor:
        return LOSSES[name](make_prediction(batch, points), batch, 1.0)

    # Undistortion iterates without a gradient and takes one differentiable step: fast mode compares along directions.
    assert torch.autograd.gradcheck(loss, (batch.points + noise).requires_grad_(), eps=1e-4, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", ["no label", "one view", "a view missing", "uncalibrated", "far predictions"])
def test_missing_data_gives_finite_losses_and_gradients(name: str, case: str) -> None:
    batch = make_batch(pose(), ring())
    start = batch.points.clone()
    if case == "no label":
        batch.visibility[:] = 0
    elif case == "one view":
        batch.visibility[:, 1:] = 0
    elif case == "a view missing":
        mask = torch.ones(2, 4, dtype=torch.bool)
        mask[0, 2] = False
        batch.visibility[0, 2] = 0
        batch = dataclasses.replace(batch, view_mask=mask)
    elif case == "uncalibrated":
        batch.calibrated[0] = False
    else:
        start = start * 50 - 700
    points = (start + 0.3).requires_grad_()
    loss = LOSSES[name](make_prediction(batch, points), batch, 1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert points.grad is not None
    assert torch.isfinite(points.grad).all()
    if case == "no label":
        assert loss == 0
        assert (points.grad == 0).all()
    if case == "a view missing":
        assert (points.grad[0, 2] == 0).all()
    if case == "uncalibrated":
        assert (points.grad[0] == 0).all()
        assert (points.grad[1] != 0).any()


@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_is_lowered_by_a_lower_confidence(name: str) -> None:
    batch = make_batch(pose(), ring())
    points = (batch.points + torch.rand(batch.points.shape).double()).requires_grad_()
    prediction = make_prediction(batch, points)
    confidence = torch.rand(prediction.confidence.shape, dtype=torch.float64).requires_grad_()
    LOSSES[name](dataclasses.replace(prediction, confidence=confidence), batch, 1.0).backward()
    assert points.grad is not None
    assert confidence.grad is None


@pytest.mark.parametrize(("weight", "far"), [(0.0, 1e30), (-1.0, 1.0), (float("nan"), 1.0)])
def test_pairs_without_a_positive_weight_do_not_count(weight: float, far: float) -> None:
    generator = torch.Generator().manual_seed(0)
    labeled = torch.randn(2, 3, 4, 3, generator=generator)
    predicted = labeled + 0.3 * torch.randn(labeled.shape, generator=generator)
    weights = torch.rand(labeled.shape[:-1], generator=generator) + 0.1
    expected = pairwise_projection_loss(predicted[:, :2], labeled[:, :2], weights[:, :2])
    weights[:, 2] = weight
    predicted[:, 2] += far
    predicted.requires_grad_()
    loss = pairwise_projection_loss(predicted, labeled, weights)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert predicted.grad is not None
    assert (predicted.grad[:, 2] == 0).all()
    assert (predicted.grad[:, :2] != 0).all()


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_normalized_pairwise_loss_means_the_same_in_any_unit(unit: float) -> None:
    cameras = ring()
    scaled = cameras.replace(translation=cameras.translation * unit)
    batch = make_batch(pose() * unit, scaled)
    prediction = make_prediction(batch, batch.points + 0.5)
    loss = LOSSES["supervised_pairwise_projections"](prediction, batch, unit)
    reference = make_batch(pose(), cameras)
    expected = LOSSES["supervised_pairwise_projections"](
        make_prediction(reference, reference.points + 0.5), reference, 1.0
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_permuting_samples_changes_nothing() -> None:
    batch = make_batch(pose(num_samples=4), ring())
    points = batch.points + torch.randn(batch.points.shape, generator=torch.Generator().manual_seed(0)).double()
    order = torch.tensor([2, 0, 3, 1])
    shuffled = dataclasses.replace(batch, points=batch.points[order])
    for loss in LOSSES.values():
        first = loss(make_prediction(batch, points), batch, 1.0)
        second = loss(make_prediction(shuffled, points[order]), shuffled, 1.0)
        assert first.item() == pytest.approx(second.item(), rel=1e-9)
