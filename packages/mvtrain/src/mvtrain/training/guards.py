"""What stops a run that cannot go on, with words that help: a loss that is no number, memory that is not enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from mvgeom.files import replace_file
from mvtrain.data.batch import collate
from mvtrain.data.dataset import FrameDataset

_NEVER = torch.iinfo(torch.int64).max


class FiniteWatch:
    """Notes the first step whose loss was not finite, on the device, so that no step has to wait for its loss."""

    def __init__(self, device: torch.device) -> None:
        self._first = torch.tensor(_NEVER, device=device)
        self._batches: dict[int, tuple[int, Tensor]] = {}

    def add(self, loss: Tensor, step: int, epoch: int, index: Tensor) -> None:
        """Note one step.

        Args:
            loss: of the step.
            step: its number, increasing.
            epoch: in which its samples were drawn.
            index: (B,) rows of its samples, on the CPU.
        """
        self._batches[step] = (epoch, index)
        self._first = torch.where(loss.detach().isfinite(), self._first, self._first.clamp(max=step))

    def first_bad(self) -> tuple[int, int, Tensor] | None:
        """Step, epoch and rows of the first step that was not finite, since the last call; waits for the device."""
        step = int(self._first)
        found = None if step == _NEVER else (step, *self._batches[step])
        self._batches.clear()
        return found


def save_batch(run_dir: Path, dataset: FrameDataset, epoch: int, rows: Tensor) -> Path:
    """Make a batch again and write it to `run_dir`, as tensors that `torch.load(path, weights_only=True)` reads.

    Args:
        run_dir: of the run.
        dataset: that the batch came from.
        epoch: in which its samples were drawn.
        rows: (B,) of the project.
    """
    batch = collate([dataset[epoch, row] for row in rows.tolist()])
    names = ("index", "images", "points", "visibility", "view_mask", "to_model")
    path = run_dir / "not_finite.pt"
    replace_file(path, lambda temporary: torch.save({name: getattr(batch, name) for name in names}, temporary))
    return path


@contextmanager
def explain_failures() -> Iterator[None]:
    """Turn what the machine does to a run, too little memory or a killed loader process, into words that help.

    Raises:
        ValueError: in place of torch's or Python's error.
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
        # is raised by a signal handler, wherever the process happens to be.
        if "DefaultCPUAllocator" in str(error):
            raise _lack_of_memory(error) from error
        if "DataLoader worker" in str(error):
            raise _dead_loader(error) from error
        raise


def _dead_loader(error: BaseException) -> ValueError:
    return ValueError(
        f"a loader process died ({str(error).strip()}); most often memory ran out: lower training.num_workers, "
        "data.cache_gb or training.train_batch_size"
    )


def _lack_of_memory(error: BaseException) -> ValueError:
    return ValueError(
        "out of memory. Three settings help: a smaller training.train_batch_size (with a larger "
        "training.accumulate_grad_batches the steps stay the same), model.gradient_checkpointing: true, and smaller "
        f"data.image_resize_dims. On a GPU training.precision: bf16-mixed halves it too. ({str(error).splitlines()[0]})"
    )
