"""Calibrations, refinements and checks as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from rich import box
from rich.table import Table

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.diagnosis import Check
from mvgeom.calibration.findings import Finding
from mvgeom.calibration.from_keypoints import KeypointCalibration
from mvgeom.calibration.keypoint_refinement import Refinement
from mvgeom.calibration.known_points import PlacedCameras
from mvgeom.calibration.quality import image_coverage
from mvgeom.calibration.result import Calibration

__all__ = [
    "calibration_table",
    "check_table",
    "finding_lines",
    "keypoint_calibration_table",
    "length_table",
    "pair_table",
    "placement_table",
    "refinement_table",
    "view_pair_table",
]


def calibration_table(calibration: Calibration, title: str) -> Table:
    """Create a table of a calibration: boards, error, image coverage, lens and pose per camera."""
    columns = ("camera", "boards", "rms px", "covered", "focal px", "center px", "pose ±deg", "±unit")
    table = _table(title, columns)
    used = calibration.used
    points = np.where(used[..., None, None], calibration.detections.points, np.nan)
    coverage = image_coverage(points, calibration.detections.sizes)
    spread = calibration.deviations
    for view, name in enumerate(calibration.cameras.names):
        matrix, focal = calibration.cameras.matrix[view], spread.focal[view].max()
        lengths = f"{matrix[0, 0]:.1f}"
        if not np.isclose(matrix[0, 0], matrix[1, 1], rtol=5e-3):
            lengths += f" {matrix[1, 1]:.1f}"
        table.add_row(
            name,
            str(int(used[view].sum())),
            f"{calibration.camera_rms[view]:.3f}",
            f"{100 * coverage[view]:.0f} %",
            lengths + _plus_minus(focal, matrix[0, 0]),
            f"{matrix[0, 2]:.0f} {matrix[1, 2]:.0f}" + _plus_minus(spread.center[view].max(), matrix[0, 0]),
            _turn_or_dash(spread.rotation_deg[view], ".3f"),
            _length_or_dash(spread.position[view], ".2g"),
        )
    return table


def pair_table(calibration: Calibration) -> Table:
    """Create a table of camera pairs that see boards together: their number, and how many agreed before adjustment."""
    table = _table("pairs of cameras", ("pair", "boards together", "agree", "error px"))
    names, focal = calibration.cameras.names, calibration.cameras.matrix[:, 0, 0]
    for (one, other), relation in calibration.relations.items():
        table.add_row(
            f"{names[one]} - {names[other]}",
            str(relation.common),
            str(int(relation.agreeing.sum())),
            f"{relation.error * focal[other]:.2f}",
        )
    return table


def keypoint_calibration_table(calibration: KeypointCalibration, title: str) -> Table:
    """Create a table of a calibration from keypoints: keypoints, error, lens and pose per camera."""
    columns = ("camera", "keypoints", "left out", "error px", "focal px", "k1", "pose ±deg", "±unit")
    table = _table(title, columns)
    spread, cameras = calibration.deviations, calibration.cameras
    used = calibration.used.sum(axis=(0, 2))
    given = np.isfinite(calibration.residuals).all(-1).sum(axis=(0, 2))
    for view, name in enumerate(cameras.names):
        focal = cameras.matrix[view, 0, 0]
        coefficient = f"{cameras.distortion[view, 0]:.3f}" if calibration.lenses.k1[view] else "-"
        table.add_row(
            name,
            str(int(used[view])),
            f"{100 * (1 - used[view] / max(given[view], 1)):.0f} %",
            _or_dash(calibration.camera_error[view], ".2f"),
            f"{focal:.1f}" + _plus_minus(spread.focal[view].max(), focal),
            coefficient,
            _turn_or_dash(spread.rotation_deg[view], ".3f"),
            _length_or_dash(spread.position[view], ".2g"),
        )
    return table


def view_pair_table(calibration: KeypointCalibration) -> Table:
    """Create a table of pairs of views: common points, how many agree, and errors with and without depth."""
    columns = ("pair", "common points", "agree", "error px", "as a plane px", "parallax deg", "determines")
    table = _table("pairs of views", columns)
    names = calibration.cameras.names
    for (one, other), pair in calibration.pairs.items():
        table.add_row(
            f"{names[one]} - {names[other]}",
            str(pair.common),
            str(int(pair.inliers.sum())),
            _or_dash(pair.noise, ".2f"),
            _or_dash(pair.plane_noise, ".1f"),
            f"{pair.parallax_deg:.0f}",
            {"general": "a pose", "plane": "nothing: a plane", "rotation": "nothing: no distance"}.get(
                pair.motion, "nothing: too few"
            ),
        )
    return table


def length_table(calibration: KeypointCalibration) -> Table:
    """Create a table of the known lengths, as measured in the calibrated rig."""
    table = _table("lengths", ("keypoints", "given", "measured", "±", "varies", "frames"))
    for each in calibration.scale.lengths:
        table.add_row(
            f"{each.known.first} - {each.known.second}",
            f"{each.known.length:.4g}",
            f"{each.measured:.4g}",
            f"{each.spread:.2g}",
            f"{100 * each.variation:.1f} %",
            str(each.num_frames),
        )
    return table


def placement_table(placed: PlacedCameras, title: str) -> Table:
    """Create a table of cameras that were placed by known points: points, error and pose per camera."""
    table = _table(title, ("camera", "points", "rms px", "worst px", "position", "pose ±deg", "±unit"))
    for view, name in enumerate(placed.cameras.names):
        lengths = np.linalg.norm(placed.residuals[view], axis=-1)
        table.add_row(
            name,
            str(int(np.isfinite(lengths).sum())),
            f"{placed.rms[view]:.2f}",
            f"{np.nanmax(lengths):.2f}",
            " ".join(f"{value:.4g}" for value in placed.cameras.centers[view] + 0.0),
            _turn_or_dash(placed.rotation_deg[view], ".3f"),
            _length_or_dash(placed.position[view], ".2g"),
        )
    return table


def refinement_table(refinement: Refinement, title: str) -> Table:
    """Create a table of a refinement: median error before and after, and movement per camera."""
    columns = ("camera", "keypoints", "before px", "after px", "turned deg", "moved", "pose ±deg", "±unit")
    table = _table(title, columns)
    count = np.isfinite(refinement.residuals).all(-1).sum(axis=(0, 2))
    errors, spread = refinement.errors, refinement.deviations
    for view, name in enumerate(refinement.cameras.names):
        table.add_row(
            name,
            str(int(count[view])),
            f"{errors.before[view]:.2f}",
            f"{errors.after[view]:.2f}",
            f"{refinement.rotation_deg[view]:.2f}",
            f"{refinement.shift[view]:.3g}",
            _turn_or_dash(spread.rotation_deg[view], ".2f"),
            _length_or_dash(spread.position[view], ".2g"),
        )
    overall = f"{errors.overall_before:.2f}", f"{errors.overall_after:.2f}"
    table.add_row("all", str(int(count.sum())), *overall, *[""] * 4)
    return table


def check_table(check: Check, title: str) -> Table:
    """Create a table of a check: errors with each camera, and errors and noise without it."""
    columns = ("camera", "keypoints", "error px", "left out: own px", "others px", "noise px")
    table = _table(title, columns)
    for view, name in enumerate(check.names):
        table.add_row(
            name,
            str(int(check.num_points[view])),
            f"{check.error[view]:.2f}",
            _or_dash(check.own_error[view], ".2f"),
            _or_dash(check.error_of_others[view], ".2f"),
            _or_dash(check.noise_without[view], ".2f"),
        )
    table.add_row("all", str(int(check.num_points.sum())), "", "", "", f"{check.noise:.2f}")
    return table


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """Return `severity: text` for each finding."""
    return [f"{each.severity}: {each.text}" for each in findings]


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(columns):
        table.add_column(heading, justify="left" if number == 0 else "right")
    return table


def _plus_minus(spread: float, focal: float) -> str:
    """Return a standard deviation in px; one beyond the focal length, of a lens that is not determined, as a limit."""
    if spread > focal:
        return f" ±>{focal:.0f}"
    return f" ±{spread:.1f}" if spread > 0 else ""


def _turn_or_dash(values: Floats, form: str) -> str:
    """Return the length of a vector of degrees; one beyond half a turn, of an unknown pose, as a limit."""
    return ">180" if np.linalg.norm(values) > 180 else _length_or_dash(values, form)


def _length_or_dash(values: Floats, form: str) -> str:
    return _or_dash(float(np.linalg.norm(values)), form)


def _or_dash(value: float, form: str) -> str:
    """Return `-` for a value that was held fixed or is unknown."""
    return format(value, form) if np.isfinite(value) and value > 0 else "-"
