"""What a run folder says about where its results come from."""

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

from mvgeom.files import write_text
from mvtrain.config import Config

FILE_NAME = "run.yaml"
_PACKAGES = (
    *("mvtrain", "mvaug", "mvgeom", "torch", "torchvision", "timm", "lightning-fabric", "numpy", "scipy"),
    *("opencv-python", "pandas", "omegaconf", "safetensors"),
)


def add_run_info(run_dir: Path, config: Config, fabric: Fabric) -> None:
    """Add to `run.yaml` under which conditions this process trains; a resumed run has several entries."""
    path = run_dir / FILE_NAME
    entries = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else []
    entries.append(_describe(config, fabric))
    write_text(path, yaml.safe_dump(entries, sort_keys=False, width=120))


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
    """Revision of the checkout that this package runs from, with a mark where files differ; None outside of one."""
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
    # Installed into somebody's project, the revision found would be that project's.
    return described.stdout.strip() if described.returncode == 0 == tracked.returncode else None
