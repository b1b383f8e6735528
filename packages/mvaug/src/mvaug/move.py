"""3D move: the subject is scaled, shifted and turned in the world, the cameras stay, and the views follow.

A view cannot be rendered anew, so its image is moved by the affine map that best carries the subject's old projection
to the new one. That is nearly exact for a subject that is shallow beside its distance to the camera; `residual` is the
difference.
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
from mvgeom.errors import InputError
from mvgeom.projection import in_image, project

MIN_POINTS = 3
"""Fewest points in 3D that a move needs; a frame with fewer passes unmoved."""
MAX_ATTEMPTS = 5
"""Number of moves tried, each half of the one before, until the frame passes unmoved."""


class MoveOutcome(StrEnum):
    """Result of the 3D move of a frame."""

    OFF = "off"
    MOVED = "moved"
    NO_CAMERAS = "unmoved: no cameras"
    TOO_FEW_POINTS = "unmoved: fewer than 3 points in 3D"
    NO_FIT = "unmoved: no affine fits"


@dataclass(frozen=True, kw_only=True)
class MoveRanges:
    """Ranges that the 3D move is drawn from.

    Attributes:
        scale: Lowest and highest factor about the median point.
        shift: Largest shift along each axis of the world, as a fraction of the subject's extent along it.
        rotate: Lowest and highest angle in degrees about `axis`.
        axis: Axis of the rotation in world coordinates, of any length but 0.
        max_residual: Largest residual of the fit in a view, as a fraction of the subject's size there (root mean
            square distance of its points from their center). Above it the move is halved.

    Raises:
        InputError: A range is empty, or a value makes no sense.
    """

    scale: tuple[float, float] = (0.8, 1.2)
    shift: float = 0.25
    rotate: tuple[float, float] = (0.0, 0.0)
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0)
    max_residual: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise _invalid("scale", list(self.scale), "[low, high] with 0 < low <= high")
        if not self.shift >= 0:
            raise _invalid("shift", self.shift, "a fraction of the extent, at least 0")
        if not self.rotate[0] <= self.rotate[1]:
            raise _invalid("rotate", list(self.rotate), "[low, high] in degrees with low <= high")
        if not any(self.axis):
            raise _invalid("axis", list(self.axis), "a direction, not all zeros")
        if not self.max_residual > 0:
            raise _invalid("max_residual", self.max_residual, "a positive fraction of the subject's size")

    @classmethod
    def from_config(cls, imgaug_3d: bool | Mapping[str, Any]) -> Self | None:
        """Parse ranges: none for False, the defaults for True.

        Args:
            imgaug_3d: True, False, or mapping with some of this class's fields. `rotate: 20` means [-20, 20].

        Raises:
            InputError: A key is unknown, or a value is not valid.
        """
        if isinstance(imgaug_3d, bool):
            return cls() if imgaug_3d else None
        if not isinstance(imgaug_3d, Mapping):
            raise InputError(
                f"imgaug_3d: found {imgaug_3d!r}, expected true, false or a mapping of ranges.",
                code="bad-value",
                argument="imgaug_3d",
            )
        known = tuple(cls.__dataclass_fields__)
        unknown = [str(key) for key in imgaug_3d if key not in known]
        if unknown:
            raise InputError(
                f"imgaug_3d: unknown key, found {', '.join(map(repr, unknown))}, expected some of {', '.join(known)}.",
                code="bad-key",
                argument="imgaug_3d",
                unknown=unknown,
            )
        lengths = {"scale": 2, "shift": 1, "rotate": 2, "axis": 3, "max_residual": 1}
        fields: dict[str, Any] = {}
        for key, value in imgaug_3d.items():
            if key == "rotate" and _is_number(value):
                value = [-abs(value), abs(value)]
            numbers = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
            if len(numbers) != lengths[key] or not all(_is_number(number) for number in numbers):
                raise _invalid(key, value, "a number" if lengths[key] == 1 else f"{lengths[key]} numbers")
            floats = tuple(float(number) for number in numbers)
            fields[key] = floats[0] if lengths[key] == 1 else floats
        return cls(**fields)


def _invalid(key: str, found: Any, expected: str) -> InputError:
    """Make the error of a value under a key of `imgaug_3d`."""
    argument = f"imgaug_3d.{key}"
    return InputError(f"{argument}: found {found!r}, expected {expected}.", code="bad-value", argument=argument)


@dataclass(frozen=True, kw_only=True, eq=False)
class Move:
    """Similarity of the world: X becomes center + scale R (X - center) + shift.

    Attributes:
        center: (3,) fixed point of scale and rotation in world units.
        scale: Factor of all lengths.
        rotation_vector: (3,) axis times angle in rad.
        shift: (3,) translation in world units.
    """

    center: np.ndarray
    scale: float
    rotation_vector: np.ndarray
    shift: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Move (..., 3) world points; NaN stays NaN."""
        rotation, _ = cv2.Rodrigues(self.rotation_vector)
        moved: np.ndarray = self.center + self.scale * (points - self.center) @ rotation.T + self.shift
        return moved

    def halved(self) -> Self:
        """Return the move half way between this one and none."""
        return replace(self, scale=self.scale**0.5, rotation_vector=0.5 * self.rotation_vector, shift=0.5 * self.shift)


@dataclass(frozen=True, kw_only=True, eq=False)
class MovedSubject:
    """Moved points, and the map of each view that follows them.

    Attributes:
        points: (K, 3) world units, NaN missing; as they were when unmoved.
        full_to_moved: (V, 2, 3) affine maps, full-image px to full-image px; the identity when unmoved.
        residual: (V,) root mean square distance, full-image px, of the mapped from the true new projections; 0 when
            unmoved.
        outcome: Result of the move: moved, or why not.
    """

    points: np.ndarray
    full_to_moved: np.ndarray
    residual: np.ndarray
    outcome: MoveOutcome


def draw_move(points: np.ndarray, ranges: MoveRanges, generator: np.random.Generator) -> Move:
    """Draw a random move of the subject.

    Args:
        points: (K, 3) world units, NaN missing, at least one present.
        ranges: Ranges to draw from.
        generator: Source of all randomness; the number of draws does not depend on the points.
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
        points: (K, 3) world units, NaN missing: every triangulated keypoint, labeled in a given view or not.
        cameras: V cameras, unbatched NumPy.
        ranges: Ranges to draw from.
        generator: Source of all randomness.
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
                    points=moved_points, full_to_moved=matrices, residual=residual, outcome=MoveOutcome.MOVED
                )
        move = move.halved()
    return unmoved(points, len(cameras), MoveOutcome.NO_FIT)


def unmoved(points: np.ndarray, num_views: int, outcome: MoveOutcome) -> MovedSubject:
    """Return the subject where it was, with the identity in every view."""
    identity = np.broadcast_to(np.eye(2, 3), (num_views, 2, 3)).copy()
    return MovedSubject(points=points, full_to_moved=identity, residual=np.zeros(num_views), outcome=outcome)


def _size_in_view(points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Compute the root mean square distance (V,) in px of (V, K, 2) points from their mean; 1e-6 without points."""
    weights = mask / np.maximum(mask.sum(axis=-1, keepdims=True), 1)
    filled = np.where(mask[..., None], points, 0.0)
    mean = (weights[..., None] * filled).sum(axis=-2, keepdims=True)
    squared = (weights * ((filled - mean) ** 2).sum(axis=-1)).sum(axis=-1)
    # Rounding leaves a residual of 1e-10 px even where a fit is perfect.
    size: np.ndarray = np.sqrt(squared) + 1e-6
    return size


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
