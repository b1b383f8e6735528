"""A synthetic rig and subject that several test files share."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from mvgeom.cameras import CameraGroup


def look_at(center: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation of a camera at `center` that looks at `target`, z up."""
    z = (target - center) / np.linalg.norm(target - center)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    rotation = np.stack([x, np.cross(z, x), z])
    return rotation, -rotation @ center


@pytest.fixture(scope="session")
def make_rig() -> Callable[..., CameraGroup]:
    def make(
        num_views: int = 4, *, distance: float = 8.0, focal: float = 1000.0, distortion: float = -0.05
    ) -> CameraGroup:
        """Cameras on a ring around the origin, 640 x 512, that see a subject of size 2 at `distance` 8."""
        angles = 2 * np.pi * np.arange(num_views) / num_views + 0.3
        poses = [
            look_at(distance * np.array([np.cos(a), np.sin(a), 0.3 + 0.1 * np.sin(3 * a)]), np.zeros(3)) for a in angles
        ]
        matrix = np.array([[focal, 0, 320.0], [0, focal * 1.01, 250.0], [0, 0, 1]])
        return CameraGroup(
            names=tuple(f"cam{v}" for v in range(num_views)),
            sizes=np.tile([640.0, 512.0], (num_views, 1)),
            matrix=np.tile(matrix, (num_views, 1, 1)),
            distortion=np.tile([distortion, 0.01, 0.001, -0.001, 0.0], (num_views, 1)),
            rotation=np.stack([r for r, _ in poses]),
            translation=np.stack([t for _, t in poses]),
        )

    return make


@pytest.fixture(scope="session")
def subject() -> np.ndarray:
    """(12, 3) world points within about 1 of the origin."""
    return np.random.default_rng(7).uniform(-0.8, 0.8, (12, 3))


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """(96, 128, 3) uint8 RGB with structure at every scale, none of it gray-level clipped."""
    generator = np.random.default_rng(0)
    layers = [
        cv2.resize(generator.uniform(0, 1, (n, n, 3)), (128, 96), interpolation=cv2.INTER_CUBIC) for n in (3, 8, 24, 64)
    ]
    mixed = sum(weight * layer for weight, layer in zip((0.4, 0.3, 0.2, 0.1), layers, strict=True))
    return np.clip(20 + 215 * mixed, 0, 255).astype(np.uint8)
