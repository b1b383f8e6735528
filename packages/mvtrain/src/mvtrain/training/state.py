"""Training state on disk, from which a run goes on as if it had never stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, get_optimizer_state_dict

from mvgeom.errors import InputError
from mvtrain.runtime.checksums import read_checksummed, write_checksummed
from mvtrain.runtime.tensor_files import READING_ERRORS, load_tensors, save_tensors
from mvtrain.training.hardware import is_sharded

_COUNTS = ("epoch", "batches_done", "stale_validations", "log_position")

_MOMENTS = ("exp_avg", "exp_avg_sq")
"""State of Adam and AdamW that has the shape of the weights."""

_REQUIRED = ("name", "lr", "full_learning_rate", "betas", "eps", "weight_decay")
"""Values of a group of weights that training uses; PyTorch fills in others, which a newer version may have."""

FOLDER = Path("checkpoints") / "state"
STEM = "state"


@dataclass
class ValidationRecord:
    """Record of the validations of a run, the same in all its processes.

    The checkpoint `best` and early stopping depend on it, and both are collective: processes that decided differently
    would wait for each other forever. So the loss of global rank 0 counts in all of them, although theirs may differ by
    rounding.

    Attributes:
        best_loss: Lowest validation loss so far.
        stale_validations: Number of validations since then.
    """

    best_loss: float = float("inf")
    stale_validations: int = 0

    def add(self, loss: float, fabric: Fabric) -> bool:
        """Record a validation, and return True if its loss is the lowest so far; all processes must call.

        Args:
            loss: Validation loss of this process.
            fabric: Fabric of the run.
        """
        loss = fabric.broadcast(loss)
        improved = loss < self.best_loss
        if improved:
            self.best_loss = loss
        self.stale_validations = 0 if improved else self.stale_validations + 1
        return improved


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """Progress of a run, as it is saved with the weights.

    Attributes:
        epoch: Number of the current epoch.
        batches_done: Number of batches of this epoch that are done.
        best_loss: Lowest validation loss so far; infinite before the first.
        stale_validations: Number of validations since.
        stopped_early: True once early stopping has ended the run.
        window: State of the `LogWindow`.
        train_rows: Rows of the training split.
        log_position: Length of `metrics.csv` in bytes.
        settings: Values of the config as text, by key; see `run_info.settings`.
    """

    epoch: int
    batches_done: int
    best_loss: float
    stale_validations: int
    stopped_early: bool
    window: dict[str, Any]
    train_rows: list[int]
    log_position: int
    settings: dict[str, str]

    @classmethod
    def from_values(cls, values: Mapping[str, Any], path: Path) -> Self:
        """Check values that were read from a file.

        Args:
            values: Values by the names of the attributes; others are ignored.
            path: Path of the file, for the message.

        Raises:
            InputError: `unsupported-file` for a value that is missing or not of its type.
        """
        found = {field.name: values.get(field.name) for field in fields(cls)}
        valid = {
            **{name: _is_count(found[name]) for name in _COUNTS},
            "best_loss": isinstance(found["best_loss"], float) and not math.isnan(found["best_loss"]),
            "stopped_early": isinstance(found["stopped_early"], bool),
            "window": _is_window(found["window"]),
            "settings": isinstance(found["settings"], dict)
            and all(isinstance(text, str) for item in found["settings"].items() for text in item),
            "train_rows": isinstance(found["train_rows"], list) and all(map(_is_count, found["train_rows"])),
        }
        if wrong := [name for name in found if not valid[name]]:
            raise InputError(
                f"{path}: not the state of a run: {wrong[0]} is missing, or not of its type. If another version of "
                "mvtrain wrote it, go on with that version, or start a new run.",
                code="unsupported-file",
                path=path,
                field=wrong[0],
            )
        return cls(**found)  # type: ignore[arg-type]  # checked above


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_window(value: object) -> bool:
    """Return True for what `LogWindow.state` returns: counts, and a sum with its number of steps by name."""
    numbers = ("num_steps", "num_samples", "num_moved")
    if not isinstance(value, dict) or value.keys() != {*numbers, "sums", "counts"}:
        return False
    sums, counts = value["sums"], value["counts"]
    if not isinstance(sums, dict) or not isinstance(counts, dict) or sums.keys() != counts.keys():
        return False
    return (
        all(_is_count(value[name]) for name in numbers)
        and all(isinstance(each, torch.Tensor) and each.shape == () for each in sums.values())
        and all(_is_count(each) and each > 0 for each in counts.values())
    )


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
