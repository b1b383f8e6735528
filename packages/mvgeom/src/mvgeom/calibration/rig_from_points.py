"""Poses of all cameras from points, starting from one pair of views: views are added by points that are known."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np

from mvgeom._subset import spread_subset
from mvgeom.calibration.boards import Floats, Ints, seen_corners
from mvgeom.calibration.bundle import NUM_POSE, Views
from mvgeom.calibration.lens_model import Lens
from mvgeom.calibration.point_adjustment import adjust_points
from mvgeom.calibration.view_pairs import MIN_COMMON, PairMotion, ViewPair, relate_views
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.projection import undistort
from mvgeom.robust import triangulate_robust

__all__ = ["Pairs", "PlacedRig", "pair_noise", "place_cameras", "relate_all", "resect"]

Pairs = dict[tuple[int, int], ViewPair]

_MAX_STARTS = 3
_MAX_POINTS, _FEWEST = 400, 30
_AGREEING = 1.3
_SHALLOW = 0.25
"""Depth of the scene beside its distance, below which perspective may not tell it from its mirror image in depth."""

_CAP = 0.01
"""Largest error that counts in the comparison of rigs, as a fraction of the image's longer side."""

_FOCAL = Lens(num_coefficients=0, square_pixels=True, fix_center=True, fix_distortion=True)
_POSES = Lens(num_coefficients=0, fix_intrinsics=True, fix_distortion=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedRig:
    """Cameras placed by points.

    Attributes:
        cameras: V cameras; the unit of the world is arbitrary.
        score: Mean error as a fraction of `_CAP`, errors beyond and keypoints without a point counted as 1.
        noise: Standard deviation of the keypoints per pixel coordinate in px.
    """

    cameras: CameraGroup
    score: float
    noise: float

    def agrees(self, pairs: Pairs) -> bool:
        """Return True if all views together agree as well as they do in pairs, so that no other start is needed."""
        return self.noise <= _AGREEING * pair_noise(pairs)


def pair_noise(pairs: Pairs) -> float:
    """Return the mean noise in px of the keypoints in pairs of views that determine a relative pose."""
    known = [each for each in pairs.values() if each.motion == PairMotion.GENERAL]
    return float(np.average([each.noise for each in known], weights=[each.common for each in known]))


def relate_all(cams: CameraGroup, flat: Floats, *, known_focal: bool = True) -> Pairs:
    """Estimate the relative pose of every pair of views.

    Args:
        cams: V cameras; only their intrinsics are used.
        flat: (V, P, 2) keypoints in full-image px; NaN is missing.
        known_focal: False if the focal lengths are guesses.
    """
    normalized = undistort(flat, cams)
    focal = cams.matrix[:, 0, 0]
    return {
        (one, other): relate_views(
            normalized[one], normalized[other], float((focal[one] + focal[other]) / 2), known_focal=known_focal
        )
        for one, other in combinations(range(len(cams)), 2)
    }


def place_cameras(cams: CameraGroup, flat: Floats, pairs: Pairs, *, groups: Ints | None) -> PlacedRig | None:
    """Place all cameras, starting from the most valuable pairs in turn; return the rig with the smallest error.

    Args:
        cams: V cameras with approximate intrinsics.
        flat: (V, P, 2) keypoints in full-image px; NaN is missing.
        pairs: Relative poses of the pairs of views.
        groups: (V,) groups of cameras whose focal lengths change together; None if focal lengths are known.

    Returns:
        The rig, or None if no start reaches all cameras.
    """
    thin = _thin(flat)
    usable = [pair for pair, each in pairs.items() if each.motion == PairMotion.GENERAL]
    starts = sorted(usable, key=lambda pair: -pairs[pair].value)[:_MAX_STARTS]
    best: PlacedRig | None = None
    for pair in starts:
        rig = _grow(cams, thin, pair, pairs[pair], groups)
        if rig is not None and (best is None or rig.score < best.score):
            best = rig
        if best is not None and best.agrees(pairs):
            break
    if best is None or not _looks_alike_reversed(best.cameras, thin):
        return best
    reversed_rig = _adjusted(_reversed(best.cameras, thin), thin, groups)
    return best if reversed_rig is None or reversed_rig.score >= best.score else reversed_rig


def _thin(flat: Floats) -> Floats:
    """Return some hundred points, spread over all, those of every pair of views among them."""
    seen = seen_corners(flat)
    chosen: set[int] = set()
    pairs = list(combinations(range(len(flat)), 2))
    for one, other in pairs:
        both = np.flatnonzero(seen[one] & seen[other])
        chosen.update(both[spread_subset(len(both), max(_MAX_POINTS // len(pairs), _FEWEST))].tolist())
    return flat[:, sorted(chosen)]


def _grow(
    cams: CameraGroup, flat: Floats, start: tuple[int, int], pair: ViewPair, groups: Ints | None
) -> PlacedRig | None:
    rotation, translation = np.tile(np.eye(3), (len(cams), 1, 1)), np.zeros((len(cams), 3))
    rotation[start[1]], translation[start[1]] = pair.rotation, pair.direction
    placed, rig = list(start), cams.replace(rotation=rotation, translation=translation)
    normalized = undistort(flat, cams)
    while True:
        part = rig.select([cams.names[view] for view in placed])
        adjusted = _poses_adjusted(part, flat[placed])
        if adjusted is None:
            return None
        part = adjusted
        rig = _with_poses(rig, placed, part)
        rest = [view for view in range(len(cams)) if view not in placed]
        if not rest:
            return _adjusted(rig, flat, groups)
        world = triangulate_robust(flat[placed], part, threshold=_cap(cams)).points
        known = np.isfinite(world).all(-1)
        usable = {view: known & seen_corners(normalized[view]) for view in rest}
        view = max(rest, key=lambda each: int(usable[each].sum()))
        pose = resect(world[usable[view]], normalized[view][usable[view]], _cap(cams) / cams.matrix[view, 0, 0])
        if pose is None:
            return None
        rotation, translation = rig.rotation.copy(), rig.translation.copy()
        rotation[view], translation[view] = pose
        rig, placed = rig.replace(rotation=rotation, translation=translation), [*placed, view]


def resect(world: Floats, normalized: Floats, threshold: float) -> tuple[Floats, Floats] | None:
    """Estimate the pose of one camera from known points, robust to wrong ones; None with too few that agree."""
    if len(world) < MIN_COMMON:
        return None
    # The unit of the world is arbitrary here; OpenCV's solvers expect numbers of order 1.
    size = float(np.median(np.linalg.norm(world - np.median(world, axis=0), axis=1)))
    try:
        found, turn, shift, inliers = cv2.solvePnPRansac(
            world / size,
            normalized,
            np.eye(3),
            None,
            iterationsCount=500,
            reprojectionError=threshold,
            confidence=0.9999,
            flags=cv2.SOLVEPNP_SQPNP,
        )
    except cv2.error:
        return None
    if not found or inliers is None or len(inliers) < MIN_COMMON / 2:
        return None
    rotation = np.asarray(cv2.Rodrigues(turn)[0], dtype=np.float64)
    return rotation, np.asarray(shift, dtype=np.float64).reshape(3) * size


def _poses_adjusted(cams: CameraGroup, flat: Floats) -> CameraGroup | None:
    free = _POSES.free(len(cams), cams.distortion.shape[-1])
    free[0, :NUM_POSE] = False
    try:
        return adjust_points(
            cams, flat, seen_corners(flat).astype(np.float64), free, rounds=1, rough=True, check=_enough
        ).cameras
    except InputError:
        return None


def _adjusted(cams: CameraGroup, flat: Floats, groups: Ints | None) -> PlacedRig | None:
    lens = _POSES if groups is None else _FOCAL
    free = lens.free(len(cams), cams.distortion.shape[-1])
    free[0, :NUM_POSE] = False
    weight = seen_corners(flat).astype(np.float64)
    try:
        found = adjust_points(
            cams, flat, weight, free, square=lens.square(len(cams)), groups=groups, rounds=2, rough=True, check=_enough
        )
    except InputError:
        return None
    robust = triangulate_robust(flat, found.cameras, threshold=_cap(cams))
    counted = seen_corners(flat) & (seen_corners(flat).sum(axis=0) >= 2)
    errors = np.where(np.isfinite(robust.error), np.minimum(robust.error / _cap(cams), 1), 1.0)
    return PlacedRig(cameras=found.cameras, score=float(errors[counted].mean()), noise=found.noise)


def _enough(views: Views) -> None:
    counts = np.bincount(views.camera, minlength=views.num_cameras)
    if (counts < MIN_COMMON).any():
        raise InputError("too few keypoints agree", code="too-few-points", found=int(counts.min()))


def _looks_alike_reversed(cams: CameraGroup, flat: Floats) -> bool:
    world = triangulate_robust(flat, cams, threshold=_cap(cams)).points
    depths = np.einsum("vj,pj->vp", cams.rotation[:, 2], world[np.isfinite(world).all(-1)]) + cams.translation[:, 2:]
    low, middle, high = np.percentile(depths, (10, 50, 90), axis=1) if depths.size else np.ones((3, 1))
    return bool(((high - low) < _SHALLOW * middle).all())


def _reversed(cams: CameraGroup, flat: Floats) -> CameraGroup:
    """Return the rig for the scene mirrored in depth, which looks the same from far away (Necker's reversal)."""
    world = triangulate_robust(flat, cams, threshold=_cap(cams)).points
    world = world[np.isfinite(world).all(-1)]
    if len(world) == 0:
        return cams
    frame = cams.rotation[0]
    mirror = frame.T @ np.diag([1.0, 1.0, -1.0]) @ frame
    middle = np.median(world, axis=0)
    # The mirrored scene is filmed by cameras mirrored twice: once with it, and once within themselves.
    rotation = np.diag([1.0, 1.0, -1.0]) @ cams.rotation @ mirror
    local = cams.rotation @ middle + cams.translation
    return cams.replace(rotation=rotation, translation=local - rotation @ middle)


def _with_poses(rig: CameraGroup, placed: list[int], part: CameraGroup) -> CameraGroup:
    rotation, translation = rig.rotation.copy(), rig.translation.copy()
    rotation[placed], translation[placed] = part.rotation, part.translation
    return rig.replace(rotation=rotation, translation=translation)


def _cap(cams: CameraGroup) -> float:
    return _CAP * float(cams.sizes.max())
