"""Bundle adjustment of 4 cameras and 100 boards: ours beside scipy.optimize.least_squares, and keypoints.

OMP_NUM_THREADS=1 uv run python benchmarks/bundle.py [--boards 100] [--finite-differences]

SciPy gets the same residuals, start, parameters and scaling, the sparsity pattern, and either our analytic Jacobian or
its own finite differences (only when asked for).
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.optimize import least_squares
from scipy.sparse import coo_array, csr_array
from scipy.spatial.transform import Rotation

from mvgeom import CameraGroup, project
from mvgeom.calibration import Chessboard, calibrate, from_points, refine
from mvgeom.calibration.boards import object_points
from mvgeom.calibration.bundle import NUM_POSE, Scene, Views, linearize, residuals
from mvgeom.calibration.rig_adjustment import views_of_boards
from mvgeom.calibration.schur import adjust

BOARD = Chessboard(columns=9, rows=6, square_size=0.03)


def rig(num_views: int = 4) -> CameraGroup:
    """Cameras on an arc of 25 degrees each, 1.5 from the origin, that look at it."""
    angles = np.deg2rad(25) * (np.arange(num_views) - (num_views - 1) / 2)
    return CameraGroup(
        names=tuple(f"cam{view}" for view in range(num_views)),
        sizes=np.tile([1280.0, 1024.0], (num_views, 1)),
        matrix=np.tile([[950.0, 0, 645], [0, 952, 508], [0, 0, 1]], (num_views, 1, 1)),
        distortion=np.tile([-0.2, 0.05, 0.001, -0.0005, 0.01], (num_views, 1)),
        rotation=Rotation.from_euler("y", angles[:, None]).as_matrix(),
        translation=np.tile([0, 0, 1.5], (num_views, 1)),
    )


def film(cameras: CameraGroup, num_boards: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotations and positions of boards, and their corners (V, F, K, 2), NaN where a camera does not see all."""
    rng = np.random.default_rng(0)
    angles = np.column_stack([rng.uniform(-35, 35, (num_boards, 2)), rng.uniform(-180, 180, num_boards)])
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    corners = object_points(BOARD)
    position = rng.uniform(-0.35, 0.35, (num_boards, 3)) - rotation @ corners.mean(axis=0)
    pixels = np.moveaxis(project(corners @ np.swapaxes(rotation, 1, 2) + position[:, None], cameras), 0, 1)
    inside = ((pixels > 0) & (pixels < cameras.sizes[:, None, None] - 1)).all((-1, -2))
    return rotation, position, np.where(inside[..., None, None], pixels + noise * rng.normal(size=pixels.shape), np.nan)


def left_jacobian(vector: np.ndarray) -> np.ndarray:
    """d(exp(w + d)) = exp(J d) exp(w): what turns derivatives at the current rotation into those by the vector."""
    angle = np.linalg.norm(vector)
    if angle < 1e-8:
        return np.eye(3)
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    factor = (angle - np.sin(angle)) / angle**3
    return np.eye(3) + (1 - np.cos(angle)) / angle**2 * cross + factor * cross @ cross


class ForScipy:
    """The problem as a vector of parameters: steps from the start, free parameters of cameras first, then boards."""

    def __init__(self, start: Scene, views: Views, free: np.ndarray) -> None:
        self.start, self.views = start, views
        self.free = free
        self.used = np.flatnonzero(free)
        self.num_parameters = len(self.used) + NUM_POSE * views.num_blocks
        self.calls = 0

    def split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Steps of cameras (V, C) and boards (B, 6)."""
        camera_step = np.zeros(self.free.size)
        camera_step[self.used] = x[: len(self.used)]
        return camera_step.reshape(self.free.shape), x[len(self.used) :].reshape(-1, NUM_POSE)

    def residuals(self, x: np.ndarray) -> np.ndarray:
        """All residuals in a row."""
        self.calls += 1
        return residuals(self.start.moved(*self.split(x)), self.views).ravel()

    def jacobian(self, x: np.ndarray) -> csr_array:
        """Their derivatives by the parameters."""
        camera_step, block_step = self.split(x)
        linear = linearize(self.start.moved(camera_step, block_step), self.views)
        by_camera, by_block = linear.by_camera.copy(), linear.by_block.copy()
        for camera, step in enumerate(camera_step):
            rows = self.views.camera == camera
            by_camera[rows, ..., :3] = by_camera[rows, ..., :3] @ left_jacobian(step[:3])
        turns = np.stack([left_jacobian(step[:3]) for step in block_step])
        by_block[..., :3] = by_block[..., :3] @ turns[self.views.block][:, None]
        return self.sparse(by_camera, by_block)

    def sparse(self, by_camera: np.ndarray, by_block: np.ndarray) -> csr_array:
        """Derivatives by cameras (G, P, 2, C) and boards (G, P, 2, 6) as one matrix."""
        place = np.full(self.free.size, -1)
        place[self.used] = np.arange(len(self.used))
        columns = place.reshape(self.free.shape)[self.views.camera][:, None, None]
        own = len(self.used) + NUM_POSE * self.views.block[:, None] + np.arange(NUM_POSE)
        shape = (*by_camera.shape[:3], -1)
        columns = np.concatenate(
            [
                np.broadcast_to(columns, by_camera.shape),
                np.broadcast_to(own[:, None, None], (*by_camera.shape[:3], NUM_POSE)),
            ],
            axis=-1,
        ).reshape(shape)
        values = np.concatenate([by_camera, by_block], axis=-1)
        rows = np.broadcast_to(np.arange(columns[..., 0].size).reshape(*columns.shape[:3], 1), columns.shape)
        kept = columns >= 0
        size = columns[..., 0].size, self.num_parameters
        return coo_array((values[kept], (rows[kept], columns[kept])), shape=size).tocsr()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", type=int, default=100)
    parser.add_argument("--finite-differences", action="store_true", help="also SciPy without our Jacobian")
    options = parser.parse_args()

    cameras = rig()
    rotation, position, points = film(cameras, options.boards, noise=0.3)
    used = np.isfinite(points).all((-1, -2))
    views = views_of_boards(points, used, np.arange(options.boards))
    truth = Scene(cameras=cameras, rotation=rotation, position=position, object_points=object_points(BOARD))
    free = np.ones((len(cameras), truth.camera_size), dtype=bool)
    free[0, :NUM_POSE] = False
    rng = np.random.default_rng(1)
    scale = np.array([*[0.02] * NUM_POSE, *[15.0] * 4, *[0.02] * 5])
    start = truth.moved(free * scale * rng.normal(size=free.shape), 0.01 * rng.normal(size=(options.boards, NUM_POSE)))
    num_parameters = int(free.sum()) + NUM_POSE * options.boards
    size = f"{views.num_observations} corners, {num_parameters} unknowns"
    print(f"{len(cameras)} cameras, {options.boards} boards: {size}")

    before = time.perf_counter()
    solution = adjust(start, views, free)
    print(f"{'Schur complement (ours)':34}{time.perf_counter() - before:8.2f} s  cost {solution.cost:.6f}  "
          f"{solution.iterations} steps")  # fmt: skip
    for name, analytic in (("least_squares, analytic Jacobian", True), ("least_squares, finite differences", False)):
        if not analytic and not options.finite_differences:
            continue
        problem = ForScipy(start, views, free)
        ones = problem.jacobian(np.zeros(num_parameters))
        ones.data[:] = 1
        before = time.perf_counter()
        found = least_squares(
            problem.residuals,
            np.zeros(num_parameters),
            jac=problem.jacobian if analytic else "2-point",
            jac_sparsity=None if analytic else ones,
            method="trf",
            x_scale="jac",
            max_nfev=100,
        )
        print(f"{name:34}{time.perf_counter() - before:8.2f} s  cost {found.cost:.6f}  {found.nfev} steps, "
              f"{problem.calls} evaluations")  # fmt: skip

    before = time.perf_counter()
    calibrated = calibrate(from_points(cameras.names, cameras.sizes, BOARD, points))
    print(f"{'calibrate, from corners to rig':34}{time.perf_counter() - before:8.2f} s  rms {calibrated.rms:.4f} px")

    num_frames = 500
    pixels = project(rng.uniform(-0.4, 0.4, (num_frames, 20, 3)), cameras)
    turned = cameras.rotation.copy()
    turned[2] = Rotation.from_euler("x", 1, degrees=True).as_matrix() @ turned[2]
    before = time.perf_counter()
    refined = refine(cameras.replace(rotation=turned), pixels + rng.normal(size=pixels.shape))
    print(f"{f'refine, {num_frames * 20} points, 1 px noise':34}{time.perf_counter() - before:8.2f} s  median "
          f"{refined.errors.overall_before:.2f} -> {refined.errors.overall_after:.2f} px")  # fmt: skip


if __name__ == "__main__":
    main()
