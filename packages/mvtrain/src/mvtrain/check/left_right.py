"""Checks of left and right: keypoints exchanged in one view, and sides of the body with different proportions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mvaug import mirrored_order
from mvgeom import CameraGroup, reprojection_error, triangulate
from mvgeom.calibration.findings import Finding, error, warning
from mvtrain.check.calibration_checks import CalibratedFrames, LabelErrors, visible_points, without_disagreeing
from mvtrain.project.project import Project

_BETTER = 0.4
"""Ratio of the error with the two exchanged to the error as labeled, below which they count as exchanged."""

_DISTINCT = 2.0
"""Ratio by which, with three or more views, the error is larger when they are exchanged in any other view instead."""

_NOISES = 4.0
_SMALLEST_PX = 2.0
"""Errors that prove nothing: up to this multiple of the noise, and up to this many px."""

_MOSTLY = 0.5
_ENOUGH = 5
"""Share of the conclusive frames, and number of them, from which an exchange is an error."""

_ENOUGH_FRAMES = 5
"""Number of frames from which a distance is known."""

_ENOUGH_DISTANCES = 3
"""Number of known distances from which the sides of the body are compared."""

_UNEQUAL = 1.25
"""Median ratio of the distances on both sides from which the sides are unequal.

The ratio is 1.07 on generated projects, and on human4 after its names are corrected; 1.35 on human4 as published.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Exchange:
    """A pair of keypoints that is exchanged in some frames of one view, by the other views.

    Attributes:
        view: View of the exchange; with two views it may also be the other one.
        pair: The two keypoints.
        rows: Rows in which the views agree after the two are exchanged.
        num_correct: Number of frames in which the views clearly agree as labeled, and not after an exchange.
        error: Median over the rows of the root mean square reprojection error in px, as labeled.
        error_exchanged: Median over the rows of that error with the two exchanged.
    """

    view: int
    pair: tuple[int, int]
    rows: np.ndarray
    num_correct: int
    error: float
    error_exchanged: float


@dataclass(frozen=True, kw_only=True)
class SideDistances:
    """Distances between the same two parts of the body on both sides.

    Attributes:
        one: Two keypoints of one side.
        other: Their counterparts on the other side.
        lengths: Median distances of the two keypoints on either side, in world units.
    """

    one: tuple[int, int]
    other: tuple[int, int]
    lengths: tuple[float, float]

    @property
    def ratio(self) -> float:
        """Return the longer distance divided by the shorter."""
        return max(self.lengths) / min(self.lengths)


def find_exchanges(
    points: np.ndarray, cameras: CameraGroup, pairs: Iterable[tuple[int, int]], noise: float
) -> list[Exchange]:
    """Find frames in which exchanging a pair in one view makes the views agree.

    Args:
        points: (N, V, K, 2) visible labels in full-image px, NaN where missing.
        cameras: V cameras.
        pairs: Pairs of keypoints.
        noise: Standard deviation of the labels in px; errors below a few of it prove nothing.

    Returns:
        One entry per view and pair with such frames; rows are counted within `points`.
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
            # Labels that lose their counterparts in other views by the exchange do not count as agreement.
            usable = (count_left >= count) & np.isfinite(both[:, view]).any(axis=(-2, -1))
            after[view] = np.where(usable, left, np.inf)
        smallest = after.min(axis=0)
        clear = (before > limit) & (smallest < _BETTER * before)
        if points.shape[1] > 2:
            clear &= np.sort(after, axis=0)[1] > _DISTINCT * smallest
        for view in np.unique(after.argmin(axis=0)[clear]):
            rows = np.flatnonzero(clear & (after.argmin(axis=0) == view))
            correct = np.isfinite(after[view]) & (after[view] > limit) & (before < _BETTER * after[view])
            found.append(
                Exchange(
                    view=int(view),
                    pair=pair,
                    rows=rows,
                    num_correct=int(correct.sum()),
                    error=float(np.median(before[rows])),
                    error_exchanged=float(np.median(smallest[rows])),
                )
            )
    return found


def exchange_findings(
    project: Project,
    groups: Iterable[CalibratedFrames],
    errors: LabelErrors,
    lines: np.ndarray,
    pairs: Sequence[tuple[int, int]],
) -> list[Finding]:
    """Report exchanged keypoints per view and pair: an error if most frames have them exchanged, else a warning.

    Args:
        project: Project with the labels.
        groups: Frames of each calibration; those that contradict their labels are left out.
        errors: Errors of the labels.
        lines: (N, V) line of each row in the label table of each view.
        pairs: Pairs of keypoints that are each other's mirror image.
    """
    points = visible_points(project)
    findings = []
    for group in groups:
        if group.contradicted or not np.isfinite(errors.noise[group.rows[0]]):
            continue
        others, noise = without_disagreeing(points, group), float(errors.noise[group.rows[0]])
        exchanges = find_exchanges(others, group.cameras, pairs, noise)
        for view in group.disagreeing:
            exchanges += _exchanges_of_most_frames(points[group.rows], others, view, group.cameras, pairs, noise)
        for exchange in exchanges:
            own_lines = lines[group.rows[exchange.rows], exchange.view]
            findings.append(_to_finding(project, exchange, group.name, own_lines.tolist()))
    return sorted(findings, key=lambda each: -each.evidence["frames"])


def _exchanges_of_most_frames(
    points: np.ndarray,
    others: np.ndarray,
    view: int,
    cameras: CameraGroup,
    pairs: Sequence[tuple[int, int]],
    noise: float,
) -> list[Exchange]:
    """Find the pairs that a view which disagrees with the others has exchanged in most of its frames.

    That may be why it disagrees. In single frames, an exchange may fit by chance what its pose makes of the labels.

    Args:
        points: (n, V, K, 2) visible labels in full-image px.
        others: The same without views that disagree.
        view: View that disagrees.
        cameras: V cameras.
        pairs: Pairs of keypoints that are each other's mirror image.
        noise: Noise of the labels in px.
    """
    with_view = others.copy()
    with_view[:, view] = points[:, view]
    labeled = np.isfinite(points[:, view]).all(-1)
    return [
        each
        for each in find_exchanges(with_view, cameras, pairs, noise)
        if each.view == view and 2 * len(each.rows) > labeled[:, list(each.pair)].all(1).sum()
    ]


def mirrored_pairs(keypoint_names: Sequence[str]) -> list[tuple[int, int]]:
    """Return the pairs of keypoints that are each other's mirror image, by their names.

    Raises:
        InputError: A left or right keypoint has no counterpart.
    """
    return [(one, other) for one, other in enumerate(mirrored_order(keypoint_names)) if one < other]


def compare_sides(points_3d: np.ndarray, pairs: Sequence[tuple[int, int]]) -> list[SideDistances]:
    """Measure the distances between keypoints of one side, and those between their counterparts.

    Args:
        points_3d: (N, K, 3) world points, NaN where missing.
        pairs: Pairs of keypoints that are each other's mirror image.

    Returns:
        One entry for every two pairs whose distances are known in a few frames; the most unequal first.
    """
    found = []
    for (first, first_mirrored), (second, second_mirrored) in combinations(pairs, 2):
        one, other = (first, second), (first_mirrored, second_mirrored)
        lengths = []
        for start, end in (one, other):
            apart = np.linalg.norm(points_3d[:, start] - points_3d[:, end], axis=-1)
            apart = apart[np.isfinite(apart) & (apart > 0)]
            if len(apart) >= _ENOUGH_FRAMES:
                lengths.append(float(np.median(apart)))
        if len(lengths) == 2:
            found.append(SideDistances(one=one, other=other, lengths=(lengths[0], lengths[1])))
    return sorted(found, key=lambda each: -each.ratio)


def symmetry_findings(
    keypoint_names: Sequence[str], points_3d: np.ndarray, pairs: Sequence[tuple[int, int]]
) -> list[Finding]:
    """Warn if the two sides of the body have different proportions.

    Args:
        keypoint_names: K names of the keypoints.
        points_3d: (N, K, 3) triangulated labels, NaN where missing.
        pairs: Pairs of keypoints that are each other's mirror image.
    """
    found = compare_sides(points_3d, pairs)
    if len(found) < _ENOUGH_DISTANCES:
        return []
    typical = float(np.median([each.ratio for each in found]))
    if typical < _UNEQUAL:
        return []

    def describe(keypoints: tuple[int, int], length: float) -> str:
        return f"{' to '.join(keypoint_names[k] for k in keypoints)} {length:.3g}"

    shown = "; ".join(" but ".join(map(describe, (each.one, each.other), each.lengths)) for each in found[:3])
    text = (
        f"the left and right side of the body have different proportions ({shown}; the median ratio of such distances "
        f"is {typical:.2f}). Check in labels.png that the keypoint names are over the correct columns; flips "
        "(training.imgaug_hflip) use the names"
    )
    return [warning("unequal_sides", (), text, ratio=typical, distances=len(found))]


def _disagreement(both: np.ndarray, cameras: CameraGroup) -> tuple[np.ndarray, np.ndarray]:
    """Return the root mean square reprojection errors (N,) of two keypoints in px, and the numbers (N,) of labels.

    An error is NaN where there are no labels.
    """
    errors = reprojection_error(triangulate(both, cameras), both, cameras)
    count = np.isfinite(errors).sum(axis=(1, 2))
    squares = np.nansum(errors**2, axis=(1, 2))
    return np.where(count > 0, np.sqrt(squares / np.maximum(count, 1)), np.nan), count


def _to_finding(project: Project, exchange: Exchange, session: str, lines: list[int]) -> Finding:
    view, (one, other) = project.view_names[exchange.view], (project.keypoint_names[k] for k in exchange.pair)
    number, total = len(lines), len(lines) + exchange.num_correct
    unsure = " (or in the other view)" if len(project.view_names) == 2 else ""
    shown = ", ".join(map(str, lines[:8])) + (", ..." if number > 8 else "")
    text = (
        f"{session}: {one} and {other} seem exchanged in view {view}{unsure} in {number} of the {total} conclusive "
        f"frames: exchanged back, their reprojection error is {exchange.error_exchanged:.1f} px instead of "
        f"{exchange.error:.1f} px. Check lines {shown} of the view's label table"
    )
    evidence = {"frames": number, "frames_that_tell": total, "error": exchange.error}
    mostly = total >= _ENOUGH and number > _MOSTLY * total
    return (error if mostly else warning)(
        "exchanged_sides", [view], text, **evidence, error_exchanged=exchange.error_exchanged
    )
