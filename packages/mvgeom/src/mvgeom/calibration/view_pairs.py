"""Relative poses of two views from points that both see: essential matrices, and where they are not determined."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mvgeom._subset import spread_subset
from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.bundle import Booleans

__all__ = ["MIN_COMMON", "PairMotion", "ViewPair", "relate_views"]

MIN_COMMON = 20
"""Smallest number of points that two views must have in common; five determine an essential matrix."""

_MAX_POINTS = 1500
_SMALLEST_NOISE = 0.05
"""px; keypoints are written to a tenth of a px at best."""

_INLIER_SIGMAS = 3.0
_DEPTH_RATIO = 1.6
"""Smallest ratio of the errors of a homography and of an essential matrix: with less, noise explains the depth."""

_ROTATION_TOLERANCE, _GUESSED_TOLERANCE = 0.02, 0.08
_MAD = 1.4826
_RAYLEIGH_MEDIAN = 1.1774


class PairMotion:
    """Names of what the points of two views determine."""

    GENERAL = "general"
    PLANE = "plane"
    ROTATION = "rotation"
    FEW = "few"


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewPair:
    """Relative pose of two views.

    Attributes:
        common: Number of points that both views see.
        motion: What the points determine, see `PairMotion`: a relative pose, or none, because one homography maps all
            points from view to view (they lie in a plane, or the cameras are at one place), or there are few points.
        rotation: (3, 3) rotation from the first camera to the second.
        direction: (3,) translation from the first camera to the second, of length 1.
        inliers: (P,) booleans, true for points that agree with the pose.
        noise: Standard deviation of the keypoints in px that the essential matrix implies.
        plane_noise: The same for the homography.
        parallax_deg: Median angle between the viewing lines of a point, in degrees.
    """

    common: int
    motion: str
    rotation: Floats
    direction: Floats
    inliers: Booleans
    noise: float = float("nan")
    plane_noise: float = float("nan")
    parallax_deg: float = 0.0

    @property
    def value(self) -> float:
        """Value of the pair as a start: many agreeing points, seen from well different directions."""
        return float(self.inliers.sum()) * min(self.parallax_deg, 180 - self.parallax_deg, 30.0)


def relate_views(first: Floats, second: Floats, focal: float, *, known_focal: bool = True) -> ViewPair:
    """Estimate the relative pose of two views, robust to wrong keypoints.

    The essential matrix comes from five points at a time (Nister 2004, in OpenCV), first by the least median of squared
    errors, which also gives the noise, then by consensus at three standard deviations. The one of its four solutions
    with most points in front of both cameras is taken.

    Args:
        first: (P, 2) points in normalized coordinates of the first view; NaN is missing.
        second: (P, 2) the same points in the second view.
        focal: Focal length in px that turns normalized coordinates into px of errors.
        known_focal: False if it is a guess, near which another one may explain the points by a rotation.
    """
    both = np.flatnonzero(seen_corners(first) & seen_corners(second))
    inliers = np.zeros(len(first), dtype=bool)
    nothing = ViewPair(
        common=len(both), motion=PairMotion.FEW, rotation=np.eye(3), direction=np.array([1.0, 0, 0]), inliers=inliers
    )
    if len(both) < MIN_COMMON:
        return nothing
    chosen = both[spread_subset(len(both), _MAX_POINTS)]
    one, other = (np.ascontiguousarray(each[chosen]) for each in (first, second))
    essential = _essential(one, other, cv2.LMEDS, 1.0)
    if essential is None:
        return nothing
    noise = max(_MAD * float(np.median(_epipolar_errors(essential, one, other))) * focal, _SMALLEST_NOISE)
    refined = _essential(one, other, cv2.USAC_MAGSAC, _INLIER_SIGMAS * noise / focal)
    if refined is not None:
        spread = max(_MAD * float(np.median(_epipolar_errors(refined, one, other))) * focal, _SMALLEST_NOISE)
        if spread <= noise:
            essential, noise = refined, spread
    agree = _epipolar_errors(essential, first[both], second[both]) * focal < _INLIER_SIGMAS * noise
    near = both[agree]
    if len(near) < MIN_COMMON:
        return nothing
    _, rotation, direction, mask = cv2.recoverPose(essential, first[near], second[near], np.eye(3))
    inliers[near[mask.reshape(-1) > 0]] = True
    plane_noise, homography = _plane_noise(one, other, focal)
    motion = PairMotion.GENERAL
    if plane_noise < _DEPTH_RATIO * noise:
        factors = np.ones(1) if known_focal else np.geomspace(0.7, 1.4, 29)
        turns = _is_rotation(homography, factors, _ROTATION_TOLERANCE if known_focal else _GUESSED_TOLERANCE)
        motion = PairMotion.ROTATION if turns else PairMotion.PLANE
    elif inliers.sum() < MIN_COMMON:
        motion = PairMotion.FEW
    rays = [np.column_stack([each[inliers], np.ones(int(inliers.sum()))]) for each in (first, second)]
    rays = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in rays]
    cosine = ((rays[0] @ rotation.T) * rays[1]).sum(axis=1)
    return ViewPair(
        common=len(both),
        motion=motion,
        rotation=np.asarray(rotation, dtype=np.float64),
        direction=np.asarray(direction, dtype=np.float64).reshape(3),
        inliers=inliers,
        noise=noise,
        plane_noise=plane_noise,
        parallax_deg=float(np.rad2deg(np.arccos(np.clip(np.median(cosine), -1, 1)))) if inliers.any() else 0.0,
    )


def _essential(one: Floats, other: Floats, method: int, threshold: float) -> Floats | None:
    try:
        found, _ = cv2.findEssentialMat(one, other, np.eye(3), method=method, prob=0.9999, threshold=threshold)
    except cv2.error:
        return None
    if found is None or found.shape[0] < 3 or not np.isfinite(found[:3]).all():
        return None
    return np.asarray(found[:3], dtype=np.float64)


def _epipolar_errors(essential: Floats, one: Floats, other: Floats) -> Floats:
    """Return Sampson's distances (P,), whose standard deviation is that of a coordinate."""
    one, other = (np.column_stack([each, np.ones(len(each))]) for each in (one, other))
    lines, back = one @ essential.T, other @ essential
    squares = (lines[:, :2] ** 2).sum(axis=1) + (back[:, :2] ** 2).sum(axis=1)
    return np.asarray(np.abs((other * lines).sum(axis=1)) / np.sqrt(np.maximum(squares, 1e-300)))


def _plane_noise(one: Floats, other: Floats, focal: float) -> tuple[float, Floats]:
    """Return the standard deviation in px of a coordinate that the best homography implies, and the homography."""
    found, _ = cv2.findHomography(one, other, cv2.LMEDS)
    if found is None:
        return float("inf"), np.eye(3)
    homography = np.asarray(found, dtype=np.float64)
    errors = _transfer(homography, one, other)
    near = errors < 3 * np.median(errors)
    if near.sum() >= MIN_COMMON:
        again, _ = cv2.findHomography(one[near], other[near], 0)
        refined = homography if again is None else np.asarray(again, dtype=np.float64)
        if np.median(_transfer(refined, one, other)) < np.median(errors):
            homography = refined
    # Half of the distances, there and back, are below 1.18 sqrt(2) standard deviations for a rotation.
    spread = float(np.median(_transfer(homography, one, other))) / (_RAYLEIGH_MEDIAN * np.sqrt(2))
    return spread * focal, homography


def _is_rotation(homography: Floats, factors: Floats, tolerance: float) -> bool:
    """Return True if a homography of normalized points is a rotation, for one of the factors of the focal length."""
    scale = np.ones((len(factors), 3))
    scale[:, :2] = factors[:, None]
    values = np.linalg.svd(homography * scale[:, None, :] / scale[:, :, None], compute_uv=False)
    return bool((values[:, 0] / np.maximum(values[:, 2], 1e-300) < 1 + tolerance).any())


def _transfer(homography: Floats, one: Floats, other: Floats) -> Floats:
    """Return distances (P,), root mean square of both directions."""
    squares = np.zeros(len(one))
    for matrix, source, target in ((homography, one, other), (np.linalg.pinv(homography), other, one)):
        mapped = np.column_stack([source, np.ones(len(source))]) @ matrix.T
        with np.errstate(divide="ignore", invalid="ignore"):
            squares += np.nan_to_num(((mapped[:, :2] / mapped[:, 2:] - target) ** 2).sum(axis=1), nan=1e12) / 2
    return np.sqrt(squares)
