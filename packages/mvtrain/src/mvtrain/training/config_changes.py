"""Changes of a run's config between two processes that train it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from mvgeom.errors import InputError
from mvtrain.config import Config
from mvtrain.model.checkpoint import ModelSpec

_FREE = ("model.gradient_checkpointing", "model.plugins")
"""Keys of the section `model` that do not change the network."""

_START = ("model.checkpoint", "model.backbone_weights", "model.backbone_pretrained", "training.rng_seed_model_pt")
"""Keys of the first weights."""

_FIXED = (
    *("data.view_names", "data.keypoint_names", "data.image_resize_dims", "data.downsample_factor"),
    *("training.train_batch_size", "training.accumulate_grad_batches", "training.optimizer", "training.ema_decay"),
    "model",
)
"""Keys of the network, of the meaning of its validation loss, and of the place in an epoch."""


def settings(config: Config, spec: ModelSpec) -> dict[str, str]:
    """Return the values of a config as text by key, with the names of views and keypoints that the project has."""
    values = {key: value for key, value in dataclasses.asdict(config).items() if key != "ignored"}
    names = {"data.view_names": json.dumps(spec.view_names), "data.keypoint_names": json.dumps(spec.keypoint_names)}
    return {**_flat(values, ""), **names}


def check_changes(before: dict[str, str], now: dict[str, str], config_path: Path, advice: str) -> list[str]:
    """Check that a run can go on with a config that was changed, and describe the changes.

    Args:
        before: Settings with which its state was saved.
        now: Settings of today.
        config_path: Path of its config, for messages.
        advice: What to do for a run with the new settings.

    Returns:
        Lines for the user.

    Raises:
        InputError: `bad-value` for a key that must not change.
    """
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    losses = [{key.split(".")[1] for key in keys if key.startswith("losses.")} for keys in (before, now)]
    for key in changed:
        is_other_loss = key.startswith("losses.") and key.split(".")[1] in losses[0] ^ losses[1]
        if is_other_loss or (_is_in(key, _FIXED) and not _is_in(key, (*_FREE, *_START))):
            name = ".".join(key.split(".")[:2]) if is_other_loss else key
            found, expected = now.get(key, "nothing"), before.get(key, "nothing")
            raise InputError(
                f"{config_path}: {name} was changed since the run began, found {found}, expected {expected}. Set it "
                f"back, or begin anew. {advice}",
                code="bad-value",
                key=name,
                found=found,
                expected=expected,
            )
    return [
        f"{config_path.name}: {key} was {before.get(key, 'nothing')}, is {now.get(key, 'nothing')}: "
        + ("no effect, the run has its first weights" if _is_in(key, _START) else "holds from here on")
        for key in changed
    ]


def _is_in(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _flat(value: Any, prefix: str) -> dict[str, str]:
    if isinstance(value, dict) and value:
        return {key: text for name, each in value.items() for key, text in _flat(each, f"{prefix}.{name}").items()}
    return {prefix.removeprefix("."): json.dumps(value, default=str)}
