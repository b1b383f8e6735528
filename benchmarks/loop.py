"""Time of the training loop by part: waiting for data, forward and backward, the optimizer, everything else.

    OMP_WAIT_POLICY=passive uv run python benchmarks/loop.py examples/quickstart.yaml training.num_workers=2

Trains a run into a scratch folder with the trainer itself, timed from outside by wrapping its parts, without the
validations and without the first epoch, in which images are read into the cache. On a GPU forward and backward return
before the device is done, so there the shares mean nothing: look at samples per second instead.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from rich.console import Console
from rich.table import Table

from mvtrain.config import load_config
from mvtrain.training.loop import Trainer
from mvtrain.training.metrics_log import LogWindow
from mvtrain.training.train import train


class Clock:
    """Seconds spent in parts of the loop, counted while it runs."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.steps = 0
        self.running = False

    def time(self, owner: type, name: str, part: str) -> None:
        """Count the time in a method of a class."""
        method: Callable[..., Any] = getattr(owner, name)

        def wrapper(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = method(*arguments, **options)
            if self.running:
                self.seconds[part] += time.perf_counter() - start
            return result

        setattr(owner, name, wrapper)

    def time_waiting(self) -> None:
        """Count what the trainer itself measures for its log."""
        add = LogWindow.add

        def wrapper(window: LogWindow, *arguments: Any, waited: float, **options: Any) -> None:
            if self.running:
                self.seconds["waiting for data"] += waited
                self.steps += 1
            add(window, *arguments, waited=waited, **options)

        LogWindow.add = wrapper  # type: ignore[method-assign]

    def time_epochs(self) -> None:
        """Run during all epochs but the first."""
        train_epoch = Trainer._train_epoch

        def wrapper(trainer: Trainer) -> None:
            self.running = trainer.epoch > 0
            start = time.perf_counter()
            train_epoch(trainer)
            if self.running:
                self.seconds["everything else"] += time.perf_counter() - start
            self.running = False

        Trainer._train_epoch = wrapper  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    clock = Clock()
    clock.time_waiting()
    clock.time(Trainer, "train_step", "forward")
    clock.time(Fabric, "backward", "backward")
    clock.time(Trainer, "_optimizer_step", "optimizer")
    clock.time_epochs()
    console = Console(width=100)
    config = load_config(arguments.config, ["eval.predict_vids_after_training=false", *arguments.overrides])
    with tempfile.TemporaryDirectory() as folder:
        train(config, Path(folder) / "run", console)
    total = clock.seconds.pop("everything else")
    clock.seconds["everything else"] = total - sum(clock.seconds.values())
    table = Table("part", "ms per step", "share", title=f"{clock.steps} steps")
    for part, seconds in clock.seconds.items():
        table.add_row(part, f"{1000 * seconds / clock.steps:.2f}", f"{seconds / total:.1%}")
    console.print(table)


if __name__ == "__main__":
    main()
