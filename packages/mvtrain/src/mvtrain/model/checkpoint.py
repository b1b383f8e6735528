"""A model on disk: its weights in safetensors, and beside them what is needed to build it and to read its output.

A checkpoint is a folder with `model.yaml` and the file of weights it names. New weights get a new name, the YAML is
exchanged in one move, and only then the old weights go: whenever the process dies, the folder holds a whole
checkpoint. The YAML also gives the weights' checksum, so that a damaged file is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import safetensors.torch
import yaml
from torch import nn

from mvgeom.formats.files import replace_file, write_text
from mvtrain.model.multiview import MultiviewTransformer
from mvtrain.model.spec import ModelSpec, build_model


def save_checkpoint(folder: Path, model: nn.Module, spec: ModelSpec, state: dict[str, Any]) -> None:
    """Write a checkpoint, first the weights, then the YAML that makes them valid.

    Args:
        folder: of the checkpoint; an older one in it is replaced.
        model: the network.
        spec: what it is.
        state: plain facts for the reader, such as epoch and validation error.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = safetensors.torch.save(tensors)
    checksum = hashlib.sha256(content).hexdigest()
    weights = folder / f"weights-{checksum[:12]}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(weights, lambda temporary: temporary.write_bytes(content))
    document = {"spec": _plain(dataclasses.asdict(spec)), "state": state, "weights": weights.name, "sha256": checksum}
    write_text(folder / "model.yaml", yaml.safe_dump(document, sort_keys=False))
    for old in folder.glob("weights-*.safetensors"):
        if old != weights:
            old.unlink()


def load_checkpoint(folder: Path) -> tuple[MultiviewTransformer, ModelSpec]:
    """The network of a checkpoint folder, on the CPU.

    Raises:
        ValueError: no checkpoint there, or one that is damaged or does not fit itself.
    """
    description = folder / "model.yaml"
    try:
        document = yaml.safe_load(description.read_text(encoding="utf-8"))
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in document["spec"].items()
        }
        spec = ModelSpec(**fields)
        weights, checksum = folder / document["weights"], document["sha256"]
    except FileNotFoundError as error:
        raise ValueError(f"{folder} is no checkpoint: it has no model.yaml") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{description} does not describe a model: {error}") from error
    if not weights.is_file():
        raise ValueError(f"{description} names the weights {weights.name}, which are not beside it")
    content = weights.read_bytes()
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ValueError(f"{weights} is not the file that {description} describes: it is damaged or was exchanged")
    model = build_model(spec)
    try:
        model.load_state_dict(safetensors.torch.load(content))
    except RuntimeError as error:
        raise ValueError(f"{weights} does not fit the model that {description} describes: {error}") from error
    return model, spec


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists: YAML has no tuples, and a tag of its own for them would not be safe to load."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
