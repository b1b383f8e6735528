"""Conditions of a training, recorded in its run folder, and changes of its config between two processes."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning_fabric import Fabric

from mvgeom.documents import parse_yaml
from mvgeom.errors import InputError
from mvgeom.files import read_text, write_text
from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.runtime.folders import RUN_INFO
from mvtrain.runtime.messages import command

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

FILE_NAME = RUN_INFO
_PACKAGES = (
    *("mvtrain", "mvaug", "mvgeom", "torch", "torchvision", "timm", "lightning-fabric", "numpy", "scipy"),
    *("opencv-python", "pandas", "omegaconf", "safetensors"),
)


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


def add_run_info(run_dir: Path, config: Config, fabric: Fabric, *, resume: bool) -> None:
    """Write the conditions of this process's training to `run.yaml`; a resumed run has several entries.

    Raises:
        InputError: `damaged-file` if an existing file is not a list of entries.
    """
    entries = _read(run_dir / FILE_NAME) if resume else []
    entries.append(_describe(config, fabric))
    write_text(run_dir / FILE_NAME, yaml.safe_dump(entries, sort_keys=False, width=120))


def thread_warning(run_dir: Path) -> str | None:
    """Return a warning if the run trained with another number of threads so far, by which results are rounded.

    Raises:
        InputError: `damaged-file` if `run.yaml` is not a list of entries.
    """
    entries, now = _read(run_dir / FILE_NAME), torch.get_num_threads()
    hardware = entries[-1].get("hardware") if entries and isinstance(entries[-1], dict) else None
    before = hardware.get("threads") if isinstance(hardware, dict) else None
    if not isinstance(before, int) or before == now:
        return None
    return (
        f"{run_dir}: trained with {counted(before, 'thread')} so far, now with {now}, so the rest is rounded otherwise "
        f"than in a run that never stopped. For the same bits: OMP_NUM_THREADS={before} "
        f"{command('mvtrain', 'fit', '--resume', run_dir)}"
    )


def _read(path: Path) -> list[Any]:
    text = read_text(path) if path.exists() else "[]"
    try:
        entries = parse_yaml(text, path)
    except InputError as error:
        raise InputError(str(error), code="damaged-file", path=path) from error
    if not isinstance(entries, list):
        raise InputError(f"{path}: not a list of entries, found {entries!r}", code="damaged-file", path=path)
    return entries


def _describe(config: Config, fabric: Fabric) -> dict[str, Any]:
    device = fabric.device
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "git": _git_revision(),
        "seeds": {"data": config.training.rng_seed_data_pt, "model": config.training.rng_seed_model_pt},
        "hardware": {
            "devices": fabric.world_size,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "machine": platform.node(),
            "processor": platform.processor() or platform.machine(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _git_revision() -> str | None:
    """Return the revision of the checkout of this package, with a mark where files differ; None outside of one."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=here,
            capture_output=True,
            text=True,
            check=False,
        )
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", __file__],
            cwd=here,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    # For a package installed inside another project, the revision would be that project's.
    return described.stdout.strip() if described.returncode == 0 == tracked.returncode else None
