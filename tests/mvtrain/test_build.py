"""Network that a run starts with."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from helpers.errors import raises_input
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvtrain.config import load_config
from mvtrain.data.dataset import ImageCache
from mvtrain.model.checkpoint import save_checkpoint
from mvtrain.model.multiview import MultiviewTransformer, split_output
from mvtrain.project.project import Project, read_project
from mvtrain.project.splits import split_frames
from mvtrain.training.build import make_average, make_loaders, make_model


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    return write_tiny_config(folder / "config.yaml", generate_tiny_project(folder / "project"))


@pytest.fixture(scope="module")
def project(config: Path) -> Project:
    return read_project(load_config(config))


def build(config: Path, project: Project, *changes: str) -> MultiviewTransformer:
    settings = load_config(config, list(changes))
    return make_model(settings, project, split_frames(project, settings))[1]


def save(config: Path, project: Project, folder: Path, *changes: str) -> MultiviewTransformer:
    settings = load_config(config, list(changes))
    spec, model = make_model(settings, project, split_frames(project, settings))
    save_checkpoint(folder, model.state_dict(), spec, {})
    return model


@pytest.mark.parametrize(("trained", "wanted"), [("per_view", "joint"), ("joint", "per_view")])
def test_a_run_from_a_checkpoint_has_its_weights_and_the_configs_attention(
    config: Path, project: Project, tmp_path: Path, trained: str, wanted: str
) -> None:
    saved = save(config, project, tmp_path, f"model.attention={trained}")
    model = build(config, project, f"model.attention={wanted}", f"model.checkpoint={tmp_path}")
    assert model.attention == wanted
    for (name, ours), theirs in zip(saved.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    plain = build(config, project, f"model.attention={wanted}")
    plain.load_state_dict(saved.state_dict())
    images = torch.randn(1, 3, 3, 32, 48)
    ours, same, other = (split_output(each.eval()(images))[0] for each in (model, plain, saved))
    assert torch.equal(ours, same)
    assert not torch.allclose(ours, other, atol=1e-4)


def test_a_checkpoint_of_another_network_is_refused(config: Path, project: Project, tmp_path: Path) -> None:
    save(config, project, tmp_path, "data.downsample_factor=1")
    with raises_input("bad-value", key="model.checkpoint", field="downsample_factor", found=1, expected=2):
        build(config, project, f"model.checkpoint={tmp_path}")


@pytest.mark.parametrize(("name", "code"), [("best.ckpt", "unsupported-file"), ("nothing", "missing-file")])
def test_a_checkpoint_that_is_none_is_refused_by_its_key(
    config: Path, project: Project, tmp_path: Path, name: str, code: str
) -> None:
    with raises_input(code, key="model.checkpoint"):
        build(config, project, f"model.checkpoint={tmp_path / name}")


@pytest.mark.parametrize(("trained", "wanted"), [(True, False), (False, True), (True, True)])
def test_a_head_for_covariances_is_new_or_dropped(
    config: Path, project: Project, tmp_path: Path, trained: bool, wanted: bool
) -> None:
    saved = save(config, project, tmp_path, f"model.covariance_head={trained}".lower())
    model = build(config, project, f"model.covariance_head={wanted}".lower(), f"model.checkpoint={tmp_path}")
    assert (model.covariance_head is not None) == wanted
    ours, theirs = model.state_dict(), saved.state_dict()
    shared = ours.keys() & theirs.keys()
    assert any(name.startswith("covariance_head.") for name in shared) == (trained and wanted)
    assert all(name.startswith("covariance_head.") for name in ours.keys() ^ theirs.keys())
    assert all(torch.equal(ours[name], theirs[name]) for name in shared)


def first_images(config: Path, project: Project, *changes: str) -> torch.Tensor:
    settings = load_config(config, list(changes))
    split = split_frames(project, settings)
    spec, _ = make_model(settings, project, split)
    loader, _ = make_loaders(settings, project, split, spec, Fabric(accelerator="cpu", devices=1))
    return next(iter(loader)).images


@pytest.mark.parametrize(
    ("imgaug", "calibrated", "same_as"),
    [("dlc", True, "true"), ("{}", True, "true"), ("none", True, "false"), ("dlc", False, "false")],
)
def test_calibrated_projects_move_in_3d_unless_the_config_forbids_it(
    config: Path, project: Project, imgaug: str, calibrated: bool, same_as: str
) -> None:
    source = project if calibrated else dataclasses.replace(project, cameras=(None,) * len(project.cameras))
    images = {
        value: first_images(config, source, f"training.imgaug={imgaug}", f"training.imgaug_3d={value}")
        for value in ("null", "true", "false")
    }
    assert torch.equal(images["null"], images[same_as])
    # Without cameras `true` is refused before; the loader itself has nothing to move.
    assert torch.equal(images["true"], images["false"]) != calibrated


def of_one_keypoint(project: Project, num_frames: int) -> Project:
    """The project with labels of one keypoint, in its first frames only."""
    visibility = project.visibility.copy()
    visibility[:, :, 1:], visibility[num_frames:] = 0, 0
    visibility[:num_frames, :, 0] = 2
    points = np.where(visibility[..., None] == 2, np.nan_to_num(project.points, nan=30.0), np.nan)
    return dataclasses.replace(project, points=points, visibility=visibility)


def test_a_project_of_one_keypoint_has_a_unit_of_length_that_scales_with_its_world(
    config: Path, project: Project
) -> None:
    settings = load_config(config)
    split = split_frames(project, settings)
    sizes = []
    for scale in (1.0, 1000.0):
        cameras = tuple(None if c is None else c.replace(translation=c.translation * scale) for c in project.cameras)
        one = of_one_keypoint(dataclasses.replace(project, cameras=cameras), len(project))
        sizes.append(make_model(settings, one, split)[0].subject_size)
    assert sizes[0] is not None
    assert sizes[1] == pytest.approx(1000 * sizes[0])


def test_normalized_losses_without_a_unit_of_length_are_refused(config: Path, project: Project) -> None:
    settings = load_config(config)
    one, split = of_one_keypoint(project, 1), split_frames(project, settings)
    with raises_input("no-labels", key="losses.supervised_pairwise_projections.normalize"):
        make_model(settings, one, split)
    raw = {name: dataclasses.replace(loss, normalize=False) for name, loss in settings.losses.items()}
    assert make_model(dataclasses.replace(settings, losses=raw), one, split)[0].subject_size is None
    # No labels in 3D at all: the losses are 0 in any unit.
    assert make_model(settings, of_one_keypoint(project, 0), split)[0].subject_size is None


@pytest.mark.parametrize("precision", ["32-true", "bf16-true", "64-true"])
def test_the_average_is_in_float32_whatever_the_weights_are_in(precision: Any) -> None:
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    model = nn.Linear(1, 1, bias=False)
    averaged = make_average(model, 0.75, fabric)
    wrapped = fabric.setup_module(model)
    for value in (1.0, 2.0, 4.0):
        model.weight.data.fill_(value)
        averaged.update_parameters(wrapped)
    assert averaged.module.weight.dtype == torch.float32
    assert averaged.module.weight.item() == 0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * 4


@pytest.mark.parametrize(("devices", "machines"), [(1, 1), (4, 1), (4, 2)])
def test_the_processes_of_a_machine_share_its_memory_and_cores(
    config: Path, project: Project, monkeypatch: pytest.MonkeyPatch, devices: int, machines: int
) -> None:
    changes = ("data.cache_gb=2", "training.train_batch_size=12", f"training.num_nodes={machines}")
    settings = load_config(config, changes)
    settings = dataclasses.replace(settings, training=dataclasses.replace(settings.training, num_workers=None))
    split = split_frames(project, settings)
    spec = make_model(settings, project, split)[0]
    found = []

    def record(project: Project, *, max_bytes: float) -> ImageCache:
        found.append(max_bytes)
        return ImageCache([], np.zeros((0, 2)), 0)

    monkeypatch.setattr(ImageCache, "from_project", record)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    fabric: Any = SimpleNamespace(world_size=devices * machines, global_rank=0, device=torch.device("cpu"))
    train_loader, _ = make_loaders(settings, project, split, spec, fabric)
    assert found == [2e9 / devices]
    assert train_loader.num_workers == 8 // devices - 1
