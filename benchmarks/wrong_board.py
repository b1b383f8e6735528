"""CPU seconds until a wrongly described board is found in films, and for looking at all of their images.

OMP_NUM_THREADS=1 uv run python benchmarks/wrong_board.py [--frames 3000]

Two generated films of 640x512 px show a ChArUco board of 7x5 squares of DICT_4X4_50; every 500 frames it moves.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from board_images import charuco_pattern, path_of_body, rays_of, render
from calibration_quality import rig

from mvgeom import CameraGroup
from mvgeom.calibration import CalibrationError, CharucoBoard, TagGrid, detect_boards, open_source

SIZES = {"square_size": 0.1, "marker_size": 0.075}
BOARD = CharucoBoard(columns=7, rows=5, **SIZES)
DESCRIBED = {
    "another dictionary": CharucoBoard(columns=7, rows=5, dictionary="DICT_5X5_50", **SIZES),
    "inverted": CharucoBoard(columns=7, rows=5, inverted=True, **SIZES),
    "columns and rows exchanged": CharucoBoard(columns=5, rows=7, **SIZES),
    "AprilGrid": TagGrid(columns=4, rows=3, marker_size=0.13, spacing=0.3),
    "as it is": BOARD,
}


def write_films(cameras: CameraGroup, folder: Path, num_frames: int) -> None:
    """Write a film of each camera."""
    rng, rays = np.random.default_rng(0), rays_of(cameras)
    num_poses = -(-num_frames // 500)
    rotation, position = path_of_body(max(num_poses, 6), 0, spread=0.3, tilt=30)
    middle = BOARD.points().mean(axis=0)
    for view, name in enumerate(cameras.names):
        images = [
            render(
                [(*charuco_pattern(BOARD), rotation[each], position[each] - rotation[each] @ middle)], rays[view],
                cameras.rotation[view], cameras.translation[view], rng,
            )
            for each in range(num_poses)
        ]  # fmt: skip
        code = cv2.VideoWriter_fourcc(*"mp4v")  # type: ignore[attr-defined]
        writer = cv2.VideoWriter(str(folder / f"{name}.mp4"), code, 60, (640, 512))
        for frame in range(num_frames):
            writer.write(cv2.cvtColor(images[frame // 500], cv2.COLOR_GRAY2BGR))
        writer.release()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=3000, help="frames of each film")
    arguments = parser.parse_args()
    cameras = rig(2).resize([640.0, 512.0])
    with tempfile.TemporaryDirectory() as folder:
        write_films(cameras, Path(folder), arguments.frames)
        sources = {name: open_source(name, Path(folder) / f"{name}.mp4") for name in cameras.names}
        print("| asked for | CPU s | finding |\n|---|---|---|")
        for name, board in DESCRIBED.items():
            start, reason = time.process_time(), "none: all images were read"
            try:
                detect_boards(sources, board)
            except CalibrationError as error:
                reason = error.findings[0].code
            print(f"| {name} | {time.process_time() - start:.1f} | {reason} |", flush=True)


if __name__ == "__main__":
    main()
