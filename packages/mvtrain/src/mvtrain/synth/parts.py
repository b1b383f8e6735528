"""Painted solids, and the light that comes from those a camera sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mvtrain.synth.materials import Material, paint, shade
from mvtrain.synth.shapes import Floats32, Shape, normals
from mvtrain.synth.view import View


@dataclass(frozen=True, kw_only=True)
class Part:
    """A solid and its paint."""

    shape: Shape
    material: Material

    def at(self, frames: slice) -> Part:
        """The part in some of its frames."""
        return Part(shape=self.shape.at(frames), material=self.material)


def light_of_hits(
    parts: Sequence[Part],
    depth: Floats32,
    owner: npt.NDArray[np.int16],
    frames: npt.NDArray[np.intp],
    pixels: npt.NDArray[np.intp],
    view: View,
) -> Floats32:
    """(N, 3) linear RGB that N pixels receive from the solids they see.

    Args:
        parts: over T frames.
        depth: (N,) mm along the ray.
        owner: (N,) position in `parts`, none negative.
        frames: (N,) in which frame.
        pixels: (N,) at which pixel, counted row by row.
        view: of the camera.
    """
    light = np.empty((len(depth), 3), dtype=np.float32)
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(len(parts) + 1))
    origin = view.origin.astype(np.float32)
    for part, start, stop in zip(parts, bounds[:-1], bounds[1:], strict=True):
        if start == stop:
            continue
        mine = order[start:stop]
        ray = view.directions[:, pixels[mine]].T
        points = origin + depth[mine, None] * ray
        outward, local = normals(part.shape, frames[mine], points)
        color = paint(part.material, local, outward)
        light[mine] = shade(color, outward, -ray, points[:, 2], part.material.gloss)
    return light
