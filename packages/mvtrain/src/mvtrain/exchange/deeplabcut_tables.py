"""Reader of DeepLabCut's tables of labels and predictions: CSV and h5, with one animal or several."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvgeom.errors import InputError
from mvgeom.files import list_files, read_text
from mvgeom.tables import find_delimiter, has_decimal_commas, read_pandas_table, to_decimal_point
from mvtrain.project.names import check_distinct
from mvtrain.runtime.imports import need

UNIQUE = "single"
"""DeepLabCut's name in the level of individuals for body parts that belong to no individual."""

_LEVELS = ("scorer", "individuals", "bodyparts", "coords")

_NETWORK = re.compile(r"(?<!_3d)(?:DLC_|DeepCut_|_superanimal_)")
"""Beginning of a network's name behind that of the video, but for 3D keypoints."""

_FILTERED, _BONES = "_filtered", "_skeleton"
"""Ends of the names of what `filterpredictions` and `analyzeskeleton` write."""

_MISSING = ("", "nan", "na")


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


def read_table(path: Path, individual: str | None) -> LabeledRows:
    """Read `CollectedData_<scorer>.csv` or `.h5`, whose rows are image paths in one cell or in three.

    Args:
        path: CSV or h5 file.
        individual: Name of the animal to take; None in a table in which one animal is labeled.

    Raises:
        InputError: The errors of `read_animals` and `choose_animal`; besides, the rows are not image paths
            (`bad-header`).
    """
    table = read_animals(path)
    if table.is_prediction:
        raise InputError(
            f"{path}: not a table of labels: the rows must be image paths, found {table.images[0]!r}. Predictions "
            "become labels with --min-likelihood",
            code="bad-header",
            path=path,
        )
    return choose_animal(table, individual)


def read_animals(path: Path) -> AnimalTable:
    """Read a table of labels or of predictions with all its animals.

    Raises:
        InputError: The file cannot be read (`damaged-file`, `invalid-syntax`, `not-text`), is not such a table
            (`bad-header`, `wrong-count`), or a value is not a number (`bad-number`).
    """
    return _read_csv(path) if path.suffix.lower() == ".csv" else _read_h5(path)


def prediction_tables(folder: Path) -> list[Path]:
    """List the tables of predictions in a folder by name, of two of the same name the CSV; see `video_name`.

    DeepLabCut writes further tables beside them. Filtered predictions count where the others are not there; tables of
    bones are left out.
    """
    if not folder.is_dir():
        return []
    tables = {
        path.with_suffix(""): path
        for suffix in (".h5", ".csv")
        for path in list_files(folder, f"*{suffix}")
        if _NETWORK.search(path.stem) is not None and not path.stem.endswith(_BONES)
    }
    return sorted(
        path
        for stem, path in tables.items()
        if not stem.name.endswith(_FILTERED) or stem.with_name(stem.name.removesuffix(_FILTERED)) not in tables
    )


def video_name(table: AnimalTable) -> str:
    """Return the name of a predicted video without suffix: `mouse_top` of `mouse_topDLC_resnet50_....h5`."""
    stem = table.path.stem
    if table.scorer and table.scorer in stem:
        return stem.partition(table.scorer)[0].removesuffix("_")  # SuperAnimal networks have a "_" before their name
    return _NETWORK.split(stem)[0] or stem


def _read_csv(path: Path) -> AnimalTable:
    text = read_text(path)
    delimiter = find_delimiter(text)  # spreadsheets write semicolons, and then possibly decimal commas
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except csv.Error as error:
        raise InputError(f"{path}: not CSV: {error}", code="invalid-syntax", path=path) from error
    levels = [row[0].strip().lower() for row in rows[: len(_LEVELS)]]
    levels = levels[: levels.index("coords") + 1] if "coords" in levels else []
    if tuple(level for level in _LEVELS if level in levels) != tuple(levels) or "bodyparts" not in levels:
        raise InputError(
            f"{path}: not a table of DeepLabCut: the first rows must be scorer, bodyparts, coords (with several "
            "animals scorer, individuals, bodyparts, coords)",
            code="bad-header",
            path=path,
        )
    # A path in three cells leaves two empty ones at the start of each header row.
    num_index = next((number for number, cell in enumerate(rows[0]) if number > 0 and cell.strip()), len(rows[0]))
    header = dict(zip(levels, rows, strict=False))
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise InputError(
            f"{path}: the rows have different numbers of cells, found {', '.join(map(str, sorted(lengths)))}",
            code="wrong-count",
            path=path,
            found=tuple(sorted(lengths)),
        )
    if num_index not in (1, 3):
        raise InputError(
            f"{path}: not a table of DeepLabCut: image paths must be in 1 or 3 cells, found {num_index}",
            code="bad-header",
            path=path,
        )
    columns = tuple(
        (
            header["individuals"][column].strip() if "individuals" in header else None,
            name.strip(),
            coord.strip().lower(),
        )
        for column, (name, coord) in enumerate(zip(header["bodyparts"], header["coords"], strict=True))
        if column >= num_index
    )
    body = rows[len(levels) :]
    if has_decimal_commas(path, delimiter, (cell for row in body for cell in row[num_index:])):
        body = [[*row[:num_index], *map(to_decimal_point, row[num_index:])] for row in body]
    values = [[_number(cell, path, row[:num_index]) for cell in row[num_index:]] for row in body]
    images = tuple(_image_path(row[:num_index]) for row in body)
    return AnimalTable(
        path=path,
        scorer=next(iter(header["scorer"][num_index:]), "").strip() if "scorer" in header else "",
        images=images,
        columns=columns,
        values=np.array(values, dtype=np.float64).reshape(len(body), len(columns)),
        is_prediction=_has_likelihood(columns) and all(name.isdigit() for name in images),
    )


def _number(cell: str, path: Path, image: Sequence[str]) -> float:
    """Parse a coordinate, NaN where missing."""
    text = cell.strip()
    if text.lower() in _MISSING:
        return np.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if math.isinf(value):
        name = _image_path(image)
        raise InputError(
            f"{path}: {name}: not a number, found {text!r}", code="bad-number", path=path, image=name, found=text
        )
    return value


def _read_h5(path: Path) -> AnimalTable:
    need("tables", f"reading {path.name}")
    table = read_pandas_table(path)
    names = [str(name) for name in table.columns.names]
    animal, bodypart, coord = (
        names.index("individuals") if "individuals" in names else None,
        names.index("bodyparts"),
        names.index("coords"),
    )
    columns = tuple(
        (None if animal is None else str(column[animal]), str(column[bodypart]), str(column[coord]).lower())
        for column in table.columns
    )
    numbered = all(isinstance(row, int | np.integer) for row in table.index)
    if not (numbered and _has_likelihood(columns)) and not all(isinstance(row, str | tuple) for row in table.index):
        raise InputError(
            f"{path}: not a table of labels or predictions: the rows must be image paths, or numbers of frames beside "
            f"columns `likelihood`, found {table.index[0]!r}",
            code="bad-header",
            path=path,
        )
    images = tuple(_image_path(map(str, row) if isinstance(row, tuple) else [str(row)]) for row in table.index)
    try:
        values = table.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: a coordinate is not a number: {error}", code="bad-number", path=path) from error
    return AnimalTable(
        path=path,
        scorer=str(table.columns[0][0]) if names[0] == "scorer" and len(table.columns) else "",
        images=images,
        columns=columns,
        values=values,
        is_prediction=numbered and _has_likelihood(columns),
    )


def _has_likelihood(columns: Sequence[tuple[str | None, str, str]]) -> bool:
    """Return True if every keypoint has a likelihood, as predictions have."""
    keypoints = {column[:2] for column in columns}
    return bool(keypoints) and {column[:2] for column in columns if column[2] == "likelihood"} == keypoints


def _image_path(cells: Iterable[str]) -> str:
    """Join an image path from one cell or several, with "/" between folders."""
    return "/".join(cell.strip() for cell in cells).replace("\\", "/")
