"""Record of validations that several processes share."""

import os
import socket
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from mvtrain.training.state import ValidationRecord

CODE = """
import sys
from lightning_fabric import Fabric
from mvtrain.training.hardware import launch_processes
from mvtrain.training.state import ValidationRecord

fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
launch_processes(fabric)
record = ValidationRecord()
# By the first process's losses the third validation is the best, by the other's the second one.
losses = {0: [1.0, 0.5, 0.49999], 1: [1.0, 0.49998, 0.49999]}[fabric.global_rank]
found = [(record.add(loss, fabric), record.best_loss, record.stale_validations) for loss in losses]
sys.stdout.write(f"{found}\\n")
"""


def fabric_of(first_loss: float | None = None) -> Any:
    """Stand in for a Fabric whose first process has that loss; None: for the first process itself."""
    return SimpleNamespace(broadcast=lambda loss: loss if first_loss is None else first_loss)


def test_the_lowest_loss_and_the_validations_since_are_recorded() -> None:
    record = ValidationRecord()
    improved = [record.add(loss, fabric_of()) for loss in (2.0, 1.0, 1.0, float("nan"), 0.5)]
    assert improved == [True, True, False, False, True]
    assert record == ValidationRecord(best_loss=0.5, stale_validations=0)


@pytest.mark.parametrize(("own", "first"), [(0.9, 1.1), (1.1, 0.9), (float("nan"), 0.9), (0.9, float("nan"))])
def test_the_first_process_decides(own: float, first: float) -> None:
    record, of_first = ValidationRecord(best_loss=1.0), ValidationRecord(best_loss=1.0)
    assert record.add(own, fabric_of(first)) == of_first.add(first, fabric_of())
    assert record == of_first


@pytest.mark.slow
def test_two_processes_whose_losses_differ_decide_the_same() -> None:
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        rendezvous["MASTER_PORT"] = str(free.getsockname()[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **rendezvous,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "GROUP_RANK": "0",
                "TORCHELASTIC_RUN_ID": "test",
            },
        )
        for rank in range(2)
    ]
    outcomes = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outcomes
    expected = str([(True, 1.0, 0), (True, 0.5, 0), (True, 0.49999, 0)])
    assert [out.splitlines()[-1] for out, _ in outcomes] == [expected, expected]
