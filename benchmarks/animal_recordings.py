"""Generated recordings of an animal for benchmarks of smoothing: cameras, true positions, keypoints with errors."""

from __future__ import annotations

import numpy as np

from mvgeom import CameraGroup, project

BODY = np.array(
    [
        *([50, 0, 20], [30, 10, 30], [30, -10, 30], [0, 0, 30], [-40, 0, 25], [-80, 0, 20]),
        *([20, 20, 0], [20, -20, 0], [-30, 20, 0], [-30, -20, 0], [-110, 0, 15], [40, 0, 35]),
    ]
)
"""Keypoints in mm: head and spine, four paws, tip of the tail, forehead."""


def ring() -> CameraGroup:
    """Four cameras at 1.5 m, in mm."""
    rotations, translations = [], []
    for angle in np.linspace(0, 2 * np.pi, 4, endpoint=False) + 0.3:
        center = 1500 * np.array([np.cos(angle), np.sin(angle), 0.6 + 0.1 * np.sin(3 * angle)])
        forward = -center / np.linalg.norm(center)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        rotations.append(np.stack([right, np.cross(forward, right), forward]))
        translations.append(-rotations[-1] @ center)
    return CameraGroup(
        names=("a", "b", "c", "d"),
        sizes=np.full((4, 2), 800.0),
        matrix=np.stack([np.array([[960, 0, 400], [0, 960, 400], [0, 0, 1.0]])] * 4),
        distortion=np.tile([-0.1, 0.02, 0.0, 0.0, 0.0], (4, 1)),
        rotation=np.stack(rotations),
        translation=np.stack(translations),
    )


def animal(num_frames: int, fps: int, rng: np.random.Generator) -> np.ndarray:
    """Return true positions (T, K, 3) in mm."""
    speed, turning, pitch, height, gait = np.zeros((5, num_frames))
    begin = 0
    while begin < num_frames:
        length = int(rng.uniform(0.4, 1.5) * fps) + 2
        rows = slice(begin, min(num_frames, begin + length))
        count = rows.stop - rows.start
        swell = np.sin(np.linspace(0, np.pi, count)) ** 2
        kind = rng.choice(["run", "turn", "rear", "jump", "rest"])
        if kind == "run":
            speed[rows], gait[rows] = rng.uniform(200, 600) * swell, swell
        elif kind == "turn":
            turning[rows], speed[rows], gait[rows] = rng.uniform(-4, 4) * swell, 100 * swell, 0.5 * swell
        elif kind == "rear":
            pitch[rows] = 1.2 * swell
        elif kind == "jump":
            flight = np.linspace(0, 1, min(count, int(0.25 * fps) + 2))
            height[begin : begin + len(flight)] = 400 * flight * (1 - flight)
            speed[begin : begin + len(flight)] = 800
        begin += length
    yaw = np.cumsum(turning) / fps
    place = np.cumsum(np.stack([np.cos(yaw), np.sin(yaw)], -1) * speed[:, None], axis=0) / fps
    points = np.repeat(BODY[None].astype(float), num_frames, axis=0)
    phase = 2 * np.pi * np.cumsum(4 * gait) / fps
    for paw in range(6, 10):
        points[:, paw, 0] += 12 * gait * np.sin(phase + paw * np.pi / 2)
        points[:, paw, 2] += 8 * gait * np.maximum(0, np.cos(phase + paw * np.pi / 2))
    for tail in (5, 10):
        points[:, tail, 1] += 15 * np.sin(2 * np.pi * 0.7 * np.arange(num_frames) / fps + tail)
    x, z = points[..., 0] + 40, points[..., 2].copy()
    points[..., 0] = np.cos(pitch)[:, None] * x - np.sin(pitch)[:, None] * z - 40
    points[..., 2] = np.sin(pitch)[:, None] * x + np.cos(pitch)[:, None] * z
    x, y = points[..., 0].copy(), points[..., 1].copy()
    points[..., 0] = np.cos(yaw)[:, None] * x - np.sin(yaw)[:, None] * y
    points[..., 1] = np.sin(yaw)[:, None] * x + np.cos(yaw)[:, None] * y
    points[..., :2] += 250 * np.sin(place / 250)[:, None]
    points[..., 2] += height[:, None]
    return points


def lasting(shape: tuple[int, ...], frames: float, rng: np.random.Generator) -> np.ndarray:
    """Return an AR(1) process along the first axis with variance 1 and a time constant in frames."""
    decay, values = np.exp(-1 / frames), rng.normal(size=shape)
    for row in range(1, len(values)):
        values[row] = decay * values[row - 1] + np.sqrt(1 - decay**2) * values[row]
    return values


def record(
    truth: np.ndarray, cameras: CameraGroup, fps: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return keypoints (3, T, V, K, 2) in px of 3 networks, their likelihoods (T, V, K) and occlusions (T, V, K)."""
    exact = project(truth, cameras)
    shape = exact.shape[:3]

    def errors() -> np.ndarray:
        return np.sqrt(0.5) * (lasting(exact.shape, 0.2 * fps, rng) + rng.normal(size=exact.shape))

    deviation = 2 * rng.uniform(0.7, 1.5, (4, 1)) * rng.uniform(0.7, 1.4, shape[2])
    error = errors()
    occluded = lasting(shape, 0.3 * fps, rng) > 1.04  # 15 %
    size = (deviation * np.where(occluded, 2.5, 1.0))[..., None]
    likelihood = np.where(occluded, rng.beta(4, 3, shape), rng.beta(30, 2, shape))
    wrong = lasting(shape, 0.05 * fps, rng) > 1.88  # 3 %
    points = np.where(wrong[..., None], exact[:, :, rng.permutation(shape[2])], exact + error * size)
    absent = rng.random(shape) < np.where(occluded, 0.4, 0.01)
    # What is common to all, given the first: any two have half of their variance in common.
    common = np.sqrt(0.5) * (error + errors()) * np.sqrt(0.5)
    networks = [points]
    for _ in range(2):
        own = exact + (common + np.sqrt(0.5) * errors()) * size
        other = lasting(shape, 0.05 * fps, rng) > 1.88
        networks.append(np.where(other[..., None], exact[:, :, rng.permutation(shape[2])], own))
    return np.where(absent[..., None], np.nan, np.stack(networks)), likelihood, occluded
