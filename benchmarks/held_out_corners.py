"""Calibrations of real and generated corners, judged by boards that they were not given: ours, OpenCV's, aniposelib's.

    uv run python benchmarks/held_out_corners.py [--anipose-python PYTHON]

All three get the corners that we found. Boards are dealt into four groups; each is held out once. Its corners are
triangulated from all cameras: `px` is the root mean square of their reprojection errors, `% of a square` that of the
distances between neighboring corners from the board's. On the generated rig the truth is known, too.

OpenCV: `calibrateCamera` for each camera with five coefficients, then `stereoCalibrate` of each camera with the first,
lenses held. `--anipose-python` is the Python of an environment with `aniposelib`; without it, its rows are left out.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from calibration_quality import BOARD, film, pose_errors, rig

from mvgeom import CameraGroup, reprojection_error, triangulate
from mvgeom.calibration import Chessboard, Detections, Options, calibrate, detect_boards, from_points, open_source
from mvgeom.calibration.boards import object_points

SHARED = Path(__file__).parents[2] / "shared"
GROUPS = 4
ANIPOSE = """
import sys
import numpy as np
from aniposelib.boards import Checkerboard
from aniposelib.cameras import CameraGroup
given = np.load(sys.argv[1])
points, sizes, (columns, rows, square) = given["points"], given["sizes"], given["board"]
group = CameraGroup.from_names([f"cam{view}" for view in range(len(points))])
for camera, size in zip(group.cameras, sizes):
    camera.set_size(tuple(int(length) for length in size))
board = Checkerboard(int(columns), int(rows), square_length=square)
found = []
for view in points:
    there = [number for number, corners in enumerate(view) if np.isfinite(corners).all()]
    found.append([
        {"framenum": (0, number), "corners": view[number].reshape(-1, 1, 2).astype(np.float32), "ids": board.ids}
        for number in there
    ])
for rows_of_camera in found:
    board.fill_points_rows(rows_of_camera)
group.calibrate_rows(found, board, verbose=False)
group.dump(sys.argv[2])
"""

Method = Callable[[Detections, Chessboard], CameraGroup]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anipose-python", type=Path, help="Python of an environment with aniposelib")
    arguments = parser.parse_args()
    methods: dict[str, Method] = {"ours": by_us, "OpenCV": by_opencv}
    if arguments.anipose_python is not None:
        methods["aniposelib"] = lambda found, board: by_anipose(found, board, arguments.anipose_python)
    compare("stereo pairs of OpenCV", *stereo_pairs(), None, methods)
    truth = rig(4)
    points = film(truth, 3, spread=0.4)
    compare("generated, 4 cameras, 0.2 px", from_points(truth.names, truth.sizes, BOARD, points), BOARD, truth, methods)


def stereo_pairs() -> tuple[Detections, Chessboard]:
    board = Chessboard(columns=9, rows=6, square_size=25.0)
    folder = SHARED / "boards" / "boards_opencv_stereo"
    sources = {name: open_source(name, folder / f"{name}*.jpg") for name in ("left", "right")}
    return detect_boards(sources, board), board


def compare(
    title: str, found: Detections, board: Chessboard, truth: CameraGroup | None, methods: dict[str, Method]
) -> None:
    """Print a row per method."""
    print(f"{title}: {len(found.frames)} boards, {found.seen.sum(axis=1).tolist()} by camera")
    for name, method in methods.items():
        errors, lengths, degrees = [], [], []
        for group in range(GROUPS):
            held = np.arange(len(found.frames)) % GROUPS == group
            try:
                cameras = method(part(found, ~held), board)
            except (cv2.error, RuntimeError) as error:
                print(f"  {name}: failed: {error}")
                break
            error, length = assess(cameras, found.points[:, held], board)
            errors.append(error)
            lengths.append(length)
            if truth is not None:
                degrees.append(float(pose_errors(cameras, truth).max()))
        else:
            known = f", rotation at most {max(degrees):.3f} degrees off" if degrees else ""
            print(f"  {name}: {rms(errors):.4f} px, {100 * rms(lengths):.3f} % of a square{known}")


def part(found: Detections, frames: np.ndarray) -> Detections:
    kept = tuple(name for name, keep in zip(found.frames, frames, strict=True) if keep)
    return from_points(found.names, found.sizes, found.object_points, found.points[:, frames], kept)


def assess(cameras: CameraGroup, points: np.ndarray, board: Chessboard) -> tuple[np.ndarray, np.ndarray]:
    """Return reprojection errors in px, and errors of distances of neighboring corners in squares."""
    pixels = np.moveaxis(points, 0, 1)
    world = triangulate(pixels, cameras)
    lattice = world.reshape(-1, board.rows, board.columns, 3) / board.square_size
    gaps = [np.linalg.norm(np.diff(lattice, axis=axis), axis=-1).ravel() - 1 for axis in (1, 2)]
    return np.asarray(reprojection_error(world, pixels, cameras)).ravel(), np.concatenate(gaps)


def rms(values: list[np.ndarray]) -> float:
    return float(np.sqrt(np.nanmean(np.concatenate(values) ** 2)))


def by_us(found: Detections, _: Chessboard) -> CameraGroup:
    return calibrate(found, Options()).cameras


def by_opencv(found: Detections, board: Chessboard) -> CameraGroup:
    world = object_points(board).astype(np.float32)
    seen = found.seen
    matrices, distortions = [], []
    for view, size in enumerate(found.sizes.astype(int).tolist()):
        corners = [each.astype(np.float32) for each in found.points[view, seen[view]]]
        _, matrix, distortion, *_ = cv2.calibrateCamera([world] * len(corners), corners, size, None, None)
        matrices.append(matrix)
        distortions.append(distortion.reshape(-1)[:5])
    rotations, translations = [np.eye(3)], [np.zeros(3)]
    for view in range(1, len(found.names)):
        both = seen[0] & seen[view]
        one, other = (found.points[each, both].astype(np.float32) for each in (0, view))
        *_, rotation, translation, _, _ = cv2.stereoCalibrate(
            [world] * int(both.sum()), list(one), list(other), matrices[0], distortions[0], matrices[view],
            distortions[view], found.sizes[0].astype(int).tolist(), flags=cv2.CALIB_FIX_INTRINSIC,
        )  # fmt: skip
        rotations.append(rotation)
        translations.append(translation.reshape(3))
    return CameraGroup(
        names=found.names,
        sizes=found.sizes,
        matrix=np.array(matrices),
        distortion=np.array(distortions),
        rotation=np.array(rotations),
        translation=np.array(translations),
    )


def by_anipose(found: Detections, board: Chessboard, python: Path) -> CameraGroup:
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "corners.npz", Path(folder) / "rig.toml"
        size = [board.columns, board.rows, board.square_size]
        np.savez(given, points=found.points, sizes=found.sizes, board=size)
        done = subprocess.run([python, "-c", ANIPOSE, given, result], check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.splitlines()[-1])
        return CameraGroup.load(result)


if __name__ == "__main__":
    main()
