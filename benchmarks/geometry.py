"""Speed and accuracy of triangulation and projection, beside OpenCV and a loop over pairs of views.

    OMP_WAIT_POLICY=passive uv run python benchmarks/geometry.py [--threads N] [--lens plain|radial|none]

Speed: milliseconds per call, the best of several rounds, float32 torch on the CPU; the last column is the loop's or
OpenCV's time divided by ours, measured in the same run. The loop triangulates one pair of views after the other with a
singular value decomposition of the homogeneous equations, after undistorting by fixed-point iterations, as multi-view
pose packages do; kornia's functions stand beside it where kornia is installed. OpenCV runs in float64 on NumPy arrays.

Undistortion: pixels of a grid over the image to normalized points and back by `cv2.projectPoints`; the largest distance
in px between where they started and where they came out, for ordinary lenses from narrow to wide.

Accuracy: root mean square error of triangulated points, divided by the Cramer-Rao bound (1 is perfect), for 1 px of
noise, cameras at even and uneven distances, without and with outliers of 30 to 150 px in one view of every third point.
"""

from __future__ import annotations

import argparse
import os
import timeit
from collections.abc import Callable
from importlib.util import find_spec
from itertools import combinations

import cv2
import numpy as np
import torch

from mvgeom import (
    CameraGroup,
    covariance,
    project,
    triangulate,
    triangulate_pairs,
    triangulate_robust,
    undistort,
)

LENSES = {"plain": [-0.28, 0.09, 0.0012, -0.0008, -0.01], "radial": [-0.28, 0.09, 0.0, 0.0], "none": []}


def best(function: Callable[[], object]) -> float:
    """Milliseconds per call: the best of ten rounds, each a tenth of a second or one call."""
    function()
    number = max(1, int(0.1 / max(timeit.timeit(function, number=2) / 2, 1e-9)))
    return 1e3 * min(timeit.repeat(function, number=number, repeat=10)) / number


def rig(num_views: int, lens: list[float], distances: np.ndarray | float = 5.0) -> CameraGroup:
    """Cameras on three quarters of a ring around the origin, looking at it."""
    angles = np.linspace(0, 1.5 * np.pi, num_views)
    centers = np.stack([np.cos(angles), np.sin(angles), 0.2 + 0.1 * np.arange(num_views)], axis=1)
    centers *= np.broadcast_to(distances, num_views)[:, None]
    forward = -centers / np.linalg.norm(centers, axis=1, keepdims=True)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)
    return CameraGroup(
        names=tuple(f"view{view}" for view in range(num_views)),
        sizes=np.tile([1280.0, 1024.0], (num_views, 1)),
        matrix=np.tile([[1000.0, 0, 640], [0, 990, 512], [0, 0, 1]], (num_views, 1, 1)),
        distortion=[lens] * num_views,
        rotation=rotation,
        translation=-np.einsum("vij,vj->vi", rotation, centers),
    )


def undistort_by_fixed_point(pixels: torch.Tensor, cams: CameraGroup) -> torch.Tensor:
    """(..., V, K, 2) normalized after the five fixed-point iterations OpenCV takes by default."""
    coefficients = [*cams.distortion[..., None, :].unbind(-1), *[torch.zeros(1)] * 5][:5]
    k1, k2, p1, p2, k3 = coefficients
    matrix = cams.matrix
    x0 = (pixels[..., 0] - matrix[..., 0, 2, None]) / matrix[..., 0, 0, None]
    y0 = (pixels[..., 1] - matrix[..., 1, 2, None]) / matrix[..., 1, 1, None]
    x, y = x0, y0
    for _ in range(5):
        r2 = x * x + y * y
        inverse = 1 / (1 + r2 * (k1 + r2 * (k2 + r2 * k3)))
        dx, dy = 2 * p1 * x * y + p2 * (r2 + 2 * x * x), p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        x, y = (x0 - dx) * inverse, (y0 - dy) * inverse
    return torch.stack([x, y], dim=-1)


def homogeneous(poses: torch.Tensor, normalized: torch.Tensor) -> torch.Tensor:
    """(..., K, 3) from (V, 3, 4) poses and (..., V, K, 2) points, by a singular value decomposition per point."""
    rows = normalized[..., None] * poses[:, None, 2:] - poses[:, None, :2]
    rows = rows.movedim(-4, -3).flatten(-3, -2)
    _, _, transposed = torch.linalg.svd(rows)
    solution = transposed[..., -1, :]
    return solution[..., :3] / solution[..., 3:]


def pairs_in_a_loop(pixels: torch.Tensor, cams: CameraGroup) -> torch.Tensor:
    """(..., P, K, 3), what `triangulate_pairs` returns, one pair after the other."""
    poses = torch.cat([cams.rotation, cams.translation[..., None]], dim=-1)
    normalized = undistort_by_fixed_point(pixels, cams)
    pairs = combinations(range(len(cams)), 2)
    return torch.stack([homogeneous(poses[list(p)], normalized[..., list(p), :, :]) for p in pairs], dim=-3)


def pairs_by_kornia(pixels: torch.Tensor, cams: CameraGroup) -> torch.Tensor:
    """The same with kornia's undistort_points and triangulate_points."""
    from kornia.geometry import triangulate_points, undistort_points

    poses = torch.cat([cams.rotation, cams.translation[..., None]], dim=-1)
    ideal = undistort_points(pixels, cams.matrix, cams.distortion)
    projections = cams.matrix @ poses
    return torch.stack(
        [
            triangulate_points(projections[i], projections[j], ideal[..., i, :, :], ideal[..., j, :, :])
            for i, j in combinations(range(len(cams)), 2)
        ],
        dim=-3,
    )


def pairs_by_opencv(pixels: np.ndarray, cams: CameraGroup) -> np.ndarray:
    """The same with cv2.undistortPoints and cv2.triangulatePoints; (P, samples * K, 3)."""
    poses = np.concatenate([cams.rotation, cams.translation[..., None]], axis=-1)
    normalized = [
        cv2.undistortPoints(pixels[:, v].reshape(-1, 1, 2), cams.matrix[v], cams.distortion[v]).reshape(-1, 2).T
        for v in range(len(cams))
    ]
    found = [
        cv2.triangulatePoints(poses[i], poses[j], normalized[i], normalized[j])
        for i, j in combinations(range(len(cams)), 2)
    ]
    return np.stack([(point[:3] / point[3]).T for point in found])


def project_by_opencv(points: np.ndarray, cams: CameraGroup) -> np.ndarray:
    """(V, samples * K, 2) by cv2.projectPoints, one view after the other."""
    vectors = [cv2.Rodrigues(rotation)[0] for rotation in cams.rotation]
    flat = points.reshape(-1, 3)
    return np.stack(
        [
            cv2.projectPoints(flat, vectors[v], cams.translation[v], cams.matrix[v], cams.distortion[v])[0][:, 0]
            for v in range(len(cams))
        ]
    )


def row(name: str, ours: float, others: dict[str, float], target: float | None = None) -> None:
    beside = "  ".join(f"{other} {time:8.2f} ms ({time / ours:6.1f}x)" for other, time in others.items())
    reach = "" if target is None else f"(reach {target:g})"
    print(f"{name:46} {ours:8.3f} ms {reach:14} {beside}")


def speed_of_a_batch(num_views: int, lens: list[float], target: float) -> None:
    """A training batch: 32 samples of 17 keypoints, float32."""
    cams = rig(num_views, lens)
    torch_cams = cams.to(like=torch.zeros(0))
    points = np.random.default_rng(0).uniform(-0.7, 0.7, size=(32, 17, 3))
    pixels, world = project(points, cams), torch.tensor(points, dtype=torch.float32)
    single = torch.tensor(pixels, dtype=torch.float32)
    leaf = single.clone().requires_grad_()
    loops = {"loop": pairs_in_a_loop}
    if find_spec("kornia") and len(lens) >= 4:
        loops["kornia"] = pairs_by_kornia

    def forward(function: Callable) -> float:
        with torch.no_grad():
            return best(lambda: function(single, torch_cams))

    def both(function: Callable) -> float:
        return best(lambda: function(leaf, torch_cams).sum().backward())

    times = {name: forward(loop) for name, loop in loops.items()}
    times["OpenCV"] = best(lambda: pairs_by_opencv(pixels, cams))
    row(f"all pairs, V={num_views}, 32x17 points, forward", forward(triangulate_pairs), times, target)
    row("    forward and backward", both(triangulate_pairs), {name: both(loop) for name, loop in loops.items()}, 5.0)
    row(f"one point from V={num_views} with a Gauss-Newton step", forward(triangulate), {})
    row("    forward and backward", both(triangulate), {})
    times = {"OpenCV": best(lambda: project_by_opencv(points, cams))}
    row(f"project (32, {num_views}, 17) points", best(lambda: project(world, torch_cams)), times, 0.35)
    row("range and table of the lenses, once per group", best(lambda: torch_cams.replace().lenses), {})


def speed_of_a_video(lens: list[float], dtype: torch.dtype, linear: float | None, refined: float | None) -> None:
    """20,000 points seen by four cameras."""
    cams = rig(4, lens).to(like=torch.zeros(0, dtype=dtype))
    world = torch.tensor(np.random.default_rng(0).uniform(-0.7, 0.7, size=(20_000, 3)), dtype=dtype)
    pixels = project(world, cams)
    poses = torch.cat([cams.rotation, cams.translation[..., None]], dim=-1)
    times = {"SVD": best(lambda: homogeneous(poses, undistort_by_fixed_point(pixels, cams)))}
    row(f"20,000 points, V=4, {dtype}, undistort", best(lambda: undistort(pixels, cams)), {})
    row("    linear", best(lambda: triangulate(pixels, cams, refine_steps=0)), times, linear)
    row("    one Gauss-Newton step", best(lambda: triangulate(pixels, cams)), times, refined)
    row("    robust", best(lambda: triangulate_robust(pixels, cams)), {})


def undistortion() -> None:
    """Distance of a pixel from itself after undistortion and exact distortion: ours, OpenCV's and kornia's defaults."""
    print(f"\n{'largest error of undistortion, px':44} {'mvgeom':>10} {'OpenCV':>10} {'kornia':>10}")
    grid = np.stack(np.meshgrid(np.arange(0.0, 1280, 40), np.arange(0.0, 1024, 40)), axis=-1).reshape(-1, 2)
    for focal, lens in (
        (1400.0, [-0.1, 0.02, 0.0, 0.0, 0.0]),
        (1000.0, LENSES["plain"]),
        (800.0, [-0.3, 0.1, 0.001, -0.001, -0.015]),
        (700.0, [-0.25, 0.08, 0.0, 0.0, -0.01]),
    ):
        matrix = np.array([[focal, 0, 640], [0, focal, 512], [0, 0, 1]])
        cams = rig(1, lens).replace(matrix=matrix[None])
        found = {
            "mvgeom": undistort(grid[None], cams)[0],
            "OpenCV": cv2.undistortPoints(grid[:, None], matrix, np.array(lens))[:, 0],
        }
        if find_spec("kornia"):
            from kornia.geometry import undistort_points

            ideal = undistort_points(torch.tensor(grid)[None], torch.tensor(matrix)[None], torch.tensor(lens)[None])
            found["kornia"] = (ideal[0].numpy() - matrix[:2, 2]) / focal
        errors = []
        for normalized in found.values():
            rays = np.concatenate([normalized, np.ones((len(grid), 1))], axis=-1)
            pixels = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), matrix, np.array(lens))[0][:, 0]
            errors.append(np.linalg.norm(pixels - grid, axis=-1).max())
        print(f"f = {focal:g}, k1 = {lens[0]:g}, k2 = {lens[1]:g}, k3 = {lens[4]:g}".ljust(44), end=" ")
        print(" ".join(f"{error:10.2g}" for error in errors))


def accuracy(lens: list[float]) -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(-0.7, 0.7, size=(20_000, 3))
    print(f"\n{'RMSE / Cramer-Rao bound':44} {'linear':>8} {'1 step':>8} {'2 steps':>8} {'robust':>8} {'found':>8}")
    for label, distances in (("even", 5.0), ("uneven", np.array([2.5, 5.0, 10.0, 20.0, 7.0]))):
        cams = rig(5, lens, distances)
        clean = project(points, cams) + rng.normal(size=(5, len(points), 2))
        wrong = np.zeros((5, len(points)), dtype=bool)
        wrong[rng.integers(0, 5, len(points)), np.arange(len(points))] = np.arange(len(points)) % 3 == 0
        angle, length = rng.uniform(0, 2 * np.pi, wrong.shape), rng.uniform(30, 150, wrong.shape)
        moved = clean + (length * np.stack([np.cos(angle), np.sin(angle)]) * wrong).transpose(1, 2, 0)
        for kind, pixels, outliers in (("", clean, np.zeros_like(wrong)), (" with outliers", moved, wrong)):
            bound = np.sqrt(np.einsum("kii->k", covariance(points, cams, observed=~outliers)).mean())
            robust = triangulate_robust(pixels, cams, threshold=8.0)
            results = [triangulate(pixels, cams, refine_steps=steps) for steps in (0, 1, 2)] + [robust.points]
            errors = [np.sqrt(np.nanmean(np.sum((result - points) ** 2, axis=-1))) / bound for result in results]
            found = (robust.inliers == ~outliers).all(axis=0).mean()
            name = f"5 cameras at {label} distances{kind}"
            print(f"{name:44} " + " ".join(f"{error:8.3f}" for error in errors) + f" {100 * found:7.1f}%")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--lens", choices=LENSES, default="plain", help="5, 4 or 0 distortion coefficients")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    print(
        f"torch {torch.__version__}, OpenCV {cv2.__version__}, {arguments.threads} threads, lens {arguments.lens}, "
        f"OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', '')}, load {os.getloadavg()[0]:.1f}\n"
    )
    # glibc returns freed memory to the system at once until a program has freed something large, as any that loads
    # images has; page faults would then be measured instead of arithmetic.
    torch.zeros(7_500_000)
    lens = LENSES[arguments.lens]
    for num_views in (4, 6):
        speed_of_a_batch(num_views, lens, target=1.7)
    speed_of_a_video(lens, torch.float32, linear=2.5, refined=16.0)
    speed_of_a_video(lens, torch.float64, linear=None, refined=None)
    undistortion()
    accuracy(lens)


if __name__ == "__main__":
    main()
