"""Splits that runs write, and that frames keep in the runs that go on from them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from mvgeom.documents import parse_yaml
from mvgeom.errors import InputError
from mvgeom.files import file_name, read_text, write_text
from mvtrain.config import Config
from mvtrain.project.names import frame_of
from mvtrain.project.project import Project
from mvtrain.project.view_tables import frame_of_row
from mvtrain.runtime.folders import RUN_INFO, SPLIT_FILE, check_run_folder

SPLIT_NAMES = ("train", "validation", "test", "unused")
"""Splits, in the order of their numbers; the tables' column is `set`."""

UNKNOWN = -1
"""Number of the split of a frame that a run did not know or did not use."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptSplit:
    """Split of an earlier run of the same project.

    Attributes:
        run: Folder of the run.
        sets: (N,) numbers in `SPLIT_NAMES` of the project's frames; `UNKNOWN` for those that were in no split.
    """

    run: Path
    sets: np.ndarray


def write_split(run: Path, project: Project, names: Iterable[str]) -> None:
    """Write the split of every frame of a project into a run folder.

    Args:
        run: Run folder.
        project: Project of N frames.
        names: N splits, as `Split.names` gives them.

    Raises:
        InputError: The file cannot be written (`unwritable-file`).
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["image", "set"])
    for (session, name), split in zip(_frames(project), names, strict=True):
        rows.writerow([f"labeled-data/{session}/{name}", split])
    write_text(run / SPLIT_FILE, text.getvalue())


def read_split(run: Path, project: Project) -> list[str | None] | None:
    """Read the split that each frame of a project has in a run of this project.

    A frame is known by its session and the name of its image; the suffix of that may have changed since, as in crops.

    Args:
        run: Run folder.
        project: Project of N frames.

    Returns:
        N splits, None for frames that the run did not have; None for a run that has not written its split.

    Raises:
        InputError: A table has no splits (`damaged-file`), or cannot be read.
    """
    # A run that has ended has the tables of its predictions, too; older runs have these alone.
    tables = [run / file_name(f"predictions_{view}.csv") for view in project.view_names]
    known: dict[tuple[str, str], str] = {}
    if (run / SPLIT_FILE).is_file():
        for image, split in _read_sets(run / SPLIT_FILE, header_rows=1).items():
            known[frame_of(image, "")] = split
    elif all(path.is_file() for path in tables):
        for view, path in zip(project.view_names, tables, strict=True):
            for image, split in _read_sets(path, header_rows=3).items():
                known.setdefault(frame_of(image, view), split)
    else:
        return None
    by_stem: dict[tuple[str, str], str | None] = {}
    for frame, split in known.items():
        by_stem[_stem(frame)] = None if _stem(frame) in by_stem else split
    return [known.get(frame, by_stem.get(_stem(frame))) for frame in _frames(project)]


def find_kept_split(project: Project, config: Config) -> KeptSplit | None:
    """Find the split that a project's frames have to keep; None where there is none.

    It is that of the run `data.split_from`, or else of the run of `model.checkpoint`, if that was trained on this
    project: on its folder, or on one that is gone and had frames of the same names.

    Raises:
        InputError: `data.split_from` is not a run folder (`not-a-run`), or its run has not written its split
            (`missing-file`) or has no frame of the project (`frames-differ`); a table is damaged (`damaged-file`).
    """
    given = config.data.split_from
    if given is not None:
        check_run_folder(given)
        found = read_split(given, project)
        if found is None:
            raise InputError(
                f"data.split_from: {given} has no {SPLIT_FILE}: the run has not started training",
                code="missing-file",
                path=given / SPLIT_FILE,
                key="data.split_from",
            )
        if not any(found):
            raise InputError(
                f"data.split_from: the run {given} has no frame of {project.root}. Give a run of this project",
                code="frames-differ",
                path=given,
                key="data.split_from",
            )
        return KeptSplit(run=given, sets=_numbers(found))
    if config.model.checkpoint is None:
        return None
    run = config.model.checkpoint.parent.parent
    if not (run / RUN_INFO).is_file() and not (run / SPLIT_FILE).is_file():
        return None
    folder = _project_of_run(run)
    if folder is None or (folder != project.root.resolve() and folder.is_dir()):
        return None
    found = read_split(run, project)
    return None if found is None or not any(found) else KeptSplit(run=run, sets=_numbers(found))


def _frames(project: Project) -> list[tuple[str, str]]:
    return [frame_of_row(names, project.view_names) for names in project.image_names]


def _stem(frame: tuple[str, str]) -> tuple[str, str]:
    session, name = frame
    return session, PurePosixPath(name).stem


def _numbers(sets: list[str | None]) -> np.ndarray:
    used = SPLIT_NAMES[:3]
    return np.array([UNKNOWN if name not in used else used.index(name) for name in sets], dtype=np.int64)


def _project_of_run(run: Path) -> Path | None:
    """Return the project folder that a run's config names. The rest of it is not read: it may name plugins."""
    try:
        document = parse_yaml(read_text(run / "config.yaml"), run / "config.yaml")
        return Path(document["data"]["data_dir"]).resolve()
    except (InputError, KeyError, TypeError, ValueError, IndexError, OSError, RuntimeError):  # not a map, or not a path
        return None


def _read_sets(path: Path, *, header_rows: int) -> dict[str, str]:
    """Read the split of each image name: the first and the last column."""
    try:
        table = pd.read_csv(path, header=None, skiprows=header_rows, dtype=str, keep_default_na=False)
    except (OSError, ValueError, IndexError) as error:  # pandas raises any of these for a file that is not such a table
        raise InputError(f"{path}: not a table of splits: {error}", code="damaged-file", path=path) from error
    sets = dict(zip(table.iloc[:, 0], table.iloc[:, -1], strict=True))
    strange = next((name for name in sets.values() if name not in SPLIT_NAMES), None)
    if strange is not None:
        raise InputError(
            f"{path}: in the last column found {strange!r}, expected one of {', '.join(SPLIT_NAMES)}",
            code="damaged-file",
            path=path,
            value=strange,
        )
    return sets
