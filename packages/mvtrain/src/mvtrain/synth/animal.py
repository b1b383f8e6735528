"""The animal: its motion over time, skeleton and keypoints in the world, body and coat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mvtrain.synth.materials import Material, Part, plain, random_waves
from mvtrain.synth.raycast import ball, cone
from mvtrain.synth.spec import Floats, smooth_noise

WANDER_RADIUS = 165.0
"""Distance from the middle of the arena in mm beyond which the animal turns back."""

TOP_SPEED = 300.0
"""Highest speed in mm/s."""

LONGEST_STRIDE = 95.0
"""Distance in mm that a paw moves relative to the body in one step at top speed."""

STANCE = 0.6
"""Fraction of a step during which the paw is on the floor."""

_SUBSTEPS = 8

KEYPOINT_NAMES = (
    "nose",
    "left_ear",
    "right_ear",
    "withers",
    "spine",
    "tail_base",
    "tail_mid",
    "tail_tip",
    "left_elbow",
    "left_front_paw",
    "right_elbow",
    "right_front_paw",
    "left_knee",
    "left_hind_paw",
    "right_knee",
    "right_hind_paw",
)
"""Keypoints in the order of all tables: three on the head, five along the back, the others on the legs."""

KEYPOINT_TOLERANCES = np.array(
    [9.0, 14.0, 14.0, 12.0, 12.0, 14.0, 14.0, 14.0, 16.0, 18.0, 16.0, 18.0, 20.0, 18.0, 20.0, 18.0]
)
"""(K,) largest depth in mm of a visible keypoint under the surface, for an animal of size 1.

Somewhat more than the radius of its part there: a joint inside a limb is visible if the limb's front is, and hidden if
another solid is in front."""

LEGS = ("left_front", "right_front", "left_hind", "right_hind")
"""Legs in the order of `Motion.weight_shift`."""

TRUNK_RADII = {"pelvis": 34.0, "spine": 37.0, "chest": 33.0}
"""Radii in mm, for an animal of size 1."""

_GAIT_OFFSETS = (0.0, 0.5, 0.56, 0.06)
_SEGMENTS = {"front": (50.0, 48.0), "hind": (55.0, 54.0)}
_HALF_TRUNK = 72.0
_TAIL_PIECE = 41.0
_PAW_HEIGHT = 8.0
_HIP_HEIGHT = 95.0

_COATS = np.array(
    [
        [[0.26, 0.17, 0.10], [0.10, 0.065, 0.04], [0.50, 0.43, 0.34]],
        [[0.72, 0.66, 0.57], [0.36, 0.19, 0.08], [0.80, 0.76, 0.70]],
        [[0.20, 0.20, 0.22], [0.62, 0.60, 0.57], [0.45, 0.44, 0.43]],
        [[0.50, 0.24, 0.08], [0.24, 0.09, 0.03], [0.70, 0.55, 0.40]],
        [[0.09, 0.085, 0.09], [0.55, 0.52, 0.48], [0.20, 0.19, 0.19]],
    ]
)
"""Linear RGB of back, spots and belly."""

_PINK = np.array([0.55, 0.28, 0.25])
_DARK = np.array([0.02, 0.018, 0.02])


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


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """Joints and body axes of one animal over T frames, in the world.

    Attributes:
        size: Factor on all lengths.
        joints: Joints (T, 3) in mm by name.
        axes: Axes (T, 3, 3) of "pelvis", "chest" and "head", whose columns point forward, to the left and up.
    """

    size: float
    joints: dict[str, Floats]
    axes: dict[str, Floats]

    @property
    def keypoints(self) -> Floats:
        """Return (T, K, 3) keypoints in mm, in the order of `KEYPOINT_NAMES`."""
        return np.stack([self.joints[name] for name in KEYPOINT_NAMES], axis=1)

    @property
    def tolerances(self) -> Floats:
        """Return (K,) tolerances in mm; see `KEYPOINT_TOLERANCES`."""
        return KEYPOINT_TOLERANCES * self.size


def pose(motion: Motion, size: float) -> Skeleton:
    """Make the skeleton of a motion, for an animal of the given size (1: trunk of 144 mm)."""
    axes, joints = _trunk(motion)
    joints |= _head(axes, joints, motion)
    joints |= _tail(axes["pelvis"], joints["pelvis"], motion)
    for number, leg in enumerate(LEGS):
        joints |= _leg(number, leg, axes, joints, motion)
    base = np.concatenate([motion.position, np.zeros((len(motion.position), 1))], axis=1)
    # Lengths scale about the point of the floor under the trunk, so that the paws stay on the floor.
    return Skeleton(size=size, axes=axes, joints={name: base + size * point for name, point in joints.items()})


def orientation(yaw: Floats, pitch: Floats, roll: Floats | float = 0.0) -> Floats:
    """Return (..., 3, 3) axes (columns: forward, left, up) turned by yaw left, then pitched up, then rolled right."""
    yaw, pitch, roll = np.broadcast_arrays(yaw, pitch, roll)
    sin_yaw, cos_yaw, sin_pitch, cos_pitch = np.sin(yaw), np.cos(yaw), np.sin(pitch), np.cos(pitch)
    forward = np.stack([cos_yaw * cos_pitch, sin_yaw * cos_pitch, sin_pitch], axis=-1)
    left = np.stack([-sin_yaw, cos_yaw, np.zeros_like(yaw)], axis=-1)
    up = np.cross(forward, left)
    sin_roll, cos_roll = np.sin(roll)[..., None], np.cos(roll)[..., None]
    return np.stack([forward, cos_roll * left + sin_roll * up, cos_roll * up - sin_roll * left], axis=-1)


def _at(start: Floats, axes: Floats, *offset: float | Floats) -> Floats:
    """Return (T, 3) `start` plus an offset along (forward, left, up)."""
    parts = np.stack(np.broadcast_arrays(*offset, start[:, 0])[:3], axis=-1)
    return start + np.einsum("tij,tj->ti", axes, parts)


def _trunk(motion: Motion) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return axes and joints of the trunk, with the middle of the trunk over the origin of the floor."""
    pelvis_axes = orientation(motion.heading - motion.bend / 2, 0.85 * motion.rear)
    chest_axes = orientation(motion.heading + motion.bend / 2, 0.05 + 0.75 * motion.rear)
    level = orientation(motion.heading, np.zeros_like(motion.heading))
    bob = 3.0 * motion.stride / 95.0 * np.cos(4 * np.pi * motion.phase)
    origin = np.zeros((len(motion.heading), 3))
    pelvis = _at(origin, level, -_HALF_TRUNK * (1 - 0.35 * motion.rear), 0.0, _HIP_HEIGHT + bob - 12.0 * motion.rear)
    spine = _at(pelvis, pelvis_axes, _HALF_TRUNK, 0.0, motion.hunch)
    chest = _at(spine, chest_axes, _HALF_TRUNK, 0.0, -motion.hunch)
    joints = {
        "pelvis": pelvis,
        "trunk_middle": spine,
        "chest": chest,
        "withers": _at(chest, chest_axes, 0.0, 0.0, TRUNK_RADII["chest"]),
        "spine": _at(spine, chest_axes, 0.0, 0.0, TRUNK_RADII["spine"]),
    }
    return {"pelvis": pelvis_axes, "chest": chest_axes}, joints


def _head(axes: dict[str, Floats], joints: dict[str, Floats], motion: Motion) -> dict[str, Floats]:
    yaw = motion.heading + motion.bend / 2 + motion.neck_yaw
    # Rearing, the animal looks ahead and not at the ceiling: neck and head take back part of the trunk's pitch.
    neck_axes = orientation(yaw, motion.neck_pitch + 0.35 * motion.rear)
    head_axes = orientation(
        yaw + motion.head_yaw, motion.head_pitch + 0.4 * motion.neck_pitch + 0.1 * motion.rear, motion.head_roll
    )
    neck = _at(joints["chest"], axes["chest"], 22.0, 0.0, 10.0)
    head = _at(neck, neck_axes, 50.0, 0.0, 0.0)
    axes["head"] = head_axes
    return {
        "neck": neck,
        "head": head,
        "nose": _at(head, head_axes, 48.0, 0.0, -7.0),
        "left_eye": _at(head, head_axes, 19.0, 13.5, 9.0),
        "right_eye": _at(head, head_axes, 19.0, -13.5, 9.0),
        "left_ear": _at(head, head_axes, -9.0, 18.0, 28.0),
        "right_ear": _at(head, head_axes, -9.0, -18.0, 28.0),
    }


def _tail(pelvis_axes: Floats, pelvis: Floats, motion: Motion) -> dict[str, Floats]:
    base = _at(pelvis, pelvis_axes, -31.0, 0.0, 17.0)
    forward = pelvis_axes[:, :, 0]
    yaw = np.arctan2(-forward[:, 1], -forward[:, 0])
    # Held a little below the horizon whatever the trunk does; it then curls up towards the tip.
    pitch = np.full(len(yaw), -0.55)
    joints = {"tail_base": base}
    for piece, name in enumerate(("tail_1", "tail_mid", "tail_3", "tail_tip")):
        yaw = yaw + motion.tail_yaw[:, piece]
        pitch = pitch + motion.tail_pitch[:, piece]
        base = _at(base, orientation(yaw, pitch), _TAIL_PIECE, 0.0, 0.0)
        # Rearing lowers the tail's root: the tail then lies on the floor instead of passing through it.
        base[:, 2] = np.maximum(base[:, 2], 6.0)
        joints[name] = base
    return joints


def _leg(
    number: int, leg: str, axes: dict[str, Floats], joints: dict[str, Floats], motion: Motion
) -> dict[str, Floats]:
    side, end = leg.split("_")
    sign = 1.0 if side == "left" else -1.0
    anchor = "chest" if end == "front" else "pelvis"
    hip = _at(joints[anchor], axes[anchor], -4.0 if end == "front" else 0.0, 24.0 * sign, -10.0)
    level = orientation(np.arctan2(axes[anchor][:, 1, 0], axes[anchor][:, 0, 0]), np.zeros(len(hip)))
    along, lift = _step(motion.phase + _GAIT_OFFSETS[number])
    shift = motion.weight_shift[:, number]
    floor = np.stack([hip[:, 0], hip[:, 1], np.full(len(hip), _PAW_HEIGHT)], axis=-1)
    forward = motion.stride * along + shift[:, 0] + (2.0 if end == "front" else 10.0 + 18.0 * motion.rear)
    paw = _at(floor, level, forward, 5.0 * sign + shift[:, 1], lift * (6.0 + 0.24 * motion.stride))
    if end == "front":
        hanging = _at(hip, axes["chest"], 34.0 + shift[:, 0], 0.0, -58.0 + shift[:, 1])
        paw = paw + np.clip(2 * motion.rear, 0, 1)[:, None] * (hanging - paw)
    bend = level[:, :, 0] * (-1.0 if end == "front" else 1.0) + 0.5 * sign * level[:, :, 1]
    knee, paw = _two_bones(hip, paw, bend, *_SEGMENTS[end])
    ankle = _at(paw, level, -11.0 if end == "hind" else -5.0, 0.0, 10.0)
    middle = "elbow" if end == "front" else "knee"
    return {f"{leg}_hip": hip, f"{side}_{middle}": knee, f"{leg}_ankle": ankle, f"{leg}_paw": paw}


def _step(phase: Floats) -> tuple[Floats, Floats]:
    """Return the place of a paw along the stride, from 0.5 (front) to -0.5, and height from 0 to 1, at a phase."""
    part = phase % 1.0
    swing = np.clip((part - STANCE) / (1 - STANCE), 0.0, 1.0)
    along = np.where(part < STANCE, 0.5 - part / STANCE, -0.5 * np.cos(np.pi * swing))
    return along, np.sin(np.pi * swing)


def _two_bones(hip: Floats, paw: Floats, towards: Floats, upper: float, lower: float) -> tuple[Floats, Floats]:
    """Return the knee of a two-bone leg that bends `towards` (T, 3), and the paw, closer if the leg is too short."""
    reach = paw - hip
    distance = np.linalg.norm(reach, axis=-1, keepdims=True)
    direction = reach / distance
    distance = np.clip(distance, abs(upper - lower) + 0.3 * lower, 0.98 * (upper + lower))
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    out = towards - (towards * direction).sum(-1, keepdims=True) * direction
    out /= np.linalg.norm(out, axis=-1, keepdims=True)
    return hip + along * direction + np.sqrt(upper**2 - along**2) * out, hip + distance * direction


@dataclass(frozen=True, kw_only=True)
class Individual:
    """Properties that differ from animal to animal.

    Attributes:
        size: Factor on all lengths.
        coat: (3, 3) linear RGB of back, spots and belly.
        waves: (J, 4) pattern of the spots; see `Material.waves`.
        threshold: Value of the pattern above which spots begin; the higher, the fewer.
        symmetric: True if left and right have the same colors.
    """

    size: float
    coat: Floats
    waves: Floats
    threshold: float
    symmetric: bool


def draw_individual(rng: np.random.Generator, number: int, *, symmetric: bool) -> Individual:
    """Draw the animal of a session; consecutive numbers have different coats."""
    return Individual(
        size=float(rng.uniform(0.88, 1.14)),
        coat=_COATS[number % len(_COATS)] * rng.uniform(0.85, 1.15, (3, 1)) * rng.uniform(0.95, 1.05, (1, 3)),
        waves=random_waves(rng, 62.0),
        threshold=float(rng.uniform(0.05, 0.25)),
        symmetric=symmetric,
    )


def build_body(skeleton: Skeleton, individual: Individual) -> list[Part]:
    """Return the animal's parts over the skeleton's T frames."""
    body = _Body(skeleton)
    fur, trunk = _coat(individual), TRUNK_RADII
    body.add_tube("pelvis", "trunk_middle", (trunk["pelvis"], trunk["spine"]), "pelvis", fur)
    body.add_tube("trunk_middle", "chest", (trunk["spine"], trunk["chest"]), "chest", fur)
    body.add_tube("chest", "neck", (trunk["chest"] - 1, 26.0), "chest", fur)
    body.add_tube("neck", "head", (24.0, 20.0), "head", fur)
    body.add_ball("head", (29.0, 22.0, 21.0), "head", fur)
    body.add_tube("head", "nose", (19.0, 6.2), "head", _coat(individual, white=0.25))
    body.add_ball("nose", (7.5, 6.8, 6.0), "head", plain(_DARK, gloss=0.5))
    for side in ("left", "right"):
        body.add_ball(f"{side}_eye", (5.0, 4.0, 5.0), "head", plain(_DARK, gloss=0.7))
        ear = _PINK if side == "left" or individual.symmetric else _PINK * 0.45
        material = Material(color=ear, second=ear, under=individual.coat[0], grain=0.1)
        body.add_ball(f"{side}_ear", (4.5, 12.0, 17.0), "head", material)
    _add_legs(body, individual)
    body.add_tube("tail_base", "tail_1", (11.0, 8.5), "pelvis", fur)
    body.add_tube("tail_1", "tail_mid", (8.5, 7.5), "pelvis", fur)
    body.add_tube("tail_mid", "tail_3", (7.5, 6.5), "pelvis", _coat(individual, tone=0.8))
    body.add_tube("tail_3", "tail_tip", (6.5, 5.0), "pelvis", _coat(individual, tone=0.55))
    return body.parts


class _Body:
    """Collection of parts; radii are for an animal of size 1, `axes` is the name of the body axes of a part."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self.parts: list[Part] = []

    def add_tube(self, start: str, end: str, radii: tuple[float, float], axes: str, material: Material) -> None:
        first, second = (self.skeleton.size * radius for radius in radii)
        sideways, joints = self.skeleton.axes[axes][:, :, 1], self.skeleton.joints
        self.parts.append(Part(shape=cone(joints[start], joints[end], first, second, sideways), material=material))

    def add_ball(self, joint: str, radii: tuple[float, float, float], axes: str, material: Material) -> None:
        scaled = [self.skeleton.size * radius for radius in radii]
        shape = ball(self.skeleton.joints[joint], scaled, self.skeleton.axes[axes])
        self.parts.append(Part(shape=shape, material=material))


def _add_legs(body: _Body, individual: Individual) -> None:
    """Add the legs, whose sides differ little in tone and white ends, or not at all."""
    for leg in LEGS:
        side, end = leg.split("_")
        tone, sock = (1.1, 0.5) if side == "left" or individual.symmetric else (0.72, 0.0)
        front = end == "front"
        axes, middle = ("chest", f"{side}_elbow") if front else ("pelvis", f"{side}_knee")
        upper, lower = ((17.0, 11.5), (10.5, 7.5)) if front else ((24.0, 13.0), (12.0, 7.5))
        body.add_tube(f"{leg}_hip", middle, upper, axes, _coat(individual, tone=tone))
        body.add_tube(middle, f"{leg}_ankle", lower, axes, _coat(individual, tone=tone, white=sock / 2))
        body.add_tube(f"{leg}_ankle", f"{leg}_paw", (7.5, 7.0), axes, _coat(individual, tone=tone, white=sock))
        body.add_ball(f"{leg}_paw", (13.0, 9.0, 8.0), axes, _coat(individual, tone=tone, white=sock))


def _coat(individual: Individual, *, tone: float = 1.0, white: float = 0.0) -> Material:
    """Return the coat, lighter or darker by `tone`, and mixed with white."""
    back, spots, belly = individual.coat * tone * (1 - white) + 0.85 * white
    return Material(
        color=back,
        second=spots,
        under=belly,
        waves=individual.waves,
        threshold=individual.threshold,
        grain=0.22,
        gloss=0.04,
    )
