"""Errors with a remedy for runs that cannot go on: a loss that is not finite, out of memory, dead processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from mvgeom.errors import InputError
from mvgeom.files import replace_file
from mvtrain.data.batch import collate
from mvtrain.data.dataset import FrameDataset
from mvtrain.runtime.tensor_files import save_tensors

_NEVER = torch.iinfo(torch.int64).max


class FiniteWatch:
    """Record of the first step whose loss was not finite, on the device, so that no step waits for its loss."""

    def __init__(self, device: torch.device) -> None:
        self._first = torch.tensor(_NEVER, device=device)
        self._batches: dict[int, tuple[int, Tensor]] = {}

    def add(self, loss: Tensor, step: int, epoch: int, index: Tensor) -> None:
        """Note one step.

        Args:
            loss: Loss of the step.
            step: Number of the step, increasing.
            epoch: Epoch in which its samples were drawn.
            index: (B,) rows of its samples, on the CPU.
        """
        self._batches[step] = (epoch, index)
        self._first = torch.where(loss.detach().isfinite(), self._first, self._first.clamp(max=step))

    def first_bad(self) -> tuple[int, int, Tensor] | None:
        """Return step, epoch, rows of the first step since the last call that was not finite; waits for the device."""
        step = int(self._first)
        found = None if step == _NEVER else (step, *self._batches[step])
        self._batches.clear()
        return found


def save_batch(run_dir: Path, dataset: FrameDataset, epoch: int, rows: Tensor) -> Path:
    """Make a batch again and write it to `run_dir`, as tensors that `torch.load(path, weights_only=True)` reads.

    Args:
        run_dir: Run folder.
        dataset: Data set that the batch came from.
        epoch: Epoch in which its samples were drawn.
        rows: (B,) rows of the project.
    """
    batch = collate([dataset[epoch, row] for row in rows.tolist()])
    names = ("index", "images", "points", "visibility", "view_mask", "to_model")
    path = run_dir / "not_finite.pt"
    content = {name: getattr(batch, name) for name in names}
    replace_file(path, partial(save_tensors, content))
    return path


@contextmanager
def explain_failures() -> Iterator[None]:
    """Replace torch's and Python's errors of too little memory or a dead process by errors with a remedy.

    Raises:
        InputError: `out-of-memory`, `dead-loader`, or `dead-process` for one that trains on another device.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _lack_of_memory(error) from error
    except (ConnectionError, EOFError) as error:
        # The pipe to a loader process broke before torch noticed its death.
        raise _dead_loader(error) from error
    except RuntimeError as error:
        # Neither the allocator of the CPU nor the watch over loader processes has an exception of its own. The latter
        # is raised by a signal handler, at any place of the process.
        if "DefaultCPUAllocator" in str(error):
            raise _lack_of_memory(error) from error
        if "DataLoader worker" in str(error):
            raise _dead_loader(error) from error
        # NCCL's errors have a class, those of Gloo do not.
        if isinstance(error, getattr(torch.distributed, "DistError", ())) or "gloo/transport" in str(error):
            raise _dead_process(error) from error
        raise


def _dead_loader(error: BaseException) -> InputError:
    return InputError(
        f"training: a loader process died ({str(error).strip()}), most often because memory ran out. Lower "
        "training.num_workers, data.cache_gb or training.train_batch_size.",
        code="dead-loader",
        keys=("training.num_workers", "data.cache_gb", "training.train_batch_size"),
    )


def _dead_process(error: BaseException) -> InputError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return InputError(
        f"training: another process of this run has ended, or cannot be reached ({reason}). If it printed an error, "
        "that is the cause; otherwise most often memory ran out: lower training.num_workers, data.cache_gb or "
        "training.train_batch_size. Then go on with mvtrain fit --resume.",
        code="dead-process",
        keys=("training.num_workers", "data.cache_gb", "training.train_batch_size"),
    )


def _lack_of_memory(error: BaseException) -> InputError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return InputError(
        f"training: out of memory ({reason}). Lower training.train_batch_size (with a larger "
        "training.accumulate_grad_batches the steps stay the same), set model.gradient_checkpointing: true, or lower "
        "data.image_resize_dims. On a GPU training.precision: bf16-mixed halves the memory, too.",
        code="out-of-memory",
        keys=("training.train_batch_size", "model.gradient_checkpointing", "data.image_resize_dims"),
    )
