"""Running readers in child processes with limits of time and memory, so that a death is a result like any other."""

from __future__ import annotations

import multiprocessing
import random
import resource
import shutil
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from helpers.damage import damage
from helpers.readers import READERS, Reader
from mvgeom.errors import InputError

SECONDS, MEMORY = 5.0, 2**30
"""Limits of one reading: seconds, and bytes beyond those of the process before."""


@dataclass(kw_only=True)
class Counts:
    """Outcomes of a reader's examples: `ok`, `refused` (InputError, OSError), or the name of what is wrong."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    slowest: float = 0.0

    @property
    def bad(self) -> int:
        """Number of examples with an outcome that is not allowed."""
        return sum(count for name, count in self.outcomes.items() if name not in ("ok", "refused"))


def example_path(pristine: Path, target: Path, damaged: Path) -> Path:
    """Copy the example of a reader, and return the path to damage in the copy."""
    shutil.copytree(pristine, target, symlinks=True)
    return target / damaged.relative_to(pristine)


def read_damaged(reader: Reader, path: Path) -> tuple[str, str]:
    """Read a damaged file: `ok`, `refused`, or the name of another exception with its message."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
    except (InputError, OSError) as error:
        return "refused", str(error)
    except Exception as error:  # noqa: BLE001 - any other is what the test looks for
        import traceback

        place = traceback.extract_tb(error.__traceback__)
        ours = [each for each in place if "/src/mv" in each.filename]
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        return type(error).__name__, f"{where}: {str(error)[:150]}"
    return "ok", ""


def make_damaged(name: str, pristine: Path, damaged: Path, seed: int, folder: Path) -> tuple[Path, str]:
    """Copy the example of a reader and damage it by a seed; return the path and the name of the damage."""
    target = folder / "copy"
    path = example_path(pristine, target, damaged)
    return path, damage(path, random.Random(f"{name} {seed}"))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _work(name: str, pristine: Path, damaged: Path, seeds: Sequence[int], pipe: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 3 * MEMORY, used + 3 * MEMORY))
    import os

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            path, what = make_damaged(name, pristine, damaged, seed, Path(folder))
            before = _peak()
            pipe.send((seed, what))
            outcome, message = read_damaged(READERS[name], path)
            grown = _peak() - before
            if grown > MEMORY:
                outcome, message = "memory", f"{grown / 2**20:.0f} MiB, {outcome} {message}"
            pipe.send((outcome, message))
    pipe.send(None)


def count_outcomes(name: str, seeds: Sequence[int]) -> Counts:
    """Damage and read the example of a reader once for each seed, in child processes."""
    counts, context, left = Counts(), multiprocessing.get_context("fork"), list(seeds)
    with tempfile.TemporaryDirectory() as folder:
        pristine = Path(folder)
        damaged = READERS[name].make(pristine)
        while left:
            ours, theirs = context.Pipe()
            child = context.Process(target=_work, args=(name, pristine, damaged, left, theirs))
            child.start()
            theirs.close()
            what = ""
            while left:
                outcome = message = ""
                try:
                    begun = ours.recv()  # making an example takes no time worth a limit
                    if begun is None:
                        break
                    what, start = f"seed {begun[0]}, {begun[1]}", time.monotonic()
                    if ours.poll(2 * SECONDS):
                        outcome, message = ours.recv()
                        seconds = time.monotonic() - start
                        counts.slowest = max(counts.slowest, seconds)
                        if seconds > SECONDS:
                            outcome, message = "time", f"{seconds:.1f} s"
                    else:
                        outcome, message = "hang", f"more than {2 * SECONDS:.0f} s"
                        counts.slowest = float("inf")
                except EOFError:
                    child.join()
                    outcome, message = f"death ({child.exitcode})", ""
                left.pop(0)
                counts.outcomes[outcome] += 1
                if outcome not in ("ok", "refused"):
                    counts.failures.setdefault(f"{outcome} {message}".split(": ")[0], f"{what}: {message}")
                if outcome.startswith(("hang", "death")):
                    break
            child.kill()
            child.join()
            ours.close()
    return counts
