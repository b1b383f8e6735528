"""Split of the frames of a project into training, validation and test, and the splits that runs keep."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from mvgeom.documents import parse_yaml
from mvgeom.errors import InputError
from mvgeom.files import file_name, read_text, write_text
from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.project.names import as_posix, frame_number, frame_of
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Rows of a project, each in exactly one split, in ascending order.

    Attributes:
        train: Rows to train on.
        validation: Rows that choose the best weights.
        test: Rows for the final figures.
        unused: Rows without any label, and those of the training share that `training.train_frames` leaves out; in no
            other split, so that figures do not depend on the number of training frames.
        kept_from: Run folder whose split the frames keep that it had; None where the split was drawn.
        warnings: Messages to the user.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    unused: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    kept_from: Path | None = None
    warnings: tuple[str, ...] = ()

    def names(self) -> np.ndarray:
        """Return (N,) the split of each row: train, validation, test or unused."""
        names = np.empty(sum(len(getattr(self, name)) for name in SPLIT_NAMES), dtype=object)
        for name in SPLIT_NAMES:
            names[getattr(self, name)] = name
        return names


def split_frames(project: Project, config: Config) -> Split:
    """Split the labeled frames by `data.split`; the same seed, project and fractions give the same split.

    Frames that have a label in no view, because they are still to be labeled, are unused.

    - random: a random choice of frames. Neighbors in time are nearly equal, so test figures are too good.
    - block: within each session, in file order, the first frames for training, then validation, the last for test.
    - session: whole sessions, at random, each to the split that lacks most frames.

    A run that goes on from another one of this project keeps its split (`find_kept_split`): what that run validated or
    tested on is never trained on, and what it trained on is never tested on. Frames that it did not have are added:

    - random: to the splits that lack most frames, at random.
    - block: to the split of the nearest kept frame of their session.
    - session: to the split of their session; a new session to the split that lacks most frames.

    A fraction above 0 gets at least one frame (or session). `training.train_frames` then keeps a random part of the
    training share: all for 1, a fraction below 1, a number above 1 (at most all there are).

    Raises:
        InputError: There are too few frames (`empty-split`) or sessions (`too-few-sessions`) for the fractions, or no
            training frame has a visible label (`no-labels`); besides, the errors of `find_kept_split`.
    """
    training = config.training
    train, validation = training.train_prob, training.val_prob
    test = 1.0 - train - validation
    fractions = np.array([train, validation, test if test > 1e-6 else 0.0])
    generator = np.random.default_rng(training.rng_seed_data_pt)
    labeled = np.flatnonzero(has_labels(project))
    sessions = [project.sessions[row] for row in labeled]
    num_frames = len(labeled)
    if config.data.split == "session":
        sets = _by_session(sessions, fractions, generator)
    elif config.data.split == "block":
        sets = _by_block(sessions, fractions)
    else:
        sets = np.empty(num_frames, dtype=np.int64)
        sets[generator.permutation(num_frames)] = np.repeat(np.arange(3), _counts(num_frames, fractions))[:num_frames]
    _check_not_empty(sets, fractions, config.data.split, num_frames)
    sets, kept_from, warnings = _keep(project, config, labeled, sets, fractions)
    rows = generator.permutation(labeled[sets == 0])
    kept = _num_kept(len(rows), training.train_frames)
    split = Split(
        train=np.sort(rows[:kept]),
        validation=labeled[sets == 1],
        test=labeled[sets == 2],
        unused=np.sort(np.concatenate([rows[kept:], np.flatnonzero(~has_labels(project))])),
        kept_from=kept_from,
        warnings=warnings,
    )
    if not (project.visibility[split.train] == 2).any():
        raise InputError(
            f"no visible label in the {counted(kept, 'training frame')}. Change training.train_prob or data.split",
            code="no-labels",
            key="training.train_prob",
            split="train",
        )
    return split


def has_labels(project: Project) -> np.ndarray:
    """Return (N,) True for frames with a label, visible or occluded, in at least one view."""
    return np.asarray((project.visibility > 0).any(axis=(1, 2)))


def _keep(
    project: Project, config: Config, labeled: np.ndarray, drawn: np.ndarray, fractions: np.ndarray
) -> tuple[np.ndarray, Path | None, tuple[str, ...]]:
    """Return the sets of the labeled rows with those kept that an earlier run had, its folder, and warnings.

    Args:
        project: Project of the frames.
        config: Config of the run.
        labeled: (n,) labeled rows of the project.
        drawn: (n,) their sets as drawn by the config alone.
        fractions: (3,) shares of training, validation and test.
    """
    kept = find_kept_split(project, config)
    if kept is None:
        return drawn, None, ()
    known = kept.sets[labeled]
    moved = (known != UNKNOWN) & (known != drawn)
    if not moved.any():
        return drawn, kept.run, ()
    sets = _extend(project, config, labeled, known, fractions)
    empty = [SPLIT_NAMES[i] for i in range(3) if fractions[i] > 0 and not (sets == i).any()]
    if not empty:
        return sets, kept.run, ()
    return (
        drawn,
        None,
        (
            f"the split is drawn anew, because that of {kept.run} has no {' and no '.join(empty)} frames: "
            f"the split changes for {counted(int(moved.sum()), 'frame')}, so figures on {' and '.join(empty)} frames "
            "are too good",
        ),
    )


def _extend(
    project: Project, config: Config, labeled: np.ndarray, known: np.ndarray, fractions: np.ndarray
) -> np.ndarray:
    """Return the kept sets (n,) with a set for each row that has none."""
    sets = known.copy()
    names = np.asarray([project.sessions[row] for row in labeled], dtype=object)
    if config.data.split == "random":
        groups = [np.array([place]) for place in np.flatnonzero(sets == UNKNOWN)]
    else:
        groups = [np.flatnonzero(names == session) for session in dict.fromkeys(names.tolist())]
    times = _times(project, labeled)
    generator = np.random.default_rng(config.training.rng_seed_data_pt)
    for number in generator.permutation(len(groups)).tolist():
        group = groups[number]
        new, old = group[sets[group] == UNKNOWN], group[sets[group] != UNKNOWN]
        if not len(new):
            continue
        if config.data.split == "block":
            if len(old):
                nearest = np.abs(times[new, None] - times[None, old]).argmin(axis=1)
                sets[new] = sets[old[nearest]]
            else:
                sets[new] = _by_block(names[new].tolist(), fractions)
        elif len(old):  # a session that the run had
            sets[new] = sets[old[0]]
        else:
            sizes = np.bincount(sets[sets != UNKNOWN], minlength=3)
            lacking = np.where(fractions > 0, fractions * len(sets) - sizes, -np.inf)
            # A split without a frame comes first, so that none remains empty.
            sets[new] = int(np.argmax(np.where((sizes == 0) & (fractions > 0), len(sets), lacking)))
    return sets


def _times(project: Project, rows: np.ndarray) -> np.ndarray:
    """Return (n,) numbers of the frames in their videos; where a name has none, the rows themselves."""
    names = [next(filter(None, project.image_names[row])) for row in rows]
    numbers = [frame_number(as_posix(name).stem) for name in names]
    return np.asarray(rows if None in numbers else numbers, dtype=np.float64)


def _counts(total: int, fractions: np.ndarray) -> np.ndarray:
    """Return (3,) whole numbers near total * fractions, at least 1 where the fraction is above 0.

    They add up to the total, except where it is too small for that: then the sum is larger and training gets 0.
    """
    counts = np.floor(total * fractions + 1e-9).astype(np.int64)
    counts = np.maximum(counts, fractions > 0)
    # Training gets the remainder of rounding, and gives what the minimum of 1 took too much.
    counts[0] += total - counts.sum()
    return np.maximum(counts, 0)


def _by_block(sessions: Sequence[str], fractions: np.ndarray) -> np.ndarray:
    names = np.asarray(sessions, dtype=object)
    ends = np.cumsum(fractions)[:2]
    sets = np.empty(len(names), dtype=np.int64)
    for session in dict.fromkeys(sessions):
        rows = np.flatnonzero(names == session)
        # Position of each frame's middle within the session, in 0 to 1.
        sets[rows] = np.searchsorted(ends, (np.arange(len(rows)) + 0.5) / len(rows), side="right")
    sets[sets == 2] = 2 if fractions[2] > 0 else 1
    return sets


def _by_session(sessions: Sequence[str], fractions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    names = np.asarray(sessions, dtype=object)
    distinct = list(dict.fromkeys(sessions))
    wanted = np.flatnonzero(fractions > 0)
    if len(distinct) < len(wanted):
        raise InputError(
            f"data.split: session needs at least {len(wanted)} sessions for "
            f"{', '.join(SPLIT_NAMES[i] for i in wanted)}, found {len(distinct)} ({', '.join(distinct)}). "
            "Use data.split: block, or set fractions to 0",
            code="too-few-sessions",
            key="data.split",
            found=len(distinct),
            expected=len(wanted),
        )
    sets = np.full(len(names), -1)
    order = generator.permutation(len(distinct))
    for done, i in enumerate(order):
        sizes = np.array([(sets == s).sum() for s in range(3)])
        empty = [s for s in wanted if sizes[s] == 0]
        lacking = fractions * len(names) - sizes
        candidates = empty if len(empty) == len(order) - done else list(wanted)
        sets[names == distinct[i]] = max(candidates, key=lambda s: lacking[s])
    return sets


def _check_not_empty(sets: np.ndarray, fractions: np.ndarray, kind: str, num_frames: int) -> None:
    shares = ("training.train_prob", "training.val_prob", "1 - train_prob - val_prob")
    advice = (
        "Set training.train_prob: 1 and training.val_prob: 0",
        "Set training.val_prob: 0",
        "Let training.train_prob and training.val_prob add up to 1",
    )
    for number, (fraction, share) in enumerate(zip(fractions, shares, strict=True)):
        if fraction > 0 and not (sets == number).any():
            raise InputError(
                f"the {SPLIT_NAMES[number]} split is empty: {share} is {fraction:g} of {num_frames} frames with "
                f"data.split {kind}. {advice[number]}, or label more frames",
                code="empty-split",
                key="training.train_prob" if number == 0 else "training.val_prob",
                split=SPLIT_NAMES[number],
                found=num_frames,
            )


def _num_kept(total: int, train_frames: float) -> int:
    if train_frames == 1:
        return total
    return min(total, max(1, round(train_frames * total if train_frames < 1 else train_frames)))
