"""Other frames of the world: by known points, by an origin and two axes, or by a plane that is the floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvgeom._arrays import as_array, as_float64
from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.world_frame import similarity
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError

__all__ = ["WorldChange", "axes_from_points", "change_world", "floor_from_points", "match_points"]

_ROUNDS = 200
_SHARE_LIFTED = 0.5
"""Largest share of the points that may be above the floor, such as lifted feet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WorldChange:
    """A similarity X -> scale * rotation @ X + shift from the old world to the new one.

    Attributes:
        scale: Factor of lengths.
        rotation: (3, 3) rotation.
        shift: (3,) translation in the new unit.
        error: Root mean square distance of the points that define the change from where they should be, new unit.
    """

    scale: float
    rotation: Floats
    shift: Floats
    error: float = 0.0


def change_world(cams: CameraGroup, change: WorldChange) -> CameraGroup:
    """Return the cameras in another world; all images stay as they are."""
    rotation = cams.rotation @ change.rotation.T
    translation = change.scale * cams.translation - (rotation @ change.shift[:, None])[..., 0]
    return cams.replace(rotation=rotation, translation=translation)


def match_points(points: Floats, positions: Floats, *, keep_scale: bool = False) -> WorldChange:
    """Find the similarity that brings points nearest to known positions (Umeyama 1991).

    Args:
        points: (K, 3) points in the old world; NaN is missing.
        positions: (K, 3) their positions in the new world; NaN is missing.
        keep_scale: True to leave lengths as they are.

    Raises:
        InputError: `too-few-points`, if fewer than 3 points are known or all are in a line; `wrong-shape`, if a shape
            is wrong; `wrong-array` or `bad-number`, if an argument is no array.
    """
    points, positions = _world_points(points, "points"), _world_points(positions, "positions")
    if points.shape != positions.shape:
        raise InputError(
            f"positions: wrong shape, found {positions.shape}, expected {points.shape} as for the points",
            code="wrong-shape",
            argument="positions",
            found=positions.shape,
        )
    known = seen_corners(points) & seen_corners(positions)
    source, target = points[known], positions[known]
    _check_spread(source, "known points")
    scale, rotation, shift = similarity(source, target, np.ones(len(source)))
    if keep_scale:
        scale, shift = 1.0, target.mean(axis=0) - rotation @ source.mean(axis=0)
    moved = scale * source @ rotation.T + shift
    return WorldChange(
        scale=scale,
        rotation=rotation,
        shift=shift,
        error=float(np.sqrt(((moved - target) ** 2).sum(axis=1).mean())),
    )


def axes_from_points(origin: Floats, along_x: Floats, towards_y: Floats) -> WorldChange:
    """Find the world with a point as origin, another on the x axis, and a third in the xy plane on the side of y.

    Args:
        origin: (3,) origin in the old world.
        along_x: (3,) point on the positive x axis.
        towards_y: (3,) point of the xy plane with positive y.

    Raises:
        InputError: `too-few-points`, if the three points are in a line or one is unknown; `wrong-shape`, if a shape is
            wrong; `wrong-array` or `bad-number`, if an argument is no array.
    """
    given = {"origin": origin, "along_x": along_x, "towards_y": towards_y}
    points = np.concatenate([_world_points(as_array(each, name)[None], name) for name, each in given.items()])
    origin, along_x, towards_y = points
    if not np.isfinite(points).all():
        raise InputError(
            "axes: a point is not seen by two agreeing views, expected three points in 3D", code="too-few-points"
        )
    _check_spread(points, "origin and axes")
    x = (along_x - origin) / np.linalg.norm(along_x - origin)
    z = np.cross(x, towards_y - origin)
    z /= np.linalg.norm(z)
    rotation = np.stack([x, np.cross(z, x), z])
    return WorldChange(scale=1.0, rotation=rotation, shift=-rotation @ origin)


def floor_from_points(points: Floats, cams: CameraGroup) -> WorldChange:
    """Find the world whose xy plane is a plane through points, such as feet on the floor, with z up.

    Points above the plane are left out: the plane below most cameras that as many points as possible are near to, from
    three points at a time. Up is the side of the cameras. The origin is the middle of the points of the plane, and x is
    the horizontal direction to the right of the first camera.

    Args:
        points: (P, 3) points in the old world, most of them on the floor; NaN is missing.
        cams: V cameras in the old world.

    Raises:
        InputError: `too-few-points`, if fewer than 3 points are known or all are in a line; `wrong-shape`, if a shape
            is wrong; `wrong-array` or `bad-number`, if an argument is no array.
    """
    points = _world_points(points, "points")
    known = points[seen_corners(points)]
    _check_spread(known, "points of the floor")
    normal, origin, near = _fit_plane(known)
    if np.median((cams.centers - origin) @ normal) < 0:
        normal = -normal
    right = cams.rotation[0, 0] - (cams.rotation[0, 0] @ normal) * normal
    if np.linalg.norm(right) < 1e-3:  # the first camera lies on its side
        right = cams.rotation[0, 2] - (cams.rotation[0, 2] @ normal) * normal
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(normal, right), normal])
    distance = (known[near] - origin) @ normal
    return WorldChange(
        scale=1.0, rotation=rotation, shift=-rotation @ origin, error=float(np.sqrt((distance**2).mean()))
    )


def _fit_plane(points: Floats) -> tuple[Floats, Floats, Floats]:
    """Return normal and middle of a plane, robust to points off it (least median of squares), and which are near."""
    rng = np.random.default_rng(0)
    best, smallest = (np.array([0.0, 0, 1]), points.mean(axis=0)), np.inf
    for _ in range(_ROUNDS):
        three = points[rng.choice(len(points), 3, replace=False)]
        normal = np.cross(three[1] - three[0], three[2] - three[0])
        if np.linalg.norm(normal) < 1e-12:
            continue
        normal /= np.linalg.norm(normal)
        spread = float(np.quantile(np.abs((points - three[0]) @ normal), _SHARE_LIFTED))
        if spread < smallest:
            best, smallest = (normal, three[0]), spread
    near = np.abs((points - best[1]) @ best[0]) <= 2.5 * 1.4826 * smallest + 1e-12
    middle = points[near].mean(axis=0)
    _, _, axes = np.linalg.svd(points[near] - middle, full_matrices=False)
    return axes[2], middle, near


def _world_points(values: Floats, argument: str) -> Floats:
    """Return points (K, 3) in float64.

    Raises:
        InputError: `wrong-shape`, if they are not (K, 3); `wrong-array` or `bad-number`, if they are no array.
    """
    points = as_float64(values, argument)
    if points.ndim != 2 or points.shape[-1] != 3:
        raise InputError(
            f"{argument}: wrong shape, found {points.shape}, expected points in 3D",
            code="wrong-shape",
            argument=argument,
            found=points.shape,
        )
    return points


def _check_spread(points: Floats, what: str) -> None:
    if len(points) < 3:
        raise InputError(
            f"{what}: too few that two agreeing views see, found {len(points)}, expected 3",
            code="too-few-points",
            found=len(points),
            expected=3,
        )
    values = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if values[1] <= 1e-6 * values[0]:
        raise InputError(
            f"{what}: all {len(points)} are in a line, which leaves a turn about it open",
            code="too-few-points",
            found=len(points),
        )
