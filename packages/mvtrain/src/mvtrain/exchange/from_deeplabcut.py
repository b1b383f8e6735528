"""Reader of DeepLabCut projects: `labeled-data/<video>/CollectedData_<scorer>.csv` or `.h5`, images beside them.

DeepLabCut writes both files with the same content. The CSV is read if there is one, because an h5 file can contain code
that runs when the file is read; where their contents differ, a note says so. Predictions, `<video>DLC_<network>.h5` or
`.csv`, become labels on request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvgeom.documents import parse_yaml
from mvgeom.errors import InputError
from mvgeom.files import list_files, read_text
from mvgeom.wording import counted
from mvtrain.exchange.deeplabcut_animals import check_animals
from mvtrain.exchange.deeplabcut_rows import convert_labels, convert_predictions
from mvtrain.exchange.deeplabcut_tables import prediction_tables, read_animals
from mvtrain.exchange.file_search import find_file
from mvtrain.exchange.foreign_labels import ForeignLabels, ReadOptions, Source, merge
from mvtrain.exchange.media import videos_by_view, videos_in
from mvtrain.project.names import as_posix

_SUFFIXES = (".csv", ".h5")
_LEVELS_UP = 4


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
        advice = f". --predictions takes {number} of predictions as labels" if predictions else ""
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
