"""Offsets in time found by `mvgeom.calibration.synchronize`: generated recordings, and real ones shifted by hand.

OMP_NUM_THREADS=1 uv run python benchmarks/synchronization.py [--shared ../shared] [--recordings 10]

Generated: a subject of 10 keypoints on an irregular path, three cameras of 1280 x 1024 px, 1 px of noise, 600 frames.
Errors are the largest over the cameras and recordings, in frames; "within 2 sd" is the share of errors within two of
the stated standard deviations (95 % expected); "bound" is the Cramer-Rao bound of an offset without drift, for exact
cameras. Real: the tables of human4 and fly3, of which whole rows are shifted;
errors are against the same recording as it is, whose own offset is shown, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from mvgeom import CameraGroup, affine, project
from mvgeom.calibration.synchronize import Synchronization, synchronize
from mvgeom.tables import read_keypoints, read_labeled_boxes, stack_views

NUM_KEYPOINTS = 10


def rig(num_views: int = 3) -> CameraGroup:
    """Cameras around the origin, 40 degrees from each other and 2 away, that look at it."""
    angles = np.deg2rad(40) * np.arange(num_views)
    return CameraGroup(
        names=tuple(f"cam{view + 1}" for view in range(num_views)),
        sizes=np.tile([1280.0, 1024.0], (num_views, 1)),
        matrix=np.tile([[900.0, 0, 640], [0, 900, 512], [0, 0, 1]], (num_views, 1, 1)),
        distortion=np.tile([-0.2, 0.05, 0.001, -0.0005, 0.0], (num_views, 1)),
        rotation=Rotation.from_euler("yx", np.stack([angles, 0.3 * np.cos(3 * angles)], axis=1)).as_matrix(),
        translation=np.tile([0, 0, 2.0], (num_views, 1)),
    )


def subject(seed: int, num_frames: int, *, speed: float = 1.0) -> Callable[[np.ndarray], np.ndarray]:
    """A function from times (N,) in frames to world points (N, K, 3) on an irregular path of the given speed."""
    rng = np.random.default_rng(seed)
    knots = np.arange(-150, num_frames + 160, 10.0)
    path = CubicSpline(knots, np.cumsum(rng.normal(0, 0.02 * speed, (len(knots), 3)), axis=0))
    limbs = CubicSpline(knots, rng.normal(0, 0.04 * speed, (len(knots), NUM_KEYPOINTS, 3)))
    rest = rng.uniform(-0.15, 0.15, (NUM_KEYPOINTS, 3))
    center = path(knots).mean(axis=0)
    return lambda times: path(times)[:, None] - center + limbs(times) + rest


def record(
    cameras: CameraGroup,
    points: Callable[[np.ndarray], np.ndarray],
    num_frames: int,
    *,
    offset: np.ndarray,
    drift: np.ndarray | None = None,
    noise: float = 1.0,
    missing: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """Keypoints (N, V, K, 2) of cameras that are late by offset (V,) frames and gain drift (V,) frames per frame."""
    rng = np.random.default_rng(seed)
    drift = np.zeros(len(cameras)) if drift is None else drift
    views = []
    for view, name in enumerate(cameras.names):
        times = (np.arange(num_frames) - offset[view]) / (1 + drift[view])
        pixels = project(points(times), cameras.select([name]))[:, 0]
        pixels = pixels + noise * rng.normal(size=pixels.shape)
        pixels[rng.random(pixels.shape[:2]) < missing] = np.nan
        views.append(pixels)
    return np.stack(views, axis=1)


def errors(found: Synchronization, offset: np.ndarray, drift: np.ndarray, num_frames: int) -> np.ndarray:
    """Largest errors (V,) of the clocks over the recording, in frames."""
    ends = np.array([0, num_frames - 1])[:, None]
    truth = (offset - offset[0]) + (drift - drift[0]) * ends
    return np.asarray(np.abs(found.offset + found.drift * ends - truth).max(axis=0))


def bound(
    cameras: CameraGroup, points: Callable[[np.ndarray], np.ndarray], tracks: np.ndarray, noise: float
) -> np.ndarray:
    """Cramer-Rao bound (V - 1,) of the offsets in frames: exact cameras, independent noise, points unknown in 3D."""
    times = np.arange(len(tracks), dtype=np.float64)
    world, views = points(times), len(cameras)
    speed = points(times + 0.5) - points(times - 0.5)
    center, step = project(world, cameras), 1e-4
    jacobian = np.stack([(project(world + step * axis, cameras) - center) / step for axis in np.eye(3)], axis=-1)
    motion = (jacobian @ speed[:, None, :, :, None])[..., 0]
    seen = np.isfinite(tracks).all(axis=-1)[..., None]
    count = len(tracks) * world.shape[1]
    structure = np.moveaxis(jacobian * seen[..., None], 1, 2).reshape(count, 2 * views, 3)
    clocks = np.zeros((count, 2 * views, views - 1))
    for view in range(1, views):
        clocks[:, 2 * view : 2 * view + 2, view - 1] = (motion * seen)[:, view].reshape(count, 2)
    left, lengths, _ = np.linalg.svd(structure, full_matrices=False)
    left = left * (lengths > 1e-6 * lengths[:, :1])[:, None]
    rest = clocks - left @ (np.swapaxes(left, 1, 2) @ clocks)
    information = (np.swapaxes(rest, 1, 2) @ clocks).sum(axis=0) / noise**2
    return np.asarray(np.sqrt(np.diag(np.linalg.inv(information))))


def turned(cameras: CameraGroup, degrees: float) -> CameraGroup:
    """The rig with its last camera turned."""
    turn = Rotation.from_rotvec(np.deg2rad(degrees) * np.array([0.6, 0.8, 0])).as_matrix()
    rotation = cameras.rotation.copy()
    rotation[-1] = turn @ rotation[-1]
    return cameras.replace(rotation=rotation)


CASES: dict[str, dict[str, float]] = {
    "1 px of noise": {},
    "3 px of noise": {"noise": 3.0},
    "a third of the keypoints missing": {"missing": 0.33},
    "100 frames": {"frames": 100},
    "slow subject (a tenth of the speed)": {"speed": 0.1},
    "a camera turned by 1 degree": {"turned": 1.0},
    "drift of 2000 ppm": {"drift": 2e-3},
    "still subject": {"speed": 0.0},
    "still subject, detector that wanders": {"speed": 0.0, "wander": 1.0},
}


def generated(table: Table, num_recordings: int) -> None:
    """Add a row for each case."""
    for name, case in CASES.items():
        frames = int(case.get("frames", 600))
        worst, stated, within, bounds, refused = [], [], [], [], 0
        for seed in range(num_recordings):
            rng = np.random.default_rng(1000 + seed)
            cameras = rig()
            offset = np.array([0, *rng.uniform(-20, 20, 2)])
            drift = np.array([0, *rng.choice([-1, 1], 2)]) * case.get("drift", 0.0)
            truth = subject(seed, frames, speed=case.get("speed", 1.0))
            points = record(
                cameras,
                truth,
                frames,
                offset=offset,
                drift=drift,
                noise=case.get("noise", 1.0),
                missing=case.get("missing", 0.0),
                seed=seed,
            )
            if "wander" in case:
                steps = rng.normal(0, 1, points.shape)
                points = points + 3 * CubicSpline(np.arange(frames)[::20], steps[::20])(np.arange(frames))
            found = synchronize(turned(cameras, case.get("turned", 0.0)), points, frame_rate=60, longest=30)
            if not found.passed:
                refused += 1
                continue
            off = errors(found, offset, drift, frames)[1:]
            bounds += bound(cameras, truth, points, case.get("noise", 1.0)).tolist()
            worst += off.tolist()
            stated += found.offset_std[1:].tolist()
            within += (np.abs(found.offset - offset)[1:] < 2 * found.offset_std[1:]).tolist()
        if worst:
            figures = (
                f"{np.median(worst):.3f}",
                f"{max(worst):.3f}",
                f"{np.median(stated):.3f}",
                f"{np.median(bounds):.3f}",
                f"{100 * np.mean(within):.0f} %",
            )
        else:
            figures = ("-",) * 5
        table.add_row(name, *figures, f"{refused} of {num_recordings}")


def shifted(points: np.ndarray, frames: list[int]) -> np.ndarray:
    """Keypoints whose views show everything so many frames late."""
    result = np.full_like(points, np.nan)
    for view, late in enumerate(frames):
        for frame in range(len(points)):
            if 0 <= frame - late < len(points):
                result[frame, view] = points[frame - late, view]
    return result


def human4(folder: Path) -> tuple[CameraGroup, np.ndarray]:
    """Cameras and keypoints in full-image px."""
    cameras = CameraGroup.load(folder / "calibration.toml")
    stack = stack_views({name: read_keypoints(folder / f"CollectedData_{name}.csv") for name in cameras.names})
    points = stack.points.copy()
    for view, name in enumerate(cameras.names):
        boxes = read_labeled_boxes(folder / f"bboxes_{name}.csv").select(
            read_keypoints(folder / f"CollectedData_{name}.csv").rows
        )
        points[:, view] = affine.apply(np.asarray(affine.invert(affine.from_box(boxes, (320, 320)))), points[:, view])
    return cameras, points


def fly3(folder: Path, seed: int) -> tuple[CameraGroup, np.ndarray]:
    """Cameras and the predictions of one network."""
    cameras = CameraGroup.load(folder / "calibration.toml")
    stack = stack_views({name: read_keypoints(folder / f"fly_{name}.seed{seed}.csv") for name in cameras.names})
    assert stack.likelihood is not None
    return cameras, np.where((stack.likelihood >= 0.5)[..., None], stack.points, np.nan)


def real(table: Table, shared: Path) -> None:
    """Add a row for each recording that is there."""
    recordings: dict[str, Callable[[], tuple[CameraGroup, np.ndarray]]] = {
        "human4": lambda: human4(shared / "data" / "human4"),
        **{
            f"fly3, network {seed}": lambda seed=seed: fly3(shared / "data" / "fly3", seed)  # type: ignore[misc]
            for seed in range(3)
        },
        **{
            f"fly3, network {seed}, Cam-A and Cam-B": lambda seed=seed: _pair(  # type: ignore[misc]
                *fly3(shared / "data" / "fly3", seed)
            )
            for seed in range(3)
        },
    }
    for name, load in recordings.items():
        cameras, points = load()
        own = synchronize(cameras, points, frame_rate=60, longest=30)
        off, refused = [], 0
        for late in ([0, 5, -7, 3], [0, -11, 4, -2], [0, 1, 1, -1], [0, 20, -9, 12]):
            moved = synchronize(cameras, shifted(points, late[: len(cameras)]), frame_rate=60, longest=30)
            if moved.passed and own.passed:
                off += np.abs(moved.offset - own.offset - late[: len(cameras)])[1:].tolist()
            else:
                refused += 1
        figures = (f"{np.median(off):.3f}", f"{max(off):.3f}") if off else ("-", "-")
        shown = ", ".join(f"{x:+.2f} ±{s:.2f}" for x, s in zip(own.offset[1:], own.offset_std[1:], strict=True))
        lost = [camera for each in own.findings if each.severity == "error" for camera in each.cameras]
        table.add_row(name, *figures, shown if own.passed else f"{', '.join(lost)} undetermined", f"{refused} of 4")


def _pair(cameras: CameraGroup, points: np.ndarray) -> tuple[CameraGroup, np.ndarray]:
    return cameras.select(cameras.names[:2]), points[:, :2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--recordings", type=int, default=10)
    arguments = parser.parse_args()
    console = Console(width=150)
    table = Table("generated", "error: median", "largest", "stated sd", "bound", "within 2 sd", "undetermined")
    generated(table, arguments.recordings)
    console.print(table)
    if arguments.shared.is_dir():
        table = Table("shifted by hand", "error: median", "largest", "as it is", "undetermined")
        real(table, arguments.shared)
        console.print(table)


if __name__ == "__main__":
    main()
