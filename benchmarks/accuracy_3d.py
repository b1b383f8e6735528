"""3D of a generated project's recordings against the generator's truth, with a camera disturbed and a view blanked.

    uv run python benchmarks/accuracy_3d.py RUN data/quickstart [--camera cam3] [--view cam2]

Predicts the videos twice by `mvtrain predict`, as they are and with one view black for half of the time. Then
triangulates in three ways: all views alike, refined by least squares; outliers left out; weighted by confidence and
outliers left out, as `mvtrain predict` writes it. Median and 95 % in the calibration's unit over all sessions, frames
and keypoints.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.spatial.transform import Rotation

from mvgeom import CameraGroup
from mvgeom.reconstruction import reconstruct
from mvgeom.tables import read_keypoints
from mvtrain.model.reconstruction import Observations, estimate_noise, to_3d
from mvtrain.model.run_folder import load_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("project", type=Path)
    parser.add_argument("--camera", default="cam3", help="whose calibration is turned by 2 degrees")
    parser.add_argument("--view", default="cam2", help="which is black for a while")
    arguments = parser.parse_args()
    sessions = sorted(path.stem for path in (arguments.project / "calibrations").glob("*.toml"))
    with tempfile.TemporaryDirectory() as scratch:
        black = Path(scratch) / "videos"
        blacken(arguments.project / "videos", black, arguments.view)
        predict(arguments.run, arguments.project / "videos", arguments.project, Path(scratch) / "as it is")
        predict(arguments.run, black, arguments.project, Path(scratch) / "black")
        columns = {
            "as it is": ("as it is", False, slice(None)),
            f"{arguments.camera} turned by 2 degrees": ("as it is", True, slice(None)),
            f"{arguments.view} black, those frames": ("black", False, "middle"),
        }
        found = {
            name: errors(arguments, Path(scratch) / folder, sessions, disturbed, frames == "middle")
            for name, (folder, disturbed, frames) in columns.items()
        }
    table = Table("median, 95 %", *found)
    for way in next(iter(found.values())):
        cells = [np.nanpercentile(by_way[way], [50, 95]) for by_way in found.values()]
        table.add_row(way, *(f"{median:.1f}, {high:.1f}" for median, high in cells))
    Console(width=120).print(table)


def blacken(videos: Path, out: Path, view: str) -> None:
    """Copies of the videos, those of one view black for the middle half of their frames."""
    out.mkdir()
    for path in sorted(videos.glob("*.mp4")):
        capture = cv2.VideoCapture(str(path))
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        writer = cv2.VideoWriter(
            str(out / path.name), cv2.VideoWriter.fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS), size
        )
        for number in range(count):
            _, frame = capture.read()
            hidden = path.stem.endswith(f"_{view}") and number in middle(count)
            writer.write(np.zeros_like(frame) if hidden else frame)
        writer.release()


def middle(count: int) -> range:
    """The middle half of so many frames."""
    return range(count // 4, count - count // 4)


def predict(run: Path, videos: Path, project: Path, out: Path) -> None:
    """By the command, as users do."""
    options = ("--output", str(out), "--calibration", str(project / "calibrations"))
    subprocess.run([sys.executable, "-m", "mvtrain.cli.app", "predict", str(run), str(videos), *options], check=True)


def errors(
    arguments: argparse.Namespace, predictions: Path, sessions: list[str], disturbed: bool, only_middle: bool
) -> dict[str, np.ndarray]:
    """Distances to the truth by way of triangulating."""
    if load_run(arguments.run).confidence_map is not None:
        raise SystemExit(f"{arguments.run} has calibrated likelihoods; this table is of the network's own confidence")
    parts: dict[str, list[np.ndarray]] = {}
    for session in sessions:
        cameras = CameraGroup.load(arguments.project / "calibrations" / f"{session}.toml")
        tables = [read_keypoints(predictions / f"{session}_{view}.csv") for view in cameras.names]
        points = np.stack([table.points for table in tables], axis=1)
        weights = np.stack([table.likelihood for table in tables], axis=1)
        truth_file = arguments.project / "videos" / f"{session}_3d.csv"
        truth = pd.read_csv(truth_file, header=[0, 1, 2], index_col=0).to_numpy().reshape(len(points), -1, 3)
        if disturbed:
            cameras = turned(cameras, cameras.names.index(arguments.camera))
        observed = Observations(points=points, weights=weights)
        ways = {
            "all views alike, refined": reconstruct(points, cameras, method="refined").points,
            "outliers left out": reconstruct(points, cameras).points,
            "weighted, outliers left out: what is written": to_3d(
                observed, cameras, estimate_noise(observed, cameras)
            ).points,
        }
        rows = list(middle(len(truth))) if only_middle else list(range(len(truth)))
        for way, found in ways.items():
            parts.setdefault(way, []).append(np.linalg.norm(found - truth, axis=-1)[rows])
    return {way: np.concatenate(distances) for way, distances in parts.items()}


def turned(cameras: CameraGroup, number: int) -> CameraGroup:
    """One camera turned by 2 degrees about its own vertical axis."""
    turn = Rotation.from_euler("y", 2, degrees=True).as_matrix()
    rotation, translation = cameras.rotation.copy(), cameras.translation.copy()
    rotation[number], translation[number] = turn @ rotation[number], turn @ translation[number]
    return cameras.replace(rotation=rotation, translation=translation)


if __name__ == "__main__":
    main()
