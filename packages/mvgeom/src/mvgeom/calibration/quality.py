"""Weaknesses of a completed calibration, as findings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.bundle import Booleans
from mvgeom.calibration.deviation_words import percent
from mvgeom.calibration.findings import Finding, error, warning
from mvgeom.calibration.lens_findings import find_large_errors, find_lens_ends
from mvgeom.calibration.result import Calibration
from mvgeom.calibration.rig_suspects import TIME_CODES
from mvgeom.calibration.selection import coverage_cells
from mvgeom.wording import counted

__all__ = ["assess", "image_coverage"]

_LOW_COVERAGE = 0.4
_LOOSE_FOCAL, _LOOSE_FOCAL_OUT_OF_TIME, _UNKNOWN_FOCAL = 0.005, 0.05, 0.25
_UNEQUAL_FOCAL = 0.01
_LOOSE_POSITION, _UNKNOWN_POSITION = 0.05, 0.25
_TESTED_LINK = 3
"""Least number of boards between two parts of a rig of which a single wrong one would be outvoted."""


def image_coverage(points: Floats, sizes: Floats) -> Floats:
    """Return the fraction (V,) of the cells of an 8x8 grid over each image that boards cover.

    Args:
        points: (V, F, K, 2) board corners in full-image px; NaN is missing.
        sizes: (V, 2) image width and height in px.
    """
    return np.asarray(coverage_cells(points, sizes).any(axis=1).mean(axis=-1))


def assess(calibration: Calibration, found: Sequence[Finding]) -> list[Finding]:
    """Find large errors, low coverage, lenses without rays, and uncertain or unequal focal lengths and positions.

    Args:
        calibration: Completed calibration.
        found: Findings so far. Errors of cameras that are not synchronized have that cause, and no other is named.
    """
    names = calibration.cameras.names
    used = np.where(calibration.used[..., None, None], calibration.detections.points, np.nan)
    coverage = image_coverage(used, calibration.detections.sizes)
    focal = calibration.cameras.matrix[:, [0, 1], [0, 1]]
    spread = calibration.deviations.focal
    findings = find_lens_ends(calibration.cameras)
    findings += _uncertain_positions(calibration)
    findings += _weak_links(names, calibration.used)
    out_of_time = any(each.code in TIME_CODES for each in found)
    for view, name in enumerate(names):
        if not out_of_time:
            findings += find_large_errors([name], calibration.camera_rms[[view]])
        if not spread[view].any():
            continue  # intrinsics were kept as given
        if coverage[view] < _LOW_COVERAGE:
            text = (
                f"camera {name!r}: boards cover {100 * coverage[view]:.0f} % of the image; outside this area the lens "
                "is only extrapolated. Show the board near the borders too"
            )
            findings.append(warning("low_coverage", [name], text, coverage=coverage[view]))
        relative = spread[view].max() / focal[view].min()
        # Where cameras are not synchronized, that comes first. Lenses are those of each camera's own images, and are
        # named where these leave them open.
        if relative > (_LOOSE_FOCAL_OUT_OF_TIME if out_of_time else _LOOSE_FOCAL):
            text = (
                f"camera {name!r}: its focal length is uncertain by {percent(relative, 1)}. Tilt the board more (30 to "
                "50 degrees), in several directions"
            )
            build = error if relative > _UNKNOWN_FOCAL else warning
            findings.append(build("uncertain_focal_length", [name], text, relative_deviation=relative))
        ratio = focal[view, 0] / focal[view, 1]
        if abs(ratio - 1) > max(_UNEQUAL_FOCAL, 5 * np.hypot(*spread[view]) / focal[view].min()):
            text = (
                f"camera {name!r}: fx and fy differ by {100 * (ratio - 1):.1f} %. Either its pixels are not square, "
                "or the board's squares are not (check the print), or its images were stretched"
            )
            findings.append(warning("unequal_focal_lengths", [name], text, fx_over_fy=ratio))
    return findings


def _uncertain_positions(calibration: Calibration) -> list[Finding]:
    """Find cameras whose position is uncertain beside their distance to the nearest other camera."""
    centers, spread = calibration.cameras.centers, calibration.deviations.position
    findings = []
    for view, name in enumerate(calibration.cameras.names):
        others = np.delete(centers, view, axis=0)
        if not len(others) or not spread[view].any():
            continue
        baseline = float(np.linalg.norm(others - centers[view], axis=1).min())
        deviation = float(np.linalg.norm(spread[view]))
        if deviation > _LOOSE_POSITION * baseline:
            text = (
                f"camera {name!r}: its position is uncertain by {deviation:.2g}, its distance to the nearest camera is "
                f"{baseline:.2g}: the boards that cameras share do not tell how far they are apart. Show the board to "
                "both at more places, nearer and more tilted"
            )
            build = error if deviation > _UNKNOWN_POSITION * baseline else warning
            findings.append(build("uncertain_position", [name], text, deviation=deviation, baseline=baseline))
    return findings


def _weak_links(names: Sequence[str], used: Booleans) -> list[Finding]:
    """Find groups of cameras that so few boards link to the others that none would contradict a wrong one.

    Args:
        names: V camera names.
        used: (V, F) booleans, true for boards that were adjusted.
    """
    common = used.astype(int) @ used.T.astype(int)
    count, label = connected_components(csr_array(common >= _TESTED_LINK), directed=False)
    groups = sorted((label == group for group in range(count)), key=np.count_nonzero)
    findings = []
    # The largest group is what the others are linked to.
    for inside in groups[:-1]:
        links = int((used[inside].any(axis=0) & used[~inside].any(axis=0)).sum())
        if links < _TESTED_LINK:
            cameras = [name for name, within in zip(names, inside, strict=True) if within]
            shown = ", ".join(map(repr, cameras))
            text = (
                f"camera{'s' if len(cameras) > 1 else ''} {shown}: only {counted(links, 'board')} shared with the "
                "other cameras, and none would contradict a wrong one, such as an image of another frame. Show the "
                "board to both sides at the same time, at ten places"
            )
            findings.append(warning("weak_link", cameras, text, boards=links))
    return findings
