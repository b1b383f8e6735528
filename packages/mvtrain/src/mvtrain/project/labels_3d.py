"""3D labels of a project: triangulated, known by the generator, and projected into views without a label."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd

from mvgeom import triangulate
from mvtrain.config import LOSS_NAMES, Config
from mvtrain.project.project import Project, project_into_images

TRUTH_FILE = "points_3d.csv"


def read_truth(project: Project) -> np.ndarray | None:
    """(N, K, 3) true keypoints in the world, NaN for frames the file does not list; None without a file.

    The file has three header rows (scorer, bodyparts, coords x, y, z) and is indexed by image paths without the view:
    `labeled-data/<session>/<image>`.

    Raises:
        ValueError: the file names other keypoints than the label tables.
    """
    path = project.root / TRUTH_FILE
    if not path.exists():
        return None
    table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
    names = tuple(dict.fromkeys(table.columns.get_level_values(1)))
    if names != project.keypoint_names:
        raise ValueError(f"{path}: keypoints are {list(names)}, the label tables have {list(project.keypoint_names)}")
    frames = [_frame(names, project.view_names) for names in project.image_names]
    return table.reindex(frames).to_numpy(dtype=np.float64).reshape(len(frames), -1, 3)


def _frame(image_names: tuple[str | None, ...], view_names: tuple[str, ...]) -> str:
    """What the images of all views have in common: their path with the view taken off the folder's name."""
    for name, view in zip(image_names, view_names, strict=True):
        if name is not None:
            folder, _, file = name.replace("\\", "/").rpartition("/")
            return f"{folder.removesuffix('_' + view)}/{file}"
    return ""


LARGEST_DISAGREEMENT = 0.03
"""Distance between a label and the projection of its 3D point, as a fraction of the image's longer side, beyond which
the point is not carried into other views: about two heatmap px where these are a quarter of an input of 256 px."""


def complete_labels(project: Project, points_3d: np.ndarray) -> Project:
    """The project with the projection of the 3D label wherever a view does not see the keypoint.

    People label what they see, so nothing tells a network where a hidden keypoint is, although the other views say it.
    Labels that are missing and those marked as occluded are replaced and become visible; labels of keypoints that are
    seen stay as they are. Nothing is changed where the labels behind a 3D point contradict each other (they or the
    calibration are off), where it falls outside the stored image, and where there is no image.

    Args:
        project: its images are the network's input, crop and all, so sizes relative to them are sizes relative to it.
        points_3d: (N, K, 3) visible labels in the world, NaN where missing.
    """
    seen = project.visibility == 2
    projected = project_into_images(project, np.arange(len(project)), points_3d)
    distance = np.linalg.norm(projected - project.points, axis=-1)
    too_far = distance > LARGEST_DISAGREEMENT * project.file_sizes.max(-1)[..., None]
    agreed = ~(seen & too_far).any(1, keepdims=True)
    new = ~seen & agreed & np.isfinite(projected).all(-1)
    return replace(
        project,
        points=np.where(new[..., None], projected, project.points),
        visibility=np.where(new, 2, project.visibility).astype(np.int8),
    )


def keys_in_3d(config: Config) -> list[str]:
    """Keys of the config that need calibrated cameras."""
    keys = [f"losses.{name}" for name in config.losses if LOSS_NAMES[name]]
    training = config.training
    for key, wanted in (("imgaug_3d", training.imgaug_3d is not False), ("labels_from_3d", training.labels_from_3d)):
        if wanted:
            keys.append(f"training.{key}")
    if config.model.epipolar_attention:
        keys.append("model.epipolar_attention")
    return keys


def check_calibration(config: Config, project: Project) -> None:
    """Whether what the config asks for in 3D can be had.

    Raises:
        ValueError: a 3D loss or 3D augmentation is on and no session has a calibration, or there is only one view.
    """
    wanted = keys_in_3d(config)
    if not wanted:
        return
    if len(project.view_names) < 2:
        raise ValueError(f"{', '.join(wanted)} need at least two views, the project has only {project.view_names[0]!r}")
    if all(cameras is None for cameras in project.cameras):
        raise ValueError(
            f"{', '.join(wanted)} need calibrated cameras, but {project.root} has neither calibration.toml nor "
            "calibrations/<session>.toml; add one, or take these keys out of the config"
        )


def uses_labels_from_3d(config: Config, project: Project) -> bool:
    """Return True if views learn the projection of labels that they lack; unless the config says, where cameras are."""
    wanted = config.training.labels_from_3d
    if wanted is not None:
        return wanted
    return len(project.view_names) > 1 and any(cameras is not None for cameras in project.cameras)


@lru_cache(maxsize=4)
def triangulate_labels(project: Project) -> np.ndarray:
    """Triangulate the visible labels of every frame.

    Returns:
        (N, K, 3) world points, read-only because callers share them; NaN where fewer than two views see the keypoint.
    """
    points = np.where((project.visibility == 2)[..., None], project.points_full, np.nan)
    points_3d = np.full((*points.shape[:1], *points.shape[2:3], 3), np.nan)
    for cameras in {id(group): group for group in project.cameras if group is not None}.values():
        rows = [row for row, group in enumerate(project.cameras) if group is cameras]
        points_3d[rows] = triangulate(points[rows], cameras)
    points_3d.flags.writeable = False
    return points_3d
