"""A model on disk: its weights in safetensors, and beside them what is needed to build it and to read its output.

A checkpoint is a folder with `model.yaml` and the file of weights it names (see `mvtrain.sealed`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from mvtrain.model.multiview import MultiviewTransformer
from mvtrain.model.spec import ModelSpec, build_model
from mvtrain.sealed import seal, unseal


def save_checkpoint(folder: Path, weights: Mapping[str, Tensor], spec: ModelSpec, state: dict[str, Any]) -> None:
    """Write a checkpoint; an older one in the folder is replaced.

    Args:
        folder: of the checkpoint.
        weights: the network's state dict.
        spec: what it is.
        state: plain facts for the reader, such as epoch and validation error.

    Raises:
        ValueError: the folder cannot be written to, or the disk is full; an older checkpoint is then still whole.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    facts = {"spec": _plain(dataclasses.asdict(spec)), "state": state}
    seal(folder, "model", ".safetensors", lambda path: path.write_bytes(safetensors.torch.save(tensors)), facts)


def load_checkpoint(folder: Path) -> tuple[MultiviewTransformer, ModelSpec]:
    """The network of a checkpoint folder, on the CPU.

    Raises:
        ValueError: no checkpoint there, or one that is damaged or does not fit itself.
    """
    document, weights = unseal(folder, "model", "checkpoint")
    try:
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in document["spec"].items()
        }
        spec = ModelSpec(**fields)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder / 'model.yaml'} does not describe a checkpoint: {error}") from error
    model = build_model(spec)
    try:
        state = safetensors.torch.load_file(weights)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{weights} does not fit the model that model.yaml describes: {error}") from error
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    found = {name: tensor.shape for name, tensor in state.items()}
    others = sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name))
    if others:
        named = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise ValueError(
            f"{weights} does not fit the model that model.yaml describes: {len(others)} parameters are missing, "
            f"unknown or of another shape ({named}). If another version of mvtrain wrote it, use that version, or "
            "train again"
        )
    model.load_state_dict(state)
    return model, spec


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists: YAML has no tuples, and a tag of its own for them would not be safe to load."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
