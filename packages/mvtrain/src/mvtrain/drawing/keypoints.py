"""Drawing of predicted keypoints into an image; dots and lines of high confidence are more opaque and larger."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib import colormaps

from mvgeom.errors import InputError
from mvtrain.config import Config

_FRACTION_BITS = 4
"""Fraction bits of OpenCV's fixed-point coordinates."""

_BLACK = (0.0, 0.0, 0.0)
_FARTHEST = 1e5
"""Coordinate in px beyond which nothing is drawn, because OpenCV's integers would overflow."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """Style of drawn keypoints.

    Attributes:
        colors: Blue, green and red of each keypoint, 0 to 255.
        edges: Pairs of keypoints that a line joins.
        min_confidence: Confidence below which a keypoint is not drawn.
    """

    colors: tuple[tuple[float, float, float], ...]
    edges: tuple[tuple[int, int], ...]
    min_confidence: float


def style_from_config(config: Config, keypoint_names: tuple[str, ...], *, min_confidence: float) -> Style:
    """Build the style from a config's colormap and skeleton.

    Args:
        config: Config with `eval.colormap` and `data.skeleton`.
        keypoint_names: Names of the keypoints.
        min_confidence: Confidence below which a keypoint is not drawn.

    Raises:
        InputError: The colormap is unknown, or the skeleton has an unknown keypoint.
    """
    if config.eval.colormap not in colormaps:
        raise InputError(
            f"eval.colormap: unknown, found {config.eval.colormap!r}, expected a colormap of matplotlib",
            code="bad-value",
            key="eval.colormap",
            found=config.eval.colormap,
        )
    shades = colormaps[config.eval.colormap](np.linspace(0, 1, len(keypoint_names)))[:, 2::-1] * 255
    for edge in config.data.skeleton or ():
        for name in edge:
            if name not in keypoint_names:
                raise InputError(
                    f"data.skeleton: unknown keypoint, found {name} in the line from {edge[0]} to {edge[1]}, expected "
                    f"one of {', '.join(keypoint_names)}",
                    code="bad-value",
                    key="data.skeleton",
                    found=name,
                    expected=keypoint_names,
                )
    edges = tuple((keypoint_names.index(a), keypoint_names.index(b)) for a, b in config.data.skeleton or ())
    return Style(colors=tuple(map(tuple, shades.tolist())), edges=edges, min_confidence=min_confidence)


def draw_keypoints(
    image: np.ndarray, points: np.ndarray, confidence: np.ndarray, style: Style, *, radius: float
) -> np.ndarray:
    """Draw keypoints as dots and the skeleton as lines into a copy of an image.

    Args:
        image: (h, w, 3) uint8 BGR.
        points: (K, 2) keypoints in px of the image; NaN is not drawn.
        confidence: (K,) confidence in [0, 1]: the opacity; a line has the lower one of its ends.
        style: Style of the keypoints.
        radius: Radius in px of a dot of confidence 1; others are down to half as large.

    Returns:
        (h, w, 3) uint8 BGR.
    """
    drawn = (np.abs(points) < _FARTHEST).all(-1) & (confidence >= style.min_confidence)
    # Everything is drawn into a layer with an opacity, and the layer is blended into the image once.
    layer, opacity = image.copy(), np.zeros(image.shape[:2], dtype=np.float32)
    thickness = max(1, round(radius / 2))
    for one, other in style.edges:
        if drawn[one] and drawn[other]:
            ends = _fixed(points[one]), _fixed(points[other])
            color = tuple(np.mean([style.colors[one], style.colors[other]], axis=0).tolist())
            cv2.line(layer, *ends, color, thickness + 2, cv2.LINE_8, _FRACTION_BITS)
            lower = float(min(confidence[one], confidence[other]))
            cv2.line(opacity, *ends, lower, thickness, cv2.LINE_8, _FRACTION_BITS)
    for point, alpha, color, is_drawn in zip(points, confidence, style.colors, drawn, strict=True):
        if is_drawn:
            size = round(radius * (0.5 + 0.5 * float(alpha)) * (1 << _FRACTION_BITS))
            rim = size + (1 << _FRACTION_BITS)
            cv2.circle(layer, _fixed(point), rim, _BLACK, -1, cv2.LINE_AA, _FRACTION_BITS)
            cv2.circle(layer, _fixed(point), size, color, -1, cv2.LINE_AA, _FRACTION_BITS)
            cv2.circle(opacity, _fixed(point), rim, float(alpha), -1, cv2.LINE_8, _FRACTION_BITS)
    return np.asarray(cv2.blendLinear(layer, image, opacity, 1 - opacity))


def _fixed(point: np.ndarray) -> tuple[int, int]:
    """Convert a point to OpenCV's fixed-point coordinates."""
    x, y = np.round(point * (1 << _FRACTION_BITS)).astype(int)
    return int(x), int(y)
