"""Cameras in a 3D figure: frusta with names."""

from __future__ import annotations

from typing import Any

import numpy as np

from mvgeom import CameraGroup
from mvgeom.rig_figure import frustum_corners, frustum_depth
from mvtrain.report.plots import color, plain

_ORDER = (0, 1, 2, 0, 3, 4, 0, -1, 2, 3, -1, 4, 1)
"""How the corners of a frustum (0 is the camera's centre) are joined by one line; -1 is a gap."""


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
        # Not `plain`: what stands inside of a 3D figure is painted, and knows no entities.
        "text": list(cameras.names),
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


def _outline(corners: np.ndarray) -> np.ndarray:
    with_gap = np.vstack([corners, np.full((1, 3), np.nan)])
    return with_gap[list(_ORDER)]


def coordinates(points: np.ndarray) -> dict[str, np.ndarray]:
    """World points (M, 3) as plotly takes them; NaN is a gap."""
    return dict(zip("xyz", points.astype(np.float32).T, strict=True))
