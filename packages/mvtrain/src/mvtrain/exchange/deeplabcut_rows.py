"""Rows of DeepLabCut's tables as labeled images: places, image files, crops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mvgeom.errors import InputError
from mvgeom.tables import KeypointTable
from mvtrain.exchange.deeplabcut_animals import AnimalTable, choose_animal
from mvtrain.exchange.deeplabcut_tables import video_name
from mvtrain.exchange.deeplabcut_twins import compare_with_h5
from mvtrain.exchange.file_search import find_file
from mvtrain.exchange.foreign_labels import (
    ForeignLabels,
    ImageFile,
    ImageSource,
    LabeledImage,
    Place,
    ReadOptions,
    Source,
    plain_visibility,
)
from mvtrain.exchange.media import images_in, videos_in, with_names
from mvtrain.exchange.predictions import check_wanted, to_labels
from mvtrain.project.images import image_size
from mvtrain.project.names import as_posix, split_image_name

_LEVELS_UP = 4
"""Folders above a table in which the paths of its rows may begin."""


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
