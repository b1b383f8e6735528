"""Processes of a run that compute together."""

from __future__ import annotations

import atexit

import torch
from lightning_fabric import Fabric


def launch_processes(fabric: Fabric) -> None:
    """Start the processes of a run, and let each take leave of the others before it ends.

    Fabric does the latter for NCCL alone. A process that ends with Gloo's threads still running is sometimes aborted by
    them (SIGABRT), after all work was done.
    """
    fabric.launch()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        atexit.register(_take_leave)


def _take_leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
