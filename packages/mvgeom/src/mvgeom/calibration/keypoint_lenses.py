"""Lenses no richer than the keypoints: the last adjustment of a calibration from keypoints, and its uncertainty."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.adjusted import Deviations, center_by_pose, deviations
from mvgeom.calibration.boards import Floats, Ints, seen_corners
from mvgeom.calibration.bundle import NUM_POSE, Booleans
from mvgeom.calibration.clustered import clustered_covariance
from mvgeom.calibration.known_lengths import Scale
from mvgeom.calibration.lens_jacobian import NUM_INTRINSICS
from mvgeom.calibration.lens_prior import LensPrior
from mvgeom.calibration.point_adjustment import PointAdjustment, adjust_points
from mvgeom.cameras import CameraGroup

__all__ = ["FittedLenses", "KeypointLenses", "fit_lenses"]

_FOCAL = slice(NUM_POSE, NUM_POSE + 2)
_CENTER = slice(NUM_POSE + 2, NUM_POSE + NUM_INTRINSICS)
_K1 = NUM_POSE + NUM_INTRINSICS

CENTER_SPREAD = 0.015
"""Standard deviation of principal points from the image's center, as a fraction of the longer side."""

K1_SPREAD = 0.15
"""Standard deviation of the first radial coefficient among lenses."""

FOCAL_SPREAD = 0.02
"""Relative standard deviation of focal lengths among cameras of one make."""

_SHOWN_SIGMAS = 2.0
_OWN_FOCAL = 0.01
"""Relative standard deviation of a camera's own focal length up to which the others' tell nothing more."""

_DIFFERENT_SIGMAS = 4.0
_MOST_INFLATION = 10.0


@dataclass(frozen=True, kw_only=True)
class KeypointLenses:
    """Lens parameters that keypoints determined.

    Attributes:
        free_focal: True if focal lengths were estimated.
        groups: Group of each camera; cameras of a group are taken to have nearly equal focal lengths (2 %).
        k1: For each camera, true if its first radial coefficient was estimated.
    """

    free_focal: bool
    groups: tuple[int, ...]
    k1: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedLenses:
    """Adjusted cameras with their uncertainty.

    Attributes:
        cameras: V cameras, in the frame and unit of the adjustment.
        covariance: (V, C, V, C) covariance of their parameters; the scale of the world is not in it.
        noise: Standard deviation of the keypoints per pixel coordinate in px.
        threshold: Error in px beyond which a keypoint is an outlier.
        lenses: Parameters that were estimated.
    """

    cameras: CameraGroup
    covariance: Floats
    noise: float
    threshold: float
    lenses: KeypointLenses

    def scaled_deviations(self, cams: CameraGroup, scale: Scale) -> Deviations:
        """Return standard deviations relative to the reference camera, in the unit of `cams`.

        Args:
            cams: The same cameras in the frame of the reference camera and in their final unit.
            scale: Scale of the world.
        """
        growth = _mean_gap(cams) / _mean_gap(self.cameras)
        found = deviations(self.cameras, _with_fixed_gaps(self.cameras, self.covariance), 1.0)
        position = np.hypot(found.position * growth, np.abs(cams.centers) * scale.spread / scale.factor)
        return dataclasses.replace(found, position=position)


def fit_lenses(
    cams: CameraGroup,
    flat: Floats,
    *,
    frame: Ints,
    keypoint: Ints,
    reference: int,
    free_focal: bool,
    free_lens: bool,
    coefficients: int | None,
    notify: Callable[[str], None],
) -> FittedLenses:
    """Adjust cameras and points with as many lens parameters as the keypoints show.

    At first every camera has its own focal length, principal point and radial coefficient, the last two with priors.
    Where that leaves focal lengths uncertain, and images of one size do not show that they differ, they are taken to be
    nearly equal. Coefficients that are not significant are left out. Priors are weighed against the number of
    independent keypoints: errors of detectors last over time.

    Args:
        cams: V cameras, placed.
        flat: (V, P, 2) keypoints in full-image px; NaN is missing.
        frame: (P,) frame of each point.
        keypoint: (P,) keypoint of each point.
        reference: Index of the camera whose pose is kept.
        free_focal: True to estimate focal lengths.
        free_lens: True to estimate principal points and distortion too.
        coefficients: 0 or 1 distortion coefficients; None for one where the keypoints show it.
        notify: Function called at each stage.
    """
    num_views = len(cams)
    weight = seen_corners(flat).astype(np.float64)
    same_size = np.unique(np.sort(cams.sizes, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    own = np.arange(num_views)
    inflation = 1.0

    def solve(start: CameraGroup, groups: Ints, k1: Booleans) -> tuple[PointAdjustment, Floats, float]:
        free = np.zeros((num_views, NUM_POSE + NUM_INTRINSICS + cams.distortion.shape[-1]), dtype=bool)
        free[:, :NUM_POSE] = True
        free[reference, :NUM_POSE] = False
        free[:, _FOCAL] = free_focal
        free[:, _CENTER] = free_lens
        if free.shape[1] > _K1:
            free[:, _K1] = k1
        prior = _prior(start, free, groups) if free_lens else None
        weighed = inflation

        def weigh(noise: float) -> LensPrior:
            assert prior is not None
            return dataclasses.replace(prior, precision=prior.precision * (noise * weighed) ** 2)

        found = adjust_points(
            start,
            flat,
            weight,
            free,
            square=np.full(num_views, free_focal),
            prior=weigh if prior is not None else None,
            progress=notify,
        )
        covariance, ratio = _covariance(found, free, frame, keypoint, weigh if prior is not None else None)
        return found, covariance, ratio

    k1 = np.full(num_views, free_lens and coefficients != 0 and cams.distortion.shape[-1] > 0)
    groups = own
    found, covariance, ratio = solve(cams, groups, k1)
    if free_focal:
        groups = _alike(found.cameras, covariance, same_size)
    if (free_lens and ratio > 1) or (groups != own).any():
        inflation = float(np.clip(ratio, 1, _MOST_INFLATION))
        found, covariance, _ = solve(found.cameras, groups, k1)
    if k1.any() and coefficients is None:
        k1 = _shown_k1(found.cameras, covariance)
        if not k1.all():
            distortion = found.cameras.distortion.copy()
            distortion[~k1] = 0
            # Deviations stay those with the coefficient: that it is not significant does not mean that it is 0.
            found, _, _ = solve(found.cameras.replace(distortion=distortion), groups, k1)
    return FittedLenses(
        cameras=found.cameras,
        covariance=covariance,
        noise=found.noise,
        threshold=max(4 * found.noise, 1.0),
        lenses=KeypointLenses(free_focal=free_focal, groups=tuple(groups.tolist()), k1=tuple(k1.tolist())),
    )


def _prior(cams: CameraGroup, free: Booleans, groups: Ints) -> LensPrior:
    """Return priors for a noise of 1 px: centers of the images, no distortion, nearly equal focal lengths in groups."""
    mean, spread = np.zeros(free.shape), np.full(free.shape, np.inf)
    mean[:, _CENTER] = (cams.sizes - 1) / 2
    spread[:, _CENTER] = CENTER_SPREAD * cams.sizes.max(axis=1, keepdims=True)
    if free.shape[1] > _K1:
        spread[:, _K1] = K1_SPREAD
    precision = np.diag(np.where(free, 1 / spread**2, 0.0).reshape(-1))
    places = np.arange(free.size).reshape(free.shape)[:, NUM_POSE]
    for group in np.unique(groups):
        views = np.flatnonzero((groups == group) & free[:, NUM_POSE])
        if len(views) < 2:
            continue
        # Only differences from the group's mean have a prior; the mean itself is free.
        contrast = np.eye(len(views)) - 1 / len(views)
        sigma = FOCAL_SPREAD * float(np.median(cams.matrix[views, 0, 0]))
        precision[np.ix_(places[views], places[views])] += contrast / sigma**2
    return LensPrior(mean=mean, precision=precision)


def _covariance(
    found: PointAdjustment, free: Booleans, frame: Ints, keypoint: Ints, prior: Callable[[float], LensPrior] | None
) -> tuple[Floats, float]:
    """Return the covariance (V, C, V, C) and the ratio of standard deviations for correlated and independent errors."""
    plain = found.solution.covariance * found.noise**2
    kept = np.flatnonzero(found.kept)
    correlated = clustered_covariance(
        found.solution, found.views, free, frame[kept], keypoint[kept], loss="cauchy", loss_scale=found.loss_scale
    )
    size = free.size
    sandwich, square = correlated.reshape(size, size), plain.reshape(size, size)
    if prior is not None:
        # What the prior says has an error, too: its variance is that of the parameter.
        bread = found.solution.covariance.reshape(size, size)
        sandwich = sandwich + bread @ prior(found.noise).precision @ bread * found.noise**2
    counted = free.copy()
    counted[:, NUM_POSE:] = False
    places = np.flatnonzero(counted.reshape(-1))
    values = np.diag(sandwich)[places] / np.maximum(np.diag(square)[places], 1e-300)
    ratio = float(np.sqrt(np.median(values))) if len(places) else 1.0
    # Too few groups, or errors that are alike by chance, must not make the deviations smaller than independent errors.
    grow = np.sqrt(np.maximum(1.0, np.diag(square) / np.maximum(np.diag(sandwich), 1e-300)))
    grow[np.diag(sandwich) <= 0] = 1.0
    return (sandwich * grow[:, None] * grow).reshape(plain.shape), ratio


def _alike(cams: CameraGroup, covariance: Floats, same_size: Ints) -> Ints:
    """Return groups of cameras with nearly equal focal lengths: images of one size, uncertain and not different."""
    groups = np.arange(len(cams))
    focal = cams.matrix[:, 0, 0]
    joint = covariance[:, NUM_POSE, :, NUM_POSE]
    for group in np.unique(same_size):
        views = np.flatnonzero(same_size == group)
        spread = np.sqrt(np.diag(joint)[views]) / focal[views]
        if len(views) < 2 or spread.max() <= _OWN_FOCAL:
            continue
        contrast = np.eye(len(views))[1:] - np.eye(len(views))[0]
        differences = contrast @ focal[views]
        among = (FOCAL_SPREAD * np.median(focal[views])) ** 2 * np.eye(len(views))
        variances = contrast @ (joint[np.ix_(views, views)] + among) @ contrast.T
        distance = float(differences @ np.linalg.pinv(variances) @ differences)
        if distance < len(differences) + _DIFFERENT_SIGMAS * np.sqrt(2 * len(differences)):
            groups[views] = views[0]
    return groups


def _shown_k1(cams: CameraGroup, covariance: Floats) -> Booleans:
    """Return booleans (V,), true for cameras whose radial coefficient is beyond its uncertainty, or unknown."""
    spread = np.sqrt(np.maximum(np.diag(covariance[:, _K1, :, _K1]), 1e-300))
    # A coefficient that is as good as unknown makes other parameters as uncertain as they are.
    return np.asarray((np.abs(cams.distortion[:, 0]) > _SHOWN_SIGMAS * spread) | (spread > 0.5 * K1_SPREAD))


def _mean_gap(cams: CameraGroup) -> float:
    gaps = np.linalg.norm(cams.centers[:, None] - cams.centers, axis=-1)
    return float(gaps.sum() / (len(cams) * (len(cams) - 1)))


def _with_fixed_gaps(cams: CameraGroup, covariance: Floats) -> Floats:
    """Return the covariance for a unit in which the mean distance of two cameras is known exactly.

    The adjustment leaves the scale open, and its covariance has an arbitrary part along it. The part is removed along
    the direction in which all translations grow (S-transformation, Baarda 1973).
    """
    num_views, size = covariance.shape[:2]
    grow = np.zeros((num_views, size))
    # The scene grows about the camera whose pose is kept.
    reference = _reference(covariance)
    center = cams.centers[reference]
    grow[:, 3:NUM_POSE] = cams.translation + cams.rotation @ center
    by_pose = center_by_pose(cams)
    gaps = cams.centers[:, None] - cams.centers
    lengths = np.linalg.norm(gaps, axis=-1)
    units = gaps / np.where(lengths > 0, lengths, 1)[..., None]
    slope = np.zeros((num_views, size))
    slope[:, :NUM_POSE] = np.einsum("vi,vic->vc", units.sum(axis=1), by_pose)
    flat_grow, flat_slope = grow.reshape(-1), slope.reshape(-1)
    projector = np.eye(num_views * size) - np.outer(flat_grow, flat_slope) / float(flat_grow @ flat_slope)
    square = covariance.reshape(num_views * size, -1)
    return np.asarray(projector @ square @ projector.T).reshape(covariance.shape)


def _reference(covariance: Floats) -> int:
    """Return the index of the camera whose pose was kept."""
    own = np.stack([np.diagonal(covariance[view, :NUM_POSE, view, :NUM_POSE]) for view in range(len(covariance))])
    return int(np.argmin(own.sum(axis=1)))
