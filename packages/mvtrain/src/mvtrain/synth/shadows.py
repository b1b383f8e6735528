"""Soft shadows on the floor: each part of the body that is named here darkens a round patch under the lamp."""

from __future__ import annotations

import numpy as np

from mvtrain.synth.bounds import candidates
from mvtrain.synth.materials import FLOOR_LIGHT, LAMP, TO_LIGHT
from mvtrain.synth.shapes import Floats, Floats32, Shape
from mvtrain.synth.skeleton import Skeleton
from mvtrain.synth.view import View

_CASTERS = {
    "pelvis": 34.0,
    "trunk_middle": 36.0,
    "chest": 34.0,
    "neck": 24.0,
    "head": 22.0,
    "nose": 9.0,
    "tail_1": 9.0,
    "tail_mid": 8.0,
    "tail_3": 7.0,
    "tail_tip": 6.0,
    "left_knee": 15.0,
    "right_knee": 15.0,
    "left_elbow": 12.0,
    "right_elbow": 12.0,
    "left_front_paw": 10.0,
    "right_front_paw": 10.0,
    "left_hind_paw": 11.0,
    "right_hind_paw": 11.0,
}
"""mm, for an animal of size 1."""

_DEEPEST = float((LAMP * TO_LIGHT[2] / FLOOR_LIGHT).mean())
"""Part of the floor's light that comes from the lamp, and that a shadow can take away."""


def casters_of(skeleton: Skeleton) -> list[tuple[Floats, float]]:
    """Centres (T, 3) and radii of the balls that stand for the animal."""
    return [(skeleton.joints[name], radius * skeleton.size) for name, radius in _CASTERS.items()]


def floor_shadow(casters: list[tuple[Floats, float]], floor: Floats32, view: View) -> Floats32:
    """(T, H*W) factor on the floor's light, 1 away from all shadows.

    Args:
        casters: centres (T, 3) in the world and radii of balls.
        floor: (H*W, 2) where the pixels' rays meet the floor.
        view: of the camera.
    """
    spots, depths = zip(*[_patch(center, radius) for center, radius in casters], strict=True)
    lit = np.ones((len(casters[0][0]), len(floor)), dtype=np.float32)
    for spot, depth, (frames, pixels) in zip(spots, depths, candidates(spots, view), strict=True):
        if len(frames) == 0:
            continue
        center, reach = spot.center[frames, :2].astype(np.float32), spot.extent[frames, :1].astype(np.float32)
        x, y = (((floor[:, i][pixels] - center[:, i, None]) / reach) ** 2 for i in range(2))
        weight = np.maximum(1 - x - y, 0) ** 2
        flat = (frames[:, None] * lit.shape[1] + pixels).ravel()
        lit.ravel()[flat] *= (1 - depth[frames, None] * weight).ravel()
    return 1 - np.float32(_DEEPEST) * (1 - lit)


def _patch(center: Floats, radius: float) -> tuple[Shape, Floats32]:
    """Where the shadow of a ball falls, as a flat disc; (T,) how much of the lamp's light it takes in its middle."""
    height = center[:, 2]
    # The lamp is not a point: the higher the ball, the wider and paler its shadow.
    spread = 0.75 * radius + 0.16 * height
    spot = center - height[:, None] * TO_LIGHT / TO_LIGHT[2]
    extent = np.stack([2.4 * spread, 2.4 * spread, np.full_like(height, 0.5)], axis=-1)
    axes = np.broadcast_to(np.eye(3), (len(center), 3, 3))
    depth = 0.9 * np.minimum((radius / spread) ** 2, 1.0)
    return Shape(kind="ball", center=spot, axes=axes, extent=extent), depth.astype(np.float32)
