"""Which solid rays meet first, and how far away: for all pixels with a depth buffer, or for single rays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mvtrain.synth.bounds import candidates
from mvtrain.synth.shapes import Floats, Floats32, Shape, intersect
from mvtrain.synth.view import View

SAME_SURFACE = 0.02
"""mm within which two solids count as one surface: of joints that share a ball, the first keeps it, without flicker."""


def rasterise(shapes: Sequence[Shape], view: View) -> tuple[Floats32, npt.NDArray[np.int16]]:
    """The nearest solid behind each pixel.

    Args:
        shapes: solids over T frames, none of which holds the camera.
        view: of one camera.

    Returns:
        (T, H*W) float32 mm along the ray, infinity where nothing is; and the position in `shapes`, -1 for nothing.
    """
    count = len(shapes[0].center)
    depth = np.full((count, view.width * view.height), np.inf, dtype=np.float32)
    owner = np.full(depth.shape, -1, dtype=np.int16)
    for number, (shape, (frames, pixels)) in enumerate(zip(shapes, candidates(shapes, view), strict=True)):
        if len(frames) == 0:
            continue
        x, y, z = (component[pixels] for component in view.directions)
        distance = intersect(shape.at(frames), view.origin, (x, y, z)).ravel()
        flat = (frames[:, None] * depth.shape[1] + pixels).ravel()
        nearer = np.flatnonzero(distance < depth.ravel()[flat] - SAME_SURFACE)
        depth.ravel()[flat[nearer]] = distance[nearer]
        owner.ravel()[flat[nearer]] = number
    return depth, owner


def first_hits(shapes: Sequence[Shape], origin: Floats, directions: Floats) -> Floats32:
    """(T, N) float32 mm to the first solid along any rays (T, N, 3) from one origin; infinity where there is none."""
    x, y, z = np.moveaxis(directions.astype(np.float32), -1, 0)
    nearest = np.full(x.shape, np.inf, dtype=np.float32)
    for shape in shapes:
        nearest = np.minimum(nearest, intersect(shape, origin, (x, y, z)))
    return nearest
