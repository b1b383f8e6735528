"""Random rigs and slow, readable references for the tests of mvgeom."""

from __future__ import annotations

import numpy as np

from mvgeom import CameraGroup, undistort

LENSES = {
    0: [],
    4: [-0.28, 0.09, 0.0012, -0.0008],
    5: [-0.31, 0.12, -0.001, 0.0015, -0.02],
    8: [0.9, 0.3, 0.0006, -0.0004, 0.02, 1.2, 0.5, 0.06],
    12: [-0.25, 0.06, 0.0005, 0.001, 0.01, 0.02, -0.01, 0.003, 0.0008, -0.0006, 0.0011, 0.0004],
    14: [-0.25, 0.06, 0.0005, 0.001, 0.01, 0.02, -0.01, 0.003, 0.0008, -0.0006, 0.0011, 0.0004, 0.03, -0.02],
}
"""Ordinary lenses with every number of coefficients that OpenCV knows."""

FISHEYE = [0.02, -0.005, 0.003, -0.001]


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """(3, 3) rotation, uniform."""
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


def look_at(center: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation of a camera at `center` that looks at `target`, its image upright."""
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, [0.1, 0.05, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return rotation, -rotation @ center


def random_rig(
    rng: np.random.Generator,
    num_views: int = 4,
    *,
    lens: int | list[float] = 5,
    fisheye: bool | tuple[bool, ...] = False,
    distance: tuple[float, float] = (4.0, 6.0),
    focal: tuple[float, float] = (900.0, 1100.0),
) -> CameraGroup:
    """Cameras around the origin that look at it, no two along one line; points within 1 of the origin are in range."""
    angles = rng.uniform(0, 2 * np.pi) + 1.9 * np.pi * (np.arange(num_views) + rng.uniform(-0.2, 0.2, num_views)) / (
        2 * num_views
    )
    distances = rng.uniform(*distance, num_views)
    centers = np.stack([np.cos(angles), np.sin(angles), rng.uniform(-0.3, 0.5, num_views)], axis=1)
    centers *= (distances / np.linalg.norm(centers, axis=1))[:, None]
    poses = [look_at(center, rng.normal(size=3) * 0.1) for center in centers]
    lengths = rng.uniform(*focal, num_views)
    matrix = np.zeros((num_views, 3, 3))
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = lengths, lengths * 1.02, 1
    matrix[:, 0, 1] = 0.7
    matrix[:, :2, 2] = [640.0, 512.0] + rng.normal(size=(num_views, 2)) * 10
    fisheye = (fisheye,) * num_views if isinstance(fisheye, bool) else fisheye
    coefficients = LENSES[lens] if isinstance(lens, int) else lens
    return CameraGroup(
        names=tuple(f"view{view}" for view in range(num_views)),
        sizes=np.tile([1280.0, 1024.0], (num_views, 1)),
        matrix=matrix,
        distortion=[FISHEYE if is_fisheye else coefficients for is_fisheye in fisheye],
        rotation=np.stack([rotation for rotation, _ in poses]),
        translation=np.stack([translation for _, translation in poses]),
        fisheye=fisheye,
    )


def moved_world(cams: CameraGroup, rotation: np.ndarray, shift: np.ndarray, scale: float) -> CameraGroup:
    """The same rig in a world where the point X has become scale * rotation @ X + shift."""
    turned = cams.rotation @ rotation.T
    return cams.replace(rotation=turned, translation=scale * cams.translation - turned @ shift)


def slow_triangulate(points: np.ndarray, cams: CameraGroup, weights: np.ndarray | None = None) -> np.ndarray:
    """(..., K, 3) by a singular value decomposition per point: weighted linear least squares, textbook form."""
    normalized = undistort(points, cams)
    weights = np.ones(points.shape[:-1]) if weights is None else np.broadcast_to(weights, points.shape[:-1])
    result = np.full((*points.shape[:-3], points.shape[-2], 3), np.nan)
    for index in np.ndindex(*result.shape[:-1]):
        *batch, keypoint = index
        rows, right = [], []
        for view in range(len(cams)):
            u, v = normalized[(*batch, view, keypoint)]
            weight = weights[(*batch, view, keypoint)]
            if not np.isfinite(u) or not weight > 0:
                continue
            rotation, translation = cams.rotation[view], cams.translation[view]
            rows += [
                np.sqrt(weight) * (u * rotation[2] - rotation[0]),
                np.sqrt(weight) * (v * rotation[2] - rotation[1]),
            ]
            right += [
                np.sqrt(weight) * (translation[0] - u * translation[2]),
                np.sqrt(weight) * (translation[1] - v * translation[2]),
            ]
        if len(rows) >= 4:
            left, singular, transposed = np.linalg.svd(np.stack(rows), full_matrices=False)
            result[index] = transposed.T @ ((left.T @ np.array(right)) / singular)
    return result
