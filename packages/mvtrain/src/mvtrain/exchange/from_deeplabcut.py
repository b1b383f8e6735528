"""Reader of DeepLabCut projects: `labeled-data/<video>/CollectedData_<scorer>.csv` or `.h5`, images beside them.

DeepLabCut writes both files with the same content. The CSV is read if there is one, because an h5 file can contain code
that runs when the file is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from mvgeom.errors import InputError
from mvgeom.files import read_text
from mvtrain.exchange.deeplabcut_tables import read_table
from mvtrain.exchange.foreign_labels import (
    ForeignLabels,
    ImageFile,
    ImageSource,
    LabeledImage,
    Place,
    ReadOptions,
    Source,
    merge,
    plain_visibility,
)
from mvtrain.exchange.media import find_file, images_in, videos_by_view, videos_in
from mvtrain.project.images import image_size
from mvtrain.project.names import split_image_name

_SUFFIXES = (".csv", ".h5")
_LEVELS_UP = 4
_YAML_ERRORS = (yaml.YAMLError, ValueError, KeyError, RecursionError)
"""Errors of PyYAML over a text: the last three come from tags such as `!!int` and from very deep nesting."""


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
    """Read projects, folders of `labeled-data`, or single tables.

    Raises:
        InputError: A source is none of these (`unsupported-file`, `no-labels`, `unknown-format`); besides, the errors
            of `read_table` and of names.
    """
    return [read_source(source, options) for source in sources]


def read_source(source: Source, options: ReadOptions) -> ForeignLabels:
    """Read one project, folder of `labeled-data`, or table; see `read`."""
    path = source.path.parent if source.path.name == "config.yaml" else source.path
    project = _find_project(path)
    tables = _find_tables(path, project.scorer)
    videos = [find_file(name, [project.root, project.root / "videos", options.media]) for name in project.videos]
    all_videos = [video for video in videos if video is not None] + videos_in(project.root / "videos")
    parts = [_read_labels(table, source, project, options) for table in tables]
    merged = merge(parts)
    return ForeignLabels(
        origin=str(source.path),
        keypoint_names=merged.keypoint_names,
        images=merged.images,
        skeleton=_known(project.skeleton, merged.keypoint_names),
        unlabeled=merged.unlabeled,
        videos=videos_by_view(all_videos, source.view, options),
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
    text = read_text(path)
    try:
        document = yaml.safe_load(text)
    except _YAML_ERRORS as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{path}: not valid YAML: {problem}", code="invalid-syntax", path=path) from error
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


def _find_tables(path: Path, scorer: str | None) -> list[Path]:
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
    folders = sorted(folder for folder in labeled.iterdir() if folder.is_dir()) if labeled.is_dir() else [path]
    found = [table for folder in folders if (table := _table_of(folder, scorer)) is not None]
    if not found:
        place = "any folder of labeled-data" if labeled.is_dir() else "the folder, and no folder labeled-data"
        raise InputError(
            f"{path}: no labels of DeepLabCut: there is no CollectedData_<scorer>.csv or .h5 in {place}",
            code="no-labels",
            path=path,
        )
    return found


def _table_of(folder: Path, scorer: str | None) -> Path | None:
    """Find the table of one video; None if the video is not labeled."""
    stems = sorted({path.stem for path in folder.glob("CollectedData_*") if path.suffix.lower() in _SUFFIXES})
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


def _read_labels(table: Path, source: Source, project: _Project, options: ReadOptions) -> ForeignLabels:
    """Read the table of one video, and find its images."""
    rows = read_table(table, options.individual)
    crops = {PurePosixPath(name.replace("\\", "/")).stem: crop for name, crop in project.videos.items()}
    labeled = []
    for name, points in zip(rows.images, rows.points, strict=True):
        origin = f"{table}, row {name}"
        # A row with a file name alone is an image in the folder of the table.
        full_name = name if "/" in name else f"{table.parent.name}/{name}"
        parts = split_image_name(full_name, source.view, options.rule, origin)
        assert parts.frame is not None
        path = _find_image(name, table, options.media)
        labeled.append(
            LabeledImage(
                place=Place(parts.session, parts.view, parts.frame),
                points=points,
                visibility=plain_visibility(points),
                image=None if path is None else ImageFile(path=path),
                crop=_crop_of(path, crops.get(PurePosixPath(full_name).parent.name)),
                origin=origin,
            )
        )
    return ForeignLabels(
        origin=str(table),
        keypoint_names=rows.keypoint_names,
        images=tuple(labeled),
        unlabeled=_unlabeled(table.parent, source, options),
    )


def _find_image(name: str, table: Path, media: Path | None) -> Path | None:
    """Find an image beside the table, else by its path in a folder above, else in the folder of media."""
    beside = table.parent / PurePosixPath(name).name
    above = [folder for folder in table.resolve().parents[1 : 1 + _LEVELS_UP] if (folder / name).is_file()]
    return beside if beside.is_file() else above[0] / name if above else find_file(name, [media])


def _crop_of(image: Path | None, crop: tuple[int, int, int, int] | None) -> tuple[int, int] | None:
    """Return the top-left corner of an image that was cropped when it was extracted.

    The crop of the config was used for this image only if the image has its size.
    """
    if image is None or crop is None or crop[::2] == (0, 0):
        return None
    x1, x2, y1, y2 = crop
    return (x1, y1) if image_size(image) == (x2 - x1, y2 - y1) else None


def _unlabeled(folder: Path, source: Source, options: ReadOptions) -> dict[Place, ImageSource]:
    """Find all images of a folder of `labeled-data` by place, including the labeled ones."""
    found: dict[Place, ImageSource] = {}
    for path in images_in(folder):
        parts = split_image_name(f"{folder.name}/{path.name}", source.view, options.rule, str(path))
        assert parts.frame is not None
        found[Place(parts.session, parts.view, parts.frame)] = ImageFile(path=path)
    return found


def _known(skeleton: tuple[tuple[str, str], ...], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of labeled keypoints; configs keep pairs of keypoints that were renamed or dropped."""
    return tuple(pair for pair in skeleton if set(pair) <= set(names))
