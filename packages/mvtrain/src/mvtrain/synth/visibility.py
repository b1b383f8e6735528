"""Which keypoints a camera sees: 2 visible, 1 hidden by the animal itself or something else, 0 outside the frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

import mvgeom
from mvtrain.synth.raycast import first_hits
from mvtrain.synth.shapes import Floats, Shape
from mvtrain.synth.view import View


def keypoint_visibility(
    keypoints: Floats, tolerances: Floats, shapes: Sequence[Shape], view: View
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Where a camera images the keypoints, and whether it sees them.

    The ray runs exactly through the keypoint, so the answer does not depend on the resolution.

    Args:
        keypoints: (T, K, 3) world.
        tolerances: (K,) mm by which a keypoint may lie behind the first surface on its ray and still be seen.
        shapes: everything that can hide it, over the same T frames.
        view: of the camera.

    Returns:
        (T, K, 2) frame px, NaN outside the frame, and (T, K) 2, 1 or 0.
    """
    pixels = mvgeom.project(keypoints, view.camera)[:, 0]
    inside = mvgeom.in_image(pixels[:, None], view.camera)[:, 0]
    offset = keypoints - view.origin
    distance = np.linalg.norm(offset, axis=-1)
    hidden = first_hits(shapes, view.origin, offset / distance[..., None]) < distance - tolerances
    visibility = np.where(inside, np.where(hidden, 1, 2), 0)
    return np.where(inside[..., None], pixels, np.nan), visibility
