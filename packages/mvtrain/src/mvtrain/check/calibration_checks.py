"""Checks of labels and calibrations by each other: reprojection errors, suspect labels, cameras that disagree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from mvgeom import CameraGroup, affine, project, reprojection_error, triangulate, triangulate_robust
from mvgeom.calibration import Check, check
from mvgeom.calibration.findings import Finding, error, note, warning
from mvgeom.errors import InputError
from mvgeom.reconstruction import MIN_THRESHOLD, keypoint_noise
from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.project.calibrations import box_mismatches, size_mismatches
from mvtrain.project.label_tables import VISIBLE
from mvtrain.project.labels_3d import keys_in_3d, trains_in_3d
from mvtrain.project.project import Project
from mvtrain.project.splits import Split

MIN_POINTS_TO_MOVE = 3
"""Number of 3D points that a frame needs to be moved by the 3D augmentation."""

_FEW_IN_3D = 0.25
"""Share of the labeled keypoints below which few can be triangulated."""

_FEW_TO_MOVE = 0.5
"""Share of the training frames below which few can be moved in 3D."""

_ODD_NOISE = 2.0
"""Noise of a session's labels, relative to that of sessions that fit their calibration, above which it is apart."""

_LEFT_OUT_SIGMAS = 5.0
"""Error, in standard deviations of the labels, up to which labels are inliers; noise exceeds it once in a million."""

_SUSPECT_SIGMAS = 6.0
"""Error, in standard deviations of the labels, above which a label is suspect."""

_SUSPECT_SHARE = 0.005
"""Error, as a fraction of the longer side of the full image, below which no label is suspect."""

_SUSPECT_PX = 2.0
"""Error in px below which no label is suspect."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibratedFrames:
    """Frames that share a calibration; a session that contradicts it, unlike most others, is a group of its own.

    Attributes:
        rows: Rows of the frames in the project.
        cameras: Cameras of the frames, in the order of the views.
        name: Names of their sessions.
        check: Check of the calibration by the labels; None where they are too few.
    """

    rows: np.ndarray
    cameras: CameraGroup
    name: str
    check: Check | None

    @property
    def disagreeing(self) -> tuple[int, ...]:
        """Return the views whose camera disagrees with the others."""
        found = [each for each in self.check.findings if each.code == "camera_disagrees"] if self.check else []
        return tuple(self.cameras.index(name for each in found for name in each.cameras))

    @property
    def contradicted(self) -> bool:
        """Return True if the labels contradict the calibration as a whole, so that single labels cannot be checked.

        A single camera that disagrees is not such a case: the others still determine the points.
        """
        codes = {each.code for each in self.check.findings if each.severity == "error"} if self.check else set()
        return bool(codes - {"camera_disagrees"})


def visible_points(project: Project) -> np.ndarray:
    """Return the visible labels (N, V, K, 2) in full-image px; NaN where there is none."""
    return np.where((project.visibility == VISIBLE)[..., None], project.points_full, np.nan)


def without_disagreeing(points: np.ndarray, group: CalibratedFrames) -> np.ndarray:
    """Select the labels of a calibration's frames, without those of cameras that disagree with the others.

    Args:
        points: (N, V, K, 2) labels of all frames.
        group: Frames to select.

    Returns:
        (n, V, K, 2) labels; NaN in views whose camera disagrees.
    """
    own = points[group.rows]
    own[:, list(group.disagreeing)] = np.nan
    return own


def check_calibrations(project: Project) -> tuple[tuple[CalibratedFrames, ...], list[Finding]]:
    """Check every calibration by the labels of its frames.

    Returns:
        The groups of frames with one calibration, and findings about calibrations that could not be checked.
    """
    groups, findings = [], []
    points, mismatches = visible_points(project), set(frame_mismatches(project))
    for cameras in {id(group): group for group in project.cameras if group is not None}.values():
        calibrated = np.array([row for row, group in enumerate(project.cameras) if group is cameras])
        for rows in _split_sessions(project, cameras, calibrated, points):
            name = _join_names(dict.fromkeys(project.sessions[row] for row in rows))
            result = None
            if len(cameras) > 1:
                try:
                    result = _check(cameras, points[rows], mismatches)
                except InputError as problem:
                    text = f"the calibration of {name} cannot be checked by its labels: {problem}"
                    findings.append(note("calibration_not_checked", (), text))
            groups.append(CalibratedFrames(rows=rows, cameras=cameras, name=name, check=result))
    return tuple(groups), findings


def _check(cameras: CameraGroup, points: np.ndarray, mismatches: set[str]) -> Check:
    """Check a calibration by labels (n, V, K, 2); raises an InputError if they are too few."""
    found = check(cameras, points)
    # A part of an image that is smaller than stated has no ray because it is not there.
    kept = [each for each in found.findings if each.code != "no_ray" or not mismatches & {*each.cameras}]
    return replace(found, findings=tuple(kept))


def _split_sessions(project: Project, cameras: CameraGroup, rows: np.ndarray, points: np.ndarray) -> list[np.ndarray]:
    """Return the rows of one calibration, those of each session that contradicts it apart if most sessions fit it.

    Views that were exchanged, or images that were mirrored, in one session of many hardly change the noise of all.

    Args:
        project: Project of the frames.
        cameras: Cameras of the frames.
        rows: Rows of the frames that have this calibration.
        points: (N, V, K, 2) visible labels in full-image px.
    """
    sessions: dict[str, list[int]] = {}
    for row in rows.tolist():
        sessions.setdefault(project.sessions[row], []).append(row)
    if len(sessions) == 1 or len(cameras) < 2:
        return [rows]
    found = {}
    for name, own in sessions.items():
        with suppress(InputError):  # too few labels: nothing is known of the session alone
            found[name] = check(cameras, points[own])
    fitting = [each.noise for each in found.values() if each.passed]
    if len(fitting) < len(found) / 2 or not fitting:
        return [rows]
    # Of few labels, one camera in a hundred seems to disagree by chance, with the noise of the others.
    limit = _ODD_NOISE * float(np.median(fitting))
    odd = [name for name, each in found.items() if not each.passed and each.noise > limit]
    if not odd:
        return [rows]
    rest = [row for row in rows.tolist() if project.sessions[row] not in odd]
    return [np.array(rest), *(np.array(sessions[name]) for name in odd)]


def calibration_findings(project: Project, config: Config, groups: Sequence[CalibratedFrames]) -> list[Finding]:
    """Collect findings about calibrations that contradict the labels or the images.

    They are errors where cameras have a part in training, and warnings where they have none.
    """
    findings = _size_findings(project, groups)
    # The checks of the label tables report these with more detail.
    reported = {"identical_keypoints"} if project.boxes is not None else {"identical_keypoints", "outside_image"}
    for group in groups:
        own = group.check.findings if group.check else ()
        findings += [
            replace(each, text=f"calibration of {group.name}: {each.text}") for each in own if each.code not in reported
        ]
    if trains_in_3d(config, project):
        return findings
    return [
        replace(each, severity="warning", text=f"{each.text} (this config trains in 2D, so only 3D results suffer)")
        if each.severity == "error"
        else each
        for each in findings
    ]


def frame_mismatches(project: Project) -> dict[str, str]:
    """Describe images or boxes that do not fit the image size of their calibration, by view.

    The warnings of the project have the same texts.
    """
    if project.boxes is None:
        return size_mismatches(project.file_sizes, project.cameras, project.view_names)
    return box_mismatches(project.boxes, project.cameras, project.view_names)


def triangulation_findings(project: Project, config: Config, split: Split, points_3d: np.ndarray) -> list[Finding]:
    """Collect findings about labels that cannot be triangulated, where the config uses 3D.

    Args:
        project: Project with the labels.
        config: Config of the project.
        split: Split of its frames.
        points_3d: (N, K, 3) labels as training triangulates them, NaN where that is not possible.
    """
    keys = keys_in_3d(config)
    if not keys or len(project.view_names) < 2 or all(cameras is None for cameras in project.cameras):
        return []  # `labels_3d.check_calibration` reports missing calibrations
    known = np.isfinite(points_3d[split.train]).all(axis=-1)
    labeled = (project.visibility[split.train] == VISIBLE).any(axis=1)
    if not known.any():
        text = (
            f"no label of a training frame can be triangulated, which {', '.join(keys)} need. Label the same keypoint "
            "in two calibrated views, or remove these keys from the config"
        )
        return [error("nothing_in_3d", (), text)]
    findings = []
    share = float(known.sum() / max(int(labeled.sum()), 1))
    if share < _FEW_IN_3D:
        text = (
            f"only {share:.0%} of the keypoints labeled in training frames can be triangulated, so {', '.join(keys)} "
            "have little effect. Label the same keypoints in several views"
        )
        findings.append(warning("few_in_3d", (), text, share=share))
    movable = int((known.sum(axis=-1) >= MIN_POINTS_TO_MOVE).sum())
    if config.training.imgaug_3d not in (None, False) and movable < _FEW_TO_MOVE * len(split.train):
        text = (
            f"training.imgaug_3d can move only {movable} of {len(split.train)} training frames, because it needs "
            f"{MIN_POINTS_TO_MOVE} keypoints in 3D. Label the same keypoints in several views"
        )
        findings.append(warning("few_to_move", (), text, frames=movable))
    return findings


def _size_findings(project: Project, groups: Sequence[CalibratedFrames]) -> list[Finding]:
    fitting = all(group.check is not None and not group.check.findings for group in groups)
    if fitting:
        advice = "The labels fit the calibration, so the image size that it states is probably stale: correct it"
    elif project.boxes is None:
        advice = "Give data.bbox_file for crops, or a calibration for the size of the images"
    else:
        advice = "Give boxes in px of the image size that was calibrated"
    build = warning if fitting else error
    return [build("frame_size", [view], f"{text}. {advice}") for view, text in frame_mismatches(project).items()]


def _join_names(sessions: Iterable[str]) -> str:
    names = list(sessions)
    return ", ".join(names[:3]) + (f" and {counted(len(names) - 3, 'more session')}" if len(names) > 3 else "")


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
