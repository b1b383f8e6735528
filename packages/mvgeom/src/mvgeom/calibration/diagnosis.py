"""Check of a calibration by keypoints: cameras that disagree with the others, and likely explanations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mvgeom._subset import spread_subset
from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.explanations import EXPLANATIONS, NO_AGREEMENT, explain
from mvgeom.calibration.findings import Finding, describe_shift, error, note, sort_findings, warning
from mvgeom.calibration.input_checks import as_recording, compare_sizes, find_copies
from mvgeom.calibration.lens_findings import find_lens_ends
from mvgeom.calibration.pose_fit import expected_error, fit_pose
from mvgeom.calibration.time_shifts import best_shift, shifted_view
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.reconstruction import noise_from_errors
from mvgeom.triangulation import reprojection_error, triangulate

__all__ = ["REFINABLE_DEG", "Check", "check"]

REFINABLE_DEG = 10.0
"""Largest turn of a camera in degrees that `refine` can know: it starts from the given poses."""

_SAMPLE = 5_000
_MIN_SHARED = 20
_DISAGREES = 0.8
"""Limit of noise without a camera / noise with it; about 1, within a few percent, for a camera like the others."""
_DISTINCT = 0.75
"""Limit for three cameras, of which any two agree better than all: the best pair must be clearly below the second."""
_POSE_EXPLAINS = 0.6
_MUCH_WORSE = 6.0
_EXPLAINED = 1.5
"""Largest error with another pose, in errors expected of the others' noise, at which that pose explains the errors."""
_SHIFT_EXPLAINS = 0.5
_POOR_AGREEMENT = 0.005
_SMALLEST_GAIN = 0.3


@dataclass(frozen=True, kw_only=True, eq=False)
class Check:
    """Result of a check of a calibration by keypoints.

    Attributes:
        names: V camera names.
        num_points: (V,) number of keypoints of each camera that other cameras see too.
        error: (V,) median reprojection error in px, of points triangulated from all cameras.
        error_of_others: (V,) median reprojection error in px over the other cameras, with this camera left out of the
            triangulation.
        own_error: (V,) median reprojection error in px of this camera, with this camera left out of the triangulation.
        noise: Standard deviation of the keypoints per pixel coordinate in px, estimated from all cameras; infinite if
            no point can be triangulated.
        noise_without: (V,) standard deviation in px, estimated without this camera; NaN with fewer than three cameras.
        findings: Problems found; empty if there are none.
        undecided: Names of cameras of which nothing can be told: they share too few keypoints with the others, or there
            are only two cameras.
    """

    names: tuple[str, ...]
    num_points: Floats
    error: Floats
    error_of_others: Floats
    own_error: Floats
    noise: float
    noise_without: Floats
    findings: tuple[Finding, ...]
    undecided: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Return True if no finding is an error; warnings are allowed."""
        return all(each.severity != "error" for each in self.findings)


def check(cams: CameraGroup, points: Floats, *, image_sizes: Sequence[Sequence[float]] | None = None) -> Check:
    """Find cameras that disagree with the others, and the common mistakes that cause it.

    Each camera is left out of the triangulation in turn. If the others then agree much better among themselves, this
    camera is wrong. Its pose is then estimated from the others' points, which shows the size of the error. The
    following mistakes are tested: two views exchanged, keypoints of a resized or mirrored image, equal cameras, and
    keypoints outside the image.

    Args:
        cams: V cameras, NumPy, no batch dimensions.
        points: (N, V, K, 2) K keypoints in N frames, in full-image px; NaN is missing. If there are many, a
            subset that is spread over them is used.
        image_sizes: (V, 2) true width and height in px of the images that the keypoints belong to; None if unknown.

    Returns:
        Errors in px with and without each camera, and findings with their evidence in numbers.

    Raises:
        InputError: `wrong-shape`, if a shape is wrong; `too-few-views`, if there are fewer than two cameras;
            `too-few-points`, if fewer than 20 points are seen by two cameras.
    """
    points = as_recording(points, cams)
    flat = _sample(points)
    table = _leave_one_out(cams, flat, list(range(len(cams))))
    findings = [
        *find_copies(cams, flat),
        *compare_sizes(cams, flat, image_sizes),
        *find_lens_ends(cams, points),
        *explain(cams, flat),
    ]
    # If a mistake explains the disagreement, the cameras are not reported again.
    if not any(each.code in EXPLANATIONS for each in findings):
        findings += _disagreeing(cams, points, flat, float(table["noise"]))
    undecided = _undecided(cams, flat)
    findings += _undetermined(cams, undecided, float(table["noise"]))
    return Check(names=cams.names, findings=sort_findings(findings), undecided=undecided, **table)  # type: ignore[arg-type]


def _undecided(cams: CameraGroup, flat: Floats) -> tuple[str, ...]:
    """Return the cameras whose keypoints cannot be compared with at least two others'."""
    if len(cams) == 2:
        return cams.names
    seen = seen_corners(flat)
    shared = (seen & (seen.sum(axis=0) >= 3)).sum(axis=1)
    return tuple(name for name, count in zip(cams.names, shared, strict=True) if count < _MIN_SHARED)


def _undetermined(cams: CameraGroup, undecided: tuple[str, ...], noise: float) -> list[Finding]:
    if not undecided:
        return []
    if len(cams) == 2:
        text = (
            f"cannot tell which camera is wrong, if one is: there are only two. Their keypoints agree to {noise:.1f} "
            "px, which tests their epipolar lines, not the depth of points"
        )
        return [note("cannot_tell", undecided, text, noise=noise)]
    shown = ", ".join(map(repr, undecided))
    text = (
        f"cannot tell whether {shown} agree{'s' if len(undecided) == 1 else ''} with the others: fewer than "
        f"{_MIN_SHARED} of their keypoints are seen by two other cameras"
    )
    return [note("cannot_tell", undecided, text)]


def _sample(points: Floats) -> Floats:
    """Return keypoints (V, P, 2) that at least two cameras see."""
    flat = np.moveaxis(points, 1, 0).reshape(points.shape[1], -1, 2)
    shared = np.flatnonzero(seen_corners(flat).sum(axis=0) >= 2)
    if len(shared) < _MIN_SHARED:
        raise InputError(
            f"points: too few keypoints seen by two cameras or more, found {len(shared)}, expected {_MIN_SHARED}",
            code="too-few-points",
            found=len(shared),
            expected=_MIN_SHARED,
        )
    return flat[:, shared[spread_subset(len(shared), _SAMPLE)]]


def _leave_one_out(cams: CameraGroup, flat: Floats, views: list[int]) -> dict[str, Floats | float]:
    """Return the fields of `Check` for the given views."""
    group, flat = cams.select([cams.names[view] for view in views]), flat[views]
    errors = _errors(group, flat)
    count = len(views)
    others_error, own_error, noise_without = (np.full(count, np.nan) for _ in range(3))
    for view in range(count if count > 2 else 0):
        rest = [other for other in range(count) if other != view]
        world = triangulate(flat[rest], group.select([group.names[other] for other in rest]))
        without = reprojection_error(world, flat, group)
        others_error[view], own_error[view] = _median(without[rest]), _median(without[view])
        noise_without[view] = _noise(without[rest])
    seen = seen_corners(flat)
    return {
        "num_points": (seen & (seen.sum(axis=0) >= 2)).sum(axis=1),
        "error": np.array([_median(row) for row in errors]),
        "error_of_others": others_error,
        "own_error": own_error,
        "noise": _noise(errors),
        "noise_without": noise_without,
    }


def _disagreeing(cams: CameraGroup, points: Floats, flat: Floats, noise: float) -> list[Finding]:
    """Find disagreeing cameras, the worst first, as long as the remaining ones agree much better without it."""
    findings: list[Finding] = []
    side = float(cams.sizes.max())
    views = list(range(len(cams)))
    left = noise
    # Three remaining cameras are not examined once a fourth was found: two always agree better than three.
    while len(views) > (3 if findings else 2):
        table = _leave_one_out(cams, flat, views)
        without = np.asarray(table["noise_without"])
        if not np.isfinite(without).any():
            break
        worst = int(np.nanargmin(without))
        second = float(np.nanmin(np.delete(without, worst)))
        distinct = len(views) > 3 or without[worst] < _DISTINCT * second
        if not distinct or without[worst] > _DISAGREES * left or left - without[worst] < _SMALLEST_GAIN:
            break
        view = views.pop(worst)
        numbers = _Evidence(
            noise=left,
            noise_without=float(without[worst]),
            own_error=float(np.nan_to_num(np.asarray(table["own_error"])[worst], nan=np.inf)),
            error_of_others=float(np.asarray(table["error_of_others"])[worst]),
        )
        findings.append(_describe(cams, points, flat, view, views, numbers))
        left = numbers.noise_without
    if left > NO_AGREEMENT * side:
        text = (
            f"all cameras: the keypoints agree only to {left:.0f} px ({100 * left / side:.0f} % of the image), "
            "whichever camera is left out. Possible causes: keypoints of crops that were not mapped back to full-image "
            "px, rows of other frames or sessions in some views, views in another order than the cameras, or the "
            "calibration of another session"
        )
        return [error("no_agreement", cams.names, text, noise=left)]
    if not findings and left > _POOR_AGREEMENT * side:
        text = (
            f"all cameras: the keypoints agree only to {left:.1f} px, and leaving out a camera does not show which one "
            "is wrong. `mvgeom refine` may correct it"
        )
        return [warning("poor_agreement", cams.names, text, noise=left)]
    return findings


class _Evidence(NamedTuple):
    """Noise with and without a camera, and median errors in px with it left out: its own and the others'."""

    noise: float
    noise_without: float
    own_error: float
    error_of_others: float


def _describe(
    cams: CameraGroup, points: Floats, flat: Floats, view: int, rest: list[int], numbers: _Evidence
) -> Finding:
    """Describe a camera that disagrees; time comes before its pose, and a pose is blamed only if another one fits."""
    name = cams.names[view]
    turn, shift, after = fit_pose(cams, flat, view, rest, numbers.noise_without)
    expected = expected_error(cams, flat, view, rest, numbers.noise_without)
    late = _late_frames(cams, points, view, rest, numbers, min(after, _EXPLAINED * expected))
    together = f" instead of {numbers.noise:.1f} px" if np.isfinite(numbers.noise) else ", with it there are no points"
    missed = f"miss its keypoints by {numbers.own_error:.1f} px"
    if not np.isfinite(numbers.own_error):
        missed = "lie where it cannot see them"
    text = (
        f"camera {name!r} disagrees with the others: without it their keypoints agree to {numbers.noise_without:.1f} px"
        f"{together}; points triangulated without it {missed}, those of the others by {numbers.error_of_others:.1f} px "
        "(median)."
    )
    by_pose = after < _POSE_EXPLAINS * numbers.own_error and after < _EXPLAINED * expected
    if late is not None:
        frames, error_then = late
        text += (
            f" Its rows are {describe_shift(frames)}: shifted by that they miss by {error_then:.1f} px. It is not "
            "synchronized, and its pose is not to blame. `mvgeom sync` finds the offset"
        )
        return error("late_camera", [name], text, **numbers._asdict(), frames=frames, own_error_shifted=error_then)
    if by_pose:
        remedy = ". `mvgeom refine` corrects it" if turn < REFINABLE_DEG else ", too far for `mvgeom refine`"
        text += (
            f" Turned by {turn:.2f} degrees and shifted by {shift:.3g} it would miss by {after:.1f} px: its pose is "
            f"wrong{remedy}"
        )
    else:
        text += (
            f" Neither another pose nor a shift of its rows explains it (the best pose misses by {after:.1f} px, "
            f"{expected:.1f} px are expected of the others' noise). Check its keypoints, that its rows are the same "
            "frames as those of the other views (session, synchronization), and its intrinsics"
        )
    # Keypoints that are only less accurate in one view do not show that its calibration is wrong.
    build = error if by_pose or numbers.own_error > _MUCH_WORSE * numbers.error_of_others else warning
    return build(
        "camera_disagrees",
        [name],
        text,
        **numbers._asdict(),
        rotation_deg=turn,
        shift=shift,
        own_error_with_new_pose=after,
        expected_error=expected,
    )


def _late_frames(
    cams: CameraGroup, points: Floats, view: int, rest: list[int], numbers: _Evidence, limit: float
) -> tuple[int, float] | None:
    """Return the shift of a view's rows that brings its error below the limit in px, and the error then."""
    chosen = [*rest, view]
    group = cams.select([cams.names[each] for each in chosen])
    found = best_shift(group, points[:, chosen], len(rest))
    if found is None or found.frames == 0 or found.distance > _SHIFT_EXPLAINS * found.distance_without:
        return None
    shifted = points[:, chosen].copy()
    shifted[:, -1] = shifted_view(shifted[:, -1], found.frames)
    flat = _sample(shifted)
    world = triangulate(flat[:-1], group.select(group.names[:-1]))
    left = _median(np.asarray(reprojection_error(world, flat, group))[-1])
    explains = left < _SHIFT_EXPLAINS * numbers.own_error and left <= limit
    return (found.frames, left) if explains else None


def _errors(cams: CameraGroup, flat: Floats) -> Floats:
    return np.asarray(reprojection_error(triangulate(flat, cams), flat, cams))


def _noise(errors: Floats) -> float:
    """Return the keypoints' noise in px; infinite where no point can be triangulated in front of its cameras."""
    noise = noise_from_errors(errors)
    return noise if np.isfinite(noise) else float("inf")


def _median(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")
