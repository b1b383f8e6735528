"""Reprojection errors of the labels through the calibrated cameras, and suspect labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mvgeom import CameraGroup, affine, project, reprojection_error, triangulate, triangulate_robust
from mvgeom.calibration.findings import Finding, note, warning
from mvgeom.reconstruction import MIN_THRESHOLD, keypoint_noise
from mvgeom.wording import counted
from mvtrain.check.calibration_checks import CalibratedFrames, visible_points, without_disagreeing
from mvtrain.project.project import Project

_LEFT_OUT_SIGMAS = 5.0
"""Error, in standard deviations of the labels, up to which labels are inliers; noise exceeds it once in a million."""

_SUSPECT_SIGMAS = 6.0
"""Error, in standard deviations of the labels, above which a label is suspect."""

_SUSPECT_SHARE = 0.005
"""Error, as a fraction of the longer side of the full image, below which no label is suspect."""

_SUSPECT_PX = 2.0
"""Error in px below which no label is suspect."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelErrors:
    """Distances between labels and the projections of the triangulated labels.

    A keypoint is triangulated from the views that agree with each other, so that a single wrong label does not change
    the errors of the others, and without the cameras that disagree with the others as a whole. Where no two views agree
    it is triangulated from all of them; where only a disagreeing camera is left to compare with, that camera is used.

    Attributes:
        expected: (N, V, K, 2) projections of the triangulated labels in crop px; NaN where there are none.
        error: (N, V, K) reprojection errors in full-image px; NaN where there is no label, or no second view.
        limit: (N, V, K) errors in px above which a label is suspect; infinite where single labels cannot be checked:
            where a camera that disagrees is part of the triangulation, where the labels contradict the calibration as a
            whole, and where there is no calibration.
        noise: (N,) standard deviation of the labels per pixel coordinate, from all frames of a calibration; NaN where
            it cannot be estimated.
    """

    expected: np.ndarray
    error: np.ndarray
    limit: np.ndarray
    noise: np.ndarray

    @property
    def checked(self) -> np.ndarray:
        """Return (N, V, K) True for labels that can be checked one by one."""
        return np.isfinite(self.error) & np.isfinite(self.limit)

    @property
    def suspect(self) -> np.ndarray:
        """Return (N, V, K) True for labels that are probably wrong."""
        return np.nan_to_num(self.error) > self.limit

    def worst(self, count: int) -> list[tuple[int, int, int]]:
        """Return row, view and keypoint of the labels with the largest errors among those that can be checked.

        Where none can be checked one by one, all labels count.
        """
        checked = self.checked if self.checked.any() else np.isfinite(self.error)
        order = np.argsort(np.where(checked, -self.error, np.inf), axis=None)[: min(count, int(checked.sum()))]
        places = np.stack(np.unravel_index(order, self.error.shape), axis=-1)
        return [(int(row), int(view), int(keypoint)) for row, view, keypoint in places]


def label_errors(project_: Project, groups: Iterable[CalibratedFrames]) -> LabelErrors:
    """Triangulate the visible labels of every calibrated frame and project them back."""
    points = visible_points(project_)
    expected, error = np.full(points.shape, np.nan), np.full(points.shape[:3], np.nan)
    limit, noise = np.full(points.shape[:3], np.inf), np.full(points.shape[0], np.nan)
    for group in groups:
        if len(group.cameras) < 2:
            continue
        own, others = points[group.rows], without_disagreeing(points, group)
        sigma = keypoint_noise(np.moveaxis(others, 1, 0).reshape(own.shape[1], -1, 2), group.cameras)
        if not np.isfinite(sigma):
            continue
        threshold = max(_LEFT_OUT_SIGMAS * sigma, MIN_THRESHOLD)
        world = _triangulate(others, group.cameras, threshold)
        decided = np.isfinite(world).all(axis=-1)[:, None] & np.isfinite(others).all(axis=-1)
        world = np.where(np.isnan(world), triangulate(own, group.cameras), world)
        expected[group.rows] = project(world, group.cameras)
        error[group.rows] = reprojection_error(world, own, group.cameras)
        noise[group.rows] = sigma
        if not group.contradicted:
            longest = group.cameras.sizes.max(axis=-1)[:, None]
            largest = np.maximum(max(_SUSPECT_SIGMAS * sigma, _SUSPECT_PX), _SUSPECT_SHARE * longest)
            limit[group.rows] = np.where(decided, largest, np.inf)
    to_crop = affine.invert(project_.crop_to_full)
    return LabelErrors(expected=affine.apply(to_crop, expected), error=error, limit=limit, noise=noise)


def error_findings(project_: Project, errors: LabelErrors, groups: Iterable[CalibratedFrames]) -> list[Finding]:
    """Report suspect labels, and calibrations whose labels could not be checked one by one."""
    findings = []
    for group in groups:
        if group.contradicted:
            text = (
                f"calibration of {group.name}: single labels were not checked, because the calibration contradicts "
                "them as a whole. Correct it and check again"
            )
            findings.append(note("labels_not_judged", (), text))
    suspect = errors.suspect
    if suspect.any():
        rows, views, _ = np.nonzero(suspect)
        num_checked, largest = int(errors.checked.sum()), float(errors.error[suspect].max())
        limits = errors.limit[suspect]
        text = (
            f"found a reprojection error of {_format_range(limits)} or more in {len(rows)} of {num_checked} labels, in "
            f"{counted(len(set(rows.tolist())), 'frame')} (the largest {largest:.0f} px). See the table of the largest "
            "errors and worst.png, and correct them"
        )
        names = [project_.view_names[view] for view in sorted(set(views.tolist()))]
        share = len(rows) / num_checked
        findings.append(warning("label_error", names, text, labels=len(rows), share=share, largest=largest))
    return findings


def _triangulate(points: np.ndarray, cameras: CameraGroup, threshold: float) -> np.ndarray:
    """Triangulate points (N, K, 3) from all views where these agree, else from all but one, else from any that do.

    Robust triangulation alone is not enough: it starts from pairs of views, and where a pair hardly determines a point,
    correct labels of other views have large errors.
    """
    world: np.ndarray = triangulate(points, cameras)
    robust = triangulate_robust(points, cameras, threshold=threshold).points
    best = np.where(np.isnan(robust), world, robust)
    smallest = np.full(best.shape[:2], np.inf)
    for view in range(len(cameras)):
        rest = points.copy()
        rest[:, view] = np.nan
        candidate = triangulate(rest, cameras)
        errors = reprojection_error(candidate, rest, cameras)
        squares = np.nansum(errors**2, axis=1)
        usable = _agree(errors, threshold) & (squares < smallest)
        smallest = np.where(usable, squares, smallest)
        best = np.where(usable[..., None], candidate, best)
    agreeing = _agree(reprojection_error(world, points, cameras), threshold)
    return np.where(agreeing[..., None], world, best)


def _agree(errors: np.ndarray, threshold: float) -> np.ndarray:
    """Return (N, K) True where there are errors (N, V, K) and all are within the threshold."""
    known = np.isfinite(errors)
    return known.any(axis=1) & (np.where(known, errors, 0) <= threshold).all(axis=1)


def _format_range(limits: np.ndarray) -> str:
    low, high = f"{limits.min():.1f}", f"{limits.max():.1f}"
    return f"{low} px" if low == high else f"{low} to {high} px (by view)"
