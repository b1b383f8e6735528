"""Calibration from long films: time, and errors against the truth, beside every n-th frame.

    OMP_WAIT_POLICY=passive uv run python benchmarks/film_calibration.py --out films [--minutes 10] [--every 30]

Four synchronous films of 1280x1024 px at 60 frames/s, H.264 by x264 (an image that can be entered
every 250 frames), of a chessboard that is carried around: it comes after a tenth of the film, rests now and then, blurs
while it moves fast, and leaves before the last tenth. The board's place changes 15 times a second, each image is stored
four times: the decoder has the same work, and the benchmark is made in minutes. Needs `imageio-ffmpeg`.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
from board_images import chessboard_pattern
from calibration_quality import BOARD, pose_errors, rig
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from mvgeom import CameraGroup
from mvgeom.calibration.boards import object_points

FPS, REPEATS = 60, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of films and calibrations")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=int, nargs="*", default=[30], help="of the rows beside the search")
    arguments = parser.parse_args()
    truth = rig(4, distortion=(0.0,))
    films = make_films(arguments.out, truth, arguments.minutes)
    for every in (None, *arguments.every):
        report(arguments.out, films, truth, every)


def make_films(out: Path, cameras: CameraGroup, minutes: float) -> dict[str, Path]:
    """Render and encode the films that are not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    count = round(minutes * 60 * FPS / REPEATS)
    rotation, position = carry(count)
    films = {name: out / f"{name}.mp4" for name in cameras.names}

    def make(view: int) -> None:
        path = films[cameras.names[view]]
        if not path.exists():
            encode(path, cameras, view, rotation, position)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, range(len(cameras))))
    return films


def carry(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rotations (N, 3, 3) and positions (N, 3) of the board's center in the rig's frame."""
    rng = np.random.default_rng(5)
    # The board's own time stands still while it rests.
    pace = np.interp(
        np.arange(count), np.linspace(0, count, count // 30 + 2), rng.choice([0, 0.3, 1, 2], count // 30 + 2)
    )
    own = np.cumsum(pace) * REPEATS / FPS
    knots = np.arange(0, own[-1] + 8, 1.2)
    place = CubicSpline(knots, rng.uniform(-1, 1, (len(knots), 3)) * [0.5, 0.4, 0.4])(own)
    away = np.minimum(np.arange(count), np.arange(count)[::-1]) < count / 10
    place[away] += [0, 5, 0]
    turn = CubicSpline(knots, rng.uniform(-1, 1, (len(knots), 3)) * [40, 40, 60])(own)
    return Rotation.from_euler("xyz", turn, degrees=True).as_matrix(), place


def encode(path: Path, cameras: CameraGroup, view: int, rotation: np.ndarray, position: np.ndarray) -> None:
    width, height = (int(length) for length in cameras.sizes[view])
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "gray", "-s"]
    command += [f"{width}x{height}", "-r", str(FPS // REPEATS), "-i", "-", "-r", str(FPS), "-c:v", "libx264", "-preset"]
    command += ["ultrafast", "-pix_fmt", "yuv420p", "-threads", "1"]
    unfinished = path.with_suffix(".unfinished.mp4")
    process = subprocess.Popen([*command, str(unfinished)], stdin=subprocess.PIPE)
    assert process.stdin is not None
    rng = np.random.default_rng(view)
    background = cv2.GaussianBlur(rng.uniform(40, 200, (height, width)).astype(np.float32), (0, 0), 12)
    background = cv2.normalize(background, None, 60, 160, cv2.NORM_MINMAX).astype(np.uint8)
    for image in images(cameras, view, rotation, position, background):
        process.stdin.write(image.tobytes())
    process.stdin.close()
    if process.wait():
        raise SystemExit(f"{path}: ffmpeg failed")
    unfinished.rename(path)


def images(
    cameras: CameraGroup, view: int, rotation: np.ndarray, position: np.ndarray, background: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the images of one camera; each is the mean of three times within a long exposure."""
    pattern, to_pattern = chessboard_pattern(BOARD)
    middle = object_points(BOARD).mean(axis=0)
    turns = cameras.rotation[view] @ rotation
    places = position @ cameras.rotation[view].T + cameras.translation[view] - turns @ middle
    planes = np.concatenate([turns[:, :, :2], places[:, :, None]], axis=2)
    homographies = cameras.matrix[view] @ planes @ np.linalg.inv(to_pattern)
    corners = np.array([[0, 0, 1], [pattern.shape[1], 0, 1], [*pattern.shape[::-1], 1], [0, pattern.shape[0], 1.0]])
    for number in range(len(planes)):
        image = background.copy()
        if planes[number, 2, 2] > 0.2:
            at = corners @ homographies[number].T
            outline = at[:, :2] / at[:, 2:]
            low = np.clip(np.floor(outline.min(0)).astype(int) - 40, 0, background.shape[::-1])
            high = np.clip(np.ceil(outline.max(0)).astype(int) + 40, 0, background.shape[::-1])
            if (at[:, 2] > 0).all() and (high > low + 8).all():
                part = image[low[1] : high[1], low[0] : high[0]]
                moved = np.array([[1.0, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]])
                before = homographies[max(number - 1, 0)]
                exposures = [
                    expose(part, pattern, moved @ (homographies[number] * (1 - share) + before * share))
                    for share in (0.0, 0.1, 0.2)
                ]
                part[:] = np.mean(exposures, axis=0)
        yield image


def expose(part: np.ndarray, pattern: np.ndarray, homography: np.ndarray) -> np.ndarray:
    result = part.copy()
    size = (part.shape[1], part.shape[0])
    cv2.warpPerspective(pattern, homography, size, result, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
    return cv2.GaussianBlur(result, (0, 0), 0.6)


def report(out: Path, films: dict[str, Path], truth: CameraGroup, every: int | None) -> None:
    """Run `mvgeom calibrate` and print its time and the largest errors."""
    output = out / ("search.toml" if every is None else f"every_{every}.toml")
    output.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "mvgeom",
        "calibrate",
        *(f"{name}={path}" for name, path in films.items()),
        "--chessboard",
    ]
    command += [f"{BOARD.columns}x{BOARD.rows}", "--square", str(BOARD.square_size), "-o", str(output), "--force"]
    command += [] if every is None else ["--every", str(every)]
    start, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    print(f"{'search' if every is None else f'every {every}'}: {wall:.0f} s, {seconds:.0f} s of CPU")
    print("\n".join(line for line in done.stdout.splitlines() if line.startswith(("searched", "rms"))))
    print(done.stderr.strip())
    if output.exists():
        found = CameraGroup.load(output)
        focal = np.abs(found.matrix[:, 0, 0] / truth.matrix[:, 0, 0] - 1).max()
        apart = [np.linalg.norm(each.centers - each.centers[0], axis=1)[1:] for each in (found, truth)]
        distance = np.abs(apart[0] / apart[1] - 1).max()
        print(
            f"errors at most: focal {100 * focal:.3f} %, rotation {pose_errors(found, truth).max():.3f} degrees, "
            f"distance {100 * distance:.3f} %"
        )


if __name__ == "__main__":
    main()
