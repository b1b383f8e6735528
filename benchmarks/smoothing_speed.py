"""Frames per second of smoothing, beside the package ensemble-kalman-smoother.

    OMP_WAIT_POLICY=passive uv run python benchmarks/smoothing_speed.py --peer ../eks-env/bin/python

Generated predictions of three networks for four calibrated views and 20 keypoints. Both programs get the same tables,
and their times hold reading them, learning what they learn of the noise, and the trajectories in 3D. Seconds are CPU
seconds of the process, which other work on the machine lengthens little. The package runs twice in one process: its
first call compiles. It smooths ensembles only; we smooth one network as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from animal_recordings import animal, record, ring
from rich.console import Console
from rich.table import Table

from mvgeom import CameraGroup, smooth
from mvgeom.smoothing import Noise
from mvgeom.tables import read_keypoints, stack_views
from mvtrain.predict.recording_tables import observe

NUM_KEYPOINTS = 20
PEER = """
import json, sys, time
from eks import fit_eks_multicam
calibration, out, answer, *files = sys.argv[1:]
cameras = {}
for file in files:
    cameras.setdefault(file.split("film_")[1].split(".")[0], []).append(file)
seconds = []
for _ in range(2):
    begin = time.process_time()
    fit_eks_multicam(cameras, out, calibration=calibration)
    seconds.append(time.process_time() - begin)
with open(answer, "w") as file:
    json.dump(seconds, file)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="Python with the package ensemble-kalman-smoother")
    parser.add_argument("--frames", type=int, default=1000)
    arguments = parser.parse_args()
    table = Table(title=f"{arguments.frames} frames, 4 views, {NUM_KEYPOINTS} keypoints", title_justify="left")
    for name in ("", "CPU s", "frames per CPU s"):
        table.add_column(name, justify="right" if name else "left")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = write_predictions(folder, arguments.frames)
        for name, seconds in measure(folder / "calibration.toml", files, arguments.peer):
            table.add_row(name, f"{seconds:.1f}", f"{arguments.frames / seconds:.0f}")
    Console(width=120).print(table)


def write_predictions(folder: Path, num_frames: int, fps: int = 60) -> list[dict[str, Path]]:
    """Write the tables of three networks; return their paths by view."""
    rng = np.random.default_rng(0)
    cameras = ring()
    cameras.save(folder / "calibration.toml")
    # Two animals, of which the second lacks keypoints: 20 in all.
    truth = np.concatenate([animal(num_frames, fps, rng), animal(num_frames, fps, rng)], axis=1)[:, :NUM_KEYPOINTS]
    networks, likelihood, _ = record(truth, cameras, fps, rng)
    columns = pd.MultiIndex.from_product(
        [["network"], [f"keypoint{number}" for number in range(NUM_KEYPOINTS)], ["x", "y", "likelihood"]],
        names=["scorer", "bodyparts", "coords"],
    )
    paths: list[dict[str, Path]] = []
    for number, points in enumerate(networks):
        paths.append({})
        for view, name in enumerate(cameras.names):
            values = np.concatenate([points[:, view], likelihood[:, view, :, None]], axis=-1)
            paths[-1][name] = folder / f"seed{number}.film_{name}.csv"
            table = pd.DataFrame(values.reshape(num_frames, -1), columns=columns)
            # The package does not read empty cells.
            table.interpolate(limit_direction="both").to_csv(paths[-1][name])
    return paths


def measure(calibration: Path, files: list[dict[str, Path]], peer: Path | None) -> list[tuple[str, float]]:
    """Return the seconds of each program."""

    def timed(run: Callable[[], Noise]) -> tuple[float, Noise]:
        begin = time.process_time()
        noise = run()
        return time.process_time() - begin, noise

    learned, noise = timed(lambda: smooth_one(calibration, files[0], None))
    known, _ = timed(lambda: smooth_one(calibration, files[0], noise))
    ensemble, _ = timed(lambda: smooth_ensemble(calibration, files))
    rows = [("mvgeom smooth, one network", learned), ("the same, noise known from another recording", known)]
    rows.append(("mvgeom smooth, three networks", ensemble))
    if peer is not None:
        first, second = run_peer(peer, calibration, files)
        rows += [("ensemble-kalman-smoother, three networks", first), ("the same, compiled", second)]
    return rows


def smooth_one(calibration: Path, files: dict[str, Path], noise: Noise | None) -> Noise:
    """Smooth the predictions of one network; return the noise."""
    stack = stack_views({name: read_keypoints(path) for name, path in files.items()})
    return smooth(stack.points, CameraGroup.load(calibration), likelihood=stack.likelihood, noise=noise).noise


def smooth_ensemble(calibration: Path, files: list[dict[str, Path]]) -> Noise:
    """Smooth the predictions of all networks; return the noise."""
    stacks = [stack_views({name: read_keypoints(path) for name, path in each.items()}) for each in files]
    likelihood = np.stack([stack.likelihood for stack in stacks if stack.likelihood is not None])
    seen = observe(np.stack([stack.points for stack in stacks]), likelihood, likelihood)
    return smooth(seen.points, CameraGroup.load(calibration), covariance=seen.covariance).noise


def run_peer(peer: Path, calibration: Path, files: list[dict[str, Path]]) -> tuple[float, float]:
    """Return the seconds of the package's first and second call."""
    answer = calibration.with_name("seconds.json")
    given = [str(path) for each in files for path in each.values()]
    command = [peer, "-c", PEER, calibration, calibration.with_name("out"), answer, *given]
    subprocess.run(command, check=True, capture_output=True)
    first, second = json.loads(answer.read_text())
    return first, second


if __name__ == "__main__":
    main()
