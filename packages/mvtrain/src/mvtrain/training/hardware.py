"""Devices, precision and strategy of a run, and the processes that train it together."""

from __future__ import annotations

import atexit
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from lightning_fabric.strategies.launchers import _SubprocessScriptLauncher
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_fabric.utilities.rank_zero import rank_zero_only
from rich.console import Console
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule, fully_shard

from mvgeom.errors import InputError
from mvtrain.config import Config
from mvtrain.config.recommended import is_pretrained
from mvtrain.model.multiview import MultiviewTransformer
from mvtrain.training.device_errors import is_device_error

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def launch_processes(fabric: Fabric) -> None:
    """Start the processes of a run, and let each take leave of the others before it ends.

    Fabric does the latter for NCCL alone. A process that ends with Gloo's threads still running is sometimes aborted by
    them (SIGABRT), after all work was done.
    """
    fabric.launch()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        atexit.register(_take_leave)


def _take_leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def launch(config: Config, console: Console) -> Fabric:
    """Start Fabric, with its processes, on the devices that the config names.

    Raises:
        InputError: `no-device`, or `bad-value` for devices, strategy, number of nodes or precision that Fabric refuses,
            and for a strategy that starts processes as copies of this one.
    """
    accelerator, devices = choose_hardware(config, console)
    training = config.training

    def make_fabric(strategy: str | Strategy) -> Fabric:
        return Fabric(
            accelerator=accelerator,
            devices=devices,
            strategy=strategy,
            num_nodes=training.num_nodes,
            precision=training.precision,  # type: ignore[arg-type]
        )

    try:
        fabric = make_fabric(fully_sharded() if training.strategy.lower() == "fsdp" else training.strategy)
        _check_launcher(fabric, training.strategy)
        # Not by the name in the config: for several devices `auto` is DDP, too.
        if isinstance(fabric.strategy, DDPStrategy) and is_frozen_at_first(config):
            fabric = make_fabric("ddp_find_unused_parameters_true")
    except InputError:
        raise
    except (ValueError, TypeError, RuntimeError, ImportError, MisconfigurationException) as error:
        chosen = {
            "accelerator": accelerator,
            "devices": devices,
            "strategy": training.strategy,
            "num_nodes": training.num_nodes,
            "precision": training.precision,
        }
        listed = ", ".join(f"{key}: {value}" for key, value in chosen.items())
        message = f"training: no run is possible with {listed}: {' '.join(str(error).split())}"
        if is_device_error(error):
            raise InputError(message, code="no-device", key="training.accelerator", **chosen) from error
        raise InputError(message, code="bad-value", key="training", **chosen) from error
    launch_processes(fabric)
    return fabric


def choose_hardware(config: Config, console: Console) -> tuple[str, int | str]:
    """Return Fabric's accelerator and devices; without a GPU one CPU process, and a line if GPUs were asked for."""
    accelerator, devices = config.training.hardware
    if accelerator == "auto" and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        if config.training.num_gpus:
            console.print("training.num_gpus: no GPU was found, training on the CPU", highlight=False)
        # Several processes would share the same cores.
        return "cpu", config.training.devices if config.training.devices is not None else 1
    return accelerator, devices


def is_frozen_at_first(config: Config) -> bool:
    """Return True if the backbone is frozen at first: DDP must then expect parameters without gradient."""
    named = (config.training.unfreezing_epoch, config.training.unfreezing_step)
    return any(named) or (named == (None, None) and is_pretrained(config))


def _check_launcher(fabric: Fabric, strategy: str) -> None:
    """Check that the processes of a run are started by its command, as the rest of the run expects."""
    launcher = fabric.strategy.launcher
    if launcher is not None and not isinstance(launcher, _SubprocessScriptLauncher):
        raise InputError(
            f"training.strategy: processes of several devices must be started by the command, found {strategy}, which "
            "copies the process (spawn or fork), expected auto, ddp or fsdp. Run `mvtrain fit` in a terminal, not in a "
            "notebook, with training.strategy: ddp; or set training.devices: 1.",
            code="bad-value",
            key="training.strategy",
            found=strategy,
        )


def fully_sharded() -> ModelParallelStrategy:
    """Make Fabric's strategy for PyTorch's second FSDP: processes of a machine share weights, gradients and states.

    States are saved as a whole, like those of any other strategy.
    """
    # The network's output is a view; it would be a fault only to change it in place, which nothing does.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    return ModelParallelStrategy(_shard, save_distributed_checkpoint=False)


def _shard(model: MultiviewTransformer, mesh: DeviceMesh) -> MultiviewTransformer:
    """Shard the blocks, each gathered when its turn comes, and the rest of the network, gathered for the whole step.

    The strategy's mesh is machines by processes of a machine: weights are divided within a machine, where the
    connection is fast, and every machine has all of them.
    """
    for block in model.backbone.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


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


def first_process_console() -> Console:
    """Make the console of a process: of several processes, started by any means, only the first one prints."""
    return Console(quiet=getattr(rank_zero_only, "rank", 0) != 0, markup=False, highlight=False)


@contextmanager
def float32_matmul_precision(precision: str) -> Iterator[None]:
    """Set the precision of float32 matrix products within the block; triangulation stays outside of it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def is_sharded(model: nn.Module) -> bool:
    """Return True if a process holds only a share of the model's weights."""
    return any(isinstance(module, FSDPModule) for module in model.modules())


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Gather the state dict on the CPU; for a sharded model all processes must call, and the first one gets it."""
    if not is_sharded(model):
        return {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    return cast(dict[str, Tensor], weights)
