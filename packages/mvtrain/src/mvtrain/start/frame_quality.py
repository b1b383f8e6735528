"""Usability of frames of a film: blank, blurred, frozen and damaged images, relative to the film's own images."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

LONGEST = 512
"""Longest side in px of the images that are measured; larger ones are shrunk by a whole factor."""

_BLANK = 0.5
"""Standard deviation in gray levels below which an image is blank, whatever the film."""

_BLANK_SHARE = 0.2
"""Share of the film's contrast below which an image is blank: a black, white or fading image."""

_BLURRED_SHARE = 0.5
"""Share of the film's typical sharpness below which an image is blurred."""

_FROZEN = 0.05
"""Mean difference to the image before, in gray levels, up to which an image is frozen, whatever the film."""

_FROZEN_SHARE = 0.05
"""Share of the film's typical difference up to which an image is frozen."""

_REPEATED = 0.5
"""Share of frozen images above which the film has every image twice, as after a change of its rate."""

_HOPELESS = 0.9
"""Share of images with a fault above which it is a property of the view, and no reason to leave images out."""

REASONS = ("damaged", "blank", "blurred", "frozen")
"""Reasons to leave a frame out, in the order in which they are counted."""


@dataclass(frozen=True, kw_only=True)
class ImageMeasures:
    """Measures of one image.

    Attributes:
        contrast: Standard deviation in gray levels.
        sharpness: Variance of the Laplacian.
        movement: Mean absolute differences in gray levels to the image before, and from that to the one before it; NaN
            where there is none.
    """

    contrast: float
    sharpness: float
    movement: tuple[float, float]


def measure_image(grays: list[np.ndarray | None]) -> ImageMeasures:
    """Measure the last of three images.

    Args:
        grays: Three consecutive images as `to_gray` gives them; None where there is no image; the last is one.
    """
    second, first, image = grays
    assert image is not None
    return ImageMeasures(
        contrast=float(image.std()),
        sharpness=float(cv2.Laplacian(image, cv2.CV_32F).var()),
        movement=(_difference(first, image), _difference(second, first)),
    )


def to_gray(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 3) uint8 BGR as (h, w) float32 gray levels, at most about `LONGEST` px long."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    factor = max(1, max(gray.shape) // LONGEST)
    if factor > 1:
        size = (max(1, gray.shape[1] // factor), max(1, gray.shape[0] // factor))
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    return np.asarray(gray, dtype=np.float32)


def find_faults(measures: list[list[ImageMeasures | None]]) -> tuple[np.ndarray, dict[tuple[str, int], float]]:
    """Find what is wrong with the images of a film.

    Every measure is compared with the same view's other images. A fault that nearly all images of a view have is a
    property of the view (a covered lens, a view in which nothing moves), and not a fault.

    Args:
        measures: M x V measures; None where an image cannot be decoded.

    Returns:
        (M, V) positions in `REASONS`, -1 for images without fault; and the share of such images by reason and view
        where it is ignored.
    """
    num_frames, num_views = len(measures), len(measures[0]) if measures else 0
    faults, ignored = np.full((num_frames, num_views), -1), {}
    for view in range(num_views):
        column = [row[view] for row in measures]
        present = np.array([entry is not None for entry in column], dtype=bool)
        faults[~present, view] = REASONS.index("damaged")
        known = [entry for entry in column if entry is not None]
        left = np.flatnonzero(present)
        for reason, wrong in _faults_of_view(known):
            # Of a frame that is blank, blur says nothing more.
            if wrong.mean() > _HOPELESS:
                ignored[reason, view] = float(wrong.mean())
                continue
            new = left[wrong & (faults[left, view] < 0)]
            faults[new, view] = REASONS.index(reason)
    return faults, ignored


def _faults_of_view(known: list[ImageMeasures]) -> list[tuple[str, np.ndarray]]:
    """Return the images (n,) that have each fault."""
    if not known:
        return []
    contrast = np.array([entry.contrast for entry in known])
    sharpness = np.array([entry.sharpness for entry in known])
    movement = np.array([entry.movement for entry in known])
    # Nine tenths of a film may be black.
    blank = contrast < max(_BLANK, _BLANK_SHARE * float(np.quantile(contrast, 0.9)))
    rest = ~blank if (~blank).any() else blank
    blurred = sharpness < _BLURRED_SHARE * float(np.median(sharpness[rest]))
    finite = movement[rest][np.isfinite(movement[rest])]
    typical = float(np.median(finite)) if len(finite) else 0.0
    still = movement <= max(_FROZEN, _FROZEN_SHARE * typical)
    # A codec refreshes a frozen image now and then, so one difference of two may be larger.
    frozen = np.asarray(still.any(axis=1))
    if frozen.mean() > _REPEATED:
        frozen = np.asarray(still.all(axis=1))
    return [("blank", blank), ("blurred", blurred), ("frozen", frozen)]


def _difference(first: np.ndarray | None, second: np.ndarray | None) -> float:
    """Return the mean absolute difference in gray levels; NaN without both images."""
    if first is None or second is None:
        return float("nan")
    return float(cv2.absdiff(first, second).mean())
