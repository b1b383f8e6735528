"""Faces of a rigid body as boards of their own, for as long as their poses on the body are unknown."""

from __future__ import annotations

import dataclasses

import numpy as np

from mvgeom.calibration.boards import seen_corners
from mvgeom.calibration.detections import Detections

__all__ = ["name_of_face", "split_faces"]

_MIN_CORNERS = 4


def split_faces(detections: Detections) -> Detections:
    """Return detections in which every face of every frame is a frame of its own, named by `name_of_face`.

    Detections of one rigid board are returned as they are.
    """
    faces = detections.faces
    if faces is None:
        return detections
    points, names = [], []
    for frame, name in enumerate(detections.frames):
        for face in range(int(faces.max()) + 1):
            alone = np.where((faces == face)[:, None], detections.points[:, frame], np.nan)
            if (seen_corners(alone).sum(axis=-1) >= _MIN_CORNERS).any():
                points.append(alone)
                names.append(name_of_face(name, face))
    stacked = np.stack(points, axis=1) if points else detections.points[:, :0]
    return dataclasses.replace(detections, points=stacked, frames=tuple(names), faces=None)


def name_of_face(frame: str, face: int) -> str:
    """Return the name of the frame of one face; faces are counted from 1."""
    return f"{frame}, face {face + 1}"
