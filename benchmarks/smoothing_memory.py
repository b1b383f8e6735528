"""Memory and time of `mvtrain smooth` over recordings of growing length, and the difference from one solution of all.

    uv run python benchmarks/smoothing_memory.py --frames 10000 100000

Prints the largest resident size of the process (Linux), and how far the solution in blocks is from that of the whole
recording, for the lengths up to `--compare`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from mvgeom import CameraGroup, project
from mvtrain.predict.outputs import PredictionRows, write_predictions
from mvtrain.predict.smooth_predictions import SmoothOptions, smooth_predictions

BLOCK = 5000
FPS = 60.0

# Asked of the process itself: what the system reports of a child begins with the size of its parent.
CODE = (
    "import atexit\n"
    "atexit.register(lambda: print([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0]))\n"
    "from mvtrain.cli.app import main\n"
    "main()\n"
)


def ring(num_views: int) -> CameraGroup:
    """Cameras around the origin, 5 units away; no two face each other."""
    angles = 2.0 * np.arange(num_views)
    axes = np.stack([-np.cos(angles), -np.sin(angles), np.zeros(num_views)], axis=-1)
    right = np.stack([np.sin(angles), -np.cos(angles), np.zeros(num_views)], axis=-1)
    rotation = np.stack([right, np.cross(axes, right), axes], axis=1)
    matrix = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
    return CameraGroup(
        names=tuple(f"cam{number}" for number in range(num_views)),
        sizes=np.tile([640.0, 480.0], (num_views, 1)),
        matrix=np.tile(matrix, (num_views, 1, 1)),
        distortion=np.zeros((num_views, 0)),
        rotation=rotation,
        translation=np.tile([0.0, 0.0, 5.0], (num_views, 1)),
    )


def write_recording(folder: Path, length: int, num_views: int, num_keypoints: int) -> None:
    """Write tables of predictions of keypoints that wander, with noise, outliers and gaps."""
    cameras = ring(num_views)
    folder.mkdir()
    cameras.save(folder.parent / f"{folder.name}.toml")
    starts = range(0, length, BLOCK)
    names = [f"keypoint{number}" for number in range(num_keypoints)]

    def rows(view: int) -> object:
        rng = np.random.default_rng(0)
        for start in starts:
            frames = np.arange(start, min(start + BLOCK, length))[:, None, None] / FPS
            phases = 1.0 + np.arange(num_keypoints)[:, None] + 2.1 * np.arange(3)
            world = 0.6 * np.sin(frames * (0.7 + 0.31 * phases) + phases)
            points = np.asarray(project(world, cameras)) + rng.normal(
                0, 1.0, (len(frames), num_views, num_keypoints, 2)
            )
            wrong = rng.random(points.shape[:3]) < 0.02
            points = np.where(wrong[..., None], points + rng.normal(0, 60, points.shape), points)
            points = np.where((rng.random(points.shape[:3]) < 0.1)[..., None], np.nan, points)
            likelihood = np.where(np.isfinite(points[..., 0]), 0.9, np.nan)
            index = range(start, start + len(frames))
            yield PredictionRows(index=index, points=points[:, view], likelihood=likelihood[:, view])

    for view, name in enumerate(cameras.names):
        write_predictions(folder / f"film_{name}.csv", names, rows(view))  # type: ignore[arg-type]


def smooth_in_process(folder: Path, num_views: int, out: Path) -> tuple[float, float]:
    """Return the seconds and the largest resident size in MB."""
    views = ",".join(f"cam{number}" for number in range(num_views))
    command = ["smooth", folder, "-o", out, "--views", views, "--calibration", folder.parent / f"{folder.name}.toml"]
    started = time.perf_counter()
    found = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, command), "--fps", str(FPS)], capture_output=True, text=True, check=True
    )
    return time.perf_counter() - started, int(found.stdout.split("VmHWM:")[1].split()[0]) / 1024


def compare(folder: Path, num_views: int, blocks: Path, length: int) -> str:
    """Describe how far the solution in blocks is from that of the whole recording."""
    views = tuple(f"cam{number}" for number in range(num_views))
    whole = folder.parent / f"{folder.name}-whole"
    options = SmoothOptions(
        output=whole, view_names=views, calibration=folder.parent / f"{folder.name}.toml", block=length + 1
    )
    smooth_predictions([folder], options, Console(quiet=True))
    one, other = (
        pd.read_csv(each / "film_3d.csv", header=[0, 1, 2], index_col=0).to_numpy().reshape(length, -1, 8)
        for each in (whole, blocks)
    )
    difference = np.linalg.norm(one[..., :3] - other[..., :3], axis=-1) / np.linalg.norm(one[..., 3:6], axis=-1)
    shares = ", ".join(f"{100 * np.mean(difference > limit):.2g} % beyond {limit}" for limit in (0.01, 0.1, 1.0))
    return f"mean {np.nanmean(difference):.1g} standard deviations, {shares}, largest {np.nanmax(difference):.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--keypoints", type=int, default=20)
    parser.add_argument("--compare", type=int, default=20_000)
    arguments = parser.parse_args()
    for length in arguments.frames:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "tables"
            write_recording(folder, length, arguments.views, arguments.keypoints)
            out = Path(temporary) / "smooth"
            seconds, memory = smooth_in_process(folder, arguments.views, out)
            line = f"{length} frames, {arguments.views} views, {arguments.keypoints} keypoints: {memory:.0f} MB, "
            print(line + f"{seconds:.0f} s", flush=True)
            if length <= arguments.compare:
                print(f"  from the whole: {compare(folder, arguments.views, out, length)}", flush=True)


if __name__ == "__main__":
    main()
