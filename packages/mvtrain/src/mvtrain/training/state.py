"""Training state on disk, from which a run goes on as if it had never stopped."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, get_optimizer_state_dict

from mvgeom.errors import InputError
from mvtrain.runtime.checksums import read_checksummed, write_checksummed
from mvtrain.runtime.tensor_files import save_tensors
from mvtrain.training.hardware import is_sharded

FOLDER = Path("checkpoints") / "state"
STEM = "state"


def save_state(run_dir: Path, fabric: Fabric, state: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write the state of a run; the previous state stays until this one is complete.

    Args:
        run_dir: Run folder.
        fabric: Fabric of the run; all its processes must call.
        state: Modules and optimizers as Fabric set them up, one each where weights are shared by processes, as `model`
            and `optimizer`; tensors, and plain values.
        facts: Facts for the reader of `state.yaml`.

    Raises:
        InputError: `unwritable-file`, or the disk is full.
    """
    whole = _gather(fabric, state)
    if fabric.is_global_zero:
        content = {**whole, "random": _random_state(), "precision": fabric.strategy.precision.state_dict()}
        write_checksummed(run_dir / FOLDER, STEM, ".pt", partial(save_tensors, content), facts)
    fabric.barrier()


def has_state(run_dir: Path) -> bool:
    """Return True if a training-state file exists, readable or not."""
    return (run_dir / FOLDER / f"{STEM}.yaml").exists()


def load_state(run_dir: Path, fabric: Fabric, state: dict[str, Any]) -> dict[str, Any]:
    """Read the state of a run; load modules and optimizers in `state`, and return plain values.

    Args:
        run_dir: Run folder.
        fabric: Fabric of the run; all its processes must call.
        state: Modules and optimizers under the names they were saved with, as Fabric set them up; one is `model`.

    Raises:
        InputError: There is no state, it is damaged, or `unsupported-file` for one that does not fit the run.
    """
    _, path = read_checksummed(run_dir / FOLDER, STEM, "training state")
    try:
        # Tensors and plain values only: a pickle that would run code is refused.
        with _frozen_where_never_trained(state["model"].module, path):
            rest = fabric.load(path, state, weights_only=True)
        precision, random_state = rest.pop("precision"), rest.pop("random")
    # Of Fabric, and of the modules and optimizers that take their part of the state.
    except (RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"{path}: does not fit this run: {reason} If another version of mvtrain wrote it, go on with that version, "
            "or start a new run.",
            code="unsupported-file",
            path=path,
        ) from error
    fabric.strategy.precision.load_state_dict(precision)
    _set_random_state(random_state)
    return rest


def _gather(fabric: Fabric, state: dict[str, Any]) -> dict[str, Any]:
    """Replace modules and optimizers by their state dicts, whole also where the processes share the weights.

    `Fabric.save` would do so, and then write through the system's folder of temporary files, which may be small and on
    another disk.
    """
    model = state["model"].module
    if not is_sharded(model):
        return {name: value.state_dict() if hasattr(value, "state_dict") else value for name, value in state.items()}
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = get_model_state_dict(model, options=options)
    moments = get_optimizer_state_dict(model, state["optimizer"], options=options)
    return {**state, "model": weights, "optimizer": moments}


@contextmanager
def _frozen_where_never_trained(model: nn.Module, path: Path) -> Iterator[None]:
    """Let, within the block, only those weights of a sharded model learn that have an optimizer state in the file.

    PyTorch makes a first optimizer state for all weights that learn before it loads the saved one. Weights that were
    frozen so far would keep it, one step ahead.
    """
    trained = torch.load(path, mmap=True, weights_only=True)["optimizer"]["state"] if is_sharded(model) else None
    idle = [] if trained is None else [weight for name, weight in model.named_parameters() if name not in trained]
    for weight in idle:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in idle:
            weight.requires_grad_(True)


def _random_state() -> dict[str, Any]:
    """Return the state of the global generators. Data and masks do not use them; dropout in a backbone does."""
    state: dict[str, Any] = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
