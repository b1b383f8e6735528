"""Obstacles that travel from camera to camera and stand between it and the animal: signs on posts."""

from __future__ import annotations

import numpy as np

from mvgeom import CameraGroup
from mvtrain.synth.keyed import Floats, smooth_noise
from mvtrain.synth.materials import plain, stripes
from mvtrain.synth.parts import Part
from mvtrain.synth.shapes import box, cone
from mvtrain.synth.skeleton import orientation

NUM_OCCLUDERS = 2
CAMERAS_PER_SECOND = 0.45
MIDWAY = 0.5
"""Where a sign stands on the way from the animal to the camera."""


def make_occluders(
    rng: np.random.Generator, times: Floats, cameras: CameraGroup, target: Floats, strength: float
) -> list[Part]:
    """Signs on posts that go round the ring of cameras and pause before each.

    Args:
        rng: of this session.
        times: (T,) s.
        cameras: whose lines of sight they cross.
        target: (T, 3) world, the animal's middle.
        strength: 0 for no occluders; up to 1 they grow and pause longer.
    """
    parts: list[Part] = []
    if strength == 0:
        return parts
    for number in range(NUM_OCCLUDERS):
        pace = (1 if number % 2 else -1) * CAMERAS_PER_SECOND * rng.uniform(0.8, 1.2)
        stop = len(cameras) * rng.random() + pace * times + 0.2 * smooth_noise(rng, times, 0.2)
        goal = _along_ring(cameras, stop, pause=0.75 * strength)
        sway = np.stack([30.0 * smooth_noise(rng, times, 0.35) for _ in range(3)], axis=-1) * [1.0, 1.0, 0.6]
        center = target + MIDWAY * (goal - target) + sway
        outward = goal - target
        turn = np.arctan2(outward[:, 1], outward[:, 0]) + 0.4 * smooth_noise(rng, times, 0.3)
        axes = orientation(turn, np.zeros_like(turn))
        half = (4.0, 16.0 + 46.0 * strength, 12.0 + 34.0 * strength)
        colors = rng.uniform(0.05, 0.6, (2, 3))
        parts.append(Part(shape=box(center, half, axes), material=stripes(colors[0], colors[1], 1, 14.0)))
        thickness = 4.0 + 8.0 * strength
        foot = np.stack([center[:, 0], center[:, 1], np.zeros(len(center))], axis=-1)
        post = cone(foot, center, thickness, thickness, axes[:, :, 1])
        parts.append(Part(shape=post, material=plain(np.array([0.35, 0.33, 0.30]), gloss=0.15)))
    return parts


def _along_ring(cameras: CameraGroup, stop: Floats, pause: float) -> Floats:
    """(T, 3) world, places on a ring through the cameras' centres.

    Args:
        cameras: V of them.
        stop: (T,) whole numbers are cameras in the order of their azimuth, modulo V; what is between is between them.
        pause: fraction of the way from one whole number to the next that is spent at them.
    """
    centers = cameras.centers
    azimuth = np.arctan2(centers[:, 1], centers[:, 0])
    order = np.argsort(azimuth)
    ring = np.stack([azimuth[order], np.hypot(centers[order, 0], centers[order, 1]), centers[order, 2]], axis=-1)
    ring = np.concatenate([ring, ring[:1] + np.array([2 * np.pi, 0.0, 0.0])])
    whole = np.floor(stop).astype(np.intp) % len(cameras)
    part = np.clip((stop % 1.0 - pause / 2) / (1 - pause), 0.0, 1.0)
    part = (part * part * (3 - 2 * part))[:, None]
    angle, radius, height = ((1 - part) * ring[whole] + part * ring[whole + 1]).T
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=-1)
