"""Left and right exchanged in one view: found by exchanging them back and seeing whether the views then agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mvaug import mirrored_order
from mvgeom import CameraGroup, reprojection_error, triangulate
from mvgeom.calibration.findings import Finding, error, warning
from mvtrain.check.calibration_checks import CalibratedFrames, visible_points, without_disagreeing
from mvtrain.check.label_errors import LabelErrors
from mvtrain.project.project import Project

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


_ENOUGH_FRAMES = 5
_ENOUGH_DISTANCES = 3
_UNEQUAL = 1.25
"""Median ratio of distances on one side to those on the other. 1.07 on generated projects, and on human4 once its names
are put right; 1.35 on human4 as it comes."""


@dataclass(frozen=True, kw_only=True)
class Distances:
    """The same two parts of the body on both sides.

    Attributes:
        one: two keypoints of one side.
        other: their counterparts.
        lengths: median distances of the two on either side, in world units.
    """

    one: tuple[int, int]
    other: tuple[int, int]
    lengths: tuple[float, float]

    @property
    def ratio(self) -> float:
        """The longer over the shorter."""
        return max(self.lengths) / min(self.lengths)


def sides(keypoint_names: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of keypoints that are each other's mirror image, told by their names.

    Raises:
        ValueError: a left or right keypoint without its counterpart.
    """
    return [(one, other) for one, other in enumerate(mirrored_order(keypoint_names)) if one < other]


def compare_sides(points_3d: np.ndarray, pairs: Sequence[tuple[int, int]]) -> list[Distances]:
    """Distances between keypoints of one side, and those between their counterparts.

    Args:
        points_3d: (N, K, 3) world, NaN where missing.
        pairs: of keypoints that are each other's mirror image.

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
            found.append(Distances(one=one, other=other, lengths=(lengths[0], lengths[1])))
    return sorted(found, key=lambda each: -each.ratio)


def symmetry_findings(
    keypoint_names: Sequence[str], points_3d: np.ndarray, pairs: Sequence[tuple[int, int]]
) -> list[Finding]:
    """A warning where the two sides of the body have different proportions.

    Args:
        keypoint_names: K names.
        points_3d: (N, K, 3) triangulated labels, NaN where missing.
        pairs: of keypoints that are each other's mirror image.
    """
    found = compare_sides(points_3d, pairs)
    if len(found) < _ENOUGH_DISTANCES:
        return []
    typical = float(np.median([each.ratio for each in found]))
    if typical < _UNEQUAL:
        return []

    def told(keypoints: tuple[int, int], length: float) -> str:
        return f"{' to '.join(keypoint_names[k] for k in keypoints)} {length:.3g}"

    shown = "; ".join(" but ".join(map(told, (each.one, each.other), each.lengths)) for each in found[:3])
    text = (
        f"left and right do not mirror each other ({shown}; the median ratio of such distances is {typical:.2f}): are "
        "the keypoint names over the right columns? labels.png shows it. Flips (training.imgaug_hflip) go by the names"
    )
    return [warning("unequal_sides", (), text, ratio=typical, distances=len(found))]
