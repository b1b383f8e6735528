"""Left and right exchanged in one view: found by exchanging them back and seeing whether the views then agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mvgeom import CameraGroup, reprojection_error, triangulate
from mvgeom.calibration.findings import Finding, error, warning
from mvtrain.checking.calibrations import CalibratedFrames, visible_points, without_disagreeing
from mvtrain.checking.reprojection import LabelErrors
from mvtrain.data.project import Project

_BETTER = 0.4
"""Error with the two exchanged, in that without, below which they are taken for exchanged."""

_DISTINCT = 2.0
"""Of three views and more, how many times larger the error is when they are exchanged in any other view instead."""

_NOISES = 4.0
_SMALLEST_PX = 2.0
_MOSTLY = 0.5
_ENOUGH = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class SideCheck:
    """What the other views say about left and right in one view.

    Attributes:
        view: in which they may be exchanged; of two views nothing tells which.
        pair: the two keypoints.
        exchanged: rows in which the views agree once the two are exchanged.
        right: number of frames in which they clearly agree as labelled, and not when exchanged.
        error: median over these rows of the root mean square reprojection error in px, as labelled.
        error_exchanged: the same with the two exchanged.
    """

    view: int
    pair: tuple[int, int]
    exchanged: np.ndarray
    right: int
    error: float
    error_exchanged: float


def check_sides(
    points: np.ndarray, cameras: CameraGroup, pairs: Iterable[tuple[int, int]], noise: float
) -> list[SideCheck]:
    """Look for moments at which exchanging a pair in one view makes the views agree.

    Args:
        points: (N, V, K, 2) visible labels in frame px, NaN where missing.
        cameras: V cameras.
        pairs: of keypoints.
        noise: standard deviation of the labels in px; disagreement below a few of it proves nothing.

    Returns:
        The views and pairs with such moments; rows are counted within `points`.
    """
    found = []
    limit = max(_NOISES * noise, _SMALLEST_PX)
    for pair in pairs:
        both = points[:, :, list(pair)]
        before, count = _disagreement(both, cameras)
        after = np.full((points.shape[1], len(points)), np.inf)
        for view in range(points.shape[1]):
            exchanged = both.copy()
            exchanged[:, view] = both[:, view, ::-1]
            left, count_left = _disagreement(exchanged, cameras)
            # A label that nothing can be compared with any more is no agreement.
            usable = (count_left >= count) & np.isfinite(both[:, view]).any(axis=(-2, -1))
            after[view] = np.where(usable, left, np.inf)
        smallest = after.min(axis=0)
        clear = (before > limit) & (smallest < _BETTER * before)
        if points.shape[1] > 2:
            clear &= np.sort(after, axis=0)[1] > _DISTINCT * smallest
        for view in np.unique(after.argmin(axis=0)[clear]):
            rows = np.flatnonzero(clear & (after.argmin(axis=0) == view))
            right = np.isfinite(after[view]) & (after[view] > limit) & (before < _BETTER * after[view])
            found.append(
                SideCheck(
                    view=int(view),
                    pair=pair,
                    exchanged=rows,
                    right=int(right.sum()),
                    error=float(np.median(before[rows])),
                    error_exchanged=float(np.median(smallest[rows])),
                )
            )
    return found


def _disagreement(both: np.ndarray, cameras: CameraGroup) -> tuple[np.ndarray, np.ndarray]:
    """(N,) root mean square reprojection error of two keypoints in px, NaN without any, and of how many labels."""
    errors = reprojection_error(triangulate(both, cameras), both, cameras)
    count = np.isfinite(errors).sum(axis=(1, 2))
    squares = np.nansum(errors**2, axis=(1, 2))
    return np.where(count > 0, np.sqrt(squares / np.maximum(count, 1)), np.nan), count


def exchange_findings(
    project: Project,
    groups: Iterable[CalibratedFrames],
    errors: LabelErrors,
    lines: np.ndarray,
    pairs: Sequence[tuple[int, int]],
) -> list[Finding]:
    """One finding per view and pair of keypoints: an error where most frames have them exchanged, else a warning.

    Args:
        project: whose labels to look at.
        groups: its calibrations; those that contradict their labels are left out.
        errors: of the labels.
        lines: (N, V) line of each row in the label table of each view.
        pairs: of keypoints that are each other's mirror image.
    """
    points = visible_points(project)
    findings = []
    for group in groups:
        if group.contradicted or not np.isfinite(errors.noise[group.rows[0]]):
            continue
        others, noise = without_disagreeing(points, group), float(errors.noise[group.rows[0]])
        for each in check_sides(others, group.cameras, pairs, noise):
            told = lines[group.rows[each.exchanged], each.view]
            findings.append(_describe(project, each, group.name, told.tolist()))
    return sorted(findings, key=lambda each: -each.evidence["frames"])


def _describe(project: Project, found: SideCheck, session: str, lines: list[int]) -> Finding:
    view, (one, other) = project.view_names[found.view], (project.keypoint_names[k] for k in found.pair)
    number, total = len(lines), len(lines) + found.right
    unsure = " (or in the other view)" if len(project.view_names) == 2 else ""
    shown = ", ".join(map(str, lines[:8])) + (", ..." if number > 8 else "")
    text = (
        f"{session}: {one} and {other} seem exchanged in view {view}{unsure} in {number} of the {total} frames that "
        f"can tell: exchanged back they fit the other views to {found.error_exchanged:.1f} px instead of "
        f"{found.error:.1f} px. Look at lines {shown} of the view's label table"
    )
    evidence = {"frames": number, "frames_that_tell": total, "error": found.error}
    mostly = total >= _ENOUGH and number > _MOSTLY * total
    return (error if mostly else warning)(
        "exchanged_sides", [view], text, **evidence, error_exchanged=found.error_exchanged
    )
