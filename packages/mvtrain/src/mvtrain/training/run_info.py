"""Conditions of a training, recorded in its run folder."""

from __future__ import annotations

import datetime
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
from mvtrain.runtime.folders import RUN_INFO

FILE_NAME = RUN_INFO
_PACKAGES = (
    *("mvtrain", "mvaug", "mvgeom", "torch", "torchvision", "timm", "lightning-fabric", "numpy", "scipy"),
    *("opencv-python", "pandas", "omegaconf", "safetensors"),
)


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
        f"than in a run that never stopped. For the same bits: OMP_NUM_THREADS={before} mvtrain fit --resume {run_dir}"
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
