"""Boards that begin at the mirrored one of their two poses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers.boards import BOARD, arc_of_cameras, film
from mvgeom.calibration.board_poses import normalize_corners, pose_candidates
from mvgeom.calibration.boards import object_points
from mvgeom.calibration.bundle import NUM_POSE, Scene, Views
from mvgeom.calibration.mirrored_boards import leave_mirrored_poses
from mvgeom.calibration.rig_adjustment import views_of_boards
from mvgeom.calibration.schur import adjust

ONE_FOCAL = np.ones(2, dtype=bool)


def rig_of_small_boards(seed: int) -> tuple[Scene, Views, np.ndarray]:
    """Two cameras and six boards, of which nine neighboring corners are seen; the truth."""
    truth = arc_of_cameras(2, distortion=(-0.22, 0.06, 0, 0, 0))
    filmed = film(truth, 6, noise=0.3, spread=0.3, seed=seed)
    corners = object_points(BOARD)
    near = np.argsort(np.linalg.norm(corners - corners[len(corners) // 2], axis=1))[:9]
    points = filmed.points[:, :, near]
    views = views_of_boards(points, np.isfinite(points).all((-1, -2)), np.arange(6))
    scene = Scene(
        cameras=truth, rotation=filmed.rotation, position=filmed.position, object_points=object_points(BOARD)[near]
    )
    free = np.zeros((2, scene.camera_size), dtype=bool)
    free[1, :NUM_POSE] = True
    free[:, NUM_POSE : NUM_POSE + 2] = True
    return scene, views, free


def mirrored(scene: Scene, views: Views, board: int) -> Scene:
    """Return the scene with one board at the other pose that the first camera's image allows."""
    first = scene.cameras.select([scene.cameras.names[0]])
    row = np.flatnonzero((views.camera == 0) & (views.block == board))
    poses = pose_candidates(normalize_corners(views.pixels[row][None], first)[0], scene.object_points)[0][0]
    turns = first.rotation[0].T @ poses[:, :3, :3]
    other = int(np.argmax(Rotation.from_matrix(turns @ scene.rotation[board].T).magnitude()))
    rotation, position = scene.rotation.copy(), scene.position.copy()
    rotation[board] = turns[other]
    position[board] = first.rotation[0].T @ (poses[other, :3, 3] - first.translation[0])
    return dataclasses.replace(scene, rotation=rotation, position=position)


@pytest.mark.parametrize(("seed", "board"), [(0, 1), (2, 1), (5, 4), (8, 0), (11, 2)])
def test_a_mirrored_board_is_turned_back(seed: int, board: int) -> None:
    truth, views, free = rig_of_small_boards(seed)
    best = adjust(truth, views, free, loss="huber", square=ONE_FOCAL)
    stuck = adjust(mirrored(truth, views, board), views, free, loss="huber", square=ONE_FOCAL)
    assert stuck.cost > 2 * best.cost
    found = leave_mirrored_poses(stuck, views, free, loss="huber", loss_scale=1.0, square=ONE_FOCAL)
    assert found.cost == pytest.approx(best.cost, rel=1e-3)
    np.testing.assert_allclose(found.scene.cameras.matrix, best.scene.cameras.matrix, rtol=1e-3)


def test_the_right_poses_stay() -> None:
    truth, views, free = rig_of_small_boards(0)
    best = adjust(truth, views, free, loss="huber", square=ONE_FOCAL)
    assert leave_mirrored_poses(best, views, free, loss="huber", loss_scale=1.0, square=ONE_FOCAL) is best
