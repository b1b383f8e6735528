"""Whether points and cameras fit each other."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from mvgeom._arrays import Array
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError


def common_namespace(points: Array, cams: CameraGroup) -> Any:
    """The array library of points and cameras.

    Raises:
        ValueError: when one is NumPy and the other torch.
    """
    xp = array_namespace(points)
    if array_namespace(cams.matrix) is not xp:
        raise InputError(
            f"points are {type(points).__module__}.{type(points).__name__} but the cameras hold "
            f"{type(cams.matrix).__module__}.{type(cams.matrix).__name__}; convert with cams.to(like=points)",
            code="mixed-libraries",
        )
    return xp


def check_views(points: Array, cams: CameraGroup, at_least: int = 1) -> None:
    """Raise a ValueError unless points are (..., V, K, 2) for the V cameras of the group, and V is large enough."""
    if len(cams) < at_least:
        raise InputError(
            f"this needs at least {at_least} cameras, the group has {list(cams.names)}",
            code="too-few-views",
            found=len(cams),
            expected=at_least,
        )
    shape = tuple(points.shape)
    if len(shape) < 3 or shape[-1] != 2 or shape[-3] != len(cams):
        raise InputError(
            f"points must have shape (..., {len(cams)}, K, 2) for the cameras {list(cams.names)}, got {shape}",
            code="wrong-shape",
            argument="points",
            found=shape,
        )


def check_world(points: Array) -> None:
    """Raise a ValueError unless points are (..., K, 3)."""
    if len(points.shape) < 2 or points.shape[-1] != 3:
        raise InputError(
            f"points must have shape (..., K, 3) in the world, got {tuple(points.shape)}",
            code="wrong-shape",
            argument="points",
            found=tuple(points.shape),
        )
