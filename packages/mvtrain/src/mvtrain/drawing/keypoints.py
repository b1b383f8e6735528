"""Predicted keypoints drawn into an image: the surer, the more opaque and the larger."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib import colormaps

from mvtrain.config import Config

_FRACTION_BITS = 4
_BLACK = (0.0, 0.0, 0.0)
_FARTHEST = 1e5
"""px beyond which nothing is drawn: OpenCV's integers would overflow."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """How keypoints look.

    Attributes:
        colors: blue, green and red of each keypoint, 0 to 255.
        edges: pairs of keypoints that a line joins.
        min_confidence: keypoints below it are not drawn.
    """

    colors: tuple[tuple[float, float, float], ...]
    edges: tuple[tuple[int, int], ...]
    min_confidence: float


def style_of(config: Config, keypoint_names: tuple[str, ...], *, min_confidence: float) -> Style:
    """The colours and the skeleton that a config asks for.

    Raises:
        ValueError: an unknown colormap, or a skeleton with a keypoint that there is not.
    """
    if config.eval.colormap not in colormaps:
        raise ValueError(f"eval.colormap {config.eval.colormap!r} is no colormap of matplotlib")
    shades = colormaps[config.eval.colormap](np.linspace(0, 1, len(keypoint_names)))[:, 2::-1] * 255
    for edge in config.data.skeleton or ():
        for name in edge:
            if name not in keypoint_names:
                raise ValueError(
                    f"data.skeleton joins {edge[0]} and {edge[1]}, but there is no keypoint {name}; the keypoints are "
                    f"{', '.join(keypoint_names)}"
                )
    edges = tuple((keypoint_names.index(a), keypoint_names.index(b)) for a, b in config.data.skeleton or ())
    return Style(colors=tuple(map(tuple, shades.tolist())), edges=edges, min_confidence=min_confidence)


def draw_keypoints(
    image: np.ndarray, points: np.ndarray, confidence: np.ndarray, style: Style, *, radius: float
) -> np.ndarray:
    """An image with keypoints as dots and the skeleton as lines.

    Args:
        image: (h, w, 3) uint8 BGR.
        points: (K, 2) px of the image; NaN is not drawn.
        confidence: (K,) in [0, 1]: the opacity; a line has that of its less certain end.
        style: how they look.
        radius: px of a dot of confidence 1; others are down to half as large.

    Returns:
        (h, w, 3) uint8 BGR.
    """
    drawn = (np.abs(points) < _FARTHEST).all(-1) & (confidence >= style.min_confidence)
    # Everything goes into a layer with its opacity, and the layer into the image once.
    layer, opacity = image.copy(), np.zeros(image.shape[:2], dtype=np.float32)
    thickness = max(1, round(radius / 2))
    for one, other in style.edges:
        if drawn[one] and drawn[other]:
            ends = _fixed(points[one]), _fixed(points[other])
            color = tuple(np.mean([style.colors[one], style.colors[other]], axis=0).tolist())
            cv2.line(layer, *ends, color, thickness + 2, cv2.LINE_8, _FRACTION_BITS)
            least = float(min(confidence[one], confidence[other]))
            cv2.line(opacity, *ends, least, thickness, cv2.LINE_8, _FRACTION_BITS)
    for point, sure, color, seen in zip(points, confidence, style.colors, drawn, strict=True):
        if seen:
            size = round(radius * (0.5 + 0.5 * float(sure)) * (1 << _FRACTION_BITS))
            rim = size + (1 << _FRACTION_BITS)
            cv2.circle(layer, _fixed(point), rim, _BLACK, -1, cv2.LINE_AA, _FRACTION_BITS)
            cv2.circle(layer, _fixed(point), size, color, -1, cv2.LINE_AA, _FRACTION_BITS)
            cv2.circle(opacity, _fixed(point), rim, float(sure), -1, cv2.LINE_8, _FRACTION_BITS)
    return np.asarray(cv2.blendLinear(layer, image, opacity, 1 - opacity))


def _fixed(point: np.ndarray) -> tuple[int, int]:
    """OpenCV's fixed-point coordinates."""
    x, y = np.round(point * (1 << _FRACTION_BITS)).astype(int)
    return int(x), int(y)
