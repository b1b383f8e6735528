"""Tables of DeepLabCut in memory: one animal of several, and body parts that belong to no animal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvgeom.errors import InputError
from mvtrain.project.names import check_distinct

UNIQUE = "single"
"""DeepLabCut's name in the level of individuals for body parts that belong to no individual."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledRows:
    """Labels or predictions of one animal.

    Attributes:
        images: N image paths as in the table, with "/" between folders; numbers of frames in a table of predictions.
        keypoint_names: K names of the keypoints.
        points: (N, K, 2) labels in px of the images; NaN where missing.
        likelihood: (N, K) likelihoods of predictions; None in a table of labels.
        unique: Those of the keypoints that belong to no individual.
    """

    images: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    points: np.ndarray
    likelihood: np.ndarray | None = None
    unique: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class AnimalTable:
    """A table of one animal or several.

    Attributes:
        path: File of the table.
        scorer: Name in the first header row.
        images: N image paths, with "/" between folders; numbers of frames in a table of predictions.
        columns: Animal, keypoint and coordinate of each of the C columns; the animal is None in a table of one animal.
        values: (N, C) values; NaN where missing.
        is_prediction: True if the rows are the frames of a video and have likelihoods.
    """

    path: Path
    scorer: str
    images: tuple[str, ...]
    columns: tuple[tuple[str | None, str, str], ...]
    values: np.ndarray
    is_prediction: bool

    @property
    def unique(self) -> tuple[str, ...]:
        """Return the keypoints that belong to no individual, beside individuals that have others."""
        own = dict.fromkeys(name for animal, name, _ in self.columns if animal == UNIQUE)
        others = {name for animal, name, _ in self.columns if animal != UNIQUE}
        return tuple(own) if others and not others & own.keys() else ()

    @property
    def animals(self) -> tuple[str, ...]:
        """Return the names of the individuals."""
        names = dict.fromkeys(animal for animal, _, _ in self.columns if animal is not None)
        return tuple(name for name in names if name != UNIQUE or not self.unique)

    @property
    def labeled_animals(self) -> tuple[str, ...]:
        """Return the names of the individuals that have a label in any row."""
        present = np.isfinite(self.values).any(axis=0)
        found = {column[0] for column, some in zip(self.columns, present, strict=True) if some}
        return tuple(animal for animal in self.animals if animal in found)


def choose_animal(table: AnimalTable, individual: str | None) -> LabeledRows:
    """Take one animal of a table, with the keypoints that belong to no individual.

    Args:
        table: Table of labels or predictions.
        individual: Name of the animal; None where one animal, or none, has labels.

    Raises:
        InputError: Several animals have labels and none is chosen (`several-individuals`), the chosen one is not in the
            table (`unknown-choice`), a column occurs twice (`duplicate-name`), a keypoint has no column x or y
            (`missing-column`), or a label has only one of them (`empty-cell`).
    """
    path = table.path
    check_distinct([" ".join(filter(None, column)) for column in table.columns], f"{path}: columns", path=path)
    chosen, unique = _choose(table, individual)
    names = tuple(dict.fromkeys(name for _, name, _ in chosen))
    position = {(name, coord): number for (_, name, coord), number in chosen.items()}
    lacking = [(name, coord) for name in names for coord in "xy" if (name, coord) not in position]
    if not names:
        raise InputError(f"{path}: the table has no keypoints", code="no-labels", path=path)
    if lacking:
        name, coord = lacking[0]
        raise InputError(
            f"{path}: keypoint {name!r} has no column {coord}",
            code="missing-column",
            path=path,
            keypoint=name,
            column=coord,
        )
    points = np.stack([table.values[:, [position[name, "x"], position[name, "y"]]] for name in names], axis=1)
    halves = np.argwhere(np.isnan(points).sum(axis=-1) == 1)
    if len(halves):
        row, keypoint = halves[0]
        raise InputError(
            f"{path}: {table.images[row]}: keypoint {names[keypoint]!r} has only one of x and y",
            code="empty-cell",
            path=path,
            image=table.images[row],
            keypoint=names[keypoint],
        )
    likelihood = None
    if table.is_prediction:
        likelihood = np.stack([table.values[:, position[name, "likelihood"]] for name in names], axis=1)
    return LabeledRows(images=table.images, keypoint_names=names, points=points, likelihood=likelihood, unique=unique)


def check_animals(tables: Sequence[AnimalTable], individual: str | None) -> str | None:
    """Return the one animal of several tables; None if they do not name any.

    An individual without any label is no animal to choose.

    Raises:
        InputError: Several animals have labels and none is chosen (`several-individuals`), or the chosen one is in no
            table (`unknown-choice`).
    """
    path = tables[0].path
    animals = tuple(dict.fromkeys(animal for table in tables for animal in table.animals))
    labeled = tuple(dict.fromkeys(animal for table in tables for animal in table.labeled_animals))
    unique = tuple(dict.fromkeys(UNIQUE for table in tables if table.unique))
    if individual is None and len(labeled) > 1:
        raise InputError(
            f"{path}: the labels are of several animals, found {', '.join(labeled)}, expected one. Choose it with "
            "--individual NAME",
            code="several-individuals",
            path=path,
            found=labeled,
        )
    if individual is not None and individual not in (*animals, *unique):
        expected = f"one of {', '.join(animals)}" if animals else "none, because the only animal has no name"
        raise InputError(
            f"{path}: no such animal, found --individual {individual!r}, expected {expected}",
            code="unknown-choice",
            path=path,
            option="--individual",
            found=individual,
            expected=animals,
        )
    return individual if individual is not None else next(iter(labeled or animals), None)


def _choose(
    table: AnimalTable, individual: str | None
) -> tuple[dict[tuple[str | None, str, str], int], tuple[str, ...]]:
    """Return the columns of one animal with their positions, and its keypoints that belong to no individual."""
    wanted = check_animals([table], individual)
    unique = table.unique if wanted != UNIQUE else ()
    columns = {
        column: number
        for number, column in enumerate(table.columns)
        if column[0] == wanted or (column[0] == UNIQUE and column[1] in unique)
    }
    return columns, unique
