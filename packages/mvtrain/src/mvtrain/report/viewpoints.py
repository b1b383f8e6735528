"""From where a scene is looked at: so that all of it is in sight, upright, and no camera hides another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from mvgeom import CameraGroup
from mvgeom.rig_figure import focus, quiet_azimuth, upright_rotation
from mvtrain.report.rig_traces import rig_points
from mvtrain.report.scenes import Scene

_PERCENTILES = (2, 98)
"""Of the poses' coordinates, that are sure to be inside: a failed triangulation can be anywhere."""
_MARGIN = 0.04
_FIELD_OF_VIEW = np.deg2rad(45)
"""Of plotly's 3D figures, from their lower to their upper edge."""
_ASPECT = 0.95
"""Width over height of the narrowest figure, that of a phone."""
_ROOM = 1.1
_NEAREST = 0.05
_ELEVATION_DEGREES = 20


@dataclass(frozen=True, kw_only=True)
class _Outlook:
    """From where a scene is looked at, in the world's directions.

    Attributes:
        up: (3,) unit vector.
        towards_eye: (3,) unit vector from the scene to the eye.
    """

    up: np.ndarray
    towards_eye: np.ndarray


def bounds(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """(3,) lowest and highest coordinates that are shown."""
    poses = scene.points[np.isfinite(scene.points).all(-1)]
    everything = np.concatenate([np.percentile(poses, _PERCENTILES, axis=0), *(rig_points(rig) for rig in scene.rigs)])
    low, high = everything.min(axis=0), everything.max(axis=0)
    # A rig in a plane still needs some room.
    margin = np.maximum(_MARGIN * (high - low), 0.02 * (high - low).max())
    return low - margin, high + margin


def viewpoints(scene: Scene, low: np.ndarray, high: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """Plotly's cameras that see the whole rig, and the subject.

    Their unit is the longest side of the scene, their origin its middle.
    """
    unit, middle = (high - low).max(), (high + low) / 2
    look = _outlook(scene.cameras[0])
    subject = np.percentile(scene.points[np.isfinite(scene.points).all(-1)], _PERCENTILES, axis=0)
    corners = np.array(list(product(*subject.T)))
    everything = np.concatenate([corners, *(rig_points(rig) for rig in scene.rigs)])
    return _viewpoint(look, (everything - middle) / unit), _viewpoint(look, (corners - middle) / unit)


def _viewpoint(look: _Outlook, points: np.ndarray) -> dict[str, Any]:
    """From where all points (M, 3) are seen, as near as can be."""
    right = np.cross(look.up, look.towards_eye)
    axes = np.stack([right / np.linalg.norm(right), np.cross(look.towards_eye, right), look.towards_eye])
    axes[1] /= np.linalg.norm(axes[1])
    seen = points @ axes.T
    middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
    half_height = np.maximum(np.abs(seen - middle)[:, 0] / _ASPECT, np.abs(seen - middle)[:, 1])
    depth = (seen - middle)[:, 2]
    distance = max(_NEAREST, _ROOM * float((half_height / np.tan(_FIELD_OF_VIEW / 2) + depth).max()))
    center = middle @ axes
    vectors = {"up": look.up, "center": center, "eye": center + distance * look.towards_eye}
    return {name: dict(zip("xyz", vector.round(5).tolist(), strict=True)) for name, vector in vectors.items()}


def _outlook(cameras: CameraGroup) -> _Outlook:
    """As the cameras see up and down, and so that as few of them as possible hide each other."""
    upright = upright_rotation(cameras)
    azimuth = np.deg2rad(quiet_azimuth((cameras.centers - focus(cameras)) @ upright.T))
    elevation = np.deg2rad(_ELEVATION_DEGREES)
    direction = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    return _Outlook(up=upright[2], towards_eye=np.array(direction) @ upright)
