"""`mvtrain fit --seeds`: a folder of runs, resumed run by run, which other commands take for its runs."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from helpers.command import Outcome, run_mvtrain
from helpers.errors import raises_input
from helpers.runs import make_run
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvtrain.cli.app import app
from mvtrain.cli.fit import _parse_seeds
from mvtrain.runtime.folders import EnsembleMember, find_runs, read_ensemble, write_ensemble
from mvtrain.runtime.interruption import RunInterruptedError
from mvtrain.training import train as training


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    project = generate_tiny_project(folder / "project", num_frames=10, num_video_frames=10)
    return write_tiny_config(folder / "tiny.yaml", project, max_epochs=1, unfreezing_epoch=0)


@pytest.fixture
def mvtrain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    return lambda *arguments: run_mvtrain(capsys, monkeypatch, *arguments)


def fit_here(arguments: Sequence[str]) -> tuple[int, int]:
    """Run `mvtrain fit` in this process."""
    return CliRunner().invoke(app, ["fit", *arguments]).exit_code, 0


@pytest.mark.slow
def test_an_ensemble_is_trained_resumed_and_used(
    config: Path, tmp_path: Path, mvtrain: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, calls = tmp_path / "ensemble", []

    def fails_at_second(arguments: Sequence[str]) -> tuple[int, int]:
        calls.append(arguments)
        return (1, 0) if len(calls) == 2 else fit_here(arguments)

    monkeypatch.setattr(training, "run_fit", fails_at_second)
    outcome = mvtrain("fit", config, "--seeds", "4,7", "-o", folder)
    assert outcome.status == 1
    assert f"mvtrain fit --resume {folder}" in outcome.out
    with raises_input("not-a-run", path=folder / "seed7"):
        find_runs(folder)
    outcome = mvtrain("fit", "--resume", folder, "--dry-run")
    assert outcome.status == 0, outcome.err
    assert len(calls) == 2
    outcome = mvtrain("fit", "--resume", folder)
    assert outcome.status == 0, outcome.err
    assert len(calls) == 3
    assert [member.done for member in read_ensemble(folder).values()] == [True, True]
    runs = find_runs(folder)
    assert [run.name for run in runs] == ["seed4", "seed7"]
    configs = [yaml.safe_load((run / "config.yaml").read_text()) for run in runs]
    assert [each["training"].pop("rng_seed_model_pt") for each in configs] == [4, 7]
    assert configs[0] == configs[1]
    checkpoints = [(run / "checkpoints" / "best" / "model.yaml").read_text() for run in runs]
    assert checkpoints[0] != checkpoints[1]

    videos = Path(configs[0]["data"]["data_dir"]) / "videos"
    outcome = mvtrain("predict", folder, videos, "--device", "cpu")
    assert outcome.status == 0, outcome.err
    assert sorted(path.name for path in (folder / "video_preds" / "networks").iterdir()) == ["seed4", "seed7"]
    outcome = mvtrain("smooth", folder, "-o", tmp_path / "smooth")
    assert outcome.status == 0, outcome.err
    assert "2 networks" in outcome.out
    outcome = mvtrain("evaluate", folder)
    assert outcome.status == 0, outcome.err
    tables = [each / "evaluation" / "errors.csv" for each in (folder, *runs)]
    assert len({table.read_text() for table in tables}) == 3
    outcome = mvtrain("report", folder)
    assert outcome.status == 0, outcome.err
    assert all((run / "report.html").is_file() for run in runs)
    assert mvtrain("report", folder, "-o", tmp_path / "page.html").status == 2


def test_recordings_that_the_runs_predicted_are_those_of_the_ensemble(tmp_path: Path) -> None:
    folder = tmp_path / "ensemble"
    runs = [make_run(folder / name) for name in ("seed0", "seed1")]
    write_ensemble(folder, {run.name: EnsembleMember(seed=number, done=True) for number, run in enumerate(runs)})
    assert find_runs(folder) == tuple(runs)
    assert find_runs(runs[0]) == (runs[0],)


def test_a_run_that_was_stopped_is_not_part_of_an_ensemble_yet(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name) for name in ("seed0", "seed1")]
    members = {run.name: EnsembleMember(seed=number, done=number == 0) for number, run in enumerate(runs)}
    write_ensemble(tmp_path, members)
    with raises_input("not-a-run", path=runs[1]):
        find_runs(tmp_path)


def test_a_run_that_was_removed_is_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path / "seed0")
    write_ensemble(tmp_path, {f"seed{seed}": EnsembleMember(seed=seed, done=True) for seed in range(2)})
    with raises_input("not-a-run", path=tmp_path / "seed1"):
        find_runs(tmp_path)
    calls: list[str] = []
    monkeypatch.setattr(training, "run_fit", lambda arguments: (calls.append(arguments[-1]), (0, 0))[1])
    assert training.train_ensemble(tmp_path, training.Console(quiet=True)) == 0
    assert calls == [str(tmp_path / "seed1")]


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "/tmp/run", ".."])
def test_a_list_of_runs_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    document = {"runs": [{"folder": name, "seed": 0, "done": True}]}
    (tmp_path / "ensemble.yaml").write_text(yaml.safe_dump(document))
    with raises_input("damaged-file", path=tmp_path / "ensemble.yaml"):
        find_runs(tmp_path)


@pytest.mark.parametrize(
    ("text", "seeds"), [(None, ()), ("3", (0, 1, 2)), ("5,2", (5, 2)), (" 1, 0 ", (1, 0)), ("2", (0, 1))]
)
def test_seeds_are_a_number_or_a_list(text: str | None, seeds: tuple[int, ...]) -> None:
    assert _parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "1", "0", "a", "1,1", "1,", "-2", "1.5", "0,a"])
def test_wrong_seeds_are_refused(text: str) -> None:
    with raises_input("bad-option", option="--seeds"):
        _parse_seeds(text)


def test_signals_reach_the_process_that_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ensemble(tmp_path, {"seed0": EnsembleMember(seed=0, done=False)})
    started = subprocess.Popen

    def popen(command: Sequence[str], **options: bool) -> subprocess.Popen[bytes]:
        script = "trap 'exit 143' TERM; kill -TERM $PPID; while :; do sleep 0.05; done"
        return started(["bash", "-c", script], **options)

    monkeypatch.setattr(training.subprocess, "Popen", popen)
    with pytest.raises(RunInterruptedError) as stopped:
        training.train_ensemble(tmp_path, training.Console(quiet=True))
    assert stopped.value.exit_status == 128 + signal.SIGTERM
    assert not read_ensemble(tmp_path)["seed0"].done
