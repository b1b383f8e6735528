"""Label tables beside a project's own, such as `CollectedData_<view>_new.csv`: further frames of the same project.

They are in the same folder and have the same views, keypoints and calibrations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from mvgeom.errors import InputError
from mvgeom.tables import read_labeled_boxes
from mvtrain.config import Config
from mvtrain.project.calibrations import OVERRIDE_FILE
from mvtrain.project.label_tables import read_labels
from mvtrain.project.project import Project, arranged, read_project
from mvtrain.project.view_tables import find_tables, frame_of_row


@dataclass(frozen=True, kw_only=True, eq=False)
class BesideTables:
    """Label tables beside a project's own, one per view.

    Attributes:
        ending: End of the names of the tables: `_new`.
        tables: V label tables.
        project: Their frames, read as a project of the same folder, in the order of the project's views and keypoints.
        lacks_boxes: Tables of boxes that these frames would need, where the project has crops; their cameras are left
            out then. Empty where nothing is missing.
    """

    ending: str
    tables: tuple[Path, ...]
    project: Project
    lacks_boxes: tuple[Path, ...]


def read_beside(config: Config, project: Project, ending: str) -> BesideTables | tuple[Path, ...]:
    """Read the label tables whose names are those of a project's own with an ending.

    Boxes are in `bboxes_<view>_new.csv`, or else in the project's own tables of boxes. Calibrations are those of their
    sessions, or in `calibrations_new.csv` where the project has a table of calibrations.

    Args:
        config: Config of the project.
        project: The project itself, as `read_project` gives it.
        ending: End of the names, such as `_new`.

    Returns:
        The tables; or, if not every view has one, the paths of those that are missing: of all views, where the project
        has no such tables.

    Raises:
        InputError: As for `read_project`; the tables have other keypoints than the project (`keypoints-differ`).
    """
    root, data = project.root, config.data
    names, own = find_tables(root, data)
    tables = [path_beside(path, ending) for path in own]
    if missing := tuple(path for path in tables if not path.is_file() or path in own):
        return missing
    boxes, has_boxes = _boxes(root, data.bbox_file, tables, ending)
    override = path_beside(root / (data.camera_params_file or OVERRIDE_FILE), ending)
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
    lacks_boxes: tuple[Path, ...] = ()
    if data.bbox_file is not None and not has_boxes:
        read = replace(read, cameras=(None,) * len(read))
        lacks_boxes = tuple(path_beside(root / name, ending) for name in data.bbox_file)
    return BesideTables(ending=ending, tables=tuple(tables), project=read, lacks_boxes=lacks_boxes)


def path_beside(path: Path, ending: str) -> Path:
    """Return the path of a file whose name has an ending: `CollectedData_top_new.csv`."""
    return path.with_name(f"{path.stem}{ending}{path.suffix}")


def frame_keys(project: Project) -> list[tuple[str, str]]:
    """Return session and file name without its suffix of the N frames of a project."""
    frames = (frame_of_row(names, project.view_names) for names in project.image_names)
    return [(session, PurePosixPath(name).stem) for session, name in frames]


def _boxes(
    root: Path, names: Sequence[str] | None, tables: Sequence[Path], ending: str
) -> tuple[tuple[str, ...] | None, bool]:
    """Return the tables of boxes of the frames, None without; and True if there are any.

    Raises:
        InputError: Some views have a table of boxes with the ending, and others not (`missing-file`).
    """
    if names is None:
        return None, False
    own = [path_beside(root / name, ending) for name in names]
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
