"""What a run did with each moment of a project: learn from it, choose the best weights by it, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mvtrain.data.project import Project
from mvtrain.data.splits import SET_NAMES, split_frames
from mvtrain.prediction.run_folder import Run


def is_own_project(run: Run, project: Project) -> bool:
    """Whether a project lies where the one did that the run was trained on."""
    folder = run.config.data.data_dir
    return folder is not None and folder.resolve() == project.root.resolve()


def sets_of(run: Run, project: Project) -> np.ndarray:
    """The set of every moment: train, validation, test or unused.

    Of the run's own project it is the set written down when training ended (`predictions_<view>.csv`), since labels
    that were added later would divide it anew; moments added later are test. A run that has not ended divides the
    project as its config says. All moments of another project are test.

    Returns:
        (N,) strings.

    Raises:
        ValueError: a table of predictions in the run folder that has no sets.
    """
    if not is_own_project(run, project):
        return np.full(len(project), "test")
    tables = [run.folder / f"predictions_{view}.csv" for view in project.view_names]
    if not all(path.is_file() for path in tables):
        return split_frames(project, run.config).names().astype(str)
    written = [_written_sets(path) for path in tables]
    sets = []
    for names in project.image_names:
        known = [table[name] for table, name in zip(written, names, strict=True) if name is not None and name in table]
        sets.append(known[0] if known else "test")
    return np.array(sets)


def _written_sets(path: Path) -> dict[str, str]:
    """Set by image name."""
    table = pd.read_csv(path, header=None, skiprows=3, dtype=str)
    sets = dict(zip(table.iloc[:, 0], table.iloc[:, -1], strict=True))
    strange = next((name for name in sets.values() if name not in SET_NAMES), None)
    if strange is not None:
        raise ValueError(f"{path}: the last column must be one of {', '.join(SET_NAMES)}, found {strange!r}")
    return sets
