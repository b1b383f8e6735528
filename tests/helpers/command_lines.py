"""Small inputs of all commands of mvgeom."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from helpers.boards import arc_of_cameras
from mvgeom import project
from mvgeom.clock_files import save_clocks
from mvgeom.clocks import Clocks

BOARD = '[[face]]\nkind = "charuco"\ncolumns = 5\nrows = 4\nsquare = 0.06\nmarker = 0.04\n'


def keypoint_table(points: np.ndarray, rows: list[str] | None = None) -> str:
    """Table of DeepLabCut with keypoints (N, K, 2) named a, b, ... of likelihood 0.9."""
    names = [chr(ord("a") + number) for number in range(points.shape[1])]
    heads = [[name, coord] for name in names for coord in ("x", "y", "likelihood")]
    lines = [
        ",".join(["scorer", *("net" for _ in heads)]),
        ",".join(["bodyparts", *(name for name, _ in heads)]),
        ",".join(["coords", *(coord for _, coord in heads)]),
    ]
    for number, frame in enumerate(points):
        cells = [f"{x:.4f},{y:.4f},0.9" for x, y in frame]
        lines.append(",".join([str(number) if rows is None else rows[number], *cells]))
    return "\n".join(lines) + "\n"


def write_keypoints(folder: Path, rows: list[str] | None = None, num_frames: int = 30) -> np.ndarray:
    """Write `rig.toml`, `cam1.csv` and `cam2.csv`; return the world points (N, 4, 3), which the views show exactly."""
    cameras = arc_of_cameras(2)
    cameras.save(folder / "rig.toml")
    times = np.arange(num_frames)[:, None, None] / 10
    rest = np.random.default_rng(0).uniform(-0.2, 0.2, (4, 3))
    points = rest + 0.1 * np.sin(times * np.array([1.0, 1.3, 0.7]) + 7 * rest)
    for name, pixels in zip(cameras.names, np.moveaxis(project(points, cameras), 1, 0), strict=True):
        (folder / f"{name}.csv").write_text(keypoint_table(pixels, rows), encoding="utf-8")
    return points


def write_inputs(folder: Path) -> None:
    """Write a calibration with clocks, keypoints, boxes, known positions, a board and images of nothing."""
    write_keypoints(folder)
    (folder / "boxes.csv").write_text("x,y,h,w\n" + "0,0,1024,1280\n" * 30)
    (folder / "room.csv").write_text("name,x,y,z\na,0,0,0\nb,1,0,0\nc,0,1,0\nd,0,0,1\n")
    (folder / "board.toml").write_text(BOARD)
    (folder / "images").mkdir()
    for path in (folder / "images" / "a.png", folder / "board1.png"):
        cv2.imwrite(str(path), np.full((40, 60), 128, dtype=np.uint8))
    nothing = np.zeros(2)
    clocks = Clocks(
        names=("cam1", "cam2"),
        reference="cam1",
        frame_rate=50.0,
        offset=nothing,
        drift=nothing,
        offset_std=nothing,
        drift_std=nothing,
    )
    save_clocks(clocks, folder / "rig.sync.json")
