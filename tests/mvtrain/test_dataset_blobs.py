"""Blobs painted on disk stay under their labels: table, box, calibration, 3D move, 2D augmentation, one warp."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from helpers.rigs import ring
from mvaug import Augmentation
from mvgeom import affine, project
from mvgeom.tables import write_labeled_boxes
from mvtrain.config import Config, DataConfig
from mvtrain.data.dataset import FrameDataset, ImageCache
from mvtrain.project.project import Project, read_project, to_crop

SIZE = (224, 160)
NUM_FRAMES = 3
NAMES = ("nose", "left_eye", "right_eye", "tail")
BODY = np.array([[0.0, 0, 1.9], [1.8, 0.5, -0.8], [-1.6, 1.3, -0.8], [0.3, -2.1, -1.0]])
KINDS = ("gray", "16 bit", "color")
GEOMETRY = {
    "Rot90": {"p": 0.3, "kwargs": {"k": [0, 1, 2, 3]}},
    "Affine": {"p": 0.8, "kwargs": {"rotate": [-25, 25], "scale": [0.8, 1.2], "shear": [-10, 10]}},
    "TranslateX": {"p": 0.3},
    "CropAndPad": {"p": 0.5, "kwargs": {"percent": [-0.1, 0.1]}},
    "Fliplr": {"p": 0.3},
}


def paint(size: tuple[int, int], points: np.ndarray, sigma: float, kind: str) -> bytes:
    """A PNG file of Gaussian blobs."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    light = np.clip(sum(np.exp(-((x - p[0]) ** 2 + (y - p[1]) ** 2) / (2 * sigma**2)) for p in points), 0, 1)
    image = np.rint(240 * 257 * light).astype(np.uint16) if kind == "16 bit" else np.rint(240 * light).astype(np.uint8)
    return cv2.imencode(".png", image if kind == "gray" else np.repeat(image[..., None], 3, axis=2))[1].tobytes()


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three views that differ in stored size, box and kind of pixels, from frame to frame too."""
    root = tmp_path_factory.mktemp("blobs")
    generator = np.random.default_rng(0)
    cameras = ring(3, size=600)
    cameras.save(root / "calibration.toml")
    turns = [cv2.Rodrigues(generator.normal(0, 0.4, 3))[0] for _ in range(NUM_FRAMES)]
    pixels = project(np.stack([BODY @ turn.T + generator.uniform(-0.2, 0.2, 3) for turn in turns]), cameras)
    for view, (name, kind) in enumerate(zip(cameras.names, KINDS, strict=True)):
        images = [f"labeled-data/day_{name}/{frame}.png" for frame in range(NUM_FRAMES)]
        (root / images[0]).parent.mkdir(parents=True)
        scale = generator.uniform(0.6, 1.6, NUM_FRAMES)
        boxes = np.column_stack([generator.uniform(-20, 40, (NUM_FRAMES, 2)), generator.uniform(500, 580, (3, 2))])
        sizes = np.rint(boxes[:, 2:] * scale[:, None])
        points = affine.apply(affine.from_box(boxes, sizes), pixels[:, view])
        for frame, image in enumerate(images):
            size = (int(sizes[frame, 0]), int(sizes[frame, 1]))
            (root / image).write_bytes(paint(size, points[frame], 9 * scale[frame], kind))
        columns = pd.MultiIndex.from_product([["me"], NAMES, ["x", "y"]], names=["scorer", "bodyparts", "coords"])
        table = pd.DataFrame(points.reshape(NUM_FRAMES, -1), index=images, columns=columns)
        table.to_csv(root / f"CollectedData_{name}.csv")
        write_labeled_boxes(root / f"bboxes_{name}.csv", images, boxes)
    files = tuple(f"bboxes_{name}.csv" for name in cameras.names)
    return read_project(Config(data=DataConfig(data_dir=root, view_names=cameras.names, bbox_file=files)))


def dataset_of(source: Project, imgaug_3d: bool, seed: int) -> FrameDataset:
    augmentation = Augmentation.from_config(GEOMETRY, imgaug_3d, keypoint_names=NAMES)
    cache = ImageCache.from_project(source, max_bytes=0)
    return FrameDataset(source, size=SIZE, augmentation=augmentation, seed=seed, cache=cache)


def centroid_near(image: np.ndarray, point: np.ndarray, radius: float) -> np.ndarray:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    light = image[..., 0].astype(float) * (np.hypot(x - point[0], y - point[1]) < radius)
    return np.array([(light * x).sum(), (light * y).sum()]) / light.sum()


def test_the_project_is_as_mixed_as_it_should_be(blobs: Project) -> None:
    assert len({tuple(size) for size in blobs.file_sizes.reshape(-1, 2)}) == 3 * NUM_FRAMES
    assert blobs.warnings == ()
    assert all(group is not None for group in blobs.cameras)


@given(seed=st.integers(0, 2**32), epoch=st.integers(0, 300), row=st.integers(0, NUM_FRAMES - 1), move=st.booleans())
@settings(max_examples=40)
def test_blobs_stay_under_their_labels(blobs: Project, seed: int, epoch: int, row: int, move: bool) -> None:
    sample = dataset_of(blobs, move, seed)[epoch, row]
    assert sample.moved == move
    checked = 0
    for image, points, visibility in zip(sample.images, sample.points, sample.visibility, strict=True):
        assert (image[..., 0] == image[..., 2]).all()
        for index in np.flatnonzero(visibility == 2):
            point = points[index]
            alone = np.linalg.norm(np.delete(points, index, axis=0) - point, axis=-1).min() > 45
            if alone and ((point > 22) & (point < np.array(SIZE) - 23)).all():
                np.testing.assert_allclose(centroid_near(image, point, 22), point, atol=0.05)
                checked += 1
    # A draw may leave no blob whole and apart from the others; then nothing was shown.
    assume(checked)


@given(seed=st.integers(0, 2**32), epoch=st.integers(0, 300), row=st.integers(0, NUM_FRAMES - 1))
@settings(max_examples=30)
def test_predictions_return_exactly_to_the_stored_image(blobs: Project, seed: int, epoch: int, row: int) -> None:
    """Through the inverse of `to_model`, whatever crop, resize and 2D augmentation a sample went through."""
    sample = dataset_of(blobs, False, seed)[epoch, row]
    back = to_crop(blobs, np.array([row]), affine.apply(affine.invert(sample.to_model), sample.points)[None])[0]
    mirrored = np.linalg.det(sample.to_model[0, :, :2]) < 0
    expected = blobs.points[row][:, [0, 2, 1, 3] if mirrored else [0, 1, 2, 3]]
    np.testing.assert_allclose(back, expected, atol=1e-9)
