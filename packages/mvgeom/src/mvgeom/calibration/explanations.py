"""Mistakes that affect all keypoints of a view, found by undoing them: exchanged views, resized or turned images."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np

from mvgeom._subset import spread_subset
from mvgeom.calibration.boards import Floats
from mvgeom.calibration.findings import Finding, error
from mvgeom.cameras import CameraGroup
from mvgeom.reconstruction import noise_from_errors
from mvgeom.triangulation import reprojection_error, triangulate

__all__ = ["EXPLANATIONS", "NO_AGREEMENT", "explain"]

EXPLANATIONS = ("swapped_views", "image_size", "mirrored_images", "turned_keypoints")
"""Codes of the findings of `explain`."""

NO_AGREEMENT = 0.02
"""Limit of the keypoints' noise, as a fraction of the image's longer side; above it the views are unrelated."""

_SCALES = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 4 / 3, 3 / 2, 2.0, 3.0, 4.0)
_BETTER = 0.4
_SMALLEST_NOISE = 1.0
_ENOUGH = 0.5
_MAX_POINTS = 1_000
_MAX_MISTAKES = 4


class _Hypothesis(NamedTuple):
    """Keypoints with one mistake undone, and a description of the mistake."""

    code: str
    views: tuple[int, ...]
    points: Floats
    what: str
    parameter: float


def explain(cams: CameraGroup, flat: Floats) -> list[Finding]:
    """Find mistakes that, once undone, reduce the keypoints' noise to less than 0.4 times; the largest reduction first.

    Args:
        cams: V cameras.
        flat: (V, P, 2) keypoints in full-image px; NaN is missing.

    Returns:
        Findings, errors of the codes `EXPLANATIONS`; empty if no such mistake reduces
            the noise.
    """
    points = flat[:, spread_subset(flat.shape[1], _MAX_POINTS)]
    noise, count = _noise(cams, points)
    findings: list[Finding] = []
    while len(findings) < _MAX_MISTAKES and noise > _SMALLEST_NOISE:
        best, best_noise = None, np.inf
        for hypothesis in _hypotheses(cams, points):
            undone, left = _noise(cams, hypothesis.points)
            if left >= _ENOUGH * count and undone < best_noise:
                best, best_noise = hypothesis, undone
        if best is None or best_noise > _BETTER * noise:
            break
        names = [cams.names[view] for view in best.views]
        text = f"{best.what}; with this undone, the keypoints agree to {best_noise:.1f} px instead of {noise:.1f} px"
        findings.append(error(best.code, names, text, noise=noise, noise_undone=best_noise, parameter=best.parameter))
        points, (noise, count) = best.points, _noise(cams, best.points)
    # If the keypoints still do not agree, the mistakes found do not explain the disagreement.
    return findings if noise < NO_AGREEMENT * float(cams.sizes.max()) else []


def _hypotheses(cams: CameraGroup, points: Floats) -> Iterator[_Hypothesis]:
    everyone = tuple(range(len(cams)))
    for pair in combinations(everyone, 2):
        swapped = points.copy()
        swapped[list(pair)] = points[list(pair[::-1])]
        names = " and ".join(repr(cams.names[view]) for view in pair)
        yield _Hypothesis("swapped_views", pair, swapped, f"the keypoints of {names} are exchanged", 0.0)
    # With two views, a mistake in one looks like the opposite mistake in the other; all views together come first.
    for views in (everyone, *((view,) for view in everyone)):
        who = "all cameras" if views == everyone else f"camera {cams.names[views[0]]!r}"
        for scale in _SCALES:
            resized = points.copy()
            resized[list(views)] = (points[list(views)] + 0.5) * scale - 0.5
            what = f"the keypoints of {who} are px of images resized by {1 / scale:.3g}"
            yield _Hypothesis("image_size", views, resized, what, 1 / scale)
        mirrored = points.copy()
        for view in views:
            mirrored[view, :, 0] = cams.sizes[view, 0] - 1 - points[view, :, 0]
        yield _Hypothesis("mirrored_images", views, mirrored, f"the images of {who} are mirrored left to right", 0.0)
        for quarters in (1, 2, 3):
            turned = points.copy()
            for view in views:
                turned[view] = _turned_back(points[view], cams.sizes[view], quarters)
            options = " ".join(f"--turn {cams.names[view]}={90 * quarters}" for view in views)
            what = (
                f"the keypoints of {who} are px of images turned by {90 * quarters} degrees clockwise (mvgeom convert "
                f"{options} makes a calibration for those)"
            )
            yield _Hypothesis("turned_keypoints", views, turned, what, 90.0 * quarters)


def _turned_back(points: Floats, size: Floats, quarters: int) -> Floats:
    """Return keypoints (P, 2) of an image before it was turned clockwise by quarters.

    Args:
        points: (P, 2) keypoints in px of the turned image.
        size: (2,) width and height in px before the turn.
        quarters: Number of quarter turns, 1 to 3.
    """
    x, y = points[..., 0], points[..., 1]
    width, height = size - 1
    if quarters == 1:
        return np.stack([y, height - x], axis=-1)
    if quarters == 2:
        return np.stack([width - x, height - y], axis=-1)
    return np.stack([width - y, x], axis=-1)


def _noise(cams: CameraGroup, points: Floats) -> tuple[float, int]:
    """Return the keypoints' noise in px (infinite without points) and the number of keypoints it is computed from."""
    errors = reprojection_error(triangulate(points, cams), points, cams)
    noise = noise_from_errors(errors)
    return (noise if np.isfinite(noise) else np.inf), int(np.isfinite(errors).sum())
