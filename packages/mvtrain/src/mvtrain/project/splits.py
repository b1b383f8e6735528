"""Split of the frames of a project into training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mvgeom.errors import InputError
from mvtrain.config import Config
from mvtrain.project.project import Project

SPLIT_NAMES = ("train", "validation", "test", "unused")
"""Splits, in the order of their numbers; the tables' column is `set`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Rows of a project, each in exactly one split, in ascending order.

    Attributes:
        train: Rows to train on.
        validation: Rows that choose the best weights.
        test: Rows for the final figures.
        unused: Rows without any label, and those of the training share that `training.train_frames` leaves out; in no
            other split, so that figures do not depend on the number of training frames.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    unused: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

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

    A fraction above 0 gets at least one frame (or session). `training.train_frames` then keeps a random part of the
    training share: all for 1, a fraction below 1, a number above 1 (at most all there are).

    Raises:
        InputError: There are too few frames (`empty-split`) or sessions (`too-few-sessions`) for the fractions, or no
            training frame has a visible label (`no-labels`).
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
    rows = generator.permutation(labeled[sets == 0])
    kept = _num_kept(len(rows), training.train_frames)
    split = Split(
        train=np.sort(rows[:kept]),
        validation=labeled[sets == 1],
        test=labeled[sets == 2],
        unused=np.sort(np.concatenate([rows[kept:], np.flatnonzero(~has_labels(project))])),
    )
    if not (project.visibility[split.train] == 2).any():
        raise InputError(
            f"none of the {kept} training frames has a visible label. Change training.train_prob or data.split",
            code="no-labels",
            key="training.train_prob",
            split="train",
        )
    return split


def has_labels(project: Project) -> np.ndarray:
    """Return (N,) True for frames with a label, visible or occluded, in at least one view."""
    return np.asarray((project.visibility > 0).any(axis=(1, 2)))


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
    for number, (fraction, share) in enumerate(zip(fractions, shares, strict=True)):
        if fraction > 0 and not (sets == number).any():
            raise InputError(
                f"the {SPLIT_NAMES[number]} split is empty: {share} is {fraction:g} of {num_frames} frames with "
                f"data.split {kind}. Set the fraction to 0, or label more frames",
                code="empty-split",
                key="training.train_prob" if number == 0 else "training.val_prob",
                split=SPLIT_NAMES[number],
                found=num_frames,
            )


def _num_kept(total: int, train_frames: float) -> int:
    if train_frames == 1:
        return total
    return min(total, max(1, round(train_frames * total if train_frames < 1 else train_frames)))
