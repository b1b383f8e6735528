"""Held-out label tables of a project, `CollectedData_<view>_new.csv`: their frames are evaluated, never trained on.

They are another set of tables of the same project: same folder, views, keypoints and calibrations, other frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from mvgeom.errors import InputError
from mvgeom.tables import read_labeled_boxes
from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.project.calibrations import OVERRIDE_FILE
from mvtrain.project.label_tables import read_labels
from mvtrain.project.project import Project, arranged, read_project
from mvtrain.project.splits import SPLIT_NAMES
from mvtrain.project.view_tables import HELD_OUT_ENDINGS, find_tables, frame_of_row

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
    root, data = project.root, config.data
    names, own = find_tables(root, data)
    tables = [_with_ending(path, ending) for path in own]
    there = [path.is_file() and path not in own for path in tables]
    if not any(there):
        return None, []
    if not all(there):
        missing = ", ".join(path.name for path, is_there in zip(tables, there, strict=True) if not is_there)
        return None, [f"label tables that end in {ending} are not evaluated, because not every view has one: {missing}"]
    boxes, has_boxes = _boxes(root, data.bbox_file, tables, ending)
    override = _with_ending(root / (data.camera_params_file or OVERRIDE_FILE), ending)
    changed = replace(
        data,
        csv_file=tuple(str(path.relative_to(root)) if path.is_relative_to(root) else str(path) for path in tables),
        view_names=names,
        bbox_file=boxes,
        camera_params_file=str(override) if override.is_file() else data.camera_params_file,
    )
    read = read_project(replace(config, data=changed), need_labels=False)
    if set(read.keypoint_names) != set(project.keypoint_names):
        raise InputError(
            f"label table {tables[0]}: other keypoints than {own[0].name}, found {', '.join(read.keypoint_names)}, "
            f"expected {', '.join(project.keypoint_names)}",
            code="keypoints-differ",
            path=tables[0],
            found=read.keypoint_names,
            expected=project.keypoint_names,
        )
    read = arranged(read, project.view_names, project.keypoint_names)
    warnings = [f"{tables[0].name}: {text}" for text in read.warnings]
    if data.bbox_file is not None and not has_boxes:
        read = replace(read, cameras=(None,) * len(read))
        wanted = ", ".join(_with_ending(root / name, ending).name for name in data.bbox_file)
        warnings = [
            f"{tables[0].name}: no bounding boxes of its frames, so their cameras are not used: no 3D. Add {wanted}"
        ]
    shared = len(_frames(read) & _frames(project))
    if shared:
        warnings.append(
            f"{tables[0].name}: found session and name of {counted(shared, 'frame')} in {own[0].name} too. If they are "
            "the same images, errors are too small"
        )
    held_out = HeldOut(split=split, ending=ending, tables=tuple(tables), project=read, warnings=tuple(warnings))
    return held_out, warnings


def _boxes(
    root: Path, names: Sequence[str] | None, tables: Sequence[Path], ending: str
) -> tuple[tuple[str, ...] | None, bool]:
    """Return the tables of boxes of held-out frames, None without; and True if there are any.

    Raises:
        InputError: Some views have a table of boxes with the ending, and others not (`missing-file`).
    """
    if names is None:
        return None, False
    own = [_with_ending(root / name, ending) for name in names]
    missing = [path for path in own if not path.is_file()]
    if not missing:
        return tuple(map(str, own)), True
    if len(missing) < len(own):
        raise InputError(
            f"{missing[0]} does not exist, but other views have boxes of the frames of their label tables that end in "
            f"{ending}. Add it",
            code="missing-file",
            path=missing[0],
        )
    all_named = all(
        {name for name in read_labels(table).image_names if name is not None}
        <= set(read_labeled_boxes(root / boxes).images)
        for table, boxes in zip(tables, names, strict=True)
    )
    return (tuple(names), True) if all_named else (None, False)


def _with_ending(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.stem}{ending}{path.suffix}")


def _frames(project: Project) -> set[tuple[str, str]]:
    frames = (frame_of_row(names, project.view_names) for names in project.image_names)
    return {(session, PurePosixPath(name).stem) for session, name in frames}
