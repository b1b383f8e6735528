"""Batches from synchronized videos: the pixels of training, absent views, threads that end."""

import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from helpers.errors import raises_input
from helpers.runs import INPUT, KEYPOINTS, VIEWS
from helpers.tiny import generate_tiny_project, write_tiny_config
from helpers.videos import damage_frames, write_session
from mvaug import Augmentation
from mvgeom.tables import write_video_boxes
from mvgeom.videos import open_video
from mvtrain.config import load_config
from mvtrain.data.batch import Batch
from mvtrain.data.dataset import FrameDataset, ImageCache
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.predict.timing import Stopwatch
from mvtrain.predict.video_batches import (
    Status,
    VideoBatch,
    find_boxes,
    read_crops,
    read_video_batches,
    to_sample,
    view_image,
)
from mvtrain.project.project import read_project

SPEC = ModelSpec(
    backbone="vit_tiny_patch16_224",
    backbone_args={},
    attention="joint",
    view_names=VIEWS,
    keypoint_names=KEYPOINTS,
    image_size=INPUT,
    downsample_factor=2,
    mean=(0.5, 0.5, 0.5),
    std=(0.2, 0.2, 0.2),
    subject_size=None,
)


def read_all(paths: list[Path], *, batch_size: int = 4, start: int = 0, boxes: Path | None = None) -> list[VideoBatch]:
    videos = [open_video(path) for path in paths]
    crops = read_crops(videos, find_boxes(paths, boxes))
    return [batch for (batch,) in read_video_batches(videos, crops, [SPEC], [None], batch_size=batch_size, start=start)]


def join_batches(batches: list[VideoBatch]) -> tuple[torch.Tensor, np.ndarray]:
    return torch.cat([each.batch.images for each in batches]), np.concatenate([each.status for each in batches])


@pytest.mark.parametrize("crop", [False, True])
def test_the_network_gets_the_same_input_as_in_training(crop: bool, tmp_path: Path) -> None:
    folder = generate_tiny_project(tmp_path / "project", num_frames=4, num_video_frames=4, crop=crop)
    config = load_config(write_tiny_config(tmp_path / "config.yaml", folder))
    if crop:
        boxes = tuple(path.name for path in sorted(folder.glob("bboxes_*.csv")))
        config = replace(config, data=replace(config.data, bbox_file=boxes))
    project = read_project(config)
    cache = ImageCache.from_project(project, max_bytes=0)
    dataset = FrameDataset(project, size=INPUT, augmentation=Augmentation.none(), seed=0, cache=cache)
    for row in range(len(project)):
        expected = dataset[0, row]
        stored = [cv2.imread(str(path)) for path in project.image_paths[row]]
        if project.boxes is None:
            views = [view_image(image, np.array([0.0, 0.0, *image.shape[1::-1]]), INPUT) for image in stored]
            sample = to_sample(row, views, len(project.keypoint_names), None)
            np.testing.assert_array_equal(sample.images, expected.images)
            np.testing.assert_array_equal(sample.view_present, expected.view_present)
        else:
            # The project has crops and no full images, so only the part of the full image can be compared.
            full_image = np.zeros((64, 64, 3), np.uint8)
            views = [view_image(full_image, box, INPUT) for box in project.boxes[row]]
        np.testing.assert_allclose(np.stack([view.to_model for view in views]), expected.to_model, atol=1e-9)


def test_views_that_end_or_cannot_be_decoded_are_absent(tmp_path: Path) -> None:
    paths = write_session(tmp_path, VIEWS, (10, 7, 10), sizes=((64, 48), (80, 40), (48, 64)))
    damage_frames(paths[2], [3])
    batches = read_all(paths)
    images, status = join_batches(batches)
    assert images.shape == (10, 3, 3, INPUT[1], INPUT[0])
    expected = np.full((10, 3), Status.PREDICTED)
    expected[7:, 1], expected[3, 2] = Status.ENDED, Status.NOT_DECODABLE
    np.testing.assert_array_equal(status, expected)
    for each in batches:
        mask = each.batch.view_mask
        present = torch.ones(each.status.shape, dtype=torch.bool) if mask is None else mask
        np.testing.assert_array_equal(present.numpy(), each.status == Status.PREDICTED)
    assert (images[status != Status.PREDICTED] == 0).all()
    assert (images[status == Status.PREDICTED].float().std((1, 2, 3)) > 1).all()
    np.testing.assert_array_equal(np.concatenate([each.batch.index for each in batches]), np.arange(10))


@pytest.mark.parametrize("start", [4, 8, 12])
def test_starting_later_gives_the_same_batches(start: int, tmp_path: Path) -> None:
    paths = write_session(tmp_path, VIEWS, (13, 9, 13))
    damage_frames(paths[0], [2, 9])
    whole, rest = read_all(paths), read_all(paths, start=start)
    assert len(rest) == len(whole) - start // 4
    for ours, theirs in zip(rest, whole[start // 4 :], strict=True):
        np.testing.assert_array_equal(ours.status, theirs.status)
        for name in ("index", "images", "to_model"):
            assert torch.equal(getattr(ours.batch, name), getattr(theirs.batch, name))
        assert has_same_mask(ours.batch, theirs.batch)


def has_same_mask(one: Batch, other: Batch) -> bool:
    if one.view_mask is None or other.view_mask is None:
        return one.view_mask is other.view_mask
    return torch.equal(one.view_mask, other.view_mask)


def test_boxes_crop_the_images_and_empty_ones_are_absent(tmp_path: Path) -> None:
    paths = write_session(tmp_path, VIEWS, (6, 6, 6))
    boxes = np.tile([8.0, 4.0, 48.0, 32.0], (6, 1))
    boxes[2] = np.nan
    for path in paths:
        write_video_boxes(tmp_path / f"{path.stem}_bbox.csv", boxes)
    images, status = join_batches(read_all(paths))
    assert (status[2] == Status.NO_BOX).all()
    assert (np.delete(status, 2, axis=0) == Status.PREDICTED).all()
    capture = cv2.VideoCapture(str(paths[1]))
    full_image = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
    # The box has the size of the network's input, so its pixels are taken as they are.
    np.testing.assert_array_equal(images[0, 1].numpy(), full_image[4:36, 8:56].transpose(2, 0, 1))


def test_boxes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    paths = write_session(tmp_path, VIEWS, (6, 6, 6))
    for path in paths[:2]:
        write_video_boxes(tmp_path / f"{path.stem}_bbox.csv", np.tile([8.0, 4.0, 48.0, 32.0], (6, 1)))
    with raises_input("missing-file", paths=(tmp_path / "mouse_right_bbox.csv",)):
        find_boxes(paths, None)
    nowhere = tmp_path / "nowhere"
    with raises_input("missing-file", paths=tuple(nowhere / f"mouse_{view}_bbox.csv" for view in VIEWS)):
        find_boxes(paths, nowhere)
    write_video_boxes(tmp_path / "mouse_right_bbox.csv", np.tile([8.0, 4.0, 48.0, 32.0], (5, 1)))
    with raises_input("wrong-count", path="mouse_right_bbox.csv", found=5, expected=6):
        read_all(paths)
    # A video whose last frame is damaged is as long as its boxes.
    damage_frames(paths[2], [5])
    assert join_batches(read_all(paths))[1][5].tolist() == [Status.PREDICTED, Status.PREDICTED, Status.ENDED]


def test_stopping_early_ends_all_threads(tmp_path: Path) -> None:
    paths = write_session(tmp_path, VIEWS, (40, 40, 40))
    before = threading.active_count()
    videos = [open_video(path) for path in paths]
    batches = read_video_batches(videos, read_crops(videos, (None,) * 3), [SPEC], [None], batch_size=2, start=0)
    with closing(batches):
        next(batches)
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_an_error_in_a_view_arrives(tmp_path: Path) -> None:
    paths = write_session(tmp_path, VIEWS, (6, 6, 6))
    videos = [open_video(path) for path in paths]
    videos[1] = replace(videos[1], size=(640, 480))
    batches = read_video_batches(videos, read_crops(videos, (None,) * 3), [SPEC], [None], batch_size=4, start=0)
    with raises_input("size-mismatch", path=paths[1], frame=0, found=(64, 48), expected=(640, 480)):
        list(batches)


def test_the_stopwatch_separates_kinds_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("mvtrain.predict.timing.time", SimpleNamespace(perf_counter=lambda: now))
    stopwatch = Stopwatch()

    def work() -> Generator[int]:
        nonlocal now
        for _ in range(3):
            now += 2
            yield 1

    for _ in stopwatch.each("work", work()):
        now += 10  # what is done with an item does not count
    with stopwatch.measure("other"):
        now += 0.5
    assert stopwatch.seconds == {"work": 6.0, "other": 0.5}
