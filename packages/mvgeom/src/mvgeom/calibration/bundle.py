"""Bundle adjustment: the scene, its residuals and their derivatives.

Cameras and scene are adjusted to minimize the reprojection errors. The scene consists of blocks: a rigid board in one
frame (known points, unknown rotation and position) or a single point (unknown position). The faces of a board may have
unknown poses on it, which are the same in all frames. A camera's observations of one block are a `view`. Rotations are
updated by small rotation vectors applied from the left, R <- exp(w) R, so derivatives are always taken at w = 0.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from mvgeom.calibration.boards import Floats, Ints
from mvgeom.calibration.lens_jacobian import NUM_INTRINSICS, project_with_jacobian
from mvgeom.cameras import CameraGroup

__all__ = ["NUM_POSE", "Booleans", "Linearization", "Scene", "Step", "Views", "linearize", "residuals"]

Booleans = npt.NDArray[np.bool_]

NUM_POSE = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """Observations: G views of P points each.

    Attributes:
        camera: (G,) camera index of each view.
        block: (G,) block index of each view.
        pixels: (G, P, 2) observations in full-image px; any finite value where the weight is 0.
        weights: (G, P) weights of the squared residuals; 0 removes an observation.
        num_cameras: Number V of cameras.
        num_blocks: Number B of blocks.
    """

    camera: Ints
    block: Ints
    pixels: Floats
    weights: Floats
    num_cameras: int
    num_blocks: int

    @property
    def num_observations(self) -> int:
        """Number of observations with a positive weight."""
        return int((self.weights > 0).sum())

    def reweigh(self, factor: Floats) -> Views:
        """Return the same views with weights multiplied by factors (G, P)."""
        return dataclasses.replace(self, weights=self.weights * factor)


class Step(NamedTuple):
    """Changes of the parameters of cameras (V, camera_size), of blocks (B, block_size), and of moving faces (N, 6)."""

    cameras: Floats
    blocks: Floats
    faces: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Scene to adjust: cameras, and boards or points.

    Attributes:
        cameras: V cameras, NumPy, no batch dimensions.
        rotation: (B, 3, 3) rotations from board to world; None if the blocks are single points.
        position: (B, 3) positions of the boards' origins, or of the points, in the world.
        object_points: (P, 3) points in the board's frame; zeros (1, 3) for single points.
        faces: (P,) face that each point is on; all faces but face 0 move on the board. None if none does.
    """

    cameras: CameraGroup
    rotation: Floats | None
    position: Floats
    object_points: Floats
    faces: Ints | None = None

    @property
    def block_size(self) -> int:
        """Number of parameters of a block: 6 for a board, 3 for a point."""
        return 3 if self.rotation is None else NUM_POSE

    @property
    def camera_size(self) -> int:
        """Number of parameters of a camera: rotation 3, translation 3, fx, fy, cx, cy, distortion n."""
        return NUM_POSE + NUM_INTRINSICS + int(self.cameras.distortion.shape[-1])

    @property
    def num_moving_faces(self) -> int:
        """Number of faces whose poses on the board are parameters."""
        return 0 if self.faces is None else int(self.faces.max())

    def world_points(self, block: Ints) -> Floats:
        """Return the points (G, P, 3) of the given blocks in the world."""
        if self.rotation is None:
            return self.position[block][:, None] + self.object_points
        return self.object_points @ np.swapaxes(self.rotation[block], 1, 2) + self.position[block][:, None]

    def moved(self, step: Step) -> Scene:
        """Return the scene after a step of all its parameters."""
        cameras = self.cameras
        matrix = cameras.matrix.copy()
        lens = step.cameras[:, NUM_POSE:]
        matrix[:, [0, 1, 0, 1], [0, 1, 2, 2]] += lens[:, :NUM_INTRINSICS]
        changed = cameras._unchecked(  # validation would take an eighth of a calibration
            matrix=matrix,
            distortion=cameras.distortion + lens[:, NUM_INTRINSICS:],
            rotation=Rotation.from_rotvec(step.cameras[:, :3]).as_matrix() @ cameras.rotation,
            translation=cameras.translation + step.cameras[:, 3:NUM_POSE],
        )
        if self.rotation is None:
            return dataclasses.replace(self, cameras=changed, position=self.position + step.blocks)
        object_points = self.object_points
        if self.faces is not None:
            steps = np.concatenate([np.zeros((1, NUM_POSE)), step.faces])[self.faces]
            object_points = Rotation.from_rotvec(steps[:, :3]).apply(object_points) + steps[:, 3:]
        turn = Rotation.from_rotvec(step.blocks[:, :3]).as_matrix()
        return dataclasses.replace(
            self,
            cameras=changed,
            rotation=turn @ self.rotation,
            position=self.position + step.blocks[:, 3:],
            object_points=object_points,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Linearization:
    """Residuals in px and their derivatives with respect to all parameters.

    Attributes:
        residuals: (G, P, 2) projection minus observation in px; 0 where the weight is 0.
        by_camera: (G, P, 2, camera_size) derivatives with respect to the camera parameters.
        by_block: (G, P, 2, block_size) derivatives with respect to the block parameters.
        by_face: (G, P, 2, 6 num_moving_faces) derivatives with respect to the poses of the faces, one after the other.
    """

    residuals: Floats
    by_camera: Floats
    by_block: Floats
    by_face: Floats


def residuals(scene: Scene, views: Views) -> Floats:
    """Return residuals (G, P, 2), projection minus observation in px.

    Residuals are 0 where the weight is 0, and infinite where a point with positive weight is behind its camera.
    """
    return _evaluate(scene, views, with_jacobian=False).residuals


def linearize(scene: Scene, views: Views) -> Linearization:
    """Compute residuals and analytic derivatives; points with positive weight must be in front of their cameras."""
    return _evaluate(scene, views, with_jacobian=True)


def _evaluate(scene: Scene, views: Views, *, with_jacobian: bool) -> Linearization:
    cameras = scene.cameras
    num_views, num_points = views.weights.shape
    result = np.zeros((num_views, num_points, 2))
    by_camera = np.zeros((num_views, num_points, 2, scene.camera_size) if with_jacobian else (0,))
    by_block = np.zeros((num_views, num_points, 2, scene.block_size) if with_jacobian else (0,))
    by_face = np.zeros((num_views, num_points, 2, NUM_POSE * scene.num_moving_faces) if with_jacobian else (0,))
    world = scene.world_points(views.block)
    for camera in range(len(cameras)):
        rows, count = rows_of_camera(views, camera)
        if count == 0:
            continue
        used = views.weights[rows] > 0
        turned = world[rows] @ cameras.rotation[camera].T
        local = turned + cameras.translation[camera]
        behind = used & (local[..., 2] <= 0)
        # Points with weight 0 go through the same arithmetic, at a position that gives finite numbers.
        safe = np.where((used & ~behind)[..., None], local, [0.0, 0.0, 1.0])
        found = project_with_jacobian(
            safe.reshape(-1, 3), cameras.matrix[camera], cameras.distortion[camera], fisheye=cameras.fisheye[camera]
        )
        shape = (count, num_points, 2)
        result[rows] = np.where(used[..., None], found.pixels.reshape(shape) - views.pixels[rows], 0.0)
        if behind.any():
            result[rows] = np.where(behind[..., None], np.inf, result[rows])
        if not with_jacobian:
            continue
        mask = used[..., None, None]
        by_point = np.where(mask, found.by_point.reshape(*shape, 3), 0.0)
        by_camera[rows, ..., :3] = _cross(turned[..., None, :], by_point)
        by_camera[rows, ..., 3:NUM_POSE] = by_point
        by_camera[rows, ..., NUM_POSE:] = np.where(mask, found.by_lens.reshape(*shape, -1), 0.0)
        by_world = by_point @ cameras.rotation[camera]
        if scene.rotation is not None:
            arm = world[rows] - scene.position[views.block[rows]][:, None]
            by_block[rows, ..., :3] = _cross(arm[..., None, :], by_world)
            if scene.faces is not None:
                by_body = by_world @ scene.rotation[views.block[rows]][:, None]
                by_motion = np.concatenate([_cross(scene.object_points[:, None], by_body), by_body], axis=-1)
                for face in range(scene.num_moving_faces):
                    on_face = np.where((scene.faces == face + 1)[:, None, None], by_motion, 0.0)
                    by_face[rows, ..., NUM_POSE * face : NUM_POSE * (face + 1)] = on_face
        by_block[rows, ..., -3:] = by_world
    return Linearization(residuals=result, by_camera=by_camera, by_block=by_block, by_face=by_face)


def rows_of_camera(views: Views, camera: int) -> tuple[Ints | slice, int]:
    """Return the rows of a camera's observations, as a slice if they follow each other, and their number."""
    rows = np.flatnonzero(views.camera == camera)
    if len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows):
        return slice(int(rows[0]), int(rows[-1]) + 1), len(rows)
    return rows, len(rows)


def _cross(one: Floats, other: Floats) -> Floats:
    """Return one x other (..., 3). For a row r of derivatives by a point v, v x r are those by w of exp(w) v at 0."""
    (a, b, c), (x, y, z) = (tuple(each[..., axis] for axis in range(3)) for each in (one, other))
    return np.stack([b * z - c * y, c * x - a * z, a * y - b * x], axis=-1)
