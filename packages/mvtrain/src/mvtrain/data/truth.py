"""True 3D keypoints, where a project has them: generated projects do."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mvtrain.data.project import Project

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
