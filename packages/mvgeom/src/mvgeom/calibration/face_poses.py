"""Poses of the boards on a rigid body relative to each other, from images in which several of them are seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import combinations

import numpy as np
from scipy.optimize import least_squares
from scipy.sparse import lil_array
from scipy.spatial.transform import Rotation

from mvgeom.calibration.boards import Floats, Ints, seen_corners
from mvgeom.calibration.detections import Detections
from mvgeom.calibration.faces_apart import name_of_face, split_faces
from mvgeom.calibration.findings import CalibrationError, Finding, error, note
from mvgeom.calibration.result import Calibration
from mvgeom.projection import project

__all__ = ["place_faces"]

_ROUNDS = 2
_MOST_FRAMES = 60
_OUTLIER = 4.0

Solve = Callable[[Detections], Calibration]


def place_faces(detections: Detections, solve: Solve) -> tuple[Detections, tuple[Finding, ...]]:
    """Estimate the poses of the faces of a body, relative to the first face.

    First every face in every frame is a board of its own. The cameras that follow from that give the relative poses of
    faces that are seen in the same frame, by one camera or by several. They are then adjusted together with the poses
    of the body, and the cameras are calibrated with the body as one.

    Args:
        detections: Corners, with the face that each is on (`faces`).
        solve: Function that calibrates the cameras from detections.

    Returns:
        Detections with the corners of all faces in the frame of the first one, and a note for each other face.

    Raises:
        CalibrationError: If a face is never seen together with another one whose pose is known, or the faces as boards
            of their own do not allow a calibration.
    """
    assert detections.faces is not None
    count = int(detections.faces.max()) + 1
    apart = split_faces(detections)
    result = solve(apart)
    boards = _boards_by_face(result, detections, count)
    poses, shared = _chain(boards, detections.names)
    joined = _joined(detections, poses)
    for number in range(_ROUNDS):
        poses = _adjust(result, detections, boards, poses)
        joined = _joined(detections, poses)
        if number + 1 < _ROUNDS:
            result = solve(joined)
            boards = _boards_of_body(result, detections, poses)
    return joined, tuple(_described(face, poses[face], shared[face], detections.names) for face in range(1, count))


def _boards_by_face(result: Calibration, detections: Detections, count: int) -> Floats:
    """Return the poses (F, N, 4, 4) of the faces in the world; NaN where unknown."""
    place = {name: number for number, name in enumerate(result.detections.frames)}
    boards = np.full((len(detections.frames), count, 4, 4), np.nan)
    for frame, name in enumerate(detections.frames):
        for face in range(count):
            number = place.get(name_of_face(name, face))
            if number is not None and result.used[:, number].any():
                boards[frame, face] = result.boards[number]
    return boards


def _boards_of_body(result: Calibration, detections: Detections, poses: Floats) -> Floats:
    """Return the poses (F, N, 4, 4) of the faces in the world, from those of the body."""
    place = {name: number for number, name in enumerate(result.detections.frames)}
    boards = np.full((len(detections.frames), len(poses), 4, 4), np.nan)
    for frame, name in enumerate(detections.frames):
        number = place.get(name)
        if number is not None and result.used[:, number].any():
            boards[frame] = result.boards[number] @ poses
    return boards


def _chain(boards: Floats, names: tuple[str, ...]) -> tuple[Floats, Ints]:
    """Return the pose (N, 4, 4) of each face in the frame of the first one, and the frames it shares with its neighbor.

    Raises:
        CalibrationError: If a face is never seen together with those that are placed.
    """
    known = np.asarray(np.isfinite(boards).all((-1, -2)))
    count = known.shape[1]
    common = np.zeros((count, count), dtype=np.int64)
    for one, other in combinations(range(count), 2):
        common[one, other] = common[other, one] = int((known[:, one] & known[:, other]).sum())
    poses = np.full((count, 4, 4), np.nan)
    poses[0] = np.eye(4)
    shared = np.zeros(count, dtype=np.int64)
    placed = [0]
    while len(placed) < count:
        open_faces = [face for face in range(count) if face not in placed]
        best = max(((one, other) for one in placed for other in open_faces), key=lambda pair: common[pair])
        if common[best] == 0:
            shown = ", ".join(str(face + 1) for face in open_faces)
            text = (
                f"face {shown} of the set of boards is in no frame seen together with the others, so that its pose "
                "cannot be found. Show both at the same time, to one camera or to several, or give the poses"
            )
            raise CalibrationError([error("unplaced_face", names, text, faces=len(open_faces))])
        one, other = best
        both = known[:, one] & known[:, other]
        poses[other] = poses[one] @ _middle(np.linalg.inv(boards[both, one]) @ boards[both, other])
        shared[other] = common[best]
        placed.append(other)
    return poses, shared


def _middle(motions: Floats) -> Floats:
    """Return the mean of rigid motions (N, 4, 4) without those that are far from most."""
    kept = np.ones(len(motions), dtype=bool)
    for _ in range(3):
        middle = np.eye(4)
        middle[:3, 3] = np.median(motions[kept, :3, 3], axis=0)
        middle[:3, :3] = Rotation.from_matrix(motions[kept, :3, :3]).mean().as_matrix()
        away = np.linalg.norm(motions[:, :3, 3] - middle[:3, 3], axis=-1)
        turned = Rotation.from_matrix(motions[:, :3, :3] @ middle[:3, :3].T).magnitude()
        kept = (away <= _OUTLIER * np.median(away) + 1e-12) & (turned <= _OUTLIER * np.median(turned) + 1e-9)
    return middle


def _adjust(result: Calibration, detections: Detections, boards: Floats, poses: Floats) -> Floats:
    """Adjust the poses (N, 4, 4) of the faces and those of the body, with the cameras as they are."""
    faces = detections.faces
    assert faces is not None
    bodies = np.full((len(boards), 4, 4), np.nan)
    known = np.asarray(np.isfinite(boards).all((-1, -2)))
    several = np.flatnonzero(known.sum(axis=1) >= 2)
    chosen = several[np.unique(np.linspace(0, len(several) - 1, min(_MOST_FRAMES, len(several))).astype(int))]
    for frame in chosen:
        face = int(np.flatnonzero(known[frame])[0])
        bodies[frame] = boards[frame, face] @ np.linalg.inv(poses[face])
    local = detections.object_points
    pixels = np.moveaxis(detections.points[:, chosen], 0, 1)
    seen = seen_corners(pixels) & known[chosen][:, None, faces]
    size = float(np.ptp(local, axis=0).max())
    start = np.concatenate([_vectors(poses[1:], size), _vectors(bodies[chosen], size)])

    def misses(parameters: Floats) -> Floats:
        motions = _motions(parameters.reshape(-1, 6), size)
        placed = np.concatenate([np.eye(4)[None], motions[: len(poses) - 1]])[faces]
        body = np.einsum("kij,kj->ki", placed[:, :3, :3], local) + placed[:, :3, 3]
        moved = motions[len(poses) - 1 :]
        world = body @ np.swapaxes(moved[:, :3, :3], 1, 2) + moved[:, None, :3, 3]
        found = np.asarray(project(world, result.cameras))
        return np.asarray(np.nan_to_num((found - pixels)[seen], nan=0.0).reshape(-1))

    frame, _, corner = np.nonzero(seen)
    rows = np.arange(2 * len(frame)).reshape(-1, 2)
    pattern = lil_array((2 * len(frame), start.size), dtype=np.int8)
    for column in range(6):
        for axis in range(2):
            turned = faces[corner] > 0
            pattern[rows[turned, axis], 6 * (faces[corner[turned]] - 1) + column] = 1
            pattern[rows[:, axis], 6 * (len(poses) - 1 + frame) + column] = 1
    scale = max(3 * result.noise, 1e-3)
    solved = least_squares(
        misses, start.reshape(-1), jac_sparsity=pattern, loss="huber", f_scale=scale, method="trf", max_nfev=20
    )
    adjusted = _motions(solved.x.reshape(-1, 6)[: len(poses) - 1], size)
    return np.concatenate([np.eye(4)[None], adjusted])


def _vectors(motions: Floats, size: float) -> Floats:
    """Return rotation vectors and positions (N, 6), these in units of the body's size."""
    return np.concatenate([Rotation.from_matrix(motions[:, :3, :3]).as_rotvec(), motions[:, :3, 3] / size], axis=-1)


def _motions(vectors: Floats, size: float) -> Floats:
    result = np.tile(np.eye(4), (len(vectors), 1, 1))
    result[:, :3, :3] = Rotation.from_rotvec(vectors[:, :3]).as_matrix()
    result[:, :3, 3] = vectors[:, 3:] * size
    return result


def _joined(detections: Detections, poses: Floats) -> Detections:
    """Return detections of one body: its corners in the frame of the first face."""
    assert detections.faces is not None
    placed = poses[detections.faces]
    body = np.einsum("kij,kj->ki", placed[:, :3, :3], detections.object_points) + placed[:, :3, 3]
    return dataclasses.replace(detections, object_points=body, faces=None)


def _described(face: int, pose: Floats, shared: int, names: tuple[str, ...]) -> Finding:
    turn = Rotation.from_matrix(pose[:3, :3]).as_euler("xyz", degrees=True)
    numbers = {
        **dict(zip(("x", "y", "z"), pose[:3, 3], strict=True)),
        **dict(zip(("rotation_x", "rotation_y", "rotation_z"), turn, strict=True)),
    }
    text = (
        f"face {face + 1} of the set of boards was placed by {shared} frames: position = "
        f"[{', '.join(f'{each:.6g}' for each in pose[:3, 3])}], rotation = "
        f"[{', '.join(f'{each:.4g}' for each in turn)}] degrees"
    )
    return note("placed_face", names, text, frames=float(shared), **numbers)
