"""A user's mistake is one line and status 2; a bug is a traceback and status 1."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

import mvtrain
from helpers.command import Outcome, run_mvtrain
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvtrain.cli.options import OLD_NAMES, replace_old_names

Command = Callable[..., Outcome]
TRACEBACK = "Traceback (most recent call last)"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_tiny_project(tmp_path_factory.mktemp("errors") / "project")


@pytest.fixture
def config(project: Path, tmp_path: Path) -> Path:
    return write_tiny_config(tmp_path / "tiny.yaml", project, max_epochs=1)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return lambda *arguments: run_mvtrain(capsys, monkeypatch, *arguments)


def assert_one_line(outcome: Outcome, *facts: object) -> None:
    """Status 2, one line on standard error that has the facts, no traceback."""
    assert outcome.status == 2, outcome.err
    lines = [line for line in outcome.err.splitlines() if line.strip()]
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("error:")
    for fact in facts:
        assert str(fact) in lines[0]


@pytest.mark.parametrize(
    ("override", "fact"),
    [
        ("training.max_epoch=3", "max_epochs"),
        ("training.max_epochs=many", "training.max_epochs"),
        ("training.max_epochs=-1", "training.max_epochs"),
        ("training.max_epochs", "training.max_epochs"),
        ("data.data_dir=nowhere", "nowhere"),
        ("data.view_names=[cam1,cam9]", "cam9"),
        ("model.backbone=resnet50_nothing", "resnet50_nothing"),
        ("model.checkpoint=nowhere", "nowhere"),
        ("model.plugins=[nowhere.py]", "nowhere.py"),
        ("losses.unknown.log_weight=1", "unknown"),
        ("training.imgaug=strange", "training.imgaug"),
        ("training.accelerator=abacus", "abacus"),
    ],
)
def test_a_wrong_value_of_the_config(command: Command, config: Path, tmp_path: Path, override: str, fact: str) -> None:
    outcome = command("fit", config, override, "--output", tmp_path / "run")
    assert_one_line(outcome, fact)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_paths_that_are_not_there_or_not_of_the_kind(
    command: Command, config: Path, project: Path, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    for arguments, fact in (
        (("fit", tmp_path / "no.yaml"), "no.yaml"),
        (("fit", project), "config.yaml"),
        (("fit",), "--resume"),
        (("fit", config, "--resume", full), "--resume"),
        (("fit", "--resume", full), full),
        (("fit", "--resume", tmp_path / "[b]"), tmp_path / "[b]"),
        (("fit", config, "--output", full), full),
        (("fit", config, "--dry-run", "--overfit", "2"), "--overfit"),
        (("predict", full, project / "videos"), full),
        (("evaluate", tmp_path / "none"), "none"),
        (("report", full), full),
        (("export", full), full),
        (("check", tmp_path / "no.yaml"), "no.yaml"),
        (("import", "nonsense", project, "--output", tmp_path / "new"), "nonsense"),
        (("import", "coco", tmp_path / "no.json", "--output", tmp_path / "new"), "no.json"),
        (("convert", "nonsense", project, "--output", tmp_path / "new"), "nonsense"),
        (("synth",), "--output"),
        (("synth", full, "--output", full), "--output"),
        (("synth", full), full),
        (("synth", tmp_path / "new", "--num-views", "0"), "0"),
        (("nonsense",), "nonsense"),
        (("fit", config, "--nonsense"), "--nonsense"),
    ):
        assert_one_line(command(*arguments), fact)
    assert not (tmp_path / "new").exists()


def test_broken_files_of_the_user(command: Command, project: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    for content in (
        b"training: [",
        b"\xff\xfe\x00binary",
        b"just text",
        b"- a\n- b\n",
        b"training: {max_epochs: !!python/name:os.system }",
    ):
        broken.write_bytes(content)
        assert_one_line(command("fit", broken), broken)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in project.iterdir():
        (copy / path.name).symlink_to(path)
    table = copy / "CollectedData_cam1.csv"
    text = table.read_text()
    config = write_tiny_config(tmp_path / "copy.yaml", copy, max_epochs=1)
    lines = text.splitlines()
    cells = lines[3].split(",")
    for damaged in (
        "",
        "nothing but words",
        "\n".join(lines[:2]),
        "\n".join([*lines[:3], ",".join([cells[0], "abc", *cells[2:]]), *lines[4:]]),
        "\n".join([*lines[:3], lines[3] + ",1,2,3", *lines[4:]]),
    ):
        table.unlink()
        table.write_text(damaged)
        assert_one_line(command("fit", config, "--output", tmp_path / "run"), table.name)


def test_debug_shows_the_traceback_of_a_users_error(command: Command, tmp_path: Path) -> None:
    outcome = command("--debug", "fit", tmp_path / "no.yaml")
    assert outcome.status == 2
    assert TRACEBACK in outcome.err
    assert "InputError" in outcome.err


@pytest.mark.slow
def test_a_value_error_of_a_plugin_is_a_bug_with_a_traceback(command: Command, config: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "faulty.py"
    plugin.write_text(
        "from mvtrain.losses import register_loss\n\n\n"
        "@register_loss('faulty', needs_cameras=False)\ndef faulty(prediction, batch, unit):\n"
        "    raise ValueError('the sum is odd')\n"
    )
    document = yaml.safe_load(config.read_text())
    document["model"]["plugins"] = [str(plugin)]
    document["losses"]["faulty"] = {"log_weight": 0.0, "init_epoch": 0}
    config.write_text(yaml.safe_dump(document))
    # A process of its own: what a plugin registers stays for as long as the process lives.
    arguments = [sys.executable, "-m", "mvtrain", "fit", config, "--output", tmp_path / "run"]
    outcome = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, check=False)
    assert outcome.returncode == 1
    assert TRACEBACK in outcome.stderr
    assert "the sum is odd" in outcome.stderr
    assert "faulty.py" in outcome.stderr


def test_a_value_error_of_numpy_is_a_bug_with_a_traceback(
    command: Command, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr("mvtrain.training.train.split_frames", lambda *_: np.zeros((2, 3)) + np.zeros((2, 4)))
    outcome = command("fit", config, "--output", tmp_path / "run")
    assert outcome.status == 1
    assert TRACEBACK in outcome.err
    assert mvtrain.__version__ in outcome.err


def test_a_device_that_is_full_or_absent_is_one_line(
    command: Command, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    for error in (torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("CUDA error: invalid device ordinal")):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("mvtrain.training.train.read_project", fail)
        assert_one_line(command("fit", config, "--output", tmp_path / "run"), "CUDA")


def test_old_names_of_options_stay_valid_and_are_not_shown(command: Command, tmp_path: Path) -> None:
    outcome = command(
        "synth", tmp_path / "old", "--views", 2, "--frames=2", "--sessions", 1, "--video-frames", 2, "--size", 64
    )
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "old" / "CollectedData_cam2.csv").exists()
    assert replace_old_names(["init", "films", "--copy"]) == ["init", "films", "--copy-videos"]
    old_import = ["import", "coco", "--predictions=0.5"]
    assert replace_old_names(old_import) == ["import", "coco", "--min-likelihood=0.5"]
    assert replace_old_names(["label", "p", "--predictions", "run"]) == ["label", "p", "--predictions", "run"]
    assert replace_old_names(["fit", "c.yaml", "--output-dir=x", "--", "--out"]) == [
        "fit",
        "c.yaml",
        "--output=x",
        "--",
        "--out",
    ]
    peer = ["fit", "c.yaml", "--output_dir", "x_y", "--overrides", "training.max_epochs=2", "data.data_dir=a_b"]
    assert replace_old_names(peer) == ["fit", "c.yaml", "--output", "x_y", "training.max_epochs=2", "data.data_dir=a_b"]
    assert replace_old_names(["predict", "--batch_size=2", "--overrides"]) == [
        "predict",
        "--batch-size=2",
        "--overrides",
    ]
    for name in ("init", "fit", "check", "predict", "export", "evaluate", "report", "import", "convert", "synth"):
        shown = command(name, "-h")
        assert shown.status == 0
        words = {word.strip(",") for word in shown.out.split()}
        assert not words & {old for names in OLD_NAMES.values() for old in names} - {"--views"}


def test_version_help_and_module(command: Command) -> None:
    assert command("--version").out.strip() == f"mvtrain {mvtrain.__version__}"
    assert command("-h").out == command("--help").out
    environment = {**os.environ, "COLUMNS": "100"}
    module = subprocess.run(
        [sys.executable, "-m", "mvtrain", "--version"], capture_output=True, text=True, env=environment
    )
    assert module.stdout.strip() == f"mvtrain {mvtrain.__version__}"


def test_what_the_package_shows() -> None:
    assert set(dir(mvtrain)) == set(mvtrain.__all__)
    for name in mvtrain.__all__:
        assert getattr(mvtrain, name) is not None
