"""Skeleton of the animal: its joints and body axes in the world, from its motion, and the keypoints among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvtrain.synth.keyed import Floats
from mvtrain.synth.motion import STANCE, Motion

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
