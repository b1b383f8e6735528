"""Which devices a run uses, and how they share the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import Strategy
from lightning_fabric.utilities.rank_zero import rank_zero_only
from rich.console import Console

from mvtrain.config import Config
from mvtrain.config.recommended import is_pretrained
from mvtrain.training.sharding import fully_sharded


def launch(config: Config, console: Console) -> Fabric:
    """Fabric on the devices that the config names, its processes started."""
    accelerator, devices = choose_hardware(config, console)
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        strategy=choose_strategy(config),
        num_nodes=config.training.num_nodes,
        precision=config.training.precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def first_process_console() -> Console:
    """Where to say what happens: of several processes, started by whatever means, the first speaks for all."""
    return Console(quiet=getattr(rank_zero_only, "rank", 0) != 0)


@contextmanager
def float32_matmul_precision(precision: str) -> Iterator[None]:
    """Within the block float32 matrix products have this precision; what triangulates stays outside of it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def choose_precision(config: Config) -> str:
    """Return Fabric's precision; `auto` is bfloat16 where the device has instructions for it, else float32.

    Emulated bfloat16 takes longer than float32, so it is not enough that the device can compute in it.
    """
    precision = config.training.precision
    if precision != "auto":
        return precision
    accelerator = config.training.hardware[0]
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available()):
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        fast = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    else:
        fast = False
    return "bf16-mixed" if fast else "32-true"


def choose_strategy(config: Config) -> str | Strategy:
    """Fabric's strategy. A backbone that is frozen at first needs DDP to expect parameters without gradient."""
    strategy = config.training.strategy
    if strategy == "fsdp":
        return fully_sharded()
    named = (config.training.unfreezing_epoch, config.training.unfreezing_step)
    frozen_at_first = any(named) or (named == (None, None) and is_pretrained(config))
    return "ddp_find_unused_parameters_true" if strategy == "ddp" and frozen_at_first else strategy


def choose_hardware(config: Config, console: Console) -> tuple[str, int | str]:
    """Fabric's accelerator and devices; without a GPU one CPU process, and who asked for GPUs is told."""
    accelerator, devices = config.training.hardware
    if accelerator == "auto" and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        if config.training.num_gpus:
            console.print("no GPU was found: training on the CPU", highlight=False)
        # Several processes would share the same cores.
        return "cpu", config.training.devices if config.training.devices is not None else 1
    return accelerator, devices
