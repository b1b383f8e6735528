"""Bundle adjustment: cameras and what they look at, moved until the reprojection errors are smallest.

What the cameras look at comes in blocks: a rigid board in one frame (its known points, rotation and position are
sought) or a single point (its position is sought). A camera's observations of one block are a `view`. Rotations are
changed by small rotation vectors applied from the left, R <- exp(w) R, so derivatives are always taken at w = 0.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from mvgeom.calibration.boards import Floats, Ints
from mvgeom.calibration.lens_jacobian import NUM_INTRINSICS, project_with_jacobian
from mvgeom.cameras import CameraGroup

__all__ = ["NUM_POSE", "Booleans", "Linearization", "Scene", "Views", "linearize", "residuals"]

Booleans = npt.NDArray[np.bool_]

NUM_POSE = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """Observations, G views of P points each.

    Attributes:
        camera: (G,) index of the camera.
        block: (G,) index of the block.
        pixels: (G, P, 2) full-image px; anything finite where the weight is 0.
        weights: (G, P) of the squared residuals; 0 removes an observation.
        num_cameras: V.
        num_blocks: B.
    """

    camera: Ints
    block: Ints
    pixels: Floats
    weights: Floats
    num_cameras: int
    num_blocks: int

    @property
    def num_observations(self) -> int:
        """Points in images that count."""
        return int((self.weights > 0).sum())

    def reweigh(self, factor: Floats) -> Views:
        """Return the same views with weights multiplied by (G, P) factors."""
        return dataclasses.replace(self, weights=self.weights * factor)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Scene to adjust: cameras, and boards or points.

    Attributes:
        cameras: V cameras, NumPy, no batch dimensions.
        rotation: (B, 3, 3) board to world; None where blocks are single points.
        position: (B, 3) of the boards' origins, or of the points, in the world.
        object_points: (P, 3) of the board; (1, 3) zeros for single points.
    """

    cameras: CameraGroup
    rotation: Floats | None
    position: Floats
    object_points: Floats

    @property
    def block_size(self) -> int:
        """Parameters of a block: 6 for a board, 3 for a point."""
        return 3 if self.rotation is None else NUM_POSE

    @property
    def camera_size(self) -> int:
        """Parameters of a camera: rotation 3, translation 3, fx, fy, cx, cy, distortion n."""
        return NUM_POSE + NUM_INTRINSICS + int(self.cameras.distortion.shape[-1])

    def world_points(self, block: Ints) -> Floats:
        """Return (G, P, 3) points of the given blocks in the world."""
        if self.rotation is None:
            return self.position[block][:, None] + self.object_points
        return self.object_points @ np.swapaxes(self.rotation[block], 1, 2) + self.position[block][:, None]

    def moved(self, camera_step: Floats, block_step: Floats) -> Scene:
        """Return the scene after steps (V, camera_size) and (B, block_size) of all parameters."""
        cameras = self.cameras
        matrix = cameras.matrix.copy()
        lens = camera_step[:, NUM_POSE:]
        matrix[:, [0, 1, 0, 1], [0, 1, 2, 2]] += lens[:, :NUM_INTRINSICS]
        changed = cameras.replace(
            matrix=matrix,
            distortion=cameras.distortion + lens[:, NUM_INTRINSICS:],
            rotation=Rotation.from_rotvec(camera_step[:, :3]).as_matrix() @ cameras.rotation,
            translation=cameras.translation + camera_step[:, 3:NUM_POSE],
        )
        if self.rotation is None:
            return dataclasses.replace(self, cameras=changed, position=self.position + block_step)
        turn = Rotation.from_rotvec(block_step[:, :3]).as_matrix()
        return dataclasses.replace(
            self, cameras=changed, rotation=turn @ self.rotation, position=self.position + block_step[:, 3:]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Linearization:
    """Residuals in px and their derivatives by all parameters.

    Attributes:
        residuals: (G, P, 2) projection minus observation; 0 where the weight is 0.
        by_camera: (G, P, 2, camera_size).
        by_block: (G, P, 2, block_size).
    """

    residuals: Floats
    by_camera: Floats
    by_block: Floats


def residuals(scene: Scene, views: Views) -> Floats:
    """Return (G, P, 2) projection minus observation in px.

    0 where the weight is 0; infinite where a point that counts is behind its camera.
    """
    return _evaluate(scene, views, with_jacobian=False).residuals


def linearize(scene: Scene, views: Views) -> Linearization:
    """Compute residuals and their analytic derivatives; points that count must be in front of their cameras."""
    return _evaluate(scene, views, with_jacobian=True)


def _evaluate(scene: Scene, views: Views, *, with_jacobian: bool) -> Linearization:
    cameras = scene.cameras
    num_views, num_points = views.weights.shape
    result = np.zeros((num_views, num_points, 2))
    by_camera = np.zeros((num_views, num_points, 2, scene.camera_size) if with_jacobian else (0,))
    by_block = np.zeros((num_views, num_points, 2, scene.block_size) if with_jacobian else (0,))
    world = scene.world_points(views.block)
    for camera in range(len(cameras)):
        rows = np.flatnonzero(views.camera == camera)
        if len(rows) == 0:
            continue
        used = views.weights[rows] > 0
        turned = world[rows] @ cameras.rotation[camera].T
        local = turned + cameras.translation[camera]
        behind = used & (local[..., 2] <= 0)
        # Unused points go through the same arithmetic, at a harmless place.
        safe = np.where((used & ~behind)[..., None], local, [0.0, 0.0, 1.0])
        found = project_with_jacobian(
            safe.reshape(-1, 3), cameras.matrix[camera], cameras.distortion[camera], fisheye=cameras.fisheye[camera]
        )
        shape = (len(rows), num_points, 2)
        result[rows] = np.where(used[..., None], found.pixels.reshape(shape) - views.pixels[rows], 0.0)
        if behind.any():
            result[rows] = np.where(behind[..., None], np.inf, result[rows])
        if not with_jacobian:
            continue
        mask = used[..., None, None]
        by_point = np.where(mask, found.by_point.reshape(*shape, 3), 0.0)
        by_camera[rows, ..., :3] = -by_point @ _cross_matrices(turned)
        by_camera[rows, ..., 3:NUM_POSE] = by_point
        by_camera[rows, ..., NUM_POSE:] = np.where(mask, found.by_lens.reshape(*shape, -1), 0.0)
        by_world = by_point @ cameras.rotation[camera]
        if scene.rotation is not None:
            arm = world[rows] - scene.position[views.block[rows]][:, None]
            by_block[rows, ..., :3] = -by_world @ _cross_matrices(arm)
        by_block[rows, ..., -3:] = by_world
    return Linearization(residuals=result, by_camera=by_camera, by_block=by_block)


def _cross_matrices(vectors: Floats) -> Floats:
    """Return (..., 3, 3) matrices [v] with [v] w = v x w; d(exp(w) v) / dw at 0 is -[v]."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    rows = [np.stack(row, axis=-1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return np.stack(rows, axis=-2)
