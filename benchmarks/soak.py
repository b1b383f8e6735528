"""Memory and open files of long commands: a prediction of 100,000 frames and a training of 200 epochs, both tiny.

    OMP_WAIT_POLICY=passive uv run python benchmarks/soak.py [--only predict,fit] [--frames 100000] [--epochs 200]

Both run as commands in processes of their own. Their resident memory and their open files, with those of the loader
processes, are read once a second (Linux). What grows from the second fifth of the time to the last, by more than 5 %
and 20 MB or by any open file, ends with status 1. The tables must have a row for every frame, and the log one for every
validation.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.runs import VIEWS, cameras, make_run
from helpers.tiny import generate_tiny_project, write_tiny_config
from helpers.videos import SIZE, moving_dot, write_video

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
PAGE = os.sysconf("SC_PAGE_SIZE")
FIFTHS = 5
GROWTH, SLACK = 1.05, 20.0
"""Memory of the last fifth beside that of the second: a factor, and MB."""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="predict,fit")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=200)
    arguments = parser.parse_args()
    soaks: dict[str, Callable[[Path], bool]] = {
        "predict": lambda folder: soak_predict(folder, arguments.frames),
        "fit": lambda folder: soak_fit(folder, arguments.epochs),
    }
    steady = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only.split(","):
            (Path(folder) / name).mkdir()
            steady.append(soaks[name](Path(folder) / name))
    sys.exit(0 if all(steady) else 1)


def soak_predict(folder: Path, num_frames: int) -> bool:
    """Predict a recording of three views with a calibration; return True if memory and open files are steady."""
    run = make_run(folder / "run")
    cameras(SIZE).save(folder / "rig.toml")
    videos = folder / "videos"
    videos.mkdir()
    period = [moving_dot(number) for number in range(100)]
    for view in VIEWS:
        write_video(videos / f"mouse_{view}.mp4", [period[number % 100] for number in range(num_frames)], codec="mp4v")
    out = folder / "out"
    options = ["--output", out, "--calibration", folder / "rig.toml", "--batch-size", 64]
    steady = watch(f"predict, {num_frames} frames of {len(VIEWS)} views", ["predict", run, videos, *options])
    for view in VIEWS:
        with (out / f"mouse_{view}.csv").open() as file:
            rows = sum(1 for _ in file) - 3
        assert rows == num_frames, f"{view}: {rows} rows"
    return steady


def soak_fit(folder: Path, num_epochs: int) -> bool:
    """Train with loader processes, saving the state at every step; return True if memory and open files are steady."""
    project = generate_tiny_project(folder / "project")
    changes = {"max_epochs": num_epochs, "num_workers": 2, "save_every_minutes": 0}
    config = write_tiny_config(folder / "tiny.yaml", project, **changes)
    steady = watch(f"fit, {num_epochs} epochs", ["fit", config, "--output", folder / "run"])
    validations = pd.read_csv(folder / "run" / "metrics.csv")["val_loss"].notna().sum()
    assert validations == num_epochs, f"{validations} validations"
    return steady


def watch(title: str, command: list[object]) -> bool:
    """Run a command and read its memory and open files once a second; print them by fifths of the time."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mvtrain", *map(str, command)], env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT
        )
        rows = []
        while process.poll() is None:
            with suppress(OSError):  # a process that ends meanwhile
                rows.append((time.monotonic() - start, *usage(process.pid)))
            time.sleep(1)
        if process.returncode != 0:
            log.seek(0)
            raise SystemExit(f"{title}: status {process.returncode}\n{log.read().decode()[-3000:]}")
    found = np.array(rows)
    print(f"{title}: {found[-1, 0]:.0f} s", flush=True)
    print("  part of the time   memory in MB (median, highest)   open files (median, highest)")
    parts = np.array_split(found[found[:, 0] > 0.05 * found[-1, 0]], FIFTHS)
    for number, part in enumerate(parts):
        (memory, files), (most, most_files) = np.median(part[:, 1:], axis=0), part[:, 1:].max(axis=0)
        print(f"  {number + 1} of {FIFTHS}   {memory:6.0f} {most:6.0f}   {files:4.0f} {most_files:4.0f}", flush=True)
    (memory, files), (last, last_files) = (np.median(parts[number][:, 1:], axis=0) for number in (1, -1))
    steady = bool(last <= max(GROWTH * memory, memory + SLACK) and last_files <= files)
    print(f"  {'steady' if steady else 'GROWS'}", flush=True)
    return steady


def usage(process: int) -> tuple[float, int]:
    """Return the resident memory in MB and the open files of a process and its children."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    memory, files = 0.0, 0
    for each in (process, *map(int, children)):
        resident = Path(f"/proc/{each}/statm").read_text().split()[1]  # 0 for a process that has just ended
        memory += int(resident) * PAGE / 2**20
        files += sum(1 for _ in Path(f"/proc/{each}/fd").iterdir())
    return memory, files


if __name__ == "__main__":
    main()
