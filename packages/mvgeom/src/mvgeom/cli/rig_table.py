"""Text description of a rig: a table of its cameras, and their distances and angles."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from rich import box
from rich.table import Table

from mvgeom.cameras import CameraGroup
from mvgeom.projection import invertible_radius, undistort
from mvgeom.rig_figure import focus

__all__ = ["camera_table", "rig_summary"]


def camera_table(cameras: CameraGroup, title: str) -> Table:
    """Create a table of cameras: image, focal length, principal point, field of view, lens and position.

    Fields of view are those of undistorted lines through the principal point. They are `?` if the image extends beyond
    the range of the lens model; the limit of that range is then shown with the lens.

    Args:
        cameras: Cameras of one rig, NumPy.
        title: Title above the table.
    """
    corners = np.zeros((len(cameras), 4, 2))
    corners[:, 0, 0], corners[:, 1, 0] = -0.5, cameras.sizes[:, 0] - 0.5
    corners[:, :2, 1] = cameras.matrix[:, 1, 2:]
    corners[:, 2, 1], corners[:, 3, 1] = -0.5, cameras.sizes[:, 1] - 0.5
    corners[:, 2:, 0] = cameras.matrix[:, 0, 2:]
    edges = np.rad2deg(np.arctan(np.abs(undistort(corners, cameras)[:, range(4), (0, 0, 1, 1)])))
    fields = edges.reshape(-1, 2, 2).sum(-1)
    limits = np.rad2deg(np.arctan(invertible_radius(cameras)))

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("camera", "image px", "focal px", "center px", "view deg", "lens", "position"):
        table.add_column(heading, justify="left" if heading in ("camera", "lens") else "right")
    for view, name in enumerate(cameras.names):
        matrix, used = cameras.matrix[view], np.flatnonzero(cameras.distortion[view])
        square = np.isclose(matrix[0, 0], matrix[1, 1], rtol=1e-3)
        lens = "fisheye" if cameras.fisheye[view] else f"{used[-1] + 1} coeff." if len(used) else "no distortion"
        skew = f", skew {matrix[0, 1]:.2g}" if matrix[0, 1] else ""
        valid = f", to {limits[view]:.0f} deg" if limits[view] < 80 else ""
        table.add_row(
            name,
            "{:g}x{:g}".format(*cameras.sizes[view]),
            f"{matrix[0, 0]:.1f}" if square else f"{matrix[0, 0]:.1f} {matrix[1, 1]:.1f}",
            f"{matrix[0, 2]:.0f} {matrix[1, 2]:.0f}",
            "x".join("?" if np.isnan(angle) else f"{angle:.0f}" for angle in fields[view]),
            lens + skew + valid,
            " ".join(f"{value:.3g}" for value in cameras.centers[view] + 0.0),
        )
    return table


def rig_summary(cameras: CameraGroup) -> list[str]:
    """Describe the cameras as a group: distances, common viewing point, angles between the views.

    Args:
        cameras: Cameras of one rig, NumPy; a single camera gives no lines.
    """
    if len(cameras) < 2:
        return []
    centers, target = cameras.centers, focus(cameras)
    apart = [float(np.linalg.norm(centers[a] - centers[b])) for a, b in combinations(range(len(cameras)), 2)]
    to_target = target - centers
    away = np.linalg.norm(to_target, axis=1)
    lines = [f"distances between cameras: {min(apart):.4g} to {max(apart):.4g} (the calibration's unit)"]
    if away.min() > 0:
        unit = to_target / away[:, None]
        angles = [
            float(np.rad2deg(np.arccos(np.clip(unit[a] @ unit[b], -1, 1))))
            for a, b in combinations(range(len(cameras)), 2)
        ]
        missed = np.linalg.norm(
            to_target - (to_target * cameras.rotation[:, 2]).sum(1)[:, None] * cameras.rotation[:, 2], axis=1
        )
        lines.append(
            f"optical axes come nearest to each other at {', '.join(f'{value:.4g}' for value in target)} "
            f"(they pass it at {missed.min():.2g} to {missed.max():.2g}), {away.min():.4g} to {away.max():.4g} away"
        )
        lines.append(f"angles between views, seen from there: {min(angles):.0f} to {max(angles):.0f} deg")
    return lines
