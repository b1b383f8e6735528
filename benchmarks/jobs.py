"""Commands in processes of their own, a few at a time."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


def run_jobs(commands: Mapping[Path, Sequence[str]], jobs: int) -> None:
    """Run the commands whose result does not exist yet, each with one thread, and print each result when it is there.

    Args:
        commands: By the file that each writes, in the order in which they start.
        jobs: Number of commands at a time.

    Raises:
        SystemExit: A command failed; the others have run.
    """
    waiting = [(result, command) for result, command in commands.items() if not result.exists()]
    running: dict[subprocess.Popen[bytes], Path] = {}
    failed = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                result, command = waiting.pop(0)
                running[subprocess.Popen(command, env={**os.environ, **ONE_THREAD})] = result
            time.sleep(1)
            for process in [process for process in running if process.poll() is not None]:
                result = running.pop(process)
                if process.returncode:
                    failed.append(f"{result.stem} (status {process.returncode})")
                print(f"{result.stem}: {result.read_text() if result.exists() else 'failed'}", flush=True)
    finally:
        for process in running:
            process.terminate()
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
