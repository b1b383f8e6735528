"""Held-out label tables of a project, `CollectedData_<view>_new.csv`: their frames are evaluated, never trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.project.beside_tables import BesideTables, frame_keys, read_beside
from mvtrain.project.project import Project
from mvtrain.project.splits import SPLIT_NAMES
from mvtrain.project.view_tables import HELD_OUT_ENDINGS, find_tables

HELD_OUT_SPLITS = tuple(HELD_OUT_ENDINGS)
"""Splits of the frames of held-out tables."""

EVALUATED_SPLITS = (*SPLIT_NAMES, *HELD_OUT_SPLITS)
"""Splits that tables of errors can have: those of the project's own tables, then the held-out ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """Held-out label tables of a project, one per view.

    Attributes:
        split: Name of their split in tables, one of `HELD_OUT_SPLITS`.
        ending: End of the names of the tables, and of those of their predictions: `_new`.
        tables: V label tables.
        project: Their frames, read as a project of the same folder.
        warnings: Messages to the user, `project.warnings` included.
    """

    split: str
    ending: str
    tables: tuple[Path, ...]
    project: Project
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class HeldOutTables:
    """All held-out tables of a project.

    Attributes:
        found: The tables that are there.
        warnings: Messages to the user, those of `found` included.
    """

    found: tuple[HeldOut, ...]
    warnings: tuple[str, ...]


def read_held_out(config: Config, project: Project) -> HeldOutTables:
    """Read the held-out tables of a project: `CollectedData_<view>_new.csv` and `CollectedData_<view>_test.csv`.

    The names are those of the project's own tables with the ending. Boxes are in `bboxes_<view>_new.csv`, or else in
    the project's own tables of boxes; frames without any are used without cameras. Calibrations are those of their
    sessions, or in `calibrations_new.csv` where the project has a table of calibrations. Frames are in the order of the
    project's views and keypoints.

    Args:
        config: Config of the project.
        project: The project itself, as `read_project` gives it.

    Raises:
        InputError: As for `read_project`; the tables have other keypoints than the project (`keypoints-differ`).
    """
    found, warnings = [], []
    for split, ending in HELD_OUT_ENDINGS.items():
        held_out, texts = _read(config, project, split, ending)
        warnings += texts
        if held_out is not None:
            found.append(held_out)
    return HeldOutTables(found=tuple(found), warnings=tuple(warnings))


def describe_held_out(held_out: HeldOut) -> str:
    """Describe in a sentence what becomes of held-out tables."""
    frames = counted(len(held_out.project), "frame")
    return f"{frames} of label tables that end in {held_out.ending}: evaluated as split {held_out.split}"


def _read(config: Config, project: Project, split: str, ending: str) -> tuple[HeldOut | None, list[str]]:
    beside = read_beside(config, project, ending)
    if not isinstance(beside, BesideTables):
        if len(beside) == len(project.view_names):
            return None, []
        missing = ", ".join(path.name for path in beside)
        return None, [f"label tables that end in {ending} are not evaluated, because not every view has one: {missing}"]
    first, read = beside.tables[0].name, beside.project
    warnings = [f"{first}: {text}" for text in read.warnings]
    if beside.lacks_boxes:
        wanted = ", ".join(path.name for path in beside.lacks_boxes)
        warnings = [f"{first}: no bounding boxes of its frames, so their cameras are not used: no 3D. Add {wanted}"]
    shared = len(set(frame_keys(read)) & set(frame_keys(project)))
    if shared:
        own = find_tables(project.root, config.data)[1][0].name
        warnings.append(
            f"{first}: found session and name of {counted(shared, 'frame')} in {own} too. If they are "
            "the same images, errors are too small"
        )
    held_out = HeldOut(split=split, ending=ending, tables=beside.tables, project=read, warnings=tuple(warnings))
    return held_out, warnings
