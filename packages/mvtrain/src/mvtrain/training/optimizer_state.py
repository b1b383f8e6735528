"""Check of an optimizer's state that was read from a file, which PyTorch takes as it is."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

_MOMENTS = ("exp_avg", "exp_avg_sq")
"""State of Adam and AdamW that has the shape of the weights."""

_REQUIRED = ("name", "lr", "full_learning_rate", "betas", "eps", "weight_decay")
"""Values of a group of weights that training uses; PyTorch fills in others, which a newer version may have."""


def check_optimizer_state(saved: Any, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Check that a saved state of Adam or AdamW fits an optimizer.

    Args:
        saved: State dict of an optimizer, its weights by number or by name.
        optimizer: Optimizer that is to take it.
        model: Model with the optimizer's weights.

    Raises:
        ValueError: A value that is missing or has another type or shape.
    """
    numbered = enumerate(weight for group in optimizer.param_groups for weight in group["params"])
    weights: dict[int | str, Tensor] = {**dict(model.named_parameters()), **dict(numbered)}
    if not isinstance(saved, dict) or not isinstance(saved.get("state"), dict):
        raise ValueError("the optimizer has no state by weight.")
    for key, values in saved["state"].items():
        if key not in weights or not isinstance(values, dict) or values.keys() != {"step", *_MOMENTS}:
            raise ValueError(f"the state of weight {key} is not that of Adam.")
        if not _is_plain(values["step"]) or values["step"].numel() != 1:
            raise ValueError(f"the step of weight {key} is not a number.")
        for name in _MOMENTS:
            if not _fits(values[name], weights[key]):
                raise ValueError(f"{name} of weight {key} does not have the shape of the weight.")
    groups = saved.get("param_groups")
    if not isinstance(groups, list) or len(groups) != len(optimizer.param_groups):
        raise ValueError(f"the optimizer does not have {len(optimizer.param_groups)} groups of weights.")
    for group, own in zip(groups, optimizer.param_groups, strict=True):
        if not isinstance(group, dict):
            raise ValueError("a group of weights is not a dictionary.")
        for name in {*_REQUIRED, *(group.keys() & own.keys())} - {"params"}:
            if name not in group or not _is_like(group[name], own[name]):
                raise ValueError(f"{name} of a group of weights is missing, or not of its type.")


def _is_plain(value: object) -> bool:
    return type(value) is Tensor and value.layout == torch.strided and value.device.type != "meta"


def _fits(value: object, weight: Tensor) -> bool:
    """Return True for a tensor in the layout that the optimizer's kernels take for granted."""
    if not _is_plain(value) or not isinstance(value, Tensor):
        return False
    is_dense = value.is_contiguous() or value.stride() == weight.stride()
    return value.shape == weight.shape and value.is_floating_point() and is_dense


def _is_like(value: object, own: object) -> bool:
    if isinstance(own, tuple | list):
        return isinstance(value, tuple | list) and len(value) == len(own) and all(map(_is_like, value, own))
    if type(own) in (int, float):
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    return type(value) is type(own)
