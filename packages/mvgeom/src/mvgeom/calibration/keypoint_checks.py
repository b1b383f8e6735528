"""Keypoints that do not determine cameras: too few, in a plane, without a baseline, not connected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from mvgeom._subset import spread_subset
from mvgeom.calibration.boards import Floats, Ints, seen_corners
from mvgeom.calibration.deviation_words import degrees, percent
from mvgeom.calibration.findings import CalibrationError, Finding, error
from mvgeom.calibration.keypoint_lenses import FittedLenses
from mvgeom.calibration.known_lengths import Scale
from mvgeom.calibration.rig_from_points import Pairs
from mvgeom.calibration.view_pairs import MIN_COMMON, PairMotion
from mvgeom.cameras import CameraGroup
from mvgeom.robust import triangulate_robust
from mvgeom.triangulation import covariance
from mvgeom.wording import counted

__all__ = ["check_connected", "check_geometry", "check_pairs", "check_scene", "connects"]

_PLACES = 60
"""Cells along the image's longer side; keypoints in one cell are at one place."""

_MIN_PLACES = 20
_FLAT_SIGMAS = 4.0
_FLAT_RATIO = 0.01
"""Thickness of the cloud of points, as a fraction of its length, up to which it is a plane."""

_MOST_FOCAL = 0.10
_SHORTEST, _LONGEST = 0.25, 30.0
"""Focal lengths of lenses, as fractions of the image's longer side: fields of view of 127 to 2 degrees."""

_MOST_TURN_DEG = 3.0
_MOST_SHIFT = 0.10
"""Largest standard deviations: of the focal length, of the pose, and of the position in mean distances of cameras."""


def check_scene(cams: CameraGroup, flat: Floats) -> None:
    """Raise a CalibrationError if views have too few keypoints, or keypoints at too few places.

    Args:
        cams: V cameras.
        flat: (V, P, 2) keypoints in full-image px; NaN is missing.
    """
    findings = []
    shared = seen_corners(flat).sum(axis=0) >= 2
    for view, name in enumerate(cams.names):
        seen = seen_corners(flat[view])
        common = seen & shared
        if common.sum() < MIN_COMMON:
            text = (
                f"camera {name!r}: too few keypoints that another camera sees in the same frame, found "
                f"{int(common.sum())} of {int(seen.sum())}, expected {MIN_COMMON}. Are the rows of all views the same "
                "frames, and is --min-likelihood too high?"
            )
            findings.append(error("too_few_points", [name], text, points=int(common.sum()), seen=int(seen.sum())))
            continue
        cells = np.unique(np.floor(flat[view][common] * _PLACES / cams.sizes[view].max()), axis=0)
        if len(cells) < _MIN_PLACES:
            text = (
                f"camera {name!r}: its {int(common.sum())} keypoints are at only {counted(len(cells), 'place')} of the "
                f"image, expected {_MIN_PLACES}: the subject hardly moved. Film it (or a wand) all over the volume"
            )
            findings.append(error("too_few_places", [name], text, places=len(cells), points=int(common.sum())))
    if findings:
        raise CalibrationError(findings)


def check_pairs(names: Sequence[str], related: Sequence[Pairs]) -> None:
    """Raise a CalibrationError if no pair of views determines a relative pose, with the reason of each pair.

    Args:
        names: V camera names.
        related: Pairs of views for each candidate of the focal lengths.
    """
    if any(each.motion == PairMotion.GENERAL for pairs in related for each in pairs.values()):
        return
    _raise_for_pairs(names, related, list(related[0]))


def _raise_for_pairs(names: Sequence[str], related: Sequence[Pairs], which: list[tuple[int, int]]) -> NoReturn:
    """Raise the error for pairs of views none of which determines a relative pose."""
    usual = [pairs[pair].motion for pair in which for pairs in related]
    described = _describe_pairs(names, related, which)
    if PairMotion.ROTATION in usual:
        text = (
            f"no distance between the cameras shows: {described}. Cameras at one place, or turned on one spot, cannot "
            "be calibrated by points; nor can cameras whose subject is far away beside their distance"
        )
        raise CalibrationError([error("no_baseline", names, text)])
    if PairMotion.PLANE in usual:
        text = (
            f"the keypoints lie in a plane, or have too little depth: {described}. Move the subject (or the wand) "
            "through the whole volume, nearer and farther, higher and lower"
        )
        raise CalibrationError([error("flat_points", names, text)])
    text = (
        f"no two cameras agree on {MIN_COMMON} common points: {described}. Are the rows of all views the same frames, "
        "and is every keypoint the same point in all views?"
    )
    raise CalibrationError([error("no_agreement", names, text)])


def _describe_pairs(names: Sequence[str], related: Sequence[Pairs], which: list[tuple[int, int]]) -> str:
    return "; ".join(
        f"{names[one]} and {names[other]}: {counted(related[0][one, other].common, 'common point')}"
        + _describe({pairs[one, other].motion for pairs in related})
        for one, other in which
    )


def _describe(motions: set[str]) -> str:
    if PairMotion.GENERAL in motions:
        return ""
    if PairMotion.ROTATION in motions:
        return ", explained by a turn on the spot"
    if PairMotion.PLANE in motions:
        return ", explained by a plane"
    return ", too few agree"


def check_connected(names: Sequence[str], related: Sequence[Pairs], *, placed: bool = True) -> list[Finding]:
    """Raise a CalibrationError if pairs of views do not connect all cameras; name the groups and what is between them.

    Args:
        names: V camera names.
        related: Pairs of views for each candidate of the focal lengths.
        placed: False to return an error also where pairs connect all cameras, because none could be placed.
    """
    good = [pair for pair in related[0] if any(pairs[pair].motion == PairMotion.GENERAL for pairs in related)]
    count, label = _components(len(names), good)
    between = [(one, other) for one, other in related[0] if count == 1 or label[one] != label[other]]
    numbers = _describe_pairs(names, related, between)
    if count > 1:
        seen = [pair for pair in between if related[0][pair].common >= MIN_COMMON]
        if seen and all(pairs[pair].motion != PairMotion.FEW for pair in seen for pairs in related):
            _raise_for_pairs(names, related, seen)
        groups = " | ".join(
            ", ".join(names[int(camera)] for camera in np.flatnonzero(label == group)) for group in range(count)
        )
        text = (
            f"the cameras form groups that no keypoints connect: {groups}. Common points between the groups: "
            f"{numbers}; {MIN_COMMON} that are not in one plane are needed. Move the subject through the region that "
            "cameras of both groups see"
        )
        raise CalibrationError([error("disconnected_cameras", names, text, groups=count)])
    if placed:
        return []
    text = (
        "the cameras could not be placed in one rig: their pairs contradict each other, or a camera shares fewer than "
        f"{MIN_COMMON} points with two others in the same frames. {numbers}. Check that the rows of all "
        "views are the same frames, and that no image is mirrored"
    )
    return [error("no_agreement", names, text)]


def connects(names: Sequence[str], pairs: Pairs) -> bool:
    """Return True if the pairs that determine a relative pose connect all cameras."""
    good = [pair for pair, each in pairs.items() if each.motion == PairMotion.GENERAL]
    return _components(len(names), good)[0] == 1


def _components(count: int, edges: list[tuple[int, int]]) -> tuple[int, Ints]:
    rows, columns = zip(*edges, strict=True) if edges else ((), ())
    graph = csr_array((np.ones(len(edges)), (rows, columns)), shape=(count, count))
    number, label = connected_components(graph, directed=False)
    return int(number), label.astype(np.int64)


def check_geometry(
    cams: CameraGroup, flat: Floats, fitted: FittedLenses, *, known_focal: bool, threshold: float
) -> None:
    """Raise a CalibrationError if the points lie in a plane, or their depth does not determine the cameras.

    Args:
        cams: V adjusted cameras.
        flat: (V, P, 2) keypoints in full-image px; NaN is missing.
        fitted: The adjustment.
        known_focal: True if focal lengths were given.
        threshold: Error in px beyond which a keypoint is an outlier.
    """
    thin = flat[:, spread_subset(flat.shape[1], 4000)]
    robust = triangulate_robust(thin, cams, threshold=threshold)
    known = np.isfinite(robust.points).all(-1)
    world = robust.points[known]
    if len(world) >= MIN_COMMON:
        middle = np.median(world, axis=0)
        distance = np.linalg.norm(world - middle, axis=1)
        near = distance < 4 * np.median(distance)
        _, _, axes = np.linalg.svd(world[near] - world[near].mean(axis=0), full_matrices=False)
        along = (world[near] - world[near].mean(axis=0)) @ axes.T
        extents = 1.4826 * np.median(np.abs(along - np.median(along, axis=0)), axis=0)
        spread = covariance(world[near], cams, max(fitted.noise, 1e-6), robust.inliers[:, known][:, near])
        error_across = float(np.sqrt(np.nanmedian(np.einsum("i,nij,j->n", axes[2], spread, axes[2]))))
        if extents[2] < max(_FLAT_SIGMAS * error_across, _FLAT_RATIO * extents[0]):
            text = (
                f"the keypoints lie in a plane: across it they spread by {100 * extents[2] / extents[0]:.1f} % of "
                f"their spread along it, and noise alone makes {100 * error_across / extents[0]:.1f} %. Move the "
                "subject (or the wand) through the whole volume"
            )
            raise CalibrationError([error("flat_points", cams.names, text, thickness=extents[2] / extents[0])])
    spread_of = fitted.scaled_deviations(cams, Scale())
    findings = []
    for view, name in enumerate(cams.names):
        focal = spread_of.focal[view].max() / cams.matrix[view, 0, 0]
        turn, shift = (float(np.linalg.norm(each[view])) for each in (spread_of.rotation_deg, spread_of.position))
        share = float(cams.matrix[view, 0, 0] / cams.sizes[view].max())
        if not (known_focal or _SHORTEST < share < _LONGEST):
            text = (
                f"camera {name!r}: its focal length would be {share:.3g} times the image's longer side, which no lens "
                "has. Its images are mirrored, its rows are other frames than those of the other views, or the "
                "keypoints have too little depth. Check these, or give --focal or --intrinsics"
            )
            findings.append(error("uncertain_focal_length", [name], text, focal=focal, share=share))
        elif focal > _MOST_FOCAL and not known_focal:
            text = (
                f"camera {name!r}: the focal length is not determined, {cams.matrix[view, 0, 0]:.0f} px with a "
                f"standard deviation of {percent(focal)}: the keypoints have too little depth. Give it with "
                "--focal or --intrinsics, or move the subject nearer and farther"
            )
            findings.append(error("uncertain_focal_length", [name], text, focal=focal))
        elif turn > _MOST_TURN_DEG or shift > _MOST_SHIFT:
            text = (
                f"camera {name!r}: the pose is not determined: standard deviations of {degrees(turn)} and "
                f"{percent(shift)} of the cameras' mean distance. More keypoints, all over the volume, are needed"
            )
            findings.append(error("uncertain_pose", [name], text, rotation_deg=turn, position=shift))
    if findings:
        raise CalibrationError(findings)
