"""Cameras in a 3D figure: frusta with names, and from where to look at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mvgeom import CameraGroup
from mvgeom.rig_figure import focus, frustum_corners, frustum_depth, quiet_azimuth, upright_rotation
from mvtrain.report.plots import color, plain

_ORDER = (0, 1, 2, 0, 3, 4, 0, -1, 2, 3, -1, 4, 1)
"""How the corners of a frustum (0 is the camera's centre) are joined by one line; -1 is a gap."""

_ELEVATION_DEGREES = 20


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """From where a scene is looked at, in the world's directions.

    Attributes:
        up: (3,) unit vector.
        towards_eye: (3,) unit vector from the scene to the eye.
    """

    up: np.ndarray
    towards_eye: np.ndarray


def camera_traces(cameras: CameraGroup) -> list[dict[str, Any]]:
    """Plotly traces: the frustum of each camera, then all names."""
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter3d",
            "mode": "lines",
            "line": {"color": color(view), "width": 3},
            "name": plain(name),
            "hoverinfo": "name",
            "showlegend": False,
            **coordinates(_outline(corners)),
        }
        for view, (name, corners) in enumerate(
            zip(cameras.names, frustum_corners(cameras, frustum_depth(cameras)), strict=True)
        )
    ]
    names = {
        "type": "scatter3d",
        "mode": "text",
        "text": [plain(name) for name in cameras.names],
        "textfont": {"color": [color(view) for view in range(len(cameras))], "size": 13},
        "textposition": "top center",
        "hoverinfo": "skip",
        "showlegend": False,
        **coordinates(np.asarray(cameras.centers)),
    }
    return [*traces, names]


def rig_points(cameras: CameraGroup) -> np.ndarray:
    """(M, 3) all that `camera_traces` draws."""
    return np.concatenate(frustum_corners(cameras, frustum_depth(cameras)))


def outlook(cameras: CameraGroup) -> Outlook:
    """As the cameras see up and down, and so that as few of them as possible hide each other."""
    upright = upright_rotation(cameras)
    azimuth = np.deg2rad(quiet_azimuth((cameras.centers - focus(cameras)) @ upright.T))
    elevation = np.deg2rad(_ELEVATION_DEGREES)
    direction = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    return Outlook(up=upright[2], towards_eye=np.array(direction) @ upright)


def _outline(corners: np.ndarray) -> np.ndarray:
    with_gap = np.vstack([corners, np.full((1, 3), np.nan)])
    return with_gap[list(_ORDER)]


def coordinates(points: np.ndarray) -> dict[str, np.ndarray]:
    """World points (M, 3) as plotly takes them; NaN is a gap."""
    return dict(zip("xyz", points.astype(np.float32).T, strict=True))
