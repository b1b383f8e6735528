"""Strategy `fsdp`: the processes of a machine share out the weights, gradients and optimizer state between them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import ModelParallelStrategy, Strategy
from lightning_fabric.utilities.rank_zero import rank_zero_only
from rich.console import Console
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule, fully_shard

from mvtrain.config import Config
from mvtrain.config.recommended import is_pretrained
from mvtrain.model.multiview import MultiviewTransformer

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def fully_sharded() -> ModelParallelStrategy:
    """Fabric's strategy for PyTorch's second FSDP; states are saved whole, as those of any other strategy are."""
    # The network's output is a view, and it is a fault only to change such a one in place, which nobody does.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    return ModelParallelStrategy(_shard, save_distributed_checkpoint=False)


def _shard(model: MultiviewTransformer, mesh: DeviceMesh) -> MultiviewTransformer:
    """Every block is gathered when its turn comes, the rest of the network for the whole step.

    The strategy's mesh is machines by processes of a machine: weights are shared out within a machine, where the
    connection is fast, and every machine has all of them.
    """
    for block in model.backbone.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def is_sharded(model: nn.Module) -> bool:
    """Whether a process holds only a share of the model's weights."""
    return any(isinstance(module, FSDPModule) for module in model.modules())


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state dict on the CPU, sharded or not; of a sharded model all processes must call, and the first gets it."""
    if not is_sharded(model):
        return {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    return cast(dict[str, Tensor], weights)


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


def is_device_error(error: BaseException) -> bool:
    """Return True if torch reports a device that is full or absent: the user's to put right, not a bug."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    signs = ("CUDA error", "No CUDA GPUs", "not compiled with CUDA", "NVIDIA driver", "MPS backend", "invalid device")
    return isinstance(error, RuntimeError | AssertionError) and any(sign in str(error) for sign in signs)
