"""Views whose keypoints contradict the others in a calibration from keypoints, and why: late, mirrored, or moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvgeom._subset import spread_subset
from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.bundle import Booleans
from mvgeom.calibration.findings import Finding, describe_shift, error, warning
from mvgeom.calibration.rig_from_points import resect
from mvgeom.calibration.view_pairs import MIN_COMMON
from mvgeom.cameras import CameraGroup
from mvgeom.projection import undistort
from mvgeom.reconstruction import keypoint_noise
from mvgeom.robust import triangulate_robust

__all__ = ["find_suspects"]

_DOUBTFUL, _WRONG = 0.25, 0.5
"""Share of a view's keypoints that contradict the others: a warning, an error."""

_LEAST_PART = 0.1
_CHANGED = 0.6
"""Difference of the shares of contradicting keypoints before and after a frame that shows a movement there."""

_MAX_SHIFT = 30
_CLEARLY_MORE = 0.2
_MAX_POINTS = 400


@dataclass(frozen=True, kw_only=True)
class _Cause:
    """Explanation of a view that contradicts the others: rows shifted by some frames, or mirrored images."""

    shift: int
    mirrored: bool
    share: float


def find_suspects(cams: CameraGroup, points: Floats, used: Booleans) -> list[Finding]:
    """Find views with many keypoints that contradict the others, and try whether a shift or a mirror image explains it.

    The pose of such a view may be anything, because it was fitted to keypoints that contradict the others. So it is
    determined anew, from the points of the other views, with its rows shifted by up to 30 frames, and mirrored.

    Args:
        cams: V calibrated cameras.
        points: (N, V, K, 2) keypoints in full-image px; NaN is missing.
        used: (N, V, K) booleans, true for keypoints that agree.

    Returns:
        `late_camera`, `mirrored_images` or `moved_camera` (errors) where that explains it, else `keypoints_left_out`:
        an error for more than half of the keypoints, a warning for more than a quarter.
    """
    seen = seen_corners(points)
    shared = seen & (seen.sum(axis=1, keepdims=True) >= 2)
    share = 1 - (used & shared).sum(axis=(0, 2)) / np.maximum(shared.sum(axis=(0, 2)), 1)
    findings = []
    explained = False
    for view in np.argsort(-share):
        if share[view] <= _DOUBTFUL:
            break
        name = cams.names[view]
        # Once a view is known to be wrong, that others disagree with it is no news.
        cause = _find_cause(cams, points, int(view)) if len(cams) > 2 and not explained else None
        if cause is not None:
            explained = True
            findings.append(_explain(name, cause, float(share[view])))
            continue
        change = None if explained else _find_change(shared[:, view], used[:, view])
        if change is not None:
            explained = True
            findings.append(_moved(name, change, float(share[view])))
            continue
        text = (
            f"camera {name!r}: {100 * share[view]:.0f} % of its keypoints contradict those of the other cameras and "
            "were left out. Check that its rows are the same frames, that no image is mirrored, and that it did not "
            "move"
        )
        build = error if share[view] > _WRONG and not explained else warning
        findings.append(build("keypoints_left_out", [name], text, share=float(share[view])))
    return findings


def _explain(name: str, cause: _Cause, share: float) -> Finding:
    agree = f"{100 * cause.share:.0f} % of its keypoints agree with those of the other cameras"
    if cause.mirrored:
        text = f"camera {name!r}: its images are mirrored: once they are flipped left to right, {agree}"
        return error("mirrored_images", [name], text, share=share, agreeing=cause.share)
    text = (
        f"camera {name!r} is {describe_shift(cause.shift)}: with its rows shifted back, {agree}. Shift its frames, "
        "and calibrate again"
    )
    return error("late_camera", [name], text, frames=cause.shift, share=share, agreeing=cause.share)


def _find_change(shared: Booleans, used: Booleans) -> int | None:
    """Return the frame from which most keypoints (N, K) contradict the others, or agree, unlike before; else None."""
    count, wrong = shared.sum(axis=1), (shared & ~used).sum(axis=1)
    before, wrong_before = np.cumsum(count)[:-1], np.cumsum(wrong)[:-1]
    after, wrong_after = count.sum() - before, wrong.sum() - wrong_before
    enough = (before >= _LEAST_PART * count.sum()) & (after >= _LEAST_PART * count.sum())
    if not enough.any():
        return None
    change = np.abs(wrong_before / np.maximum(before, 1) - wrong_after / np.maximum(after, 1))
    place = int(np.argmax(np.where(enough, change, 0)))
    return place + 1 if change[place] > _CHANGED else None


def _moved(name: str, frame: int, share: float) -> Finding:
    text = (
        f"camera {name!r}: its keypoints agree with those of the other cameras only before or only after row "
        f"{frame + 1} of the common rows; {100 * share:.0f} % were left out. The camera moved there, or frames were "
        "lost in it. Calibrate with the rows of one part"
    )
    return error("moved_camera", [name], text, row=frame, share=share)


def _find_cause(cams: CameraGroup, points: Floats, view: int) -> _Cause | None:
    rest = [other for other in range(len(cams)) if other != view]
    group = cams.select([cams.names[other] for other in rest])
    num_frames, _, num_keypoints, _ = points.shape
    flat = np.moveaxis(points[:, rest], 1, 0).reshape(len(rest), -1, 2)
    noise = keypoint_noise(flat, group)
    if not np.isfinite(noise):
        return None
    reach = 4 * max(noise, 0.25)
    world = triangulate_robust(flat, group, threshold=reach).points.reshape(num_frames, num_keypoints, 3)
    one = cams.select([cams.names[view]])
    mirror = points[:, [view]].copy()
    mirror[..., 0] = cams.sizes[view, 0] - 1 - mirror[..., 0]
    limit = reach / float(cams.matrix[view, 0, 0])
    as_is = undistort(points[:, [view]], one)[:, 0]
    own = _agreement(world, as_is, 0, limit)
    causes = [
        _Cause(shift=shift, mirrored=False, share=_agreement(world, as_is, shift, limit))
        for shift in range(-min(_MAX_SHIFT, num_frames // 2), min(_MAX_SHIFT, num_frames // 2) + 1)
        if shift
    ]
    causes.append(_Cause(shift=0, mirrored=True, share=_agreement(world, undistort(mirror, one)[:, 0], 0, limit)))
    best = max(causes, key=lambda each: each.share)
    return best if best.share > own + _CLEARLY_MORE else None


def _agreement(world: Floats, normalized: Floats, shift: int, limit: float) -> float:
    """Return the share of keypoints that one pose explains, with the view's row n + shift matched to row n."""
    length = len(world) - abs(shift)
    first, second = (0, shift) if shift > 0 else (-shift, 0)
    fixed = world[first : first + length].reshape(-1, 3)
    moving = normalized[second : second + length].reshape(-1, 2)
    both = np.flatnonzero(seen_corners(fixed) & seen_corners(moving))
    both = both[spread_subset(len(both), _MAX_POINTS)]
    pose = resect(fixed[both], moving[both], limit)
    if pose is None or len(both) < MIN_COMMON:
        return 0.0
    local = fixed[both] @ pose[0].T + pose[1]
    errors = np.linalg.norm(local[:, :2] / local[:, 2:] - moving[both], axis=1)
    return float(((errors < limit) & (local[:, 2] > 0)).mean())
