"""Left and right exchanged in one view: found by exchanging them back and seeing whether the views then agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mvaug.mirror import mirrored_order
from mvgeom import CameraGroup, reprojection_error, triangulate
from mvgeom.calibration.findings import Finding, error, note, warning
from mvtrain.checking.calibrations import CalibratedFrames, visible_points
from mvtrain.checking.reprojection import LabelErrors
from mvtrain.data.project import Project

_BETTER = 0.4
"""Error with the two exchanged, in that without, below which they are taken for exchanged."""

_DISTINCT = 2.0
"""Of three views and more, how many times larger the error is when they are exchanged in any other view instead."""

_NOISES = 4.0
_SMALLEST_PX = 2.0
_MOSTLY = 0.5
_ENOUGH = 10


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A moment at which one view seems to have left and right exchanged.

    Attributes:
        row: of the project.
        view: in which they are exchanged; of two views nothing tells which.
        pair: the two keypoints.
        error: root mean square reprojection error of the two in px as labelled.
        error_exchanged: the same with the two exchanged in that view.
    """

    row: int
    view: int
    pair: tuple[int, int]
    error: float
    error_exchanged: float


def sides(keypoint_names: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of keypoints that are each other's mirror image, told by their names.

    Raises:
        ValueError: a left or right keypoint without its counterpart.
    """
    return [(one, other) for one, other in enumerate(mirrored_order(keypoint_names)) if one < other]


def find_exchanged(
    points: np.ndarray, cameras: CameraGroup, pairs: Iterable[tuple[int, int]], noise: float
) -> list[Exchange]:
    """Moments at which exchanging a pair in one view makes the views agree.

    Args:
        points: (N, V, K, 2) visible labels in frame px, NaN where missing.
        cameras: V cameras.
        pairs: of keypoints.
        noise: standard deviation of the labels in px; disagreement below a few of it proves nothing.

    Returns:
        Exchanges with rows counted within `points`.
    """
    found = []
    num_views = points.shape[1]
    for pair in pairs:
        both = points[:, :, list(pair)]
        before, count = _disagreement(both, cameras)
        after = np.full((num_views, len(points)), np.inf)
        for view in range(num_views):
            exchanged = both.copy()
            exchanged[:, view] = both[:, view, ::-1]
            left, count_left = _disagreement(exchanged, cameras)
            # A label that nothing can be compared with any more is no agreement.
            usable = (count_left >= count) & np.isfinite(both[:, view]).any(axis=(-2, -1))
            after[view] = np.where(usable, left, np.inf)
        best = after.argmin(axis=0)
        smallest = after.min(axis=0)
        clear = (before > max(_NOISES * noise, _SMALLEST_PX)) & (smallest < _BETTER * before)
        if num_views > 2:
            clear &= np.sort(after, axis=0)[1] > _DISTINCT * smallest
        found += [
            Exchange(row=int(row), view=int(best[row]), pair=pair, error=before[row], error_exchanged=smallest[row])
            for row in np.flatnonzero(clear)
        ]
    return found


def _disagreement(both: np.ndarray, cameras: CameraGroup) -> tuple[np.ndarray, np.ndarray]:
    """(N,) root mean square reprojection error of two keypoints in px, NaN without any, and of how many labels."""
    errors = reprojection_error(triangulate(both, cameras), both, cameras)
    count = np.isfinite(errors).sum(axis=(1, 2))
    squares = np.nansum(errors**2, axis=(1, 2))
    return np.where(count > 0, np.sqrt(squares / np.maximum(count, 1)), np.nan), count


def exchange_findings(
    project: Project, groups: Iterable[CalibratedFrames], errors: LabelErrors, lines: np.ndarray
) -> list[Finding]:
    """One finding per view and pair of keypoints: an error where most frames have them exchanged, else a warning.

    Args:
        project: whose labels to look at.
        groups: its calibrations; those that contradict their labels are left out.
        errors: of the labels.
        lines: (N, V) line of each row in the label table of each view.
    """
    usable = [group for group in groups if not group.contradicted and np.isfinite(errors.noise[group.rows[0]])]
    if not usable:
        return []
    try:
        pairs = sides(project.keypoint_names)
    except ValueError as problem:
        return [note("sides_not_checked", (), f"exchanged left and right were not looked for: {problem}")]
    points = visible_points(project)
    found: list[Exchange] = []
    for group in usable:
        own = find_exchanged(points[group.rows], group.cameras, pairs, float(errors.noise[group.rows[0]]))
        found += [replace(each, row=int(group.rows[each.row])) for each in own]
    findings = []
    for (view, pair), number in Counter((each.view, each.pair) for each in found).most_common():
        own = [each for each in found if (each.view, each.pair) == (view, pair)]
        names = [project.keypoint_names[k] for k in pair]
        where = project.view_names[view]
        together = int(np.isfinite(errors.error[:, view][:, list(pair)]).all(axis=-1).sum())
        before, after = (np.median([getattr(each, key) for each in own]) for key in ("error", "error_exchanged"))
        shown = ", ".join(str(lines[each.row, view]) for each in own[:8]) + (", ..." if number > 8 else "")
        unsure = " (or in the other view)" if len(project.view_names) == 2 else ""
        text = (
            f"{names[0]} and {names[1]} seem exchanged in view {where}{unsure} in {number} of {together} frames: "
            f"exchanged back they fit the other views to {after:.1f} px instead of {before:.1f} px. Lines {shown} of "
            "its label table"
        )
        mostly = together >= _ENOUGH and number > _MOSTLY * together
        build = error if mostly else warning
        findings.append(
            build("exchanged_sides", [where], text, frames=number, error=float(before), error_exchanged=float(after))
        )
    return findings
