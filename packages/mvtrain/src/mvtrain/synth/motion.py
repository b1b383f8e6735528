"""Motion of the animal: path, turns, bends, head and tail, rearing, as functions of time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mvtrain.synth.keyed import Floats, smooth_noise

WANDER_RADIUS = 165.0
"""Distance from the middle of the arena in mm beyond which the animal turns back."""

TOP_SPEED = 300.0
"""Highest speed in mm/s."""

LONGEST_STRIDE = 95.0
"""Distance in mm that a paw moves relative to the body in one step at top speed."""

STANCE = 0.6
"""Fraction of a step during which the paw is on the floor."""

_SUBSTEPS = 8


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Movement of one animal over T frames; angles in rad, lengths in mm.

    Attributes:
        position: (T, 2) middle of the trunk on the floor.
        heading: (T,) direction of the trunk, counterclockwise from x.
        stride: (T,) length of the step.
        phase: (T,) steps taken so far; whole numbers begin a step of the left front paw.
        bend: (T,) turn of the chest against the pelvis, to the left.
        hunch: (T,) height of the spine's middle above the line from pelvis to chest.
        rear: (T,) from 0 (all paws on the floor) to 1 (upright on the hind legs).
        neck_yaw, neck_pitch, head_yaw, head_pitch, head_roll: (T,) against the chest; pitch is up.
        tail_yaw, tail_pitch: (T, 4) of each piece of the tail against the one before; the first against the pelvis.
        weight_shift: (T, 4, 2) offset of each paw from its place, forward and to the left.
    """

    position: Floats
    heading: Floats
    stride: Floats
    phase: Floats
    bend: Floats
    hunch: Floats
    rear: Floats
    neck_yaw: Floats
    neck_pitch: Floats
    head_yaw: Floats
    head_pitch: Floats
    head_roll: Floats
    tail_yaw: Floats
    tail_pitch: Floats
    weight_shift: Floats


def wander(rng: np.random.Generator, times: Floats) -> Motion:
    """Draw a random movement.

    Args:
        rng: Generator of the session.
        times: (T,) times in s, evenly spaced.
    """
    speed = TOP_SPEED * np.clip(0.55 + 0.45 * smooth_noise(rng, times, 0.5), 0.0, 1.0)
    turning = 1.1 * smooth_noise(rng, times, 0.45)
    position, heading, turned = _walk(rng, times, speed, turning)
    stride = LONGEST_STRIDE * np.sqrt(speed / TOP_SPEED)
    # On the floor a paw must travel one stride backwards at the trunk's speed, or it would slide.
    steps_per_second = np.where(stride > 0, STANCE * speed / np.maximum(stride, 1e-9), 0.0)
    step = times[1] - times[0] if len(times) > 1 else 0.0
    phase = rng.random() + np.cumsum(steps_per_second) * step
    rear = _sigmoid(5.0 * (smooth_noise(rng, times, 0.3) - 1.1))
    sniff = _sigmoid(3.0 * smooth_noise(rng, times, 0.5))
    wave = np.linspace(0.0, 1.6, 4)
    swing = 2 * np.pi * 0.5 * phase[:, None] - wave
    return Motion(
        position=position,
        heading=heading,
        stride=stride * (1 - 0.8 * rear),
        phase=phase,
        bend=np.clip(0.28 * turned + 0.14 * smooth_noise(rng, times, 0.7), -0.7, 0.7),
        hunch=8.0 + 6.0 * smooth_noise(rng, times, 0.6),
        rear=rear,
        neck_yaw=np.clip(0.2 * turned + 0.35 * smooth_noise(rng, times, 0.8), -0.8, 0.8),
        neck_pitch=0.65 - 0.85 * sniff + 0.12 * smooth_noise(rng, times, 0.9),
        head_yaw=0.22 * smooth_noise(rng, times, 1.2),
        head_pitch=-0.15 - 0.35 * sniff + 0.15 * smooth_noise(rng, times, 1.2),
        head_roll=0.16 * smooth_noise(rng, times, 0.9),
        tail_yaw=0.2 * np.sin(swing) + 0.22 * _pieces(rng, times, 0.8),
        tail_pitch=np.array([0.15, 0.1, 0.12, 0.1]) + 0.14 * _pieces(rng, times, 0.5),
        weight_shift=5.0 * np.stack([smooth_noise(rng, times, 0.4) for _ in range(8)], axis=-1).reshape(-1, 4, 2),
    )


def _walk(rng: np.random.Generator, times: Floats, speed: Floats, turning: Floats) -> tuple[Floats, Floats, Floats]:
    """Return position (T, 2), heading (T,) and turning rate (T,) of a walk that turns back where the arena ends."""
    angle, radius, heading = 2 * np.pi * rng.random(), 0.6 * WANDER_RADIUS * math.sqrt(rng.random()), rng.random()
    x, y, direction = radius * math.cos(angle), radius * math.sin(angle), 2 * np.pi * heading
    step = (times[1] - times[0]) / _SUBSTEPS if len(times) > 1 else 0.0
    path = np.empty((len(times), 4))
    for row, (pace, wish) in enumerate(zip(speed, turning, strict=True)):
        rate = wish
        for _ in range(_SUBSTEPS):
            inward = math.remainder(math.atan2(-y, -x) - direction, 2 * math.pi)
            pull = min((math.hypot(x, y) / WANDER_RADIUS) ** 3, 1.5)
            rate = wish * (1 - min(pull, 1.0)) + 2.2 * pull * math.tanh(2 * inward)
            direction += rate * step
            x += pace * step * math.cos(direction)
            y += pace * step * math.sin(direction)
        path[row] = x, y, direction, rate
    return path[:, :2], path[:, 2], path[:, 3]


def _pieces(rng: np.random.Generator, times: Floats, fastest: float) -> Floats:
    return np.stack([smooth_noise(rng, times, fastest) for _ in range(4)], axis=-1)


def _sigmoid(value: Floats) -> Floats:
    return 1 / (1 + np.exp(-value))
