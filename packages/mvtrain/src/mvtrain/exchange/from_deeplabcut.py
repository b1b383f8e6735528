"""Reader of DeepLabCut projects: `labeled-data/<video>/CollectedData_<scorer>.csv` or `.h5`, images beside them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom.documents import parse_yaml
from mvgeom.errors import InputError
from mvgeom.files import list_files, read_text
from mvgeom.tables import H5_ERRORS, KeypointTable
from mvgeom.wording import counted
from mvtrain.exchange.deeplabcut_tables import (
    AnimalTable,
    check_animals,
    choose_animal,
    prediction_tables,
    read_animals,
    video_name,
)
from mvtrain.exchange.foreign_labels import (
    ForeignLabels,
    ImageFile,
    ImageSource,
    LabeledImage,
    Place,
    ReadOptions,
    Source,
    check_wanted,
    merge,
    plain_visibility,
    to_labels,
)
from mvtrain.exchange.media import find_file, images_in, videos_by_view, videos_in, with_names
from mvtrain.project.images import image_size
from mvtrain.project.names import as_posix, split_image_name

_SECONDS = 60.0
"""DeepLabCut writes one file after the other, so their times differ by a little."""

_DIGITS = 6
"""Decimal digits of the numbers by which rows are sorted."""
_NUMBERS = "fiu"
"""Kinds of NumPy's types that are numbers."""

_LEVELS_UP = 4
"""Folders above a table in which the paths of its rows may begin."""

_SUFFIXES = (".csv", ".h5")


def compare_with_h5(table: AnimalTable) -> str | None:
    """Compare a CSV of labels with the h5 beside it, which DeepLabCut itself reads.

    Only the numbers of the h5 are read: what else is in it can hold code that runs when it is read. Without h5py,
    or in an h5 of another layout, the times of the two files are compared.

    Args:
        table: Table as read from a CSV.

    Returns:
        Note for the user if the h5 has other labels; None if it has the same, or there is none.
    """
    h5 = table.path.with_suffix(".h5")
    if table.path.suffix.lower() != ".csv" or not h5.is_file():
        return None
    newer = h5.stat().st_mtime > table.path.stat().st_mtime + _SECONDS
    blocks = _blocks(h5)
    if (not newer) if not blocks else _has_values(table.values, blocks):
        return None
    difference = "is newer" if not blocks else f"has other labels{' and is newer' if newer else ''}"
    return (
        f"{table.path}: read, though {h5.name} beside it {difference}. DeepLabCut itself reads the h5. "
        "Remove the CSV if the h5 is right"
    )


def _has_values(values: np.ndarray, blocks: Sequence[np.ndarray]) -> bool:
    """Return True if blocks of an h5 have the (N, C) values of a table, in any order of the rows.

    Where one of the two has further empty rows or columns, the numbers of each row are compared in their order. Of
    several blocks whose columns cannot be told, all numbers are compared.
    """
    if len(blocks) != 1:
        return _are_close(np.sort(_finite(values)), np.sort(np.concatenate([_finite(block) for block in blocks])))
    other = blocks[0]
    if other.shape == values.shape:
        return _are_close(values, other) or _are_close(_sort_rows(values), _sort_rows(other))
    return _are_close(*(_sort_rows(_pack_rows(each, max(values.shape[1], other.shape[1]))) for each in (values, other)))


def _are_close(values: np.ndarray, other: np.ndarray) -> bool:
    """Return True if two arrays are the same but for rounding."""
    return values.shape == other.shape and np.allclose(values, other, rtol=1e-9, atol=1e-9, equal_nan=True)


def _finite(values: np.ndarray) -> np.ndarray:
    """Return the finite numbers of an array, row by row."""
    return values[np.isfinite(values)]


def _sort_rows(values: np.ndarray) -> np.ndarray:
    """Sort rows by their numbers, first the first; differences by rounding do not change the order."""
    return values[np.lexsort(np.round(values, _DIGITS).T[::-1])] if values.size else values


def _pack_rows(values: np.ndarray, width: int) -> np.ndarray:
    """Move the finite numbers of each row to its start, without rows that have none."""
    packed = np.full((len(values), width), np.nan)
    for row, numbers in zip(packed, map(_finite, values), strict=True):
        row[: len(numbers)] = numbers
    return packed[np.isfinite(packed).any(axis=1)]


def _blocks(path: Path) -> list[np.ndarray]:
    """Return the (N, columns) numbers of each block of an h5 of pandas; none in another layout or a damaged file."""
    try:
        h5py = importlib.import_module("h5py")
    except ImportError:
        return []
    found: list[tuple[str, np.ndarray]] = []
    try:
        with h5py.File(path, "r") as file:
            file.visititems(lambda name, node: found.extend((name, values) for values in _columns(name, node)))
            return _join_blocks(file, found)
    except H5_ERRORS:
        return []


def _join_blocks(file: Any, found: Sequence[tuple[str, np.ndarray]]) -> list[np.ndarray]:
    """Join the blocks of a table in pandas' fixed layout in the order of its columns; others stay as they are."""
    blocks = [values for _, values in found]
    parents = {name.rpartition("/")[0] for name, _ in found}
    if len(blocks) < 2 or len(parents) != 1 or len({len(values) for values in blocks}) != 1:
        return blocks
    group = file[parents.pop() or "/"]
    columns = _column_names(group, "axis0")
    own = [_column_names(group, re.sub("_values$", "_items", name.rpartition("/")[2])) for name, _ in found]
    order = [column for names in own for column in names]
    values = np.concatenate(blocks, axis=1)
    if len(set(columns)) != values.shape[1] or sorted(order) != sorted(columns):
        return blocks
    return [values[:, [order.index(column) for column in columns]]]


def _column_names(group: Any, name: str) -> list[tuple[bytes, ...]]:
    """Return the names of columns that pandas wrote as numbers of the names of each level; none in another layout."""
    levels: list[list[bytes]] = []
    while f"{name}_label{len(levels)}" in group:
        numbers = np.asarray(group[f"{name}_label{len(levels)}"][()])
        names = np.asarray(group[f"{name}_level{len(levels)}"][()])
        if names.dtype.kind != "S" or numbers.dtype.kind != "i" or (numbers >= len(names)).any():
            return []  # pickled names are not read
        levels.append(names[numbers].tolist())
    return list(zip(*levels, strict=True))


def _columns(name: str, node: Any) -> list[np.ndarray]:
    """Return the numbers of pandas' fixed layout (`block0_values`) or table layout (`values_block_0`)."""
    kind = getattr(node, "dtype", None)  # groups have none
    if kind is None:
        return []
    if kind.names is not None:
        columns = [column for column in kind.names if column.startswith("values_block_")]
        found = [node[column] for column in columns if kind[column].base.kind in _NUMBERS]
    else:
        is_block = re.fullmatch(r"(?:.*/)?block\d+_values", name) and kind.kind in _NUMBERS
        found = [node[()]] if is_block else []
    arrays = [np.asarray(values, dtype=np.float64) for values in found]
    return [
        values.reshape(len(values), -1) if values.size else values.reshape(0, 0) for values in arrays if values.ndim
    ]


def convert_labels(
    table: AnimalTable,
    animal: str | None,
    crops: Mapping[str, tuple[int, int, int, int] | None],
    source: Source,
    options: ReadOptions,
) -> ForeignLabels:
    """Convert the labels of a table, and find their images.

    Args:
        table: Table of labels.
        animal: Animal to take; None: the one that has labels.
        crops: By the names of videos, x1, x2, y1, y2 of the part of the image that was extracted.
        source: Source with its view.
        options: Options of the reader.

    Raises:
        InputError: The errors of `choose_animal`, of names and of `find_file`.
    """
    rows = choose_animal(table, animal if animal in table.animals or options.individual is not None else None)
    folder = table.path.parent
    named = with_names(folder).as_posix()
    labeled: list[LabeledImage] = []
    folders: dict[Path, str] = {}
    for name, points in zip(rows.images, rows.points, strict=True):
        origin = f"{table.path}, row {name}"
        # A row with a file name alone is an image in the folder of the table.
        written = name if "/" in name else f"{named}/{name}"
        path = _find_image(name, folder, options.media)
        if path is not None and not _is_readable(written, source, options) and path.is_relative_to(folder):
            written = f"{named}/{path.name}"  # folders of images within that of the video
        parts = split_image_name(written, source.view, options.rule, origin)
        assert parts.frame is not None
        crop = _crop_of(path, crops.get(as_posix(written).parent.name))
        if path is not None:
            folders.setdefault(path.parent.resolve(), as_posix(written).parent.as_posix())
        labeled.append(
            LabeledImage(
                place=Place(parts.session, parts.view, parts.frame),
                points=points,
                visibility=plain_visibility(points),
                image=None if path is None else ImageFile(path=path, crop=crop),
                crop=crop,
                origin=origin,
                name=name,
            )
        )
    folders.setdefault(folder.resolve(), named)
    notes = [note for note in (compare_with_h5(table),) if note is not None]
    if rows.unique:
        notes.append(f"body parts without an individual are taken as keypoints: {', '.join(rows.unique)}")
    return ForeignLabels(
        origin=str(table.path),
        keypoint_names=rows.keypoint_names,
        images=tuple(labeled),
        unlabeled=_unlabeled(folders, crops, source, options),
        notes=tuple(notes),
    )


def convert_predictions(
    table: AnimalTable, animal: str | None, videos: Sequence[Path], source: Source, options: ReadOptions
) -> ForeignLabels:
    """Convert the predictions of one video to labels.

    Args:
        table: Table of predictions.
        animal: Animal to take; None: the one that has predictions.
        videos: Videos of the project, searched for the predicted one after those beside the table.
        source: Source with its view.
        options: Options of the reader.

    Raises:
        InputError: The options do not ask for predictions (`no-labels`); besides, the errors of `choose_animal` and of
            names.
    """
    check_wanted(table.path, options)
    rows = choose_animal(table, animal if animal in table.animals or options.individual is not None else None)
    assert rows.likelihood is not None
    name = video_name(table)
    folder = table.path.parent
    predicted = KeypointTable(
        path=table.path,
        rows=rows.images,
        keypoint_names=rows.keypoint_names,
        points=rows.points,
        likelihood=rows.likelihood,
        recording=name,
    )
    beside = [*videos_in(folder), *videos, *videos_in(options.media)]
    return to_labels(predicted, f"{with_names(folder).as_posix()}/{name}", beside, source, options)


def _is_readable(written: str, source: Source, options: ReadOptions) -> bool:
    """Return True if session, view and frame can be read from a path."""
    try:
        split_image_name(written, source.view, options.rule, written)
    except InputError:
        return False
    return True


def _find_image(name: str, folder: Path, media: Path | None) -> Path | None:
    """Find an image by its path in the folder of the table or one above, else by what is left of the path."""
    above = [folder, *folder.resolve().parents[:_LEVELS_UP]]
    whole = next((path for each in above if (path := each / name).is_file()), None)
    return whole or find_file(name, [folder.parent, folder, media])


def _crop_of(image: Path | None, crop: tuple[int, int, int, int] | None) -> tuple[int, int] | None:
    """Return the top-left corner of an image that was cropped when it was extracted.

    The crop of the config was used for this image only if the image has its size. A crop that is the whole image
    is known as such only by the size of the video or of the calibration, so it is returned, too.
    """
    if image is None or crop is None:
        return None
    x1, x2, y1, y2 = crop
    return (x1, y1) if image_size(image) == (x2 - x1, y2 - y1) else None


def _unlabeled(
    folders: Mapping[Path, str],
    crops: Mapping[str, tuple[int, int, int, int] | None],
    source: Source,
    options: ReadOptions,
) -> dict[Place, ImageSource]:
    """Find all images of folders of `labeled-data` by place, including the labeled ones.

    Args:
        folders: Folders, with their paths as the rows of the table have them.
        crops: Crops of the videos by their names.
        source: Source with its view.
        options: Options of the reader.
    """
    found: dict[Place, ImageSource] = {}
    for folder, written in folders.items():
        # The shortest name first: frame12 (2).png is a copy of frame12.png.
        for path in sorted(images_in(folder), key=lambda path: (len(path.name), path.name)):
            name = f"{written}/{path.name}"
            if _is_readable(name, source, options):
                parts = split_image_name(name, source.view, options.rule, str(path))
                assert parts.frame is not None
                image = ImageFile(path=path, crop=_crop_of(path, crops.get(as_posix(written).name)))
                found.setdefault(Place(parts.session, parts.view, parts.frame), image)
    return found


@dataclass(frozen=True, kw_only=True)
class _Project:
    """A DeepLabCut project; without its config.yaml (a folder of labels alone) only `root` has a value.

    Attributes:
        root: Folder of the project.
        scorer: Name of the person who labeled.
        skeleton: Pairs of keypoints.
        videos: Names of the videos, with x1, x2, y1, y2 of the labeled part of the image.
    """

    root: Path
    scorer: str | None = None
    skeleton: tuple[tuple[str, str], ...] = ()
    videos: Mapping[str, tuple[int, int, int, int] | None]


def read(sources: Sequence[Source], options: ReadOptions) -> list[ForeignLabels]:
    """Read projects, folders of `labeled-data`, or single tables, and predictions where the options ask for them.

    Raises:
        InputError: A source is none of these (`unsupported-file`, `no-labels`, `unknown-format`); besides, the errors
            of `read_animals`, `choose_animal` and of names.
    """
    return [read_source(source, options) for source in sources]


def read_source(source: Source, options: ReadOptions) -> ForeignLabels:
    """Read one project, folder of `labeled-data`, or table; see `read`."""
    path = source.path.parent if source.path.name == "config.yaml" else source.path
    project = _find_project(path)
    tables = [read_animals(table) for table in _find_tables(path, project.scorer, options)]
    animal = check_animals(tables, options.individual)
    videos = [find_file(name, [project.root, project.root / "videos", options.media]) for name in project.videos]
    all_videos = [video for video in videos if video is not None] + videos_in(project.root / "videos")
    crops = {as_posix(name).stem: crop for name, crop in project.videos.items()}
    parts = [
        convert_predictions(table, animal, all_videos, source, options)
        if table.is_prediction
        else convert_labels(table, animal, crops, source, options)
        for table in tables
    ]
    merged = merge(parts)
    return ForeignLabels(
        origin=str(source.path),
        keypoint_names=merged.keypoint_names,
        images=merged.images,
        skeleton=_known(project.skeleton, merged.keypoint_names),
        unlabeled=merged.unlabeled,
        videos={**videos_by_view(all_videos, source.view, options), **merged.videos},
        notes=merged.notes,
    )


def _find_project(path: Path) -> _Project:
    """Find the project that a folder or table is in."""
    start = path if path.is_dir() else path.parent
    for folder in [start, *start.resolve().parents[:_LEVELS_UP]]:
        config = folder / "config.yaml"
        if config.is_file():
            return _read_project(config)
    return _Project(root=start, videos={})


def _read_project(path: Path) -> _Project:
    """Read the config of a project."""
    document = parse_yaml(read_text(path), path)
    if not isinstance(document, dict) or not {"bodyparts", "video_sets", "multianimalbodyparts"} & document.keys():
        raise InputError(
            f"{path}: not a config of DeepLabCut: it has neither bodyparts nor video_sets",
            code="unknown-format",
            path=path,
        )
    scorer, skeleton, videos = (document.get(key) for key in ("scorer", "skeleton", "video_sets"))
    pairs = skeleton if isinstance(skeleton, list) else []
    edges = [edge for edge in pairs if isinstance(edge, list | tuple) and len(edge) == 2]
    return _Project(
        root=path.parent,
        scorer=None if scorer is None else str(scorer),
        skeleton=tuple((str(a), str(b)) for a, b in edges),
        videos={str(name): _crop(entry) for name, entry in videos.items()} if isinstance(videos, dict) else {},
    )


def _crop(entry: Any) -> tuple[int, int, int, int] | None:
    """Parse x1, x2, y1, y2 of `crop: 0, 640, 0, 480`; None if there is no crop."""
    text = entry.get("crop") if isinstance(entry, dict) else None
    try:
        x1, x2, y1, y2 = (int(float(part)) for part in str(text).split(","))
    except (ValueError, OverflowError):
        return None  # DeepLabCut's template has words here
    return x1, x2, y1, y2


def _find_tables(path: Path, scorer: str | None, options: ReadOptions) -> list[Path]:
    """Find the tables of a project, of a folder or of one video."""
    if path.is_file():
        if path.suffix.lower() not in _SUFFIXES:
            raise InputError(
                f"{path}: neither a table of DeepLabCut (csv or h5) nor a project folder",
                code="unsupported-file",
                path=path,
            )
        return [path]
    labeled = path / "labeled-data"
    folders = [folder for folder in list_files(labeled) if folder.is_dir()]
    # A table beside the folder labeled-data is that of projects whose rows are relative to it.
    found = [table for folder in folders if (table := _table_of(folder, scorer)) is not None]
    found = found or [table for table in [_table_of(path, scorer)] if table is not None]
    predictions = [table for folder in (path, path / "videos") for table in prediction_tables(folder)]
    if options.min_likelihood is not None:
        found += predictions
    if not found:
        place = "any folder of labeled-data" if labeled.is_dir() else "the folder, and no folder labeled-data"
        number = counted(len(predictions), "table")
        advice = f". --min-likelihood takes {number} of predictions as labels" if predictions else ""
        raise InputError(
            f"{path}: no labels of DeepLabCut: there is no CollectedData_<scorer>.csv or .h5 in {place}{advice}",
            code="no-labels",
            path=path,
        )
    return found


def _table_of(folder: Path, scorer: str | None) -> Path | None:
    """Find the table of one video; None if the video is not labeled."""
    stems = sorted({path.stem for path in list_files(folder, "CollectedData_*") if path.suffix.lower() in _SUFFIXES})
    if scorer is not None and f"CollectedData_{scorer}" in stems:
        stems = [f"CollectedData_{scorer}"]
    if len(stems) > 1:
        raise InputError(
            f"{folder}: labels of several scorers, found {', '.join(stems)}, expected one. Give one of the files, or "
            "set scorer in the project's config.yaml",
            code="wrong-count",
            path=folder,
            found=tuple(stems),
        )
    return next(
        (path for stem in stems for suffix in _SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()), None
    )


def _known(skeleton: tuple[tuple[str, str], ...], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of labeled keypoints; configs keep pairs of keypoints that were renamed or dropped."""
    return tuple(pair for pair in skeleton if set(pair) <= set(names))
