"""The 3D move: the subject is scaled, shifted and turned in the world while the cameras stay, and the views follow.

A view cannot be re-rendered, so its image is moved by the affine map that best carries the subject's old projection to
the new one. For a subject that is shallow beside its distance to the camera that is nearly exact; `residual` says by
how much it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

import cv2
import numpy as np

from mvaug.fit import fit_affine, fit_residual
from mvgeom.cameras import CameraGroup
from mvgeom.projection import in_image, project

MIN_POINTS = 3
"""With fewer points in 3D there is no extent to speak of: the sample passes unmoved."""
MAX_ATTEMPTS = 5
"""How often a move that does not fit is halved before the sample passes unmoved."""


class MoveOutcome(StrEnum):
    """What became of the 3D move of a sample."""

    OFF = "off"
    MOVED = "moved"
    NO_CAMERAS = "unmoved: no cameras"
    TOO_FEW_POINTS = "unmoved: fewer than 3 points in 3D"
    NO_FIT = "unmoved: no affine fits"


@dataclass(frozen=True, kw_only=True)
class MoveRanges:
    """From what the 3D move is drawn.

    Attributes:
        scale: lowest and highest factor about the median point.
        shift: largest shift along each axis of the world, as a fraction of the subject's extent along it.
        rotate: lowest and highest angle in degrees about `axis`.
        axis: of the rotation, in world coordinates; any length but 0.
        max_residual: a fit whose residual in some view exceeds this fraction of the subject's size there (root mean
            square distance of its points from their centre) makes the move too large, and it is halved.
    """

    scale: tuple[float, float] = (0.8, 1.2)
    shift: float = 0.25
    rotate: tuple[float, float] = (0.0, 0.0)
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0)
    max_residual: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"training.imgaug_3d.scale is [low, high] with 0 < low <= high, got {list(self.scale)}")
        if self.shift < 0:
            raise ValueError(f"training.imgaug_3d.shift is a fraction of the extent, at least 0, got {self.shift}")
        if self.rotate[0] > self.rotate[1]:
            raise ValueError(f"training.imgaug_3d.rotate is [low, high] in degrees, got {list(self.rotate)}")
        if not any(self.axis):
            raise ValueError("training.imgaug_3d.axis is [0, 0, 0], which is no direction")
        if self.max_residual <= 0:
            raise ValueError(f"training.imgaug_3d.max_residual must be positive, got {self.max_residual}")

    @classmethod
    def from_config(cls, imgaug_3d: bool | Mapping[str, Any]) -> Self | None:
        """What `training.imgaug_3d` asks for: None when it is false, the defaults when it is true.

        Args:
            imgaug_3d: true, false, or a mapping with some of this class's fields. `rotate: 20` means [-20, 20].

        Raises:
            ValueError: for a key or value that means nothing.
        """
        if isinstance(imgaug_3d, bool):
            return cls() if imgaug_3d else None
        if not isinstance(imgaug_3d, Mapping):
            raise ValueError(f"training.imgaug_3d takes true, false or a mapping of ranges, got {imgaug_3d!r}")
        known = tuple(cls.__dataclass_fields__)
        unknown = [key for key in imgaug_3d if key not in known]
        if unknown:
            raise ValueError(
                f"training.imgaug_3d has {', '.join(map(repr, unknown))}; known keys are {', '.join(known)}"
            )
        lengths = {"scale": 2, "shift": 1, "rotate": 2, "axis": 3, "max_residual": 1}
        fields: dict[str, Any] = {}
        for key, value in imgaug_3d.items():
            if key == "rotate" and _is_number(value):
                value = [-abs(value), abs(value)]
            numbers = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
            if len(numbers) != lengths[key] or not all(_is_number(number) for number in numbers):
                expected = "a number" if lengths[key] == 1 else f"{lengths[key]} numbers"
                raise ValueError(f"training.imgaug_3d.{key} takes {expected}, got {value!r}")
            floats = tuple(float(number) for number in numbers)
            fields[key] = floats[0] if lengths[key] == 1 else floats
        return cls(**fields)


@dataclass(frozen=True, kw_only=True, eq=False)
class Move:
    """X becomes center + scale R (X - center) + shift.

    Attributes:
        center: (3,) world.
        scale: factor.
        rotation_vector: (3,) axis times angle in rad.
        shift: (3,) world.
    """

    center: np.ndarray
    scale: float
    rotation_vector: np.ndarray
    shift: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Move (..., 3) world points; NaN stays NaN."""
        rotation, _ = cv2.Rodrigues(self.rotation_vector)
        return self.center + self.scale * (points - self.center) @ rotation.T + self.shift

    def halved(self) -> Self:
        """The move half way to none at all."""
        return replace(self, scale=self.scale**0.5, rotation_vector=0.5 * self.rotation_vector, shift=0.5 * self.shift)


@dataclass(frozen=True, kw_only=True, eq=False)
class MovedSubject:
    """Where the subject went and how each view follows.

    Attributes:
        points: (K, 3) world, NaN missing; as they were when unmoved.
        frame_to_moved: (V, 2, 3) affine in frame px; the identity when unmoved.
        residual: (V,) root mean square distance, frame px, of the mapped from the true new projections; 0 when unmoved.
        outcome: whether it moved and if not, why.
    """

    points: np.ndarray
    frame_to_moved: np.ndarray
    residual: np.ndarray
    outcome: MoveOutcome


def draw_move(points: np.ndarray, ranges: MoveRanges, generator: np.random.Generator) -> Move:
    """A random move of the subject.

    Args:
        points: (K, 3) world, NaN missing, at least one present.
        ranges: what to draw from.
        generator: source of all randomness; always as many draws, whatever the points.
    """
    scale = float(generator.uniform(*ranges.scale))
    direction = generator.uniform(-1.0, 1.0, size=3)
    angle = np.deg2rad(generator.uniform(*ranges.rotate))
    present = points[np.isfinite(points).all(axis=-1)]
    axis = np.asarray(ranges.axis, dtype=np.float64)
    return Move(
        center=np.median(present, axis=0),
        scale=scale,
        rotation_vector=angle * axis / np.linalg.norm(axis),
        shift=ranges.shift * np.ptp(present, axis=0) * direction,
    )


def move_subject(
    points: np.ndarray, cameras: CameraGroup, ranges: MoveRanges, generator: np.random.Generator
) -> MovedSubject:
    """Draw a move and fit it in every view; halve it while it does not fit.

    A move does not fit where a keypoint that a camera had in its image loses its projection (behind the camera, or
    beyond what the lens model describes), where a view would be turned inside out, or where the residual is too large.

    Args:
        points: (K, 3) world, NaN missing: every triangulated keypoint, labelled in a given view or not.
        cameras: V cameras, unbatched NumPy.
        ranges: what to draw from.
        generator: source of all randomness.
    """
    points = np.asarray(points, dtype=np.float64)
    if np.isfinite(points).all(axis=-1).sum() < MIN_POINTS:
        return unmoved(points, len(cameras), MoveOutcome.TOO_FEW_POINTS)
    source = project(points, cameras)
    projected = np.isfinite(source).all(axis=-1)
    seen = in_image(source, cameras)
    move = draw_move(points, ranges, generator)
    for _ in range(MAX_ATTEMPTS):
        moved_points = move.apply(points)
        target = project(moved_points, cameras)
        mask = projected & np.isfinite(target).all(axis=-1)
        if not (seen & ~mask).any():
            matrices = fit_affine(source, target, mask)
            residual = fit_residual(matrices, source, target, mask)
            upright = np.linalg.det(matrices[:, :, :2]) > 0
            if upright.all() and (residual <= ranges.max_residual * _size_in_view(target, mask)).all():
                return MovedSubject(
                    points=moved_points, frame_to_moved=matrices, residual=residual, outcome=MoveOutcome.MOVED
                )
        move = move.halved()
    return unmoved(points, len(cameras), MoveOutcome.NO_FIT)


def unmoved(points: np.ndarray, num_views: int, outcome: MoveOutcome) -> MovedSubject:
    """The subject where it was, and why."""
    identity = np.broadcast_to(np.eye(2, 3), (num_views, 2, 3)).copy()
    return MovedSubject(points=points, frame_to_moved=identity, residual=np.zeros(num_views), outcome=outcome)


def _size_in_view(points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(V,) root mean square distance, px, of (V, K, 2) points from their mean; a little above 0 without points."""
    weights = mask / np.maximum(mask.sum(axis=-1, keepdims=True), 1)
    filled = np.where(mask[..., None], points, 0.0)
    mean = (weights[..., None] * filled).sum(axis=-2, keepdims=True)
    squared = (weights * ((filled - mean) ** 2).sum(axis=-1)).sum(axis=-1)
    # Rounding leaves a residual of 1e-10 px even where a fit is perfect.
    return np.sqrt(squared) + 1e-6


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
