"""Poses of the boards on a rigid body relative to each other, from images in which several of them are seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import combinations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from mvgeom.calibration.boards import Floats, Ints, seen_corners
from mvgeom.calibration.bundle import Booleans, Scene, residuals
from mvgeom.calibration.detections import Detections
from mvgeom.calibration.faces_apart import name_of_face, split_faces
from mvgeom.calibration.findings import CalibrationError, Finding, error, note
from mvgeom.calibration.result import Calibration
from mvgeom.calibration.rig_adjustment import views_of_boards
from mvgeom.calibration.schur import adjust
from mvgeom.wording import counted

__all__ = ["describe_faces", "place_faces"]

_OUTLIER = 4.0
_HUBER = 3.0
_SMALLEST_SCALE = 1e-3

Solve = Callable[[Detections], Calibration]


def place_faces(detections: Detections, solve: Solve) -> tuple[Detections, Ints]:
    """Find the poses of the faces of a body, relative to the first face.

    First every face in every frame is a board of its own. The cameras that follow from that give the relative poses of
    faces that are seen in the same frame, by one camera or by several. They are then adjusted together with the poses
    of the body; cameras stay. The calibration with the body as one adjusts all together.

    Args:
        detections: Corners, with the face that each is on (`faces`).
        solve: Function that calibrates the cameras from detections.

    Returns:
        Detections with the corners of all faces in the frame of the first one, and the number of frames (N,) by which
        each face was placed.

    Raises:
        CalibrationError: If a face is never seen together with another one whose pose is known, or the faces as boards
            of their own do not allow a calibration.
    """
    assert detections.faces is not None
    result = solve(split_faces(detections))
    boards = _boards_by_face(result, detections, int(detections.faces.max()) + 1)
    poses, shared = _chain(boards, detections.names)
    adjusted = _adjust(result, detections, boards, poses)
    return dataclasses.replace(detections, object_points=adjusted, faces=None), shared


def describe_faces(detections: Detections, object_points: Floats, shared: Ints) -> list[Finding]:
    """Return a note on the pose of each face but the first.

    Args:
        detections: Corners in the frames of their faces, with the face that each is on.
        object_points: (K, 3) corners in the frame of the first face.
        shared: (N,) number of frames by which each face was placed.
    """
    notes = []
    for face in range(1, len(shared)):
        own = detections.faces == face
        local, body = detections.object_points[own], object_points[own]
        turn = Rotation.align_vectors(body - body.mean(axis=0), local - local.mean(axis=0))[0]
        position, angles = body.mean(axis=0) - turn.apply(local.mean(axis=0)), turn.as_euler("xyz", degrees=True)
        numbers = {
            **dict(zip(("x", "y", "z"), position, strict=True)),
            **dict(zip(("rotation_x", "rotation_y", "rotation_z"), angles, strict=True)),
        }
        text = (
            f"face {face + 1} of the set was placed by {counted(int(shared[face]), 'frame')}: "
            f"position = [{', '.join(f'{each:.6g}' for each in position)}], rotation = "
            f"[{', '.join(f'{each:.7g}' for each in angles)}] degrees"
        )
        notes.append(note("placed_face", detections.names, text, frames=float(shared[face]), **numbers))
    return notes


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
    _check_together(common, np.asarray(known.any(axis=0)), names)
    poses = np.full((count, 4, 4), np.nan)
    poses[0] = np.eye(4)
    shared = np.zeros(count, dtype=np.int64)
    placed = [0]
    while len(placed) < count:
        open_faces = [face for face in range(count) if face not in placed]
        best = max(((one, other) for one in placed for other in open_faces), key=lambda pair: common[pair])
        one, other = best
        both = known[:, one] & known[:, other]
        poses[other] = poses[one] @ _middle(np.linalg.inv(boards[both, one]) @ boards[both, other])
        shared[other] = common[best]
        placed.append(other)
    return poses, shared


def _check_together(common: Ints, seen: Booleans, names: tuple[str, ...]) -> None:
    """Check that all faces are seen (N,), and that frames in which two are seen (N, N) connect them.

    Raises:
        CalibrationError: If they are not.
    """
    absent = np.flatnonzero(~seen)
    if len(absent):
        shown = ", ".join(str(face + 1) for face in absent)
        text = (
            f"face {shown} of the set of boards is in no image that fits the others, so that its pose cannot be found. "
            "Check the numbers and the dictionary of its markers (first_id, dictionary), and show it"
        )
        raise CalibrationError([error("unplaced_face", names, text, faces=len(absent))])
    count, label = connected_components(csr_array(common), directed=False)
    if count > 1:
        groups = [", ".join(str(face + 1) for face in np.flatnonzero(label == group)) for group in range(count)]
        text = (
            f"the faces {' | '.join(groups)} of the set of boards are in no frame seen together, so that their poses "
            "cannot be found. Show faces of both at the same time, to one camera or to several, or give the poses"
        )
        raise CalibrationError([error("unplaced_face", names, text, groups=count)])


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
    """Return the corners (K, 3) of the body, with the poses (N, 4, 4) of its faces adjusted; cameras stay."""
    faces = detections.faces
    assert faces is not None
    placed = poses[faces]
    body = np.einsum("kij,kj->ki", placed[:, :3, :3], detections.object_points) + placed[:, :3, 3]
    known = np.asarray(np.isfinite(boards).all((-1, -2)))
    several = np.flatnonzero(known.sum(axis=1) >= 2)
    first = known[several].argmax(axis=1)
    bodies = boards[several, first] @ np.linalg.inv(poses[first])
    scene = Scene(
        cameras=result.cameras, rotation=bodies[:, :3, :3], position=bodies[:, :3, 3], object_points=body, faces=faces
    )
    points = np.where(known[several][:, faces, None], detections.points[:, several], np.nan)
    used, blocks = np.asarray(seen_corners(points).any(axis=-1)), np.arange(len(several))
    views = views_of_boards(points, used, blocks)
    # The relative pose of two faces may be far off in single frames, and then put corners behind a camera.
    behind = ~np.isfinite(residuals(scene, views)).all((1, 2))
    used[views.camera[behind], views.block[behind]] = False
    views = views_of_boards(points, used, blocks)
    fixed = np.zeros((len(result.cameras), scene.camera_size), dtype=bool)
    scale = max(_HUBER * result.noise, _SMALLEST_SCALE)
    return adjust(scene, views, fixed, loss="huber", loss_scale=scale).scene.object_points
