"""Runs that are killed, stopped, resumed, repeated, shared between processes: the result is always the same."""

import os
import shutil
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
import yaml
from filelock import FileLock
from rich.console import Console

from helpers.command import Outcome, run_mvtrain
from helpers.errors import raises_input
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvtrain.config import load_config
from mvtrain.training.guards import explain_failures
from mvtrain.training.train import train

QUIET = Console(quiet=True)

TIMES = ["samples_per_second", "share_waiting_for_data"]
"""Columns of the log that say how long something took."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_tiny_project(tmp_path_factory.mktemp("generated") / "project")


@pytest.fixture(scope="module")
def finished(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    config = write_tiny_config(folder / "tiny.yaml", project, max_epochs=1, unfreezing_epoch=0)
    train(load_config(config), folder / "run", QUIET)
    return folder / "run"


def resume(run: Path) -> str:
    """Go on with a run without the evaluation of `mvtrain fit --resume`; return what was printed."""
    console = Console(record=True, width=400, file=StringIO())
    train(load_config(run / "config.yaml"), run, console, resume=True)
    return console.export_text()


class Fit:
    """`mvtrain fit` inside the test's process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: object) -> Outcome:
        return run_mvtrain(self.capsys, self.monkeypatch, "fit", *arguments)

    def well(self, *arguments: object) -> str:
        outcome = self(*arguments)
        assert outcome.status == 0, outcome.err
        return outcome.out


@pytest.fixture
def fit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fit:
    return Fit(capsys, monkeypatch)


def weights(run: Path, checkpoint: str = "last") -> dict[str, torch.Tensor]:
    (file,) = (run / "checkpoints" / checkpoint).glob("*.safetensors")
    return safetensors.torch.load_file(file)


def weight_bytes(run: Path) -> list[bytes]:
    return [next((run / "checkpoints" / name).glob("*.safetensors")).read_bytes() for name in ("last", "best")]


def figures(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "metrics.csv", dtype=str).drop(columns=TIMES)


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mvtrain.cli.app", "fit", *map(str, arguments)]
    return subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def start_well(*arguments: object) -> str:
    process = start(*arguments)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


def wait_for_rows(process: subprocess.Popen[str], run: Path, rows: int) -> None:
    """Until the log has that many rows."""
    path = run / "metrics.csv"
    while not path.exists() or len(path.read_text().splitlines()) <= rows:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


@pytest.mark.slow
def test_a_run_that_was_killed_and_stopped_ends_as_if_nothing_had_happened(
    project: Path, tmp_path: Path, fit: Fit
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    config = write_tiny_config(
        tmp_path / "tiny.yaml",
        project,
        max_epochs=3,
        train_batch_size=2,
        log_every_n_steps=1,
        ema_decay=0.9,
        num_workers=1,
        save_every_minutes=0,
    )
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fit.well(config, "--output", whole)
    rng = np.random.default_rng()
    # Rows of the log: 6 steps and a validation per epoch. Within epochs, since between them there is less to get wrong.
    first, second = rng.integers(1, 4), 7 + rng.integers(1, 4)

    process = start(config, "--output", broken)
    wait_for_rows(process, broken, first)
    time.sleep(rng.uniform(0, 0.05))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (broken / "checkpoints" / "last").exists()
    with (broken / "metrics.csv").open("a") as log:
        log.write("a row that was written after the last state, cut off in the mid")

    process = start("--resume", broken)
    wait_for_rows(process, broken, second)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, err
    state = yaml.safe_load((broken / "checkpoints" / "state" / "state.yaml").read_text())
    assert 6 < state["steps"] < 18
    assert f"the state is saved; go on with: mvtrain fit --resume {broken}" in out
    assert "Traceback" not in err

    fit.well("--resume", broken)
    torch.set_num_threads(threads)
    assert weight_bytes(broken) == weight_bytes(whole), (first, second)
    pd.testing.assert_frame_equal(figures(broken), figures(whole))
    assert len(yaml.safe_load((broken / "run.yaml").read_text())) == 3
    for name in ("predictions_cam1.csv", "predictions_cam1_pixel_error.csv"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()


def test_a_finished_run_resumed_changes_nothing(finished: Path, tmp_path: Path, fit: Fit) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    before = weight_bytes(run), (run / "metrics.csv").read_bytes()
    info = run / "run.yaml"
    assert yaml.safe_load(info.read_text())[-1]["hardware"]["threads"] == torch.get_num_threads()
    assert "threads" not in fit.well("--resume", run)
    info.write_text(info.read_text().replace("threads: ", "threads: 10"))
    out = resume(run)
    assert "warning" in out
    assert "OMP_NUM_THREADS=10" in out
    assert (weight_bytes(run), (run / "metrics.csv").read_bytes()) == before


def visible_project(tmp_path: Path) -> Path:
    """Every keypoint labeled in every view, so that every frame has the same share in a loss."""
    project = generate_tiny_project(tmp_path / "visible", occlusion=0.0)
    for path in project.glob("CollectedData_*.csv"):
        table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
        for column in table.columns:
            if column[2] == "visible":
                table[column] = 2
            else:
                table[column] = table[column].fillna(30.0).clip(2, 60)
        table.to_csv(path)
    return project


def heatmap_loss_only(config: Path) -> Path:
    document = yaml.safe_load(config.read_text())
    document["losses"] = {}
    config.write_text(yaml.safe_dump(document))
    return config


@pytest.mark.slow
def test_half_batches_and_half_the_work_in_another_process_give_the_same_weights(tmp_path: Path, fit: Fit) -> None:
    project = visible_project(tmp_path)
    settings = {"max_epochs": 2, "unfreezing_epoch": 1, "imgaug": "none", "imgaug_3d": False, "optimizer": "Adam"}
    config = heatmap_loss_only(write_tiny_config(tmp_path / "tiny.yaml", project, **settings))
    # With every part of a step: attention along epipolar lines passes through the strategies' wrappers, too.
    model = "model.epipolar_attention=true"
    fit.well(config, model, "--output", tmp_path / "one")
    halves = ("training.train_batch_size=2", "training.accumulate_grad_batches=2")
    fit.well(config, model, *halves, "--output", tmp_path / "halves")
    for strategy in ("auto", "fsdp"):
        shared = (f"training.strategy={strategy}", "training.devices=2", "--output", tmp_path / strategy)
        out = start_well(config, model, *shared)
        assert "2 x cpu" in out
        assert out.count("(best so far)") == 2, "every process prints lines that only the first should"
    expected = weights(tmp_path / "one")
    for name in ("halves", "auto", "fsdp"):
        assert weights(tmp_path / name).keys() == expected.keys()
        for key, value in weights(tmp_path / name).items():
            # Adam divides by the gradient's size, so where a gradient is near zero its rounding is magnified.
            torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=2e-5, msg=f"{name}: {key}")


@pytest.mark.slow
def test_a_run_of_sharded_weights_goes_on_where_it_stopped(tmp_path: Path) -> None:
    project = visible_project(tmp_path)
    settings = {"unfreezing_epoch": 1, "lr_scheduler": None, "patch_mask": None, "ema_decay": None}
    config = heatmap_loss_only(write_tiny_config(tmp_path / "tiny.yaml", project, max_epochs=3, **settings))
    # Each view on its own, as generated configs have it; the runs above attend over all views.
    sharded = ("training.strategy=fsdp", "training.devices=2", "model.attention=per_view")
    start_well(config, *sharded, "--output", tmp_path / "whole")
    halved = tmp_path / "halved"
    start_well(config, *sharded, "training.max_epochs=1", "--output", halved)
    document = yaml.safe_load((halved / "config.yaml").read_text())
    document["training"]["max_epochs"] = 3
    (halved / "config.yaml").write_text(yaml.safe_dump(document))
    start_well("--resume", halved)
    assert weight_bytes(halved) == weight_bytes(tmp_path / "whole")


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_and_the_first_shows_it(project: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = write_tiny_config(tmp_path / "tiny.yaml", project, max_epochs=200, log_every_n_steps=1)
    process = start(config, "training.devices=2", "--output", run)
    wait_for_rows(process, run, 2)
    (other,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(other), signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, str(run) in out) == (128 + signal.SIGTERM, True), err
    assert (run / "learning_curves.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_averaged_weights_are_the_exponential_moving_average(precision: str, project: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"lr_scheduler": None, "unfreezing_epoch": 0, "train_batch_size": 12, "patch_mask": None}
    settings["precision"] = precision
    config = heatmap_loss_only(write_tiny_config(tmp_path / "tiny.yaml", project, **settings))
    epochs = ("training.max_epochs=3", "training.ckpt_every_n_epochs=1")
    # Without the evaluation of a command, which changes no weights.
    train(load_config(config, epochs), tmp_path / "plain", QUIET)
    by_epochs = [weights(tmp_path / "plain", f"epoch-{epoch:04d}") for epoch in (1, 2, 3)]
    train(load_config(config, (*epochs, "training.ema_decay=0.75")), tmp_path / "averaged", QUIET)
    for name, value in weights(tmp_path / "averaged").items():
        # One step per epoch; the average starts at the weights after the first step.
        average = by_epochs[0][name].float()
        for later in by_epochs[1:]:
            average = 0.75 * average + 0.25 * later[name]
        # In float32 even where the weights are not.
        torch.testing.assert_close(value, average, rtol=1e-5, atol=1e-7)


def test_a_run_that_ends_inside_an_epoch_keeps_the_epochs_before_it_and_validates_once(
    project: Path, tmp_path: Path
) -> None:
    in_steps = {"max_epochs": None, "unfreezing_epoch": None, "patch_mask": None, "max_steps": 4}
    config = write_tiny_config(
        tmp_path / "tiny.yaml", project, **in_steps, val_check_interval=2, ckpt_every_n_epochs=1, imgaug="none"
    )
    train(load_config(config), tmp_path / "run", QUIET)
    # Epochs have 3 steps.
    checkpoints = tmp_path / "run" / "checkpoints"
    assert [path.name for path in sorted(checkpoints.glob("epoch-*"))] == ["epoch-0001"]
    first, last = weights(tmp_path / "run", "epoch-0001"), weights(tmp_path / "run")
    assert any(not torch.equal(first[name], value) for name, value in last.items())
    log = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert log["step"][log["val_loss"].notna()].tolist() == [2, 4]


def test_a_dry_run_writes_nothing(project: Path, tmp_path: Path, fit: Fit) -> None:
    config = write_tiny_config(tmp_path / "tiny.yaml", project)
    out = fit.well(config, "--dry-run", "--output", tmp_path / "run")
    assert "one batch went forward and backward, nothing was written" in out
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_network_that_can_learn_overfits_one_frame(project: Path, tmp_path: Path, fit: Fit) -> None:
    changes = ("training.max_epochs=40", "training.unfreezing_epoch=0", "training.optimizer_params.learning_rate=5e-3")
    config = write_tiny_config(tmp_path / "tiny.yaml", project)
    out = fit.well(config, *changes, "--overfit", 1, "--output", tmp_path / "run")
    losses = pd.read_csv(tmp_path / "run" / "metrics.csv")["heatmap"].dropna()
    assert losses.iloc[-1] < 0.5 * losses.iloc[0]
    assert "imgaug none, imgaug_3d false" in out
    outcome = fit("--resume", tmp_path / "run")
    assert outcome.status == 2
    assert "--overfit" in outcome.err
    assert "model.checkpoint=" in outcome.err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["training.early_stopping=true", "training.val_prob=0"],
            "training.early_stopping",
        ),
        (["training.strategy=fsdp", "training.ema_decay=0.9"], "training.ema_decay"),
        (["training.devices=5", "training.strategy=ddp", "--overfit=30"], "expected 1 to 12"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_before_the_first_step(
    changes: list[str], message: str, project: Path, tmp_path: Path, fit: Fit
) -> None:
    outcome = fit(write_tiny_config(tmp_path / "tiny.yaml", project), *changes, "--output", tmp_path / "run")
    assert outcome.status == 2
    assert message in outcome.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--resume"),
        (["tiny.yaml", "--resume", "run"], "--resume"),
        (["--resume", "nothing"], "nothing"),
        (["--resume", "run", "--output", "other"], "--output"),
        (["tiny.yaml", "--dry-run", "--overfit", "1"], "--overfit"),
    ],
)
def test_options_that_contradict_each_other(
    arguments: list[str], message: str, tmp_path: Path, fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = fit(*arguments)
    assert outcome.status == 2
    assert message in outcome.err


def test_a_project_is_not_resumed(project: Path, fit: Fit) -> None:
    before = sorted(project.rglob("*"))
    outcome = fit("--resume", project)
    assert outcome.status == 2
    assert f"mvtrain fit {project / 'config.yaml'}" in outcome.err
    assert sorted(project.rglob("*")) == before


class TestFaults:
    """Faults that stop a run, and the files that stay."""

    @pytest.fixture
    def config(self, project: Path, tmp_path: Path) -> Path:
        return write_tiny_config(tmp_path / "tiny.yaml", project, max_epochs=2, unfreezing_epoch=0)

    @pytest.fixture
    def run(self, finished: Path, tmp_path: Path) -> Path:
        """A copy of its own for each test to damage."""
        shutil.copytree(finished, tmp_path / "run")
        return tmp_path / "run"

    def test_a_loss_that_is_not_finite_names_the_frames_and_keeps_the_batch(
        self, config: Path, tmp_path: Path, fit: Fit
    ) -> None:
        changes = ("training.optimizer_params.learning_rate=1e30", "training.log_every_n_steps=1")
        outcome = fit(config, *changes, "--output", tmp_path / "run")
        assert outcome.status == 2
        assert str(tmp_path / "run" / "not_finite.pt") in outcome.err
        assert "labeled-data/" in outcome.err
        assert "training.optimizer_params.learning_rate" in outcome.err
        batch = torch.load(tmp_path / "run" / "not_finite.pt", weights_only=True)
        assert batch["images"].shape == (4, 3, 3, 32, 48)
        assert not (tmp_path / "run" / "checkpoints" / "last").exists()

    def test_a_folder_in_use_is_refused(self, run: Path, fit: Fit) -> None:
        with FileLock(run / ".lock"):
            outcome = fit("--resume", run)
        assert outcome.status == 2
        assert str(run) in outcome.err

    def test_a_run_folder_that_cannot_be_made(self, config: Path, tmp_path: Path, fit: Fit) -> None:
        (tmp_path / "file").write_text("")
        outcome = fit(config, "--output", tmp_path / "file" / "run")
        assert outcome.status == 2
        assert str(tmp_path / "file" / "run") in outcome.err

    def test_a_damaged_state_is_refused(self, run: Path, fit: Fit) -> None:
        (state,) = (run / "checkpoints" / "state").glob("*.pt")
        content = state.read_bytes()
        for damaged in (content[:-100], content[:-1] + bytes([content[-1] ^ 1])):
            state.write_bytes(damaged)
            outcome = fit("--resume", run)
            assert outcome.status == 2
            assert str(state) in outcome.err

    def test_a_state_that_would_run_code_is_refused(self, run: Path, tmp_path: Path, fit: Fit) -> None:
        import hashlib

        class Harmful:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return os.system, (f"touch {tmp_path / 'ran'}",)

        (state,) = (run / "checkpoints" / "state").glob("*.pt")
        torch.save({"model": Harmful()}, state)
        description = run / "checkpoints" / "state" / "state.yaml"
        document = yaml.safe_load(description.read_text())
        document["sha256"] = hashlib.sha256(state.read_bytes()).hexdigest()
        description.write_text(yaml.safe_dump(document))
        outcome = fit("--resume", run)
        assert outcome.status == 2
        assert str(state.parent) in outcome.err
        assert not (tmp_path / "ran").exists()

    def test_a_state_described_by_a_python_tag_is_refused(self, run: Path, fit: Fit) -> None:
        description = run / "checkpoints" / "state" / "state.yaml"
        description.write_text("!!python/object/apply:os.system ['echo ran']")
        outcome = fit("--resume", run)
        assert outcome.status == 2
        assert str(description) in outcome.err

    def test_a_log_that_was_replaced_is_refused(self, run: Path, fit: Fit) -> None:
        (run / "metrics.csv").write_text("epoch,step\n")
        outcome = fit("--resume", run)
        assert outcome.status == 2
        assert str(run / "metrics.csv") in outcome.err

    @pytest.mark.parametrize(
        ("change", "key", "found", "expected"),
        [
            # In mid-epoch the run would have ended at once, or never, by how many batches an epoch has.
            ("training.train_batch_size=3", "training.train_batch_size", "3", "4"),
            ("data.image_resize_dims.height=48", "data.image_resize_dims.height", "48", "32"),
            (
                "data.view_names=[cam2,cam1,cam3]",
                "data.view_names",
                *['["cam2", "cam1", "cam3"]', '["cam1", "cam2", "cam3"]'],
            ),
            ("model.heatmap_loss_type=kl", "model.heatmap_loss_type", '"kl"', '"mse"'),
        ],
    )
    def test_another_network_or_loss_is_refused(
        self, change: str, key: str, found: str, expected: str, run: Path
    ) -> None:
        config = load_config(run / "config.yaml", [change])
        shutil.rmtree(run / "checkpoints" / "last")  # of a run that was killed
        with raises_input("bad-value", key=key, found=found, expected=expected) as caught:
            train(config, run, QUIET, resume=True)
        assert str(run / "checkpoints" / "best") in str(caught.value)

    def test_a_changed_learning_rate_holds_and_is_reported(self, run: Path) -> None:
        settings = yaml.safe_load((run / "config.yaml").read_text())
        settings["training"]["optimizer_params"]["learning_rate"] = 1e-5
        settings["training"]["max_epochs"] += 1
        settings["training"]["lr_scheduler"] = None
        (run / "config.yaml").write_text(yaml.safe_dump(settings))
        rows = len(pd.read_csv(run / "metrics.csv"))
        printed = resume(run)
        rates = pd.read_csv(run / "metrics.csv")["learning_rate_head"][rows:].dropna()
        assert len(rates) > 0
        assert set(rates) == {1e-5}
        assert "training.optimizer_params.learning_rate was 0.001, is 1e-05" in " ".join(printed.split())

    def test_lack_of_memory_names_the_settings_that_help(self) -> None:
        keys = ("training.train_batch_size", "model.gradient_checkpointing", "data.image_resize_dims")
        with raises_input("out-of-memory", keys=keys) as raised, explain_failures():
            torch.empty(2**50)
        assert all(key in str(raised.value) for key in keys)
        with pytest.raises(RuntimeError, match="another matter"), explain_failures():
            raise RuntimeError("another matter")

    def test_a_process_of_another_device_that_dies_is_reported(self) -> None:
        # As Gloo and NCCL tell it to those that wait for the process.
        gloo = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:39319: reset by peer."
        for error in (RuntimeError(gloo), torch.distributed.DistBackendError("NCCL communicator was aborted")):
            with raises_input("dead-process"), explain_failures():
                raise error

    @pytest.mark.slow
    def test_a_loader_process_that_dies_is_reported(self, config: Path, tmp_path: Path, project: Path) -> None:
        changes = ("training.num_workers=1", "training.max_epochs=300", "training.log_every_n_steps=1")
        process = start(config, *changes, "--output", tmp_path / "run")
        wait_for_rows(process, tmp_path / "run", 2)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert children
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        _, err = process.communicate()
        assert process.returncode == 2, err
        assert "training.num_workers" in " ".join(err.split())
        assert "Traceback" not in err
