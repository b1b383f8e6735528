"""Predictions of a video or of a folder of images as labels to correct, whatever program wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mvgeom.errors import InputError
from mvgeom.tables import KeypointTable
from mvtrain.exchange.foreign_labels import (
    ForeignLabels,
    ImageSource,
    LabeledImage,
    LabelPixels,
    Place,
    ReadOptions,
    Source,
    VideoFrame,
    plain_visibility,
)
from mvtrain.project.frame_numbers import frame_number
from mvtrain.project.names import split_name


def check_wanted(path: Path, options: ReadOptions) -> None:
    """Check that predictions are asked for.

    Raises:
        InputError: They are not (`no-labels`).
    """
    if options.min_likelihood is None:
        raise InputError(
            f"{path}: predictions of a network, not labels made by hand. Take them as labels with --predictions "
            "LIKELIHOOD",
            code="no-labels",
            path=path,
        )


def to_labels(
    table: KeypointTable,
    name: str,
    videos: Sequence[Path],
    source: Source,
    options: ReadOptions,
    *,
    images: Mapping[int, ImageSource] | None = None,
    pixels: LabelPixels = LabelPixels(),  # noqa: B008 - immutable
) -> ForeignLabels:
    """Convert predictions of one view to labels, those of the frames that `--every` takes.

    Args:
        table: Predictions with likelihoods; the rows are frame numbers, or names that contain one.
        name: Path of the recording, from which session and view are read.
        videos: Videos to search for that of the table's recording, else of this name; the first counts.
        source: Source with its view.
        options: Options of the reader; `min_likelihood` is a number.
        images: Images by frame number, for predictions of images.
        pixels: Images that the program showed, if it did not read a video.

    Raises:
        InputError: The name does not tell session and view, or a row no frame (`bad-name`).
    """
    assert options.min_likelihood is not None
    assert table.likelihood is not None
    parts = split_name(name, source.view, options.rule.without_frame or options.rule, str(table.path))
    recording = name.rpartition("/")[2]
    video = next((video for stem in (table.recording, recording) for video in videos if video.stem == stem), None)
    likely = table.likelihood >= options.min_likelihood
    points = np.where(likely[..., None], table.points, np.nan)
    found = images or {}
    labeled = []
    for row, each in zip(table.rows, points, strict=True):
        number = _frame(table.path, row, parts.view)
        if number % options.every or not np.isfinite(each).all(axis=-1).any():
            continue
        labeled.append(
            LabeledImage(
                place=Place(parts.session, parts.view, number),
                points=each,
                visibility=plain_visibility(each),
                image=found.get(number) if video is None else VideoFrame(path=video, number=number),
                pixels=pixels if video is None else LabelPixels(),
                origin=f"{table.path}, frame {row}",
                name=recording,
                predicted=True,
            )
        )
    problem = table.describe_without_likelihood()
    return ForeignLabels(
        origin=str(table.path),
        keypoint_names=table.keypoint_names,
        images=tuple(labeled),
        unlabeled={Place(parts.session, parts.view, number): image for number, image in found.items()},
        videos={} if video is None else {(parts.session, parts.view): video},
        notes=() if problem is None else (problem,),
    )


def _frame(path: Path, row: str, view: str) -> int:
    """Return the frame number of a row.

    Raises:
        InputError: It has none (`bad-name`).
    """
    number = int(row) if row.isdecimal() else frame_number(row, view)
    if number is None:
        raise InputError(
            f"{path}: the name {row!r} has no number that tells the frame, so it cannot be matched with other views",
            code="bad-name",
            path=path,
            name=row,
        )
    return number
