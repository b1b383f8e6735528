"""Choice of precision, strategy and devices, and their errors."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric.strategies import DDPStrategy, SingleDeviceStrategy
from rich.console import Console

from helpers.errors import raises_input
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvtrain.config import Config, ModelConfig, TrainingConfig, load_config
from mvtrain.predict import run_predict
from mvtrain.predict.run_predict import PredictOptions
from mvtrain.training import hardware
from mvtrain.training.hardware import choose_precision, is_device_error, launch
from mvtrain.training.train import train


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True}, "32-true"),
        ({"avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bf16-mixed"),
        ({}, "32-true"),
    ],
)
def test_auto_is_bfloat16_only_where_the_processor_computes_in_it(
    capabilities: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert choose_precision(Config(training=TrainingConfig(precision="auto", accelerator="cpu"))) == expected


@pytest.mark.parametrize("emulated", [True, False])
def test_auto_is_bfloat16_only_where_the_gpu_does_not_emulate_it(
    emulated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or not emulated
    )
    chosen = choose_precision(Config(training=TrainingConfig(precision="auto", accelerator="cuda")))
    assert chosen == ("32-true" if emulated else "bf16-mixed")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_precision_that_is_named_is_kept(precision: str) -> None:
    assert choose_precision(Config(training=TrainingConfig(precision=precision))) == precision


@pytest.fixture
def unlaunched(monkeypatch: pytest.MonkeyPatch) -> None:
    """`launch` stops before it starts processes."""
    monkeypatch.setattr(hardware, "launch_processes", lambda fabric: None)


@pytest.mark.usefixtures("unlaunched")
@pytest.mark.parametrize("strategy", ["auto", "ddp", "DDP"])
@pytest.mark.parametrize(
    ("training", "pretrained", "frozen_at_first"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"unfreezing_epoch": 0}, True, False),
        ({"unfreezing_epoch": 3}, False, True),
        ({"unfreezing_step": 0}, True, False),
        ({"unfreezing_step": 9}, False, True),
    ],
)
def test_several_devices_expect_parameters_without_gradient_where_the_backbone_is_frozen_at_first(
    training: dict[str, Any], pretrained: bool, frozen_at_first: bool, strategy: str
) -> None:
    model = ModelConfig(backbone_pretrained=pretrained)
    config = Config(training=TrainingConfig(accelerator="cpu", devices=2, strategy=strategy, **training), model=model)
    chosen = launch(config, Console(quiet=True)).strategy
    assert isinstance(chosen, DDPStrategy)
    assert chosen._ddp_kwargs.get("find_unused_parameters", False) == frozen_at_first


@pytest.mark.usefixtures("unlaunched")
def test_one_device_has_no_strategy_for_several() -> None:
    config = Config(training=TrainingConfig(accelerator="cpu", devices=1, unfreezing_epoch=3))
    assert isinstance(launch(config, Console(quiet=True)).strategy, SingleDeviceStrategy)


def test_devices_that_predict_wait_for_the_slowest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_predict, "launch_processes", lambda fabric: None)
    fabrics = [
        run_predict._launch(Config(), PredictOptions(accelerator="cpu", devices=devices), Console(quiet=True))
        for devices in (1, 2)
    ]
    assert isinstance(fabrics[0].strategy, SingleDeviceStrategy)
    assert isinstance(fabrics[1].strategy, DDPStrategy)
    timeout = fabrics[1].strategy._timeout
    assert timeout is not None
    assert timeout >= timedelta(days=1)


@pytest.mark.usefixtures("unlaunched")
@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook"])
def test_strategies_that_copy_the_process_are_refused(strategy: str) -> None:
    config = Config(training=TrainingConfig(accelerator="cpu", devices=2, strategy=strategy))
    with raises_input("bad-value", key="training.strategy", found=strategy):
        launch(config, Console(quiet=True))


@pytest.mark.usefixtures("unlaunched")
def test_what_auto_becomes_in_a_notebook_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_fabric.connector._IS_INTERACTIVE", True)
    with raises_input("bad-value", key="training.strategy", found="auto"):
        launch(Config(training=TrainingConfig(accelerator="cpu", devices=2)), Console(quiet=True))


def test_the_choice_is_written_where_a_resumed_run_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = generate_tiny_project(tmp_path / "project", num_frames=8, num_video_frames=8)
    config = write_tiny_config(tmp_path / "tiny.yaml", project, precision="auto", max_epochs=1)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    train(load_config(config), tmp_path / "run", Console(quiet=True))
    assert load_config(tmp_path / "run" / "config.yaml").training.precision == "bf16-mixed"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"),
        RuntimeError("CUDA error: invalid device ordinal\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        AssertionError("Torch not compiled with CUDA enabled"),
    ],
)
def test_errors_of_devices_are_recognized(error: BaseException) -> None:
    assert is_device_error(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"),
        ValueError("No CUDA GPUs are available"),
        AssertionError(),
    ],
)
def test_other_errors_are_not_taken_for_errors_of_devices(error: BaseException) -> None:
    assert not is_device_error(error)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_the_error_of_an_absent_device_is_recognized(device: str) -> None:
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises((RuntimeError, AssertionError)) as raised:
        torch.ones(1).to(device)
    assert is_device_error(raised.value), raised.value


def test_recognizing_errors_does_not_import_torch() -> None:
    code = (
        "import sys\n"
        "from mvtrain.training.device_errors import is_device_error\n"
        "assert not is_device_error(RuntimeError('No CUDA GPUs are available'))\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("training", "code", "facts"),
    [
        ({"accelerator": "cuda", "devices": 1}, "no-device", {"accelerator": "cuda", "devices": 1}),
        ({"accelerator": "tpu", "devices": 1}, "bad-value", {"accelerator": "tpu"}),
        ({"accelerator": "abacus"}, "bad-value", {"accelerator": "abacus"}),
        ({"accelerator": "cpu", "strategy": "telepathy"}, "bad-value", {"strategy": "telepathy"}),
        ({"accelerator": "cpu", "precision": "7-mixed"}, "bad-value", {"precision": "7-mixed"}),
        ({"accelerator": "cpu", "devices": "many"}, "bad-value", {"devices": "many"}),
    ],
)
def test_hardware_that_fabric_refuses_is_named(training: dict[str, Any], code: str, facts: dict[str, Any]) -> None:
    if code == "no-device" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with raises_input(code, **facts):
        launch(Config(training=TrainingConfig(**training)), Console(quiet=True))
