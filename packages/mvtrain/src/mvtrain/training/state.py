"""Training state on disk, from which a run goes on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from mvtrain.runtime.tensor_files import READING_ERRORS, load_tensors, save_tensors
from mvtrain.training.hardware import is_sharded
from mvtrain.training.optimizer_state import check_optimizer_state
from mvtrain.training.run_progress import RunProgress

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


def load_state(
    run_dir: Path, fabric: Fabric, state: dict[str, Any], *, check: Callable[[RunProgress], None] | None = None
) -> RunProgress:
    """Read the state of a run; load modules and optimizers in `state`, and return the place in the training.

    Args:
        run_dir: Run folder.
        fabric: Fabric of the run; all its processes must call.
        state: Modules and optimizers under the names they were saved with, as Fabric set them up; one is `model`, one
            `optimizer`.
        check: Check that the run can go on from the place of the state, before anything is loaded.

    Raises:
        InputError: There is no state, it is damaged, or `unsupported-file` for one that does not fit the run.
    """
    _, path = read_checksummed(run_dir / FOLDER, STEM, "training state")
    model = state["model"].module
    try:
        content = load_tensors(path, mmap=is_sharded(model))
        progress = RunProgress.from_values(content, path)
        if check is not None:
            check(progress)
        # PyTorch does not check it, and reads past the end of moments that are too small.
        check_optimizer_state(content["optimizer"], state["optimizer"], model)
        if is_sharded(model):
            with _frozen_where_never_trained(model, content["optimizer"]["state"]):
                fabric.load(path.absolute(), state, weights_only=True)
        else:
            for name, each in state.items():
                each.load_state_dict(content[name])
        fabric.strategy.precision.load_state_dict(content["precision"])
        _set_random_state(content["random"])
    except InputError:
        raise
    except READING_ERRORS as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"{path}: does not fit this run: {reason} If another version of mvtrain wrote it, go on with that version, "
            "or start a new run.",
            code="unsupported-file",
            path=path,
        ) from error
    fabric.barrier()
    return progress


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
def _frozen_where_never_trained(model: nn.Module, trained: dict[str, Any]) -> Iterator[None]:
    """Let, within the block, only those weights of a sharded model learn that have an optimizer state in the file.

    PyTorch makes a first optimizer state for all weights that learn before it loads the saved one. Weights that were
    frozen so far would keep it, one step ahead.
    """
    idle = [weight for name, weight in model.named_parameters() if name not in trained]
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
