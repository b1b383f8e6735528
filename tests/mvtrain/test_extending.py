"""Files and configs of docs/extending.md, taken from the page and run."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import yaml
from omegaconf import OmegaConf
from safetensors.torch import save_file

from helpers.command import run_mvtrain
from helpers.errors import raises_input
from helpers.rigs import make_batch, make_prediction, ring
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvaug import Augmentation, augment_sample
from mvaug.geometric import GEOMETRIC
from mvaug.photometric import PHOTOMETRIC
from mvgeom import CameraGroup
from mvgeom.formats import FORMATS
from mvtrain.config import LOSS_NAMES, load_config
from mvtrain.config.plugins import load_plugins
from mvtrain.losses import LOSSES, register_loss
from mvtrain.model.backbone import build_backbone
from mvtrain.model.checkpoint import load_checkpoint
from mvtrain.project.labels_3d import keys_in_3d
from mvtrain.project.project import read_project

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def write_files(folder: Path) -> list[Path]:
    """Write the page's Python files, each named by its first line."""
    paths = []
    for text in blocks("python"):
        paths.append(folder / text.splitlines()[0].removeprefix("# "))
        paths[-1].write_text(text)
    return paths


def write_config(folder: Path, project: Path, **training: object) -> Path:
    """Write a tiny config with all of the page's sections merged into it, and all of its plugins."""
    path = write_tiny_config(folder / "config.yaml", project, **training)
    own = yaml.safe_load(path.read_text())
    own["model"].pop("backbone_args")
    sections = [yaml.safe_load(text) for text in blocks("yaml")]
    merged = OmegaConf.to_container(OmegaConf.merge(own, *sections))
    assert isinstance(merged, dict)
    merged["model"]["plugins"] = [name for section in sections for name in section["model"]["plugins"]]
    path.write_text(yaml.safe_dump(merged))
    return path


def mvtrain(*arguments: object) -> subprocess.CompletedProcess[str]:
    # A process of its own: what a plugin registers stays for as long as the process lives.
    command = [sys.executable, "-m", "mvtrain.cli.app", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_tiny_project(tmp_path_factory.mktemp("extending") / "project")


@pytest.fixture
def registries() -> Iterator[None]:
    """Restore the registries after a test."""
    tables: tuple[dict[str, Any], ...] = (LOSSES, LOSS_NAMES, FORMATS, GEOMETRIC, PHOTOMETRIC)
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)


@pytest.mark.slow
def test_the_loss_and_the_backbone_of_the_page_train(tmp_path: Path, project: Path) -> None:
    write_files(tmp_path)
    config, run = write_config(tmp_path, project, max_epochs=2), tmp_path / "run"
    outcome = mvtrain("fit", config, "--output", run)
    assert outcome.returncode == 0, outcome.stderr
    assert "bone_length" in outcome.stdout
    assert "vit_patch8" in outcome.stdout
    metrics = pd.read_csv(run / "metrics.csv")
    # Like every loss without an init_epoch it sets in after a quarter of the run.
    assert (metrics["bone_length"].notna() == (metrics["weight_bone_length"] > 0)).all()
    assert metrics["bone_length"].dropna().gt(0).any()
    # Of every row the log has what held at its last step: 3 steps an epoch, masking until epoch 1 of 2.
    rows = metrics["mask_ratio"].notna()
    clock = (metrics["step"][rows] - 1) / 3
    expected = np.where(clock < 1, 0.1 + 0.4 * clock / 2, 0.0)
    assert metrics["mask_ratio"][rows].tolist() == pytest.approx(expected.tolist())
    # The run folder knows the plugins, wherever it is used from.
    saved = yaml.safe_load((run / "config.yaml").read_text())
    names = ("bone_length.py", "vit_patch8.py", "vignette.py", "lab_cameras.py")
    assert saved["model"]["plugins"] == [str(tmp_path / name) for name in names]


def test_the_backbone_of_the_page_starts_from_the_weights_of_its_file(tmp_path: Path) -> None:
    write_files(tmp_path)
    code = (tmp_path / "vit_patch8.py").read_text().replace("vit_patch8", "vit_patch8_of_a_file")
    weights = tmp_path / "weights.safetensors"
    plugin = tmp_path / "vit_patch8_of_a_file.py"
    plugin.write_text(code.replace('"file": None', f'"file": {str(weights)!r}'))
    load_plugins([plugin])
    trained = timm.create_model("vit_patch8_of_a_file", num_classes=0, img_size=64)  # of another size than others
    save_file({name: value.contiguous() for name, value in trained.state_dict().items()}, weights)
    built = build_backbone("vit_patch8_of_a_file", pretrained=True)
    torch.testing.assert_close(built.blocks[2].attn.qkv.weight, trained.blocks[2].attn.qkv.weight)
    with raises_input("unsupported-file", key="model.backbone"):
        build_backbone("vit_patch8_of_a_file", pretrained=True, arguments={"depth": 4})


def test_the_loss_of_the_page_is_finite_without_labels_and_zero_for_labels(registries: None, tmp_path: Path) -> None:
    (path,) = (path for path in write_files(tmp_path) if path.stem == "bone_length")
    exec(compile(path.read_text(), path, "exec"), {})
    batch = make_batch(np.random.default_rng(0).uniform(-1, 1, (2, 5, 3)), ring(3))
    assert LOSSES["bone_length"](make_prediction(batch, batch.points), batch, 2.0).item() == pytest.approx(0, abs=1e-12)
    points = (batch.points + torch.randn_like(batch.points)).requires_grad_()
    assert LOSSES["bone_length"](make_prediction(batch, points), batch, 2.0) > 0
    batch = dataclasses.replace(batch, visibility=torch.zeros_like(batch.visibility))
    loss = LOSSES["bone_length"](make_prediction(batch, points), batch, 2.0)
    loss.backward()
    assert loss == 0
    assert points.grad is not None
    assert (points.grad == 0).all()


def test_the_transforms_of_the_page_are_drawn_and_labels_follow(registries: None, tmp_path: Path) -> None:
    (path,) = (path for path in write_files(tmp_path) if path.stem == "vignette")
    exec(compile(path.read_text(), path, "exec"), {})
    image = np.full((40, 60, 3), 200, np.uint8)
    identity = np.eye(2, 3)[None]

    def draw(imgaug: dict[str, Any]) -> Any:
        return augment_sample(
            [image],
            crop_to_full=identity,
            full_to_model=identity,
            points=np.array([[[0.0, 5.0], [29.5, 5.0]]]),
            points_3d=np.full((2, 3), np.nan),
            cameras=None,
            size=(60, 40),
            augmentation=Augmentation.from_config(imgaug, False),
            generator=np.random.default_rng(0),
        )

    dark = draw({"Vignette": {"p": 1.0, "kwargs": {"strength": 0.5}}}).images[0]
    assert dark[0, 0, 0] == 100
    assert dark[20, 30, 0] == 200
    squeezed = draw({"Squeeze": {"p": 1.0, "kwargs": {"factor": 0.5}}})
    np.testing.assert_allclose(squeezed.points, [[[14.75, 5.0], [29.5, 5.0]]])
    assert not squeezed.images[0, :, :14].any()
    (section,) = (yaml.safe_load(text) for text in blocks("yaml") if "Vignette" in text)
    imgaug = section["training"]["imgaug"]
    assert len(Augmentation.from_config(imgaug, True).pipeline.photometric) == 9
    imgaug["Squeeze"]["kwargs"]["factor"] = 3
    with raises_input("out-of-range", argument="imgaug.Squeeze.factor"):
        Augmentation.from_config(imgaug, True)


def test_the_calibration_format_of_the_page_reads_what_it_writes(
    registries: None, tmp_path: Path, project: Path
) -> None:
    write_files(tmp_path)
    rig = ring(3).replace(distortion=np.array([[-0.1, 0.02, 0.001, -0.001]] * 3))
    config = tmp_path / "config.yaml"
    config.write_text(f"data: {{data_dir: {project}}}\nmodel: {{plugins: [lab_cameras.py]}}\n")
    load_config(config)
    rig.save(tmp_path / "rig.cameras")
    again = CameraGroup.load(tmp_path / "rig.cameras")
    assert again.names == rig.names
    for field in ("sizes", "matrix", "distortion", "rotation", "translation"):
        np.testing.assert_allclose(getattr(again, field), getattr(rig, field), rtol=0, atol=1e-12)
    with raises_input("unsupported-camera", view="view1", field="distortion"):
        rig.replace(distortion=np.array([[0.0] * 5, [0.0] * 4 + [0.1], [0.0] * 5])).save(tmp_path / "rig.cameras")
    lines = (tmp_path / "rig.cameras").read_text().splitlines()
    (tmp_path / "rig.cameras").write_text("\n".join([*lines[:2], lines[2].rsplit(maxsplit=1)[0]]))
    with raises_input("wrong-shape"):
        CameraGroup.load(tmp_path / "rig.cameras")
    for odd in ("", "view1 one"):
        (tmp_path / "rig.cameras").write_text("\n".join([*lines[:2], odd, lines[2]]))
        with raises_input("wrong-shape" if not odd else "bad-number"):
            CameraGroup.load(tmp_path / "rig.cameras")
    with raises_input("bad-name"):
        rig.replace(names=("view 0", *rig.names[1:])).save(tmp_path / "rig.cameras")


def test_a_project_can_name_files_of_the_format_of_the_page(registries: None, tmp_path: Path) -> None:
    write_files(tmp_path)
    project = generate_tiny_project(tmp_path / "project", num_frames=2, num_video_frames=2)
    exact = CameraGroup.load(project / "calibrations" / "session1.toml")
    other = exact.replace(distortion=exact.distortion[:, :4], translation=exact.translation + 5.0)
    load_plugins([tmp_path / "lab_cameras.py"])
    other.save(project / "rig.cameras")
    images = pd.read_csv(project / "CollectedData_cam1.csv", header=[0, 1, 2], index_col=0).index
    rows = [f"{image.replace('_cam1', '')},rig.cameras" for image in images]
    (project / "calibrations.csv").write_text("\n".join([",file", *rows, ""]))
    cameras = read_project(load_config(project / "config.yaml")).cameras[0]
    assert cameras is not None
    np.testing.assert_allclose(cameras.translation, exact.translation + 5.0, atol=1e-9)


def test_a_loss_is_named_in_messages_and_asks_for_cameras(registries: None, tmp_path: Path) -> None:
    @register_loss("flat", needs_cameras=False)
    def flat(prediction: object, batch: object, unit: float) -> torch.Tensor:
        return torch.zeros(())

    @register_loss("deep", needs_cameras=True)
    def deep(prediction: object, batch: object, unit: float) -> torch.Tensor:
        return torch.zeros(())

    path = tmp_path / "config.yaml"
    path.write_text("data: {data_dir: .}\nlosses: {flat: {log_weight: 0}, deep: {log_weight: 0}}\n")
    config = load_config(path)
    assert keys_in_3d(config) == ["losses.deep"]
    with raises_input("bad-key", key="losses.depe"):
        load_config(path, ["losses={depe: {log_weight: 0}}"])


def test_a_name_can_be_taken_once(registries: None) -> None:
    for name in ("supervised_pairwise_projections", "heatmap_mse"):
        with raises_input("duplicate-name", name=name):
            register_loss(name, needs_cameras=True)


@pytest.mark.parametrize(
    ("plugins", "named"),
    [
        ("[absent.py]", "absent.py"),
        ("[notes.txt]", "notes.txt"),
        ("[{a: b}]", "{'a': 'b'}"),
        ("3", "found 3"),
    ],
)
def test_plugins_that_are_not_python_files_are_refused(
    plugins: str,
    named: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "notes.txt").write_text("to do")
    config = tmp_path / "config.yaml"
    config.write_text(f"data: {{data_dir: .}}\nmodel: {{plugins: {plugins}}}\n")
    outcome = run_mvtrain(capsys, monkeypatch, "fit", config)
    assert outcome.status == 2
    assert "model.plugins" in outcome.err
    assert named in outcome.err


def test_an_error_in_a_plugin_is_shown_where_it_is_and_the_plugin_can_be_mended(tmp_path: Path) -> None:
    plugin = tmp_path / "broken.py"
    plugin.write_text("import no_such_module\n")
    config = tmp_path / "config.yaml"
    config.write_text("data: {data_dir: .}\nmodel: {plugins: broken.py}\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        load_config(config)
    plugin.write_text("raise ValueError('bones must be positive')\n")
    with pytest.raises(ValueError, match="bones must be positive"):
        load_config(config)
    plugin.write_text("")
    assert load_config(config).model.plugins == (plugin,)


def test_paths_of_plugins_count_from_the_config_or_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    for path in (tmp_path / "one.py", tmp_path / "elsewhere" / "one.py"):
        path.write_text("")
    config = tmp_path / "config.yaml"
    config.write_text("data: {data_dir: .}\nmodel: {plugins: [one.py]}\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_config(config).model.plugins == (tmp_path / "one.py",)
    assert load_config(config, ["model.plugins=[one.py]"]).model.plugins == (tmp_path / "elsewhere" / "one.py",)


def test_a_run_that_needs_a_plugin_which_is_gone_is_refused(tmp_path: Path, project: Path) -> None:
    files = write_files(tmp_path)
    config = write_config(tmp_path, project)
    for path in files:
        path.unlink()
    with raises_input("missing-file", key="model.plugins", path="bone_length.py"):
        load_config(config)


def test_a_checkpoint_of_a_backbone_that_is_not_registered_is_refused(tmp_path: Path) -> None:
    from mvtrain.model.checkpoint import ModelSpec, build_model, save_checkpoint

    spec = ModelSpec(
        backbone="vit_tiny_patch16_224",
        backbone_args={"depth": 1, "embed_dim": 24, "num_heads": 3},
        attention="joint",
        view_names=("left",),
        keypoint_names=("nose",),
        image_size=(32, 32),
        downsample_factor=2,
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        subject_size=None,
    )
    save_checkpoint(tmp_path, build_model(spec).state_dict(), spec, {})
    description = tmp_path / "model.yaml"
    description.write_text(description.read_text().replace("vit_tiny_patch16_224", "vit_unknown"))
    with raises_input("unknown-choice", key="model.backbone", backbone="vit_unknown"):
        load_checkpoint(tmp_path)
