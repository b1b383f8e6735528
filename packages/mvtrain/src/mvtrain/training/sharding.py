"""Strategy `fsdp`: the processes of a machine share out the weights, gradients and optimizer state between them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, cast

import torch
from lightning_fabric.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule, fully_shard

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
