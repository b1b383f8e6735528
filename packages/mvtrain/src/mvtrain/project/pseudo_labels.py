"""Pseudo-labels of a project, `CollectedData_<view>_pseudo.csv`: predictions that are trained on, never evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvgeom.errors import InputError
from mvtrain.config import Config
from mvtrain.project.beside_tables import BesideTables, frame_keys, read_beside
from mvtrain.project.project import Project, joined
from mvtrain.project.splits import Split, has_labels
from mvtrain.project.view_tables import PSEUDO_ENDING


@dataclass(frozen=True, kw_only=True, eq=False)
class PseudoLabels:
    """Frames with pseudo-labels, which no person has labeled.

    Attributes:
        project: The project with these frames after its own.
        rows: (M,) rows of these frames.
        warnings: Messages to the user about their tables.
    """

    project: Project
    rows: np.ndarray
    warnings: tuple[str, ...]


def read_pseudo_labels(config: Config, project: Project) -> PseudoLabels | None:
    """Read the tables of pseudo-labels of a project; frames that its own tables label are left out.

    Args:
        config: Config of the project.
        project: The project itself, as `read_project` gives it.

    Returns:
        None where `training.pseudo_share` is 0, or the project has no such tables or no frame in them counts.

    Raises:
        InputError: As for `read_project`; `missing-file` if a view has no table, or the frames no boxes where the
            project has crops; `keypoints-differ` for tables of other keypoints.
    """
    if config.training.pseudo_share == 0:
        return None
    beside = read_beside(config, project, PSEUDO_ENDING)
    if not isinstance(beside, BesideTables):
        if len(beside) == len(project.view_names):
            return None
        raise _missing(beside[0], "but other views have pseudo-labels")
    if beside.lacks_boxes:
        raise _missing(beside.lacks_boxes[0], "but frames with pseudo-labels need boxes as all others do")
    own = {key for key, labeled in zip(frame_keys(project), has_labels(project), strict=True) if labeled}
    labeled = has_labels(beside.project)
    rows = [row for row, key in enumerate(frame_keys(beside.project)) if labeled[row] and key not in own]
    if not rows:
        return None
    return PseudoLabels(
        project=joined(project, beside.project, np.array(rows)),
        rows=len(project) + np.arange(len(rows)),
        warnings=tuple(f"{beside.tables[0].name}: {text}" for text in beside.project.warnings),
    )


def held_out_sessions(pseudo: PseudoLabels, split: Split) -> tuple[str, ...]:
    """Return the sessions of pseudo-labels whose own labeled frames are all held out: their errors flatter the network.

    Args:
        pseudo: Pseudo-labels.
        split: Split of the project's own frames.
    """
    sessions = pseudo.project.sessions
    trained = {sessions[row] for row in split.train}
    held_out = {sessions[row] for row in (*split.validation, *split.test)} - trained
    return tuple(dict.fromkeys(sessions[row] for row in pseudo.rows if sessions[row] in held_out))


def held_out_warnings(pseudo: PseudoLabels, split: Split) -> list[str]:
    """Return the warning about sessions whose errors flatter the network, if there are any."""
    sessions = held_out_sessions(pseudo, split)
    if not sessions:
        return []
    return [
        f"pseudo-labels of {', '.join(sessions)}, whose labeled frames are held out: their errors will be those of "
        "recordings that the network has seen. Leave these sessions out with mvtrain pseudolabel --session"
    ]


def _missing(path: Path, why: str) -> InputError:
    return InputError(
        f"{path} does not exist, {why}. Write all with mvtrain pseudolabel, or set training.pseudo_share: 0",
        code="missing-file",
        key="training.pseudo_share",
        path=path,
    )
