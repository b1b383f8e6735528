"""Additions of mvtrain to mvaug: keys of the config in errors, and plugins in loader workers."""

import dataclasses
import multiprocessing
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.errors import raises_input
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvaug.geometric import GEOMETRIC
from mvaug.photometric import PHOTOMETRIC
from mvgeom.errors import InputError
from mvtrain.config import load_config
from mvtrain.config.plugins import load_plugins, loaded_plugins
from mvtrain.config.schema import TrainingConfig
from mvtrain.data.dataset import EpochSampler, FrameDataset, ImageCache, make_augmentation, make_loader
from mvtrain.project.labels_3d import calibration_warnings, uses_imgaug_3d
from mvtrain.project.project import Project, read_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = generate_tiny_project(tmp_path_factory.mktemp("augmentation") / "project", num_frames=4)
    return read_project(load_config(folder / "config.yaml"))


@pytest.fixture
def registries() -> Iterator[None]:
    """Remove what a test has registered."""
    tables: tuple[dict[str, Any], ...] = (GEOMETRIC, PHOTOMETRIC)
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)


def make_dataset(project: Project, imgaug: dict[str, Any]) -> FrameDataset:
    return FrameDataset(
        project,
        size=(64, 64),
        augmentation=make_augmentation(TrainingConfig(imgaug=imgaug), False, project.keypoint_names),
        seed=0,
        cache=ImageCache.from_project(project, max_bytes=0),
    )


@pytest.mark.parametrize(
    ("training", "names", "code", "key"),
    [
        ({"imgaug": "dcl"}, (), "unknown-choice", "training.imgaug"),
        ({"imgaug": {"Rotate": {"p": 2}}}, (), "bad-value", "training.imgaug.Rotate.p"),
        ({"imgaug_3d": {"shift": -1}}, (), "bad-value", "training.imgaug_3d.shift"),
        ({"imgaug_hflip": True}, ("left_ear",), "missing-counterpart", "training.imgaug_hflip"),
        ({"imgaug": {"Fliplr": {}}}, ("left_ear",), "missing-counterpart", "training.imgaug"),
    ],
)
def test_errors_name_the_key_of_the_config(
    training: dict[str, Any], names: tuple[str, ...], code: str, key: str
) -> None:
    with raises_input(code, key=key) as caught:
        make_augmentation(TrainingConfig(**training), training.get("imgaug_3d", False), names)
    assert str(caught.value).startswith(f"{key}: ")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_errors_while_drawing_name_the_key_also_from_a_worker(project: Project, num_workers: int) -> None:
    dataset = make_dataset(project, {"Crop": {"p": 1.0, "kwargs": {"px": 1000}}})
    sampler = EpochSampler(range(4), batch_size=2, seed=None)
    with pytest.raises(InputError) as caught:
        list(make_loader(dataset, sampler, num_workers=num_workers, pin_memory=False))
    assert str(caught.value).startswith("training.imgaug: cropping by")


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_know_the_transforms_of_plugins(
    registries: None, project: Project, tmp_path: Path, context: str
) -> None:
    plugin = tmp_path / f"white_{context}.py"
    # A name of its own: the file of the other parameter stays loaded in this process.
    plugin.write_text(
        textwrap.dedent(
            f"""
            import numpy as np
            from mvaug import register_photometric

            @register_photometric("White{context}")
            def white(image, draw):
                return np.full_like(image, draw.generator.integers(200, 256))
            """
        )
    )
    load_plugins([plugin])
    assert loaded_plugins()[-1] == plugin
    dataset = make_dataset(project, {f"White{context}": {"p": 1.0}})
    loader = make_loader(dataset, EpochSampler(range(4), batch_size=4, seed=None), num_workers=1, pin_memory=False)
    loader.multiprocessing_context = multiprocessing.get_context(context)
    (batch,) = list(loader)
    expected = np.stack([dataset[0, row].images for row in range(4)])
    assert expected.min() >= 200
    np.testing.assert_array_equal(batch.images.numpy().reshape(expected.shape), expected)


def test_true_without_a_calibration_moves_nothing_and_is_reported(tmp_path: Path) -> None:
    """Lightning Pose writes `imgaug_3d: true` into configs of all projects of several views."""
    config = load_config(write_tiny_config(tmp_path / "config.yaml", generate_tiny_project(tmp_path / "project")))
    calibrated = read_project(config)
    bare = dataclasses.replace(calibrated, cameras=(None,) * len(calibrated))
    assert [uses_imgaug_3d(config, project) for project in (calibrated, bare)] == [True, False]
    assert [len(calibration_warnings(config, project)) for project in (calibrated, bare)] == [0, 1]
