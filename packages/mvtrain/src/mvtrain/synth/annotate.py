"""What an annotator and a detector would say about one camera's frames: 2D labels and boxes around the animal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mvgeom import affine
from mvtrain.synth.bounds import pixel_bounds
from mvtrain.synth.keyed import Purpose, generator
from mvtrain.synth.scene import Scene
from mvtrain.synth.shapes import Floats
from mvtrain.synth.spec import SyntheticSpec
from mvtrain.synth.view import View
from mvtrain.synth.visibility import keypoint_visibility

BOX_MARGIN = 0.12
"""Added on every side of the animal's box, as a fraction of its longer side."""

SMALLEST_BOX = 24
"""px; also the box of a frame without the animal."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labels of N frames of one camera.

    Attributes:
        points: (N, K, 2) px of the stored images, NaN where not labelled.
        visible: (N, K) 2 visible, 1 occluded, 0 not labelled.
    """

    points: Floats
    visible: npt.NDArray[np.int64]


def label(scene: Scene, view: View, number: int, boxes: Floats, spec: SyntheticSpec) -> Labels:
    """The labels of the scene's labelled frames.

    Args:
        scene: one session.
        view: of the camera.
        number: the camera's position.
        boxes: (N, 4) x, y, width, height in frame px of the stored images, one for each labelled frame.
        spec: for noise, missing labels and the size of stored crops.
    """
    rows = scene.labelled
    keypoints = scene.skeleton.keypoints[rows]
    shapes = [part.shape.at(rows) for part in scene.body + scene.occluders]
    points, visible = keypoint_visibility(keypoints, scene.skeleton.tolerances, shapes, view)
    # One stream a frame: what another frame is given does not depend on how many there are.
    for row, frame in enumerate(rows):
        place = (scene.number, number, int(frame))
        points[row] += (
            generator(spec.seed, Purpose.LABEL_NOISE, *place).normal(0, 1, points[row].shape) * spec.label_noise
        )
        missing = generator(spec.seed, Purpose.MISSING_LABELS, *place).random(len(visible[row])) < spec.missing_labels
        visible[row, missing] = 0
    points[visible == 0] = np.nan
    sizes = boxes[:, 2:] if spec.crop_size is None else np.full((len(rows), 2), float(spec.crop_size))
    return Labels(points=affine.apply(affine.from_box(boxes, sizes), points), visible=visible)


def animal_boxes(scene: Scene, view: View) -> Floats:
    """(T, 4) x, y, width, height in whole frame px: squares inside the frame, around what it holds of the animal."""
    left, top, right, bottom = np.moveaxis(pixel_bounds([part.shape for part in scene.body], view), 1, 0)
    outside = (right <= left) | (bottom <= top)
    size = np.array([view.width, view.height])
    start = np.stack([np.where(outside, view.width, left).min(0), np.where(outside, view.height, top).min(0)], axis=-1)
    stop = np.stack([np.where(outside, 0, right).max(0), np.where(outside, 0, bottom).max(0)], axis=-1)
    absent = outside.all(axis=0)[:, None]
    start, stop = np.where(absent, size // 2, start), np.where(absent, size // 2, stop)
    side = np.ceil((stop - start).max(axis=-1) * (1 + 2 * BOX_MARGIN)).astype(np.intp)
    side = np.clip(side, SMALLEST_BOX, min(view.width, view.height))[:, None]
    corner = np.clip((start + stop - side) // 2, 0, size - side)
    return np.concatenate([corner, side, side], axis=1).astype(np.float64)
