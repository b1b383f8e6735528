"""Readers of the JSON that MMPose and OpenPose write: predictions of people, which become labels to correct.

mvgeom reads the files. They do not name the images that they are of: these come from the video of the same name, or
from a folder of images of the same name.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvgeom.tables import READERS, KeypointReader, KeypointTable, find_keypoints
from mvtrain.exchange.foreign_labels import (
    ForeignLabels,
    ImageFile,
    ImageSource,
    LabelPixels,
    ReadOptions,
    Source,
    check_wanted,
    merge,
    to_labels,
)
from mvtrain.exchange.media import images_in, videos_by_view, videos_in, with_names
from mvtrain.project.names import as_posix, frame_number

_RENDERED = "_rendered"
"""End of the names of images into which OpenPose drew its keypoints."""


def read_mmpose(sources: Sequence[Source], options: ReadOptions) -> list[ForeignLabels]:
    """Read JSON files of videos, folders of JSON files of images, and folders of either.

    Raises:
        InputError: A source is none of these, or predictions are not asked for (`no-labels`); besides, the errors of
            `mvgeom.tables.read_keypoints` and of names.
    """
    return [_read_source("mmpose", source, options) for source in sources]


def read_openpose(sources: Sequence[Source], options: ReadOptions) -> list[ForeignLabels]:
    """Read folders of OpenPose's JSON, one for each view, and folders of such folders.

    Raises:
        InputError: A source is none of these, or predictions are not asked for (`no-labels`); besides, the errors of
            `mvgeom.tables.read_keypoints` and of names.
    """
    return [_read_source("openpose", source, options) for source in sources]


def _read_source(program: str, source: Source, options: ReadOptions) -> ForeignLabels:
    """Read all views and recordings of a source."""
    reader = READERS[program]
    found = find_keypoints(source.path, reader)
    if not found:
        raise InputError(
            f"{source.path}: no predictions of this program, expected {reader.DESCRIPTION}, or a folder of them",
            code="no-labels",
            path=source.path,
        )
    check_wanted(source.path, options)
    return merge([_read_view(path, reader, source, options) for path in found])


def _read_view(path: Path, reader: KeypointReader, source: Source, options: ReadOptions) -> ForeignLabels:
    """Read one view of a recording, with what mvgeom warns of as notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = reader.load(path, options.individual)
    notes = tuple(dict.fromkeys(str(warning.message) for warning in caught))
    name = _name(table, source, options)
    beside = [*videos_in(path.parent), *(videos_in(path) if path.is_dir() else []), *videos_in(options.media)]
    labels = to_labels(
        table,
        name,
        beside,
        source,
        options,
        images=_images(path, as_posix(name).name, options),
        pixels=LabelPixels(turned=True),  # both programs read images with OpenCV, which turns them
    )
    # Not by the view of the source: the folder may hold the videos of all views.
    by_view = videos_by_view(videos_in(path.parent), None, options)
    return ForeignLabels(
        origin=labels.origin,
        keypoint_names=labels.keypoint_names,
        images=labels.images,
        unlabeled=labels.unlabeled,
        videos={**by_view, **labels.videos},
        notes=(*notes, *labels.notes),
    )


def _name(table: KeypointTable, source: Source, options: ReadOptions) -> str:
    """Return the path from which session and view are read: the recording's name, else that of the folder."""
    folder = with_names(table.path).with_suffix("") if table.path.is_file() else with_names(table.path)
    if not table.recording:
        return folder.as_posix()
    name = (folder.parent / file_name(table.recording)).as_posix()
    if table.path.is_file() or source.view is not None:
        return name
    rule = options.rule.without_frame or options.rule
    by_folder, by_name = (rule.split_path(as_posix(each)) is not None for each in (folder.as_posix(), name))
    # Files of images are named by their frames, and patterns with folders are about those that the user made.
    return folder.as_posix() if by_folder and (rule.depth > 1 or not by_name) else name


def _images(path: Path, name: str, options: ReadOptions) -> dict[int, ImageSource]:
    """Find images by frame number: in the folder of the predictions, or in that of this name in the folder of media."""
    folders = [path if path.is_dir() else None, None if options.media is None else options.media / name]
    images = [image for folder in folders for image in images_in(folder) if not image.stem.endswith(_RENDERED)]
    found: dict[int, ImageSource] = {}
    # The shortest name first: frame12 (2).png is a copy of frame12.png.
    for image in sorted(images, key=lambda image: len(image.name)):
        number = frame_number(image.stem)
        if number is not None:
            found.setdefault(number, ImageFile(path=image))
    return found
