"""Findings and errors of `calibrate` and `refine` on generated rigs with a known fault, beside an earlier version.

OMP_NUM_THREADS=1 uv run python benchmarks/calibration_quality.py [--rigs 2] [--before SRC] [--only WORD]

`--before` is the folder `packages/mvgeom/src` of another commit (`git archive COMMIT packages/mvgeom/src | tar -x -C
FOLDER`); the same rigs are given to it in a process of its own. Errors are the largest over cameras and rigs; "held" is
the share of errors of focal lengths and rotations within two of the stated standard deviations (95 % expected).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from board_images import aprilgrid_pattern, charuco_pattern, path_of_body, rays_of, render
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from mvgeom import CameraGroup, project, undistort
from mvgeom.calibration import CalibrationError, Chessboard, Lens, Options, calibrate, from_points, refine
from mvgeom.calibration.boards import object_points

BOARD = Chessboard(columns=9, rows=6, square_size=0.03)
NUM_FRAMES = 40
NUM_IMAGES = 24
BARREL = (-0.2, 0.05, 0.001, -0.0005, 0.0)


def rig(num_views: int = 3, distortion: tuple[float, ...] = BARREL, fisheye: tuple[int, ...] = ()) -> CameraGroup:
    """Cameras on an arc of 25 degrees each, 1.5 from the origin, that look at it; some with a fisheye lens."""
    angles = np.deg2rad(25) * (np.arange(num_views) - (num_views - 1) / 2)
    coefficients = np.tile([*distortion, 0, 0, 0, 0, 0][:5], (num_views, 1))
    coefficients[list(fisheye)] = [0.02, -0.005, 0.003, -0.001, 0]
    matrix = np.tile([[900.0, 0, 648], [0, 900, 508], [0, 0, 1]], (num_views, 1, 1))
    matrix[list(fisheye), [[0], [1]], [[0], [1]]] = 550
    return CameraGroup(
        names=tuple(f"cam{view + 1}" for view in range(num_views)),
        sizes=np.tile([1280.0, 1024.0], (num_views, 1)),
        matrix=matrix,
        distortion=coefficients,
        rotation=Rotation.from_euler("y", angles[:, None]).as_matrix(),
        translation=np.tile([0, 0, 1.5], (num_views, 1)),
        fisheye=tuple(view in fisheye for view in range(num_views)),
    )


def film(
    cameras: CameraGroup, seed: int, *, spread: float = 0.45, tilt: float = 35, times: np.ndarray | None = None,
    moving: CameraGroup | None = None, noise: float = 0.2,
) -> np.ndarray:  # fmt: skip
    """Corners (V, F, K, 2) of a board on a smooth path.

    Args:
        cameras: V cameras.
        seed: Random seed of the path and of the noise.
        spread: Largest distance of the board from the origin along each axis.
        tilt: Largest tilt of the board in degrees.
        times: (V, F) time of each image in frames; None for synchronous cameras.
        moving: Cameras of the second half of the frames; None if none moves.
        noise: Standard deviation of the corners in px.
    """
    rng = np.random.default_rng(seed)
    knots = np.linspace(-15, NUM_FRAMES + 15, 24)
    path = CubicSpline(knots, rng.uniform(-spread, spread, (24, 3)))
    turns = CubicSpline(knots, rng.uniform(-1, 1, (24, 3)) * [tilt, tilt, 60])
    corners = object_points(BOARD)
    times = np.tile(np.arange(NUM_FRAMES, dtype=float), (len(cameras), 1)) if times is None else times
    result = []
    for view, name in enumerate(cameras.names):
        rotation = Rotation.from_euler("xyz", turns(times[view]), degrees=True).as_matrix()
        position = path(times[view]) - rotation @ corners.mean(axis=0)
        world = corners @ np.swapaxes(rotation, 1, 2) + position[:, None]
        pixels = project(world, cameras.select([name]))[:, 0]
        if moving is not None:
            half = NUM_FRAMES // 2
            pixels[half:] = project(world[half:], moving.select([name]))[:, 0]
        inside = ((pixels > 0) & (pixels < cameras.sizes[view] - 1)).all((1, 2))
        pixels = pixels + noise * rng.normal(size=pixels.shape)
        result.append(np.where(inside[:, None, None], pixels, np.nan))
    return np.stack(result)


def turned(cameras: CameraGroup, view: int, degrees: float) -> CameraGroup:
    """The rig with one camera turned about its center."""
    turn = Rotation.from_rotvec(np.deg2rad(degrees) * np.array([0.6, 0.8, 0])).as_matrix()
    rotation, translation = cameras.rotation.copy(), cameras.translation.copy()
    rotation[view], translation[view] = turn @ rotation[view], turn @ translation[view]
    return cameras.replace(rotation=rotation, translation=translation)


def few_corners(points: np.ndarray, seed: int) -> np.ndarray:
    """Six of the images, and 8 to 19 neighboring corners of each board, as of tags that are partly covered."""
    points, rng, corners = points[:, ::7], np.random.default_rng(seed), object_points(BOARD)
    for board in points.reshape(-1, *points.shape[2:]):
        distance = np.linalg.norm(corners - corners[rng.integers(len(corners))], axis=1)
        board[np.argsort(distance)[rng.integers(8, 20) :]] = np.nan
    return points


def jittered(view: int, frames: float, seed: int) -> np.ndarray:
    """Times (V, F) of 3 cameras, one of them with random delays of up to so many frames."""
    times = np.tile(np.arange(NUM_FRAMES, dtype=float), (3, 1))
    times[view] += np.random.default_rng(seed).uniform(-frames, frames, NUM_FRAMES)
    return times


def late(view: int, frames: float) -> np.ndarray:
    """Times (V, F) of 3 cameras, one of which shows everything so many frames late."""
    times = np.tile(np.arange(NUM_FRAMES, dtype=float), (3, 1))
    times[view] -= frames
    return times


Board = Callable[[int], tuple[CameraGroup, np.ndarray]]
BOARDS: dict[str, Board] = {
    "good images": lambda seed: (rig(), film(rig(), seed)),
    "boards in a quarter of the image": lambda seed: (rig(), film(rig(), seed, spread=0.12)),
    "the same, lens without distortion": lambda seed: (rig(3, ()), film(rig(3, ()), seed, spread=0.12)),
    "six images, few corners of each board": lambda seed: (rig(), few_corners(film(rig(), seed), seed)),
    "jitter 0.5 frames": lambda seed: (rig(), film(rig(), seed, times=jittered(1, 0.5, seed))),
    "jitter 1 frame": lambda seed: (rig(), film(rig(), seed, times=jittered(1, 1, seed))),
    "jitter 2 frames": lambda seed: (rig(), film(rig(), seed, times=jittered(1, 2, seed))),
    "cam2 starts 3 frames late": lambda seed: (rig(), film(rig(), seed, times=late(1, -3))),
    "cam2 bumped by 0.3 degrees": lambda seed: (rig(), film(rig(), seed, moving=turned(rig(), 1, 0.3))),
    "cam2 bumped by 2 degrees": lambda seed: (rig(), film(rig(), seed, moving=turned(rig(), 1, 2))),
    "cam3 fisheye beside normal": lambda seed: (rig(3, BARREL, (2,)), film(rig(3, BARREL, (2,)), seed)),
    "boards parallel to the sensor": lambda seed: (rig(1), film(rig(1), seed, tilt=0.3)),
    "the board never moved": lambda seed: (rig(), np.repeat(film(rig(), seed, spread=0.05)[:, :1], NUM_FRAMES, 1)),
}


def board_of(kind: str) -> tuple[Any, list[tuple[Any, np.ndarray, np.ndarray]]]:
    """The board that is given to the calibration, and the true faces: boards, rotations and positions on the body.

    Raises:
        AttributeError: An earlier version has no such board.
        TypeError: The same.
    """
    from mvgeom import calibration

    square = {"square_size": 0.1, "marker_size": 0.075, "dictionary": "DICT_4X4_100"}
    sheet = calibration.CharucoBoard(columns=7, rows=5, **square)
    middle = sheet.square_size * np.array([2.5, 1.5, 0])
    one = [(sheet, np.eye(3), -middle)]
    if kind == "inverted board, not told":
        return sheet, one
    if kind == "inverted board":
        return calibration.CharucoBoard(columns=7, rows=5, inverted=True, **square), one
    if kind == "AprilGrid":
        grid = calibration.TagGrid(columns=4, rows=3, marker_size=0.13, spacing=0.3)
        return grid, [(grid, np.eye(3), -grid.points().mean(axis=0))]
    body = calibration.two_sided(sheet, 0.01)
    faces = [(face.board, face.rotation, face.position - middle) for face in body.faces]
    if kind == "two-sided board":
        return body, faces
    # The same without the poses; the back is glued on crookedly.
    crooked = Rotation.from_euler("xyz", [1, -2, 3], degrees=True).as_matrix()
    board, rotation, position = faces[1]
    faces[1] = board, rotation @ crooked, position + np.array([0.004, -0.003, 0.002])
    unknown = calibration.BoardSet(faces=tuple(calibration.Face(board=each) for each, _, _ in faces), estimated=True)
    return unknown, faces


def ring(num_views: int = 4) -> CameraGroup:
    """Cameras all around the origin."""
    cameras = rig(num_views)
    turns = Rotation.from_euler("yx", [[360 / num_views * view, 10 * (-1) ** view] for view in range(num_views)], True)
    return cameras.replace(rotation=np.swapaxes(turns.as_matrix(), 1, 2))


def image_rows(kind: str, seed: int) -> dict[str, Any]:
    """Calibrate from images of a board with markers."""
    from mvgeom.calibration import detect_boards, open_source

    around = kind.startswith("two")
    truth = (ring() if around else rig()).resize([640.0, 512.0])
    try:
        board, faces = board_of(kind)
    except (AttributeError, TypeError):
        return {"says": ["no such board"]}
    patterns = [(charuco_pattern if hasattr(each, "square_size") else aprilgrid_pattern)(each) for each, _, _ in faces]
    rotation, position = path_of_body(NUM_IMAGES, seed, spread=0.3, tilt=170 if around else 35)
    rays, rng = rays_of(truth), np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        for view, name in enumerate(truth.names):
            for frame in range(NUM_IMAGES):
                shown = [
                    (*pattern, rotation[frame] @ turn, rotation[frame] @ place + position[frame])
                    for pattern, (_, turn, place) in zip(patterns, faces, strict=True)
                ]
                image = render(
                    shown, rays[view], truth.rotation[view], truth.translation[view], rng, inverted="inverted" in kind
                )
                cv2.imwrite(str(Path(folder) / f"{name}_{frame:03d}.png"), image)
        sources = {name: open_source(name, Path(folder) / f"{name}_*.png") for name in truth.names}
        detections = detect_boards(sources, board)
    return assessed_rig(truth, detections, Lens())


IMAGES = ("inverted board, not told", "inverted board", "AprilGrid", "two-sided board", "two boards, poses unknown")


def keypoint_noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Errors (N, V, K, 2) in px of a detector: 1 px from frame to frame, 3 px slowly changing, 2 px by keypoint."""
    rng = np.random.default_rng(seed)
    slow = gaussian_filter1d(rng.normal(size=shape), 10, axis=0)
    return rng.normal(size=shape) + 3 * slow / slow.std() + 2 * rng.normal(size=(1, *shape[1:]))


def pose_errors(found: CameraGroup, truth: CameraGroup) -> np.ndarray:
    """Angles (V,) in degrees, both rigs in the frame of their first camera."""
    relative = [group.rotation @ group.rotation[0].T for group in (found, truth)]
    return np.rad2deg(Rotation.from_matrix(relative[0] @ np.swapaxes(relative[1], 1, 2)).magnitude())


def without_ray(cameras: CameraGroup) -> float:
    """Largest share of an image without viewing rays."""
    width, height = cameras.sizes[0]
    x, y = np.meshgrid(np.linspace(0, width - 1, 33), np.linspace(0, height - 1, 33))
    places = np.tile(np.stack([x.ravel(), y.ravel()], -1), (len(cameras), 1, 1))
    return float(np.isnan(undistort(places, cameras)[..., 0]).mean(-1).max())


def assessed(findings: Any) -> list[str]:
    return sorted({f"{each.severity} {each.code}" for each in findings if each.severity != "note"})


def board_rows(case: Board, seed: int) -> dict[str, Any]:
    truth, points = case(seed)
    lens: Any = Lens()
    if any(truth.fisheye) and hasattr(lens, "square_pixels"):
        lens = {name: Lens(fisheye=kind) for name, kind in zip(truth.names, truth.fisheye, strict=True)}
    return assessed_rig(truth, from_points(truth.names, truth.sizes, BOARD, points), lens)


def assessed_rig(truth: CameraGroup, detections: Any, lens: Any) -> dict[str, Any]:
    try:
        result = calibrate(detections, Options(lens=lens))
    except CalibrationError as error:
        return {"says": ["refused:", *assessed(error.findings)]}
    focal = np.abs(result.cameras.matrix - truth.matrix)[:, 0, 0]
    angle = pose_errors(result.cameras, truth)[1:]
    stated = result.deviations.focal[:, 0], np.linalg.norm(result.deviations.rotation_deg[1:], axis=1)
    held = [*(focal <= 2 * stated[0])[stated[0] > 0], *(angle <= 2 * stated[1])]
    return {
        "says": assessed(result.findings),
        "focal": float((focal / truth.matrix[:, 0, 0]).max() * 100),
        "focal_stated": float((stated[0] / truth.matrix[:, 0, 0]).max() * 100),
        "angle": float(angle.max(initial=0)),
        "angle_stated": float(stated[1].max(initial=0)),
        "held": [bool(each) for each in held],
        "no_ray": without_ray(result.cameras) * 100,
    }


def refinement_rows(name: str, seed: int) -> dict[str, Any]:
    truth = rig(4)
    rng = np.random.default_rng(seed)
    knots = np.linspace(0, 200, 30)
    path = CubicSpline(knots, rng.uniform(-0.3, 0.3, (30, 3)))(np.arange(200.0))
    world = path[:, None] + rng.uniform(-0.1, 0.1, (1, 12, 3))
    pixels = project(world, truth)
    pixels = pixels + keypoint_noise(pixels.shape, seed)
    start = turned(truth, 1, {"a camera off by 2 degrees": 2, "a camera off by 25 degrees": 25}.get(name, 0))
    if name == "a view 5 frames late":
        pixels[:, 1] = np.roll(pixels[:, 1], 5, axis=0)
    try:
        result = refine(start, pixels, hold="cam1")
    except ValueError as error:
        return {"says": [f"refused: {getattr(error, 'code', error)}"]}
    angle = pose_errors(result.cameras, truth)[1:]
    stated = np.linalg.norm(result.deviations.rotation_deg[1:], axis=1)
    return {
        "says": assessed(getattr(result, "findings", ())),
        "angle": float(angle.max()),
        "angle_stated": float(stated.max()),
        "held": [bool(each) for each in angle <= 2 * stated],
    }


REFINEMENTS = ("a camera off by 2 degrees", "a camera off by 25 degrees", "a view 5 frames late")


def results(num_rigs: int, only: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, case in BOARDS.items():
        if only in name:
            yield name, merged([board_rows(case, seed) for seed in range(num_rigs)])
    for name in IMAGES:
        if only in f"images: {name}":
            yield f"images: {name}", merged([image_rows(name, seed) for seed in range(num_rigs)])
    for name in REFINEMENTS:
        if only in name:
            yield f"refine: {name}", merged([refinement_rows(name, seed) for seed in range(4 * num_rigs)])


def merged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Largest numbers and all findings of several rigs."""
    keys = {key for row in rows for key in row} - {"says", "held"}
    held = [each for row in rows for each in row.get("held", ())]
    return {
        "says": list(dict.fromkeys(text for row in rows for text in row["says"])),
        "held": f"{100 * np.mean(held):.0f} % of {len(held)}" if held else "",
        **{key: max(row[key] for row in rows if key in row) for key in keys},
    }


def line(name: str, version: str, row: dict[str, Any]) -> str:
    def pair(key: str) -> str:
        return f"{row[key]:.3g} ±{row[key + '_stated']:.2g}" if key in row else ""

    no_ray = f"{row['no_ray']:.1f}" if "no_ray" in row else ""
    cells = (name, version, pair("focal"), pair("angle"), row["held"], no_ray, ", ".join(row["says"]) or "nothing")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rigs", type=int, default=2, help="generated rigs per row")
    parser.add_argument("--before", help="packages/mvgeom/src of another commit")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--json", action="store_true", help="print a JSON line per row (used by --before)")
    arguments = parser.parse_args()
    if arguments.json:
        for name, row in results(arguments.rigs, arguments.only):
            print(json.dumps([name, row]), flush=True)
        return
    before: dict[str, Any] = {}
    if arguments.before:
        command = [sys.executable, __file__, "--json", "--rigs", str(arguments.rigs), "--only", arguments.only]
        environment = {**os.environ, "PYTHONPATH": arguments.before}
        lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
        before = dict(json.loads(each) for each in lines)
    print("| truth | version | focal % | rotation deg | held | no ray % | says |\n|---|---|---|---|---|---|---|")
    for name, row in results(arguments.rigs, arguments.only):
        if name in before:
            print(line(name, "before", before[name]))
        print(line(name, "now", row), flush=True)


if __name__ == "__main__":
    main()
