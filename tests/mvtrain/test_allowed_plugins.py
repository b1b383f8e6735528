"""Code and secrets: plugins are named, those of run folders run only if they may, and configs read only themselves."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from helpers.command import run_mvtrain
from helpers.errors import raises_input
from helpers.runs import make_run
from mvtrain.cli.app import COMMANDS
from mvtrain.config import load_config
from mvtrain.config.plugins import ALLOW_PLUGINS, ALLOW_RESOLVERS, remember_plugins
from mvtrain.model.run_folder import load_run
from mvtrain.runtime.folders import ENSEMBLE_CONFIG, EnsembleMember, write_ensemble
from mvtrain.training.train import start_ensemble


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the user, without permissions given before."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in (ALLOW_PLUGINS, ALLOW_RESOLVERS):
        monkeypatch.setenv(name, "0")
    return tmp_path / "state" / "mvtrain" / "plugins.json"


def plugin(path: Path) -> Path:
    """A plugin that leaves a file when it runs."""
    path.write_text(f"open({str(path.with_suffix('.ran'))!r}, 'a').write('x')\n")
    return path


def run_with(folder: Path, path: Path) -> Path:
    """A run folder that names a plugin, made without running it."""
    run = make_run(folder)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["plugins"] = [str(path)]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


def test_the_plugins_of_a_config_run_and_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = plugin(tmp_path / "mine.py")
    (tmp_path / "config.yaml").write_text("model: {plugins: [mine.py]}\n")
    load_config(tmp_path / "config.yaml")
    assert path.with_suffix(".ran").exists()
    assert str(path) in caplog.text


@pytest.mark.parametrize("folder", ["run.yaml", "checkpoints"])
def test_the_plugins_of_a_run_folder_do_not_run(folder: str, tmp_path: Path) -> None:
    path = plugin(tmp_path / "theirs.py")
    run = run_with(tmp_path / "run", path)
    (run / "run.yaml").unlink() if folder == "checkpoints" else None
    shutil.rmtree(run / "checkpoints") if folder == "run.yaml" else None
    with raises_input("plugin-not-allowed", key="model.plugins", path="theirs.py"):
        load_config(run / "config.yaml")
    assert not path.with_suffix(".ran").exists()
    load_config(run / "config.yaml", allow_plugins=True)
    assert path.with_suffix(".ran").exists()


def test_plugins_of_a_training_here_run(tmp_path: Path, state: Path) -> None:
    path = plugin(tmp_path / "trained.py")
    run = run_with(tmp_path / "run", path)
    remember_plugins([path])
    assert str(path) in json.loads(state.read_text()).values()
    load_run(run)
    assert path.with_suffix(".ran").exists()
    # The same path with other content is another plugin.
    other = plugin(tmp_path / "changed.py")
    remember_plugins([other])
    other.write_text(other.read_text() + "import os\n")
    with raises_input("plugin-not-allowed", path="changed.py"):
        load_run(run_with(tmp_path / "other", other))


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"a": ' * 5000])
def test_a_damaged_state_remembers_nothing(content: str, tmp_path: Path, state: Path) -> None:
    path = plugin(tmp_path / f"damaged{len(content)}.py")
    state.parent.mkdir(parents=True)
    state.write_text(content)
    with raises_input("plugin-not-allowed"):
        load_run(run_with(tmp_path / "run", path))
    remember_plugins([path])
    load_run(tmp_path / "run")


def test_a_state_that_cannot_be_written_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="--allow-plugins"):
        remember_plugins([plugin(tmp_path / "unwritable.py")])


def test_the_plugins_of_an_ensemble_do_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = plugin(tmp_path / "of_an_ensemble.py"), tmp_path / "ensemble"
    run = run_with(folder / "seed0", path)
    shutil.copy(run / "config.yaml", folder / ENSEMBLE_CONFIG)
    write_ensemble(folder, {"seed0": EnsembleMember(seed=0, done=True)})
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "mouse_top.avi").write_bytes(b"RIFF")
    for arguments in (["fit", "--resume", folder], ["predict", folder, tmp_path / "videos"], ["report", folder]):
        outcome = run_mvtrain(capsys, monkeypatch, *map(str, arguments))
        assert "--allow-plugins" in outcome.err
        assert outcome.status == 2
    with raises_input("plugin-not-allowed", path="of_an_ensemble.py"):
        load_config(folder / ENSEMBLE_CONFIG)
    assert not path.with_suffix(".ran").exists()
    # Who starts an ensemble here has named the plugins: the processes of its runs may use them.
    start_ensemble(load_config(folder / ENSEMBLE_CONFIG, allow_plugins=True), tmp_path / "own", [0, 1])
    load_config(tmp_path / "own" / ENSEMBLE_CONFIG)


RUN_COMMANDS = {
    "predict": ["RUN", "VIDEOS"],
    "evaluate": ["RUN"],
    "report": ["RUN"],
    "export": ["RUN"],
    "fit": ["--resume", "RUN"],
    "check": ["RUN/config.yaml"],
}
"""Arguments of commands that read the config of a run folder."""

OTHER_COMMANDS = {
    "init": "no config",
    "synth": "no config",
    "smooth": "tables only",
    "convert": "tables only",
    "import": "the config of a project",
    "label": "the config of a project",
    "crop": "the config of a project",
    "pseudolabel": "the config of a project, and tables",
    "frames": "has the option; its run needs a project with videos",
}


def test_every_command_is_tried() -> None:
    assert RUN_COMMANDS.keys() | OTHER_COMMANDS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", RUN_COMMANDS)
def test_commands_do_not_run_the_plugins_of_a_run_folder(
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = plugin(tmp_path / f"of_{command}.py")
    run = run_with(tmp_path / "run", path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "mouse_top.avi").write_bytes(b"RIFF")
    names = {"RUN": str(run), "VIDEOS": str(tmp_path / "videos")}
    arguments = [
        argument.replace("RUN", str(run)) if "/" in argument else names.get(argument, argument)
        for argument in RUN_COMMANDS[command]
    ]
    outcome = run_mvtrain(capsys, monkeypatch, command, *arguments)
    assert "plugin" in outcome.err
    assert outcome.status == 2
    assert not path.with_suffix(".ran").exists()
    for weights in run.rglob("*.safetensors"):  # an error after the config is enough
        weights.unlink()
    outcome = run_mvtrain(capsys, monkeypatch, command, *arguments, "--allow-plugins")
    assert path.with_suffix(".ran").exists()
    assert str(path) in caplog.text
    os.environ[ALLOW_PLUGINS] = "0"


TEXTS = {
    "the environment": "${oc.env:SECRET}",
    "the environment, with a default": "a/${oc.env:SECRET,none}",
    "in spaces": "${ oc.env : SECRET }",
    "nested": "${oc.decode:${oc.env:SECRET}}",
    "another resolver": "${now:%Y}",
    "after a backslash of its own": "\\\\${oc.env:SECRET}",
}


@pytest.mark.parametrize("kind", TEXTS)
def test_resolvers_are_not_resolved_unless_allowed(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "secret")
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"data": {"data_dir": TEXTS[kind]}}))
    with raises_input("bad-value", key="data.data_dir") as caught:
        load_config(path)
    assert "secret" not in str(caught.value)
    path.write_text("data: {data_dir: a}\n")
    with raises_input("bad-value", key="data.video_dir"):
        load_config(path, [f"data.video_dir={TEXTS['the environment']}"])
    path.write_text(yaml.safe_dump({"hydra": {"a": TEXTS[kind]}, "data": {"data_dir": "${hydra.a}"}}))
    with raises_input("bad-value"):
        load_config(path)


def test_other_interpolations_and_resolvers_that_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "secret")
    path = tmp_path / "config.yaml"
    document = {
        "data": {"data_dir": "a", "video_dir": "${data.data_dir}/videos", "csv_file": ["\\${oc.env:SECRET}"]},
        "hydra": {"run": {"dir": "${now:%Y}"}},
        "eval": {"test_videos_directory": "${oc.select:data.video_dir}"},
    }
    path.write_text(yaml.safe_dump(document))
    config = load_config(path)
    assert config.data.video_dir == config.eval.test_videos_directory == tmp_path / "a" / "videos"
    assert config.data.csv_file == ("${oc.env:SECRET}",)
    assert config.ignored == ("hydra",)
    monkeypatch.setenv(ALLOW_RESOLVERS, "1")
    path.write_text(yaml.safe_dump({"data": {"data_dir": TEXTS["the environment"]}}))
    assert load_config(path).data.data_dir == tmp_path / "secret"
