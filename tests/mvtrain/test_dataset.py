"""From a project on disk to batches."""

import dataclasses
import multiprocessing
import shutil
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import raises_input
from mvaug import Augmentation
from mvgeom import affine, project, triangulate
from mvgeom.errors import InputError
from mvtrain.config import load_config
from mvtrain.data.batch import Batch, collate
from mvtrain.data.dataset import EpochSampler, FrameDataset, ImageCache, make_loader, range_of_motion, subject_size
from mvtrain.project.labels_3d import read_truth, triangulate_labels
from mvtrain.project.project import Project, read_project, to_crop
from mvtrain.synth import SyntheticSpec, generate_project

SIZE = (72, 56)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "project"
    spec = SyntheticSpec(
        num_views=3, num_frames=6, num_sessions=2, num_video_frames=6, size=96, crop=True, crop_size=64
    )
    generate_project(path, spec)
    return path


@pytest.fixture(scope="module")
def small(folder: Path) -> Project:
    return read_project(load_config(folder / "config.yaml"))


def make_dataset(source: Project, augmentation: Augmentation | None = None, max_bytes: float = 1e9) -> FrameDataset:
    return FrameDataset(
        source,
        size=SIZE,
        augmentation=augmentation or Augmentation.none(),
        seed=3,
        cache=ImageCache.from_project(source, max_bytes=max_bytes),
    )


STRONG = Augmentation.from_config("dlc", True)


def test_labels_and_predictions_go_through_the_same_map(small: Project) -> None:
    dataset = make_dataset(small)
    for row in range(len(small)):
        sample = dataset[0, row]
        visible = sample.visibility == 2
        assert visible.sum() > 10
        frame = affine.apply(affine.invert(sample.to_model), sample.points)
        back = to_crop(small, np.array([row]), frame[None])[0]
        np.testing.assert_allclose(back[visible], small.points[row][visible], atol=1e-9)


def test_errors_are_mapped_to_px_of_the_stored_image(small: Project) -> None:
    dataset = make_dataset(small, Augmentation.from_config("dlc", False))
    for row in range(len(small)):
        sample = dataset[0, row]
        for view, visible in enumerate(sample.visibility == 2):
            points, stored = sample.points[view][visible], small.points[row, view][visible]
            mapped = (points - points[:1]) @ sample.model_to_crop[view].T
            np.testing.assert_allclose(mapped, stored - stored[:1], atol=1e-9)


def test_the_image_is_where_the_map_says(folder: Path, small: Project) -> None:
    dataset = make_dataset(small)
    sample = dataset[0, 2]
    for view in range(3):
        name = small.image_names[2][view]
        assert name is not None
        stored = cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB)
        to_model = affine.compose(sample.to_model[view], small.crop_to_full[2, view])
        expected = cv2.warpAffine(stored, to_model, SIZE, flags=cv2.INTER_LINEAR)
        difference = np.abs(expected.astype(int) - sample.images[view])
        assert np.median(difference) <= 1


def test_a_sample_is_a_function_of_seed_epoch_and_row(small: Project) -> None:
    first, second = make_dataset(small, STRONG), make_dataset(small, STRONG, max_bytes=0)
    for row in (0, 3):
        np.testing.assert_array_equal(first[1, row].images, second[1, row].images)
        np.testing.assert_array_equal(first[1, row].points, second[1, row].points)
    assert not np.array_equal(first[1, 0].to_model, first[2, 0].to_model)
    assert not np.array_equal(first[1, 0].images, first[2, 0].images)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.parametrize("num_workers", [1, 4])
def test_batches_do_not_depend_on_the_number_of_workers(small: Project, num_workers: int) -> None:
    def batches(workers: int) -> list[Batch]:
        sampler = EpochSampler(np.arange(6), batch_size=4, seed=0)
        sampler.epoch = 5
        return list(make_loader(make_dataset(small, STRONG), sampler, num_workers=workers, pin_memory=False))

    for ours, theirs in zip(batches(0), batches(num_workers), strict=True):
        assert ours.images.dtype == torch.uint8
        for field in ("index", "images", "points", "visibility", "to_model", "calibrated"):
            assert torch.equal(getattr(ours, field), getattr(theirs, field)), field
        assert ours.cameras is not None
        assert theirs.cameras is not None
        assert torch.equal(ours.cameras.translation, theirs.cameras.translation)
        assert ours.num_moved == theirs.num_moved


@pytest.mark.slow
def test_workers_that_are_spawned_read_the_same_cache(small: Project) -> None:
    """As on macOS and Windows, where workers get the data set by pickling it."""
    sampler = EpochSampler(np.arange(4), batch_size=4, seed=0)
    expected = next(iter(make_loader(make_dataset(small, STRONG), sampler, num_workers=0, pin_memory=False)))
    usual = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        dataset = make_dataset(small, STRONG)
        assert len(ForkingPickler.dumps(dataset.cache)) < 5e4
        batch = next(iter(make_loader(dataset, sampler, num_workers=1, pin_memory=False)))
    finally:
        multiprocessing.set_start_method(usual, force=True)
    assert torch.equal(batch.images, expected.images)


def test_everything_in_a_batch_goes_to_the_device_and_images_as_bytes(small: Project) -> None:
    batch = collate([make_dataset(small, STRONG)[0, row] for row in range(2)]).to(torch.device("meta"))
    assert batch.images.dtype == torch.uint8
    assert batch.cameras is not None
    tensors = {name: value for part in (batch, batch.cameras) for name, value in vars(part).items()}
    devices = {name: value.device.type for name, value in tensors.items() if isinstance(value, torch.Tensor)}
    assert {"images", "points", "visibility", "to_model", "rotation", "distortion"} <= set(devices)
    assert set(devices.values()) == {"meta"}


@pytest.mark.gpu
def test_pinned_batches_reach_the_gpu_as_bytes(small: Project) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    sampler = EpochSampler(np.arange(4), batch_size=2, seed=0)
    for batch in make_loader(make_dataset(small, STRONG), sampler, num_workers=1, pin_memory=True):
        assert batch.cameras is not None
        assert batch.images.is_pinned()
        assert batch.cameras.rotation.is_pinned()
        moved = batch.to(torch.device("cuda"))
        assert moved.images.dtype == torch.uint8
        assert torch.equal(moved.images.cpu(), batch.images)


def test_labels_that_leave_the_image_are_excluded(small: Project) -> None:
    dataset = make_dataset(small, STRONG)
    left = 0
    for epoch in range(12):
        sample = dataset[epoch, 0]
        visible = sample.visibility == 2
        inside = ((sample.points >= -0.5) & (sample.points <= np.array(SIZE) - 0.5)).all(-1)
        assert (inside | ~visible).all()
        left += int(((small.visibility[0] == 2) & ~visible).sum())
    assert left > 0


def test_moved_subjects_are_seen_where_their_labels_are(small: Project) -> None:
    # The 3D move stays within what one affine per view can express; labels are its exact image.
    dataset = make_dataset(small, Augmentation.from_config("none", True))
    errors, sizes = [], []
    for epoch in range(5):
        sample = dataset[epoch, 1]
        assert sample.moved
        assert sample.cameras is not None
        frame = affine.apply(affine.invert(sample.to_model), sample.points)
        frame = np.where((sample.visibility == 2)[..., None], frame, np.nan)
        moved = triangulate(frame, sample.cameras)
        errors.append(np.linalg.norm(project(moved, sample.cameras) - frame, axis=-1))
        sizes.append(np.nanmax(frame, axis=1) - np.nanmin(frame, axis=1))
    assert np.nanmedian(np.concatenate(errors)) < 0.03 * np.mean(sizes)


def test_collated_cameras_see_the_same_pixels_from_a_moved_origin(small: Project) -> None:
    far = tuple(
        group.replace(translation=group.translation - group.rotation @ np.full(3, 1e6)) for group in small.cameras
    )
    samples = [make_dataset(small)[0, row] for row in (0, 5)]
    batch = collate([type(s)(**{**vars(s), "cameras": far[s.index]}) for s in samples])
    assert batch.cameras is not None
    assert batch.cameras.translation.dtype == torch.float32
    assert batch.cameras.centers.abs().max() < 1e5
    centroid = far[0].centers.mean(0)
    points = np.array([[10.0, 20.0, 30.0]]) + 1e6
    expected = project(points, far[0])
    actual = project(torch.from_numpy((points - centroid)[None]).float(), batch.cameras)[0]
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-2)


def test_samples_without_calibration_are_marked(small: Project) -> None:
    sample = make_dataset(small)[0, 0]
    bare = type(sample)(**{**vars(sample), "cameras": None})
    batch = collate([bare, sample])
    assert batch.calibrated.tolist() == [False, True]
    assert batch.cameras is not None
    assert torch.isfinite(batch.cameras.matrix).all()
    assert collate([bare]).cameras is None


def test_cameras_of_other_lens_models_share_a_batch(small: Project) -> None:
    first, second, bare = (make_dataset(small)[0, row] for row in range(3))
    assert second.cameras is not None
    fisheye = second.cameras.replace(fisheye=(True,) * 3, distortion=np.full((3, 4), 0.01))
    bare = dataclasses.replace(bare, cameras=None)
    batch = collate([dataclasses.replace(second, cameras=fisheye), first, bare]).to(torch.device("cpu"))
    assert batch.has_cameras
    assert batch.calibrated.tolist() == [True, True, False]
    parts = {part.cameras.fisheye[0]: part for _, part in batch.by_lens_model() if part.cameras is not None}
    # Rows of the project; those without calibration have the cameras of the first sample for placeholders.
    assert {model: part.index.tolist() for model, part in parts.items()} == {True: [1, 2], False: [0]}
    points = fisheye.centers.mean(0) + np.array([[0.1, 0.2, 0.3]])
    centered = torch.from_numpy(points - fisheye.centers.mean(0))[None].float()
    assert parts[True].cameras is not None
    np.testing.assert_allclose(project(centered, parts[True].cameras)[0], project(points, fisheye), atol=1e-2)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_of_collation_keeps_its_code(
    num_workers: int, small: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(samples: object) -> Batch:
        raise InputError("samples: cannot be stacked", code="cameras-differ")

    monkeypatch.setattr("mvtrain.data.dataset.collate", refuse)
    sampler = EpochSampler(np.arange(2), batch_size=2, seed=0)
    loader = make_loader(make_dataset(small), sampler, num_workers=num_workers, pin_memory=False)
    with raises_input("cameras-differ"):
        list(loader)


def test_a_view_without_an_image_is_kept_and_masked(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "project"
    shutil.copytree(folder, copied)
    for kind in ("CollectedData", "bboxes"):
        path = copied / f"{kind}_cam2.csv"
        lines = path.read_text().splitlines()
        start = 3 if kind == "CollectedData" else 1
        if kind == "CollectedData":
            lines[start + 1] = "," * lines[start + 1].count(",")
        else:
            del lines[start + 1]
        path.write_text("\n".join(lines) + "\n")
    holed = read_project(load_config(copied / "config.yaml"))
    dataset = make_dataset(holed, STRONG)
    sample = dataset[0, 1]
    assert sample.view_present.tolist() == [True, False, True]
    assert (sample.images[1] == 0).all()
    assert (sample.visibility[1] == 0).all()
    batch = collate([dataset[0, 0], sample])
    assert batch.view_mask is not None
    assert batch.view_mask.tolist() == [[True, True, True], [True, False, True]]


def test_labels_are_triangulated_to_the_truth(small: Project) -> None:
    truth = read_truth(small)
    assert truth is not None
    labeled = triangulate_labels(small)
    known = np.isfinite(labeled).all(-1)
    assert known.mean() > 0.5
    assert np.linalg.norm(labeled - truth, axis=-1)[known].max() < 0.1


def test_the_subjects_size_is_that_of_its_bounding_box(small: Project) -> None:
    truth = read_truth(small)
    assert truth is not None
    diagonal = np.linalg.norm(truth.max(1) - truth.min(1), axis=-1)
    assert subject_size(truth) == pytest.approx(np.median(diagonal))
    assert subject_size(np.full((3, 4, 3), np.nan)) is None
    assert subject_size(np.ones((3, 4, 3))) is None


def test_one_keypoint_has_the_range_of_its_motion_for_a_size() -> None:
    points = np.full((6, 1, 3), np.nan)
    points[:2, 0] = [[0, 0, 0], [3, 4, 0]]
    points[2:5, 0] = [[900, 0, 0], [900, 0, 1], [900, 7, 0.5]]
    sessions = ["first", "first", "second", "second", "second", "unlabeled"]
    assert subject_size(points) is None
    # Sessions have worlds of their own: the distance between them is no motion.
    assert range_of_motion(points, sessions) == pytest.approx((5 + np.hypot(7, 1)) / 2)
    assert range_of_motion(points[:1], sessions[:1]) is None
    assert range_of_motion(points[5:], sessions[5:]) is None


def test_truth_of_other_keypoints_is_an_error(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "project"
    shutil.copytree(folder, copied)
    path = copied / "points_3d.csv"
    path.write_text(path.read_text().replace("nose", "snout"))
    source = read_project(load_config(copied / "config.yaml"))
    with raises_input("keypoints-differ", path=path, expected=source.keypoint_names) as caught:
        read_truth(source)
    assert caught.value.found[0] == "snout"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda text: "", "invalid-syntax"),
        (lambda text: "a,b\n1,2\n", "invalid-syntax"),
        (lambda text: text.replace("\n", ",1,2,3\n", 5), "keypoints-differ"),
        (lambda text: text + "labeled-data/session1/img1.jpg" + 200 * ",1" + "\n", "invalid-syntax"),
        (lambda text: text.replace(",z", ",x", 1) + text.splitlines()[3] + "\n", "duplicate-name"),
        (lambda text: text.rpartition(",")[0] + ",far\n", "bad-number"),
        (lambda text: text.replace("scorer", "sc\xe9rer", 1), "not-text"),
    ],
)
def test_damaged_truth(folder: Path, tmp_path: Path, change: Callable[[str], str], code: str) -> None:
    copied = tmp_path / "project"
    shutil.copytree(folder, copied)
    source, path = read_project(load_config(copied / "config.yaml")), copied / "points_3d.csv"
    path.write_bytes(change(path.read_text()).encode("latin-1"))
    with raises_input(code, path=path):
        read_truth(source)


def test_the_cache_keeps_what_fits_and_reads_the_rest(small: Project) -> None:
    whole, half, none = (ImageCache.from_project(small, max_bytes=size) for size in (1e9, 9 * 64 * 64 * 3, 0))
    for paths in small.image_paths:
        for path in paths:
            assert path is not None
            np.testing.assert_array_equal(whole.read(path), none.read(path))
            np.testing.assert_array_equal(half.read(path), none.read(path))


def test_an_image_damaged_behind_its_header_is_named(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "project"
    shutil.copytree(folder, copied)
    path = sorted(copied.glob("labeled-data/*/*.jpg"))[4]
    path.write_bytes(path.read_bytes()[:-300])
    damaged = read_project(load_config(copied / "config.yaml"))
    with raises_input("damaged-file", path=path):
        ImageCache.from_project(damaged, max_bytes=1e9)
    # Without a cache it is found later, perhaps by a worker; the error is the same.
    messages = []
    for num_workers in (0, 1):
        sampler = EpochSampler(np.arange(6), batch_size=2, seed=0)
        loader = make_loader(make_dataset(damaged, max_bytes=0), sampler, num_workers=num_workers, pin_memory=False)
        with raises_input("damaged-file", path=path) as caught:
            list(loader)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "\n" not in messages[0]


@given(
    num_rows=st.integers(1, 40),
    batch_size=st.integers(1, 12),
    epoch=st.integers(0, 5),
    seed=st.one_of(st.none(), st.integers(0, 9)),
)
@settings(max_examples=50)
def test_every_row_comes_once_an_epoch(num_rows: int, batch_size: int, epoch: int, seed: int | None) -> None:
    sampler = EpochSampler(np.arange(num_rows), batch_size=batch_size, seed=seed)
    sampler.epoch = epoch
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert all(key[0] == epoch for batch in batches for key in batch)
    assert sorted(key[1] for batch in batches for key in batch) == list(range(num_rows))
    if seed is None:
        assert [key[1] for batch in batches for key in batch] == list(range(num_rows))


def test_ranks_share_each_batch() -> None:
    def batches(rank: int, num_ranks: int) -> list[list[tuple[int, int]]]:
        return list(EpochSampler(np.arange(12), batch_size=4, seed=1, rank=rank, num_ranks=num_ranks))

    for whole, first, second in zip(batches(0, 1), batches(0, 2), batches(1, 2), strict=True):
        assert sorted(first + second) == sorted(whole)
        assert len(first) == len(second)
    with raises_input("out-of-range", key="training.train_batch_size", found=1, expected=4):
        EpochSampler(np.arange(9), batch_size=8, seed=0, rank=0, num_ranks=4)


def test_the_order_changes_from_epoch_to_epoch() -> None:
    sampler = EpochSampler(np.arange(20), batch_size=20, seed=0)
    first = list(sampler)
    sampler.epoch = 1
    second = list(sampler)
    assert [key[1] for key in first[0]] != [key[1] for key in second[0]]


def test_generated_configs_name_what_they_hold(folder: Path) -> None:
    document = yaml.safe_load((folder / "config.yaml").read_text())
    table = pd.read_csv(folder / "CollectedData_cam1.csv", header=[0, 1, 2], index_col=0)
    assert document["data"]["keypoint_names"] == list(dict.fromkeys(table.columns.get_level_values(1)))
