"""3D labels of a project: triangulated ones, true ones of generated projects, and their projection into views."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from mvgeom import triangulate
from mvgeom.errors import InputError
from mvgeom.tables import find_number_format
from mvgeom.wording import counted
from mvtrain.config import LOSS_NAMES, Config
from mvtrain.project.project import Project, project_into_images

TRUTH_FILE = "points_3d.csv"

LARGEST_DISAGREEMENT = 0.03
"""Distance between a label and the projection of its 3D point, as a fraction of the image's longer side, beyond which
the point is not projected into other views: about two heatmap px where these are a quarter of an input of 256 px."""


def read_truth(project: Project) -> np.ndarray | None:
    """Read the true keypoints of a generated project.

    The file has three header rows (scorer, bodyparts, coords x, y, z) and is indexed by image paths without the view:
    `labeled-data/<session>/<image>`.

    Returns:
        (N, K, 3) world points, NaN for frames that are not in the file; None without a file.

    Raises:
        InputError: The file is not such a table, or has other keypoints than the label tables (`keypoints-differ`).
    """
    path = project.root / TRUTH_FILE
    if not path.exists():
        return None
    delimiter, decimal = find_number_format(path, 3)
    try:
        table = pd.read_csv(path, header=[0, 1, 2], index_col=0, sep=delimiter, decimal=decimal)
    except (ValueError, IndexError) as error:  # pandas over too few header rows, rows of other lengths
        raise InputError(
            f"{path}: not a CSV table with three header rows: {error}", code="invalid-syntax", path=path
        ) from error
    names = tuple(dict.fromkeys(table.columns.get_level_values(1)))
    if set(names) != set(project.keypoint_names):
        raise InputError(
            f"{path}: found keypoints {list(names)}, expected {list(project.keypoint_names)} as in the label tables",
            code="keypoints-differ",
            path=path,
            found=names,
            expected=project.keypoint_names,
        )
    if table.shape[1] != 3 * len(names):
        raise InputError(
            f"{path}: found {counted(table.shape[1], 'column')} of coordinates, expected x, y, z of "
            f"{counted(len(names), 'keypoint')}",
            code="wrong-count",
            path=path,
            found=table.shape[1],
            expected=3 * len(names),
        )
    if table.index.has_duplicates:
        name = str(table.index[table.index.duplicated()][0])
        raise InputError(f"{path}: image {name} is named twice", code="duplicate-name", path=path, name=name)
    frames = [_frame(names, project.view_names) for names in project.image_names]
    try:
        points = table.reindex(frames).to_numpy(dtype=np.float64)
    except ValueError as error:  # pandas over a cell
        raise InputError(f"{path}: a cell is not a number: {error}", code="bad-number", path=path) from error
    return points.reshape(len(frames), -1, 3)[:, [names.index(name) for name in project.keypoint_names]]


@lru_cache(maxsize=4)
def triangulate_labels(project: Project) -> np.ndarray:
    """Triangulate the visible labels of every frame.

    Returns:
        (N, K, 3) world points, read-only because callers share them; NaN where fewer than two views have a label.
    """
    points = np.where((project.visibility == 2)[..., None], project.points_full, np.nan)
    points_3d = np.full((*points.shape[:1], *points.shape[2:3], 3), np.nan)
    for cameras in {id(group): group for group in project.cameras if group is not None}.values():
        rows = [row for row, group in enumerate(project.cameras) if group is cameras]
        points_3d[rows] = triangulate(points[rows], cameras)
    points_3d.flags.writeable = False
    return points_3d


def complete_labels(project: Project, points_3d: np.ndarray) -> Project:
    """Replace labels of views that do not see a keypoint by the projection of its 3D label.

    Annotators label what they see, so a network would not be trained on hidden keypoints, although other views show
    where they are. Labels that are missing or marked as occluded are replaced and become visible; labels of visible
    keypoints stay. Nothing changes where the labels of a 3D point contradict each other (they or the calibration are
    wrong), where the projection is outside the stored image, and where there is no image.

    Args:
        project: Project whose stored images are the network's input, so that distances relative to their size are
            relative to the input's.
        points_3d: (N, K, 3) world points of the visible labels, NaN where missing.
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


def uses_labels_from_3d(config: Config, project: Project) -> bool:
    """Return True if missing labels are replaced by projections; by default if several views have cameras."""
    wanted = config.training.labels_from_3d
    return _has_cameras(project) if wanted is None else wanted


def uses_imgaug_3d(config: Config, project: Project) -> bool | dict[str, Any]:
    """Return the 3D augmentation; by default on if several views have cameras and the config augments at all.

    `true` is off without cameras, because Lightning Pose writes it into configs of all projects of several views.
    """
    wanted = config.training.imgaug_3d
    if wanted is None:
        return _has_cameras(project) and config.training.imgaug not in ("none", "default")
    return wanted if wanted is not True else _has_cameras(project)


def trains_in_3d(config: Config, project: Project) -> bool:
    """Return True if cameras have a part in training: by a key of the config, or by default."""
    by_default = uses_labels_from_3d(config, project) or uses_imgaug_3d(config, project)
    return bool(keys_in_3d(config) or by_default)


def calibration_warnings(config: Config, project: Project) -> list[str]:
    """Return warnings of keys that do nothing because the project has no calibration."""
    if config.training.imgaug_3d is not True or _has_cameras(project):
        return []
    return ["training.imgaug_3d: true does nothing, because no two views are calibrated; 2D augmentation is as it says"]


def _has_cameras(project: Project) -> bool:
    return len(project.view_names) > 1 and any(cameras is not None for cameras in project.cameras)


def keys_in_3d(config: Config) -> list[str]:
    """Return the keys of the config that need calibrated cameras."""
    keys = [f"losses.{name}" for name in config.losses if LOSS_NAMES[name]]
    training = config.training
    for key, wanted in (("imgaug_3d", training.imgaug_3d), ("labels_from_3d", training.labels_from_3d)):
        if wanted not in (None, False):
            keys.append(f"training.{key}")
    if config.model.epipolar_attention:
        keys.append("model.epipolar_attention")
    return keys


def check_calibration(config: Config, project: Project) -> None:
    """Check that a project has the views and cameras that the config needs.

    Raises:
        InputError: A 3D loss, or 3D augmentation with ranges, is on and no session has a calibration
            (`no-calibration`), or there is only one view (`too-few-views`).
    """
    ignored = {"training.imgaug_3d"} if config.training.imgaug_3d is True else set()  # see `calibration_warnings`
    wanted = [key for key in keys_in_3d(config) if key not in ignored]
    if not wanted:
        return
    if len(project.view_names) < 2:
        raise InputError(
            f"{', '.join(wanted)} need at least two views, found only {project.view_names[0]!r}",
            code="too-few-views",
            key=wanted[0],
            found=1,
            expected=2,
        )
    if all(cameras is None for cameras in project.cameras):
        raise InputError(
            f"{', '.join(wanted)} need calibrated cameras, but {project.root} has neither calibration.toml nor "
            "calibrations/<session>.toml. Add one, or remove these keys from the config",
            code="no-calibration",
            key=wanted[0],
            path=project.root,
        )


def _frame(image_names: tuple[str | None, ...], view_names: tuple[str, ...]) -> str:
    """Return the part that the image paths of all views share: the path without the view in the folder's name."""
    for name, view in zip(image_names, view_names, strict=True):
        if name is not None:
            folder, _, file = name.replace("\\", "/").rpartition("/")
            return f"{folder.removesuffix('_' + view)}/{file}"
    return ""
