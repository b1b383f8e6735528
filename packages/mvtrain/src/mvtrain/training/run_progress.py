"""Place of a run in its training: the plain values of a saved state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import torch

from mvgeom.errors import InputError

_COUNTS = ("epoch", "batches_done", "stale_validations", "log_position")


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
        settings: Values of the config as text, by key; see `config_changes.settings`.
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
