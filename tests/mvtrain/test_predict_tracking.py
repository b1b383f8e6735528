"""Tracking a subject by its 3D pose, with a network that is exact by construction: it finds colored dots."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from helpers.errors import raises_input
from helpers.runs import VIEWS, cameras
from helpers.tiny import generate_tiny_project
from helpers.videos import write_video
from mvgeom import boxes, project
from mvgeom.videos import open_video
from mvtrain.config import load_config
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.model.inference import Network
from mvtrain.predict.predictor import Predictor
from mvtrain.predict.records import Records
from mvtrain.predict.search import Framing, find_subject, predict_crops, visible_grid
from mvtrain.predict.timing import Stopwatch
from mvtrain.predict.tracking import TrackedFrame, Tracker, TrackingReference, TrackState, track_fields, track_frames
from mvtrain.predict.video_batches import Status
from mvtrain.project.labels_3d import triangulate_labels
from mvtrain.project.project import read_project

SIZE = (640, 480)
RIG = cameras(SIZE)
BODY = 0.15 * np.array([[1.0, 0, 0], [-0.5, 0.8, 0.2], [-0.5, -0.8, -0.2]])
"""Red, green and blue dots of the subject, relative to its middle."""
FRAMING = Framing(margin=0.5, aspect=1.0, side=0.5)
REFERENCE = TrackingReference(framing=FRAMING, score=0.9)


class DotFinder(torch.nn.Module):
    """Network whose heatmaps are the red, green and blue of an image."""

    def forward(self, images: Tensor, view_mask: Tensor | None, kept: Tensor | None, bias: Tensor | None) -> Tensor:
        del view_mask, kept, bias
        batch, views = images.shape[:2]
        color = images.flatten(0, 1) - images.flatten(0, 1).mean(1, keepdim=True)
        return 60 * F.avg_pool2d(color, 2).reshape(batch, views, 3, images.shape[-2] // 2, images.shape[-1] // 2)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    spec = ModelSpec(
        backbone="none",
        backbone_args={},
        attention="joint",
        view_names=VIEWS,
        keypoint_names=("red", "green", "blue"),
        image_size=(64, 64),
        downsample_factor=1,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        subject_size=None,
    )
    device = torch.device("cpu")
    network = Network.from_model(DotFinder(), spec, device)
    return Predictor(network=network, spec=spec, device=device, checksum="dots", batch_size=16)


def film_subject(center: np.ndarray | None) -> list[np.ndarray]:
    """Draw the images (h, w, 3) BGR of all views with the subject at a place; None draws no subject."""
    images = [np.full((SIZE[1], SIZE[0], 3), 60, np.uint8) for _ in VIEWS]
    if center is not None:
        for image, points in zip(images, project(center + BODY, RIG), strict=True):
            for point, color in zip(points, ((0, 0, 255), (0, 255, 0), (255, 0, 0)), strict=True):
                place = tuple(int(length) for length in np.round(point * 16))
                cv2.circle(image, place, 2 << 4, color, -1, cv2.LINE_AA, 4)
    return images


def walk(length: int, speed: float = 0.04) -> np.ndarray:
    """Return places (N, 3) along a circle."""
    angle = speed * np.arange(length)
    return np.stack([0.8 * np.cos(angle), 0.8 * np.sin(angle), 0.3 * np.sin(2 * angle)], axis=1)


PRESENT = (Status.PREDICTED,) * len(VIEWS)


def errors(keypoints: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Return the distances (V, K) in px to the true keypoints."""
    return np.linalg.norm(keypoints[..., :2] - project(center + BODY, RIG), axis=-1)


def test_the_network_of_these_tests_is_exact_in_crops_and_useless_in_whole_images(predictor: Predictor) -> None:
    center = np.array([0.4, -0.3, 0.2])
    found = predict_crops(predictor, film_subject(center), FRAMING.boxes_around_points(center[None], RIG), RIG)
    assert errors(found.frames.keypoints[0], center).max() < 1.0
    assert found.scores[0] > 0.9
    np.testing.assert_allclose(found.poses[0], center + BODY, atol=0.01)
    whole = np.tile([[0.0, 0.0, *SIZE]], (1, 3, 1))
    assert predict_crops(predictor, film_subject(center), whole, RIG).scores[0] < 0.3
    empty = predict_crops(predictor, film_subject(None), FRAMING.boxes_around_points(center[None], RIG), RIG)
    assert empty.scores[0] < 0.1


@pytest.mark.parametrize("fused", [False, True])
def test_views_that_contradict_each_other_score_less(predictor: Predictor, fused: bool) -> None:
    """Also where the views are fused, after which they always agree."""
    spec = replace(predictor.spec, fuse_views=fused)
    predictor = replace(predictor, spec=spec, network=Network.from_model(DotFinder(), spec, predictor.device))
    center = np.array([0.4, -0.3, 0.2])
    windows = FRAMING.boxes_around_points(center[None], RIG)
    images = film_subject(center)
    mixed = [images[0], images[1], film_subject(center + np.array([0.12, 0.1, -0.1]))[2]]
    assert predict_crops(predictor, mixed, windows, RIG).scores[0] < 0.75
    hidden = [images[0], images[1], film_subject(None)[2]]
    assert predict_crops(predictor, hidden, windows, RIG).scores[0] < 0.75
    absent = predict_crops(predictor, [images[0], None, images[2]], windows, RIG)
    assert absent.scores[0] > 0.9
    assert absent.status[0].tolist() == [Status.PREDICTED, Status.NOT_DECODABLE, Status.PREDICTED]


def test_boxes_have_the_size_of_the_subject_at_its_distance() -> None:
    centers = np.array([[0.0, 0, 0], [1.0, 0.5, -0.5]])
    found = FRAMING.boxes_around_points(centers, RIG)
    middle = found[..., :2] + (found[..., 2:] - 1) / 2
    np.testing.assert_allclose(middle, np.moveaxis(project(centers, RIG), 0, 1), atol=1e-9)
    distance = np.linalg.norm(RIG.centers, axis=-1)  # at the origin, which all cameras face
    np.testing.assert_allclose(found[0, :, 2], 0.5 * RIG.matrix[:, 0, 0] / distance, rtol=1e-6)
    wide = Framing(margin=0.1, aspect=2.0, side=0.5).boxes_around_points(centers, RIG)
    np.testing.assert_allclose(wide[..., 2], found[..., 2])
    np.testing.assert_allclose(wide[..., 3], found[..., 2] / 2)


def test_boxes_around_a_pose_ignore_keypoints_far_from_the_others() -> None:
    expected = FRAMING.boxes_around_pose(BODY, RIG)
    with_outlier = FRAMING.boxes_around_pose(np.concatenate([BODY, [[5.0, 5, 5], [np.nan] * 3]]), RIG)
    np.testing.assert_allclose(with_outlier, expected)
    typical = FRAMING.boxes_around_points(np.zeros((1, 3)), RIG)[0]
    for pose in (BODY[:1] - 0.001 * np.eye(3)[:1], 3 * BODY):
        ratio = FRAMING.boxes_around_pose(pose, RIG)[:, 2] / typical[:, 2]
        assert (ratio > 1 / 1.65).all()
        assert (ratio < 1.65).all()


def test_framing_is_estimated_from_a_project(tmp_path: Path) -> None:
    folder = generate_tiny_project(tmp_path / "project", num_frames=10, num_video_frames=10, crop=True)
    labeled = read_project(load_config(folder / "config.yaml"))
    framing = Framing.from_project(labeled)
    points_3d, overlaps = triangulate_labels(labeled), []
    assert labeled.boxes is not None
    for row, rig in enumerate(labeled.cameras):
        assert rig is not None
        overlaps.append(boxes.iou(framing.boxes_around_pose(points_3d[row], rig), labeled.boxes[row]))
    assert np.median(overlaps) > 0.7
    whole = read_project(load_config(generate_tiny_project(tmp_path / "whole", num_frames=4) / "config.yaml"))
    with raises_input("bad-value", key="data.bbox_file", path=whole.root):
        Framing.from_project(whole)


def test_a_subject_too_small_for_whole_images_is_found(predictor: Predictor) -> None:
    center = np.array([-0.9, 0.7, 0.4])
    options = {"cameras": RIG, "framing": FRAMING, "accepted_score": 0.45}
    everywhere = find_subject(predictor, film_subject(center), near=None, **options)  # type: ignore[arg-type]
    assert everywhere is not None
    np.testing.assert_allclose(everywhere.pose, center + BODY, atol=0.02)
    close = find_subject(predictor, film_subject(center), near=center + 0.15, **options)  # type: ignore[arg-type]
    assert close is not None
    np.testing.assert_allclose(close.pose, center + BODY, atol=0.02)
    assert find_subject(predictor, film_subject(None), near=center, **options) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [0.1, 0.5, 2.0])
def test_grid_points_are_visible_and_not_too_many(step: float) -> None:
    places = visible_grid(RIG, step)
    assert 0 < len(places) <= 1500
    seen = np.moveaxis(project(places, RIG), 0, 1)
    inside = ((seen >= -0.5) & (seen <= np.array(SIZE) - 0.5)).all(-1)
    assert (inside.sum(1) >= 2).all()


def keypoints_of(step: TrackedFrame) -> np.ndarray:
    """Return the keypoints (V, K, 3); NaN while the subject is lost."""
    return np.full((len(RIG), len(BODY), 3), np.nan) if step.prediction is None else step.prediction.keypoints[0]


def track(
    predictor: Predictor, frames: Sequence[list[np.ndarray | None]], state: TrackState | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the keypoints (N, V, K, 3), status (N, V) and windows (N, V, 4) of all frames."""
    tracker = Tracker(predictor, RIG, REFERENCE, state)
    steps = [tracker.step(images, PRESENT) for images in frames]
    return (
        np.stack([keypoints_of(step) for step in steps]),
        np.stack([step.status for step in steps]),
        np.stack([step.windows for step in steps]),
    )


def test_a_moving_subject_is_tracked(predictor: Predictor) -> None:
    centers = walk(30)
    keypoints, status, windows = track(predictor, [film_subject(center) for center in centers])
    assert (status == Status.PREDICTED).all()
    assert max(errors(found, center).max() for found, center in zip(keypoints, centers, strict=True)) < 1.0
    # The crop moves with the subject: its middle is nearer than a step would be.
    middle = windows[5:, :, :2] + windows[5:, :, 2:] / 2
    body = project(centers[5:, None] + BODY, RIG)
    center_of_body = (body.max(-2) + body.min(-2)) / 2
    assert np.linalg.norm(middle - center_of_body, axis=-1).max() < 2.5


def test_a_subject_that_vanishes_is_lost_and_found_again_elsewhere(predictor: Predictor) -> None:
    centers = walk(40)
    centers[20:] = -centers[20:]
    there = np.ones(40, dtype=bool)
    there[10:20] = False
    frames = [film_subject(center if is_there else None) for center, is_there in zip(centers, there, strict=True)]
    keypoints, status, windows = track(predictor, frames)
    assert (status[:10] == Status.PREDICTED).all()
    lost = (status == Status.LOST).all(1)
    np.testing.assert_array_equal(np.flatnonzero(lost), np.arange(13, np.flatnonzero(lost)[-1] + 1))
    assert np.isnan(keypoints[lost]).all()
    assert np.isnan(windows[lost]).all()
    # At the next search: after 8 frames without one.
    assert 19 <= np.flatnonzero(lost)[-1] <= 22
    for number in range(np.flatnonzero(lost)[-1] + 1, 40):
        assert errors(keypoints[number], centers[number]).max() < 1.0


def test_a_subject_that_is_hidden_for_two_frames_is_not_lost(predictor: Predictor) -> None:
    centers = walk(20)
    frames = [film_subject(None if number in (8, 9) else center) for number, center in enumerate(centers)]
    keypoints, status, _ = track(predictor, frames)
    assert (status == Status.PREDICTED).all()
    assert errors(keypoints[12], centers[12]).max() < 1.0
    assert (keypoints[8:10, ..., 2] < 0.2).all()


def test_views_without_an_image_do_not_stop_tracking(predictor: Predictor) -> None:
    centers = walk(12)
    frames: list[list[np.ndarray | None]] = [list(film_subject(center)) for center in centers]
    for number in range(3, 9):
        frames[number][1] = None
    tracker = Tracker(predictor, RIG, REFERENCE)
    steps = [
        tracker.step(images, [Status.NOT_DECODABLE if image is None else Status.PREDICTED for image in images])
        for images in frames
    ]
    for number, (step, center) in enumerate(zip(steps, centers, strict=True)):
        views = [0, 2] if 3 <= number < 9 else [0, 1, 2]
        assert errors(keypoints_of(step), center)[views].max() < 1.0
        assert step.status[1] == (Status.NOT_DECODABLE if len(views) == 2 else Status.PREDICTED)
        assert np.isnan(keypoints_of(step)[1]).all() == (len(views) == 2)


@pytest.mark.slow
def test_resuming_from_a_record_changes_nothing(predictor: Predictor, tmp_path: Path) -> None:
    centers = walk(24)
    frames = [film_subject(None if 10 <= number < 18 else center) for number, center in enumerate(centers)]
    paths = [
        write_video(tmp_path / f"s_{view}.avi", [images[number] for images in frames])
        for number, view in enumerate(VIEWS)
    ]
    videos = [open_video(path) for path in paths]
    shape = (len(VIEWS), 3)

    def records_of(folder: str, start: int, state: TrackState | None) -> np.ndarray:
        (tmp_path / folder).mkdir()
        records = Records(tmp_path / folder, *shape, extra=track_fields(*shape))
        records.resume({}, 1)
        tracker = Tracker(predictor, RIG, REFERENCE, state)
        with records.appending() as file:
            for number, (fields,) in enumerate(track_frames(tracker, videos, start, Stopwatch())):
                records.append(file, start + number, fields)
        return records.read(0, len(records))

    whole = records_of("whole", 0, None)
    assert len(whole) == len(centers)
    for cut in (3, 12, 15, 21):
        rest = records_of(f"from {cut}", cut, TrackState.from_record(whole[cut - 1]))
        assert rest.tobytes() == whole[cut:].tobytes(), cut


def test_further_networks_predict_the_boxes_of_the_first(predictor: Predictor, tmp_path: Path) -> None:
    frames = [film_subject(None if 4 <= number < 12 else center) for number, center in enumerate(walk(14))]
    videos = [
        open_video(write_video(tmp_path / f"s_{view}.avi", [images[number] for images in frames]))
        for number, view in enumerate(VIEWS)
    ]
    tracker = Tracker(predictor, RIG, REFERENCE)
    found = list(track_frames(tracker, videos, 0, Stopwatch(), [predictor]))
    assert len(found) == 14
    for first, second in found:
        np.testing.assert_allclose(second["keypoints"], first["keypoints"], atol=1e-4)
        np.testing.assert_array_equal(second["status"], first["status"])
    assert any(np.isnan(second["keypoints"]).all() for _, second in found)


class SureDotFinder(DotFinder):
    """The same, which states a covariance of 4 heatmap px^2."""

    def forward(self, images: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        logits = super().forward(images, *arguments)
        return logits, 4 * torch.eye(2).expand(*logits.shape[:3], 2, 2)


def test_covariances_of_tracked_frames_are_kept(predictor: Predictor, tmp_path: Path) -> None:
    frames = [film_subject(None if number >= 4 else center) for number, center in enumerate(walk(12))]
    videos = [
        open_video(write_video(tmp_path / f"s_{view}.avi", [images[number] for images in frames]))
        for number, view in enumerate(VIEWS)
    ]
    sure = replace(predictor, network=Network.from_model(SureDotFinder(), predictor.spec, predictor.device))
    found = list(track_frames(Tracker(sure, RIG, REFERENCE), videos, 0, Stopwatch(), [sure]))
    for networks in found:
        for fields in networks:
            assert fields["covariance"].shape == (1, len(VIEWS), 3, 3)
            known = np.isfinite(fields["keypoints"]).all(-1)
            np.testing.assert_array_equal(np.isfinite(fields["covariance"]).all(-1), known)
            assert (fields["covariance"][known][:, [0, 2]] > 0).all()
    assert np.isfinite(found[0][0]["covariance"]).all()
    assert np.isnan(found[-1][1]["covariance"]).all()


def test_the_reference_is_estimated_from_the_labeled_frames(predictor: Predictor, tmp_path: Path) -> None:
    folder = generate_tiny_project(tmp_path / "project", num_frames=10, num_video_frames=10, crop=True)
    labeled = read_project(load_config(folder / "config.yaml"))
    reference = TrackingReference.from_project(labeled, predictor)
    assert 0 <= reference.score < 1  # there are no dots in these images
    assert reference.framing == Framing.from_project(labeled)
