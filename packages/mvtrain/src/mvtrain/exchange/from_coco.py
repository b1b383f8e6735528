"""Reader of COCO keypoint annotations: one JSON file for all views, or one for each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom.errors import InputError
from mvgeom.files import read_text
from mvtrain.exchange.foreign_labels import (
    ForeignLabels,
    ImageFile,
    LabeledImage,
    LabelPixels,
    Place,
    ReadOptions,
    Source,
)
from mvtrain.exchange.media import find_file, videos_by_view
from mvtrain.project.names import split_image_name

_Id = int | float | str | None
"""An id of an image or category; None if there is none."""
_SECTIONS: dict[str, dict[str, Any]] = {
    "images": {"id": _Id},
    "annotations": {"image_id": _Id, "category_id": _Id},
    "categories": {"id": _Id, "keypoints": list | None, "skeleton": list | None},
}
"""Lists of an annotation file, with the types of the fields of their entries."""
_FOLDERS = (".", "images", "..", "../images")
"""Usual folders of the images, relative to the folder of the JSON file."""


def read(sources: Sequence[Source], options: ReadOptions) -> list[ForeignLabels]:
    """Read annotation files.

    COCO's visibility is that of this project: 0 not labeled, 1 labeled but occluded, 2 visible. An occluded keypoint
    keeps its coordinates. Where no file has any 2, which some programs write, 1 marks labeled keypoints and counts as
    visible. All files are judged together: in those of one view every labeled keypoint may be occluded.

    Labels are in px of the image as browsers show it, turned by its EXIF orientation. The width and height of an image
    say which size was labeled.

    Raises:
        InputError: A source is not a COCO file (`invalid-syntax`, `missing-field`, `bad-field`), keypoints are of
            several categories (`wrong-count`), an image has several annotations and none is chosen
            (`several-individuals`), or names do not contain view and frame (`bad-name`).
    """
    documents = [_parse(source.path) for source in sources]
    flags = [flag for document in documents for each in _annotations(document) for flag in each["keypoints"][2::3]]
    binary = 1 in flags and 2 not in flags
    return [
        _read_file(source, document, options, binary=binary)
        for source, document in zip(sources, documents, strict=True)
    ]


def _annotations(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the annotations with keypoints."""
    return [each for each in document["annotations"] if isinstance(each.get("keypoints"), list)]


def _read_file(source: Source, document: Mapping[str, Any], options: ReadOptions, *, binary: bool) -> ForeignLabels:
    """Read one annotation file; see `read`."""
    path = source.path
    annotations = _annotations(document)
    category = _category(path, document["categories"], annotations)
    names = tuple(str(name) for name in category["keypoints"])
    by_image = _by_image(path, annotations, options.individual)
    labeled = []
    for image in document["images"]:
        name = str(image.get("file_name", ""))
        origin = f"{path}, image {name!r}"
        annotation = by_image.get(image.get("id"))
        if annotation is not None:
            parts = split_image_name(name, source.view, options.rule, origin)
            assert parts.frame is not None
            points, visibility = _decode(annotation["keypoints"], len(names), origin)
            file = find_file(name, [*(path.parent / folder for folder in _FOLDERS), options.media])
            labeled.append(
                LabeledImage(
                    place=Place(parts.session, parts.view, parts.frame),
                    points=points,
                    visibility=np.where(visibility > 0, 2, 0).astype(np.int8) if binary else visibility,
                    image=None if file is None else ImageFile(path=file),
                    pixels=LabelPixels(size=_stated_size(image), turned=True),
                    origin=origin,
                )
            )
    note = f"{path}: no keypoint has visibility 2, so keypoints with 1 count as visible"
    return ForeignLabels(
        origin=str(path),
        keypoint_names=names,
        images=tuple(labeled),
        has_visibility=True,
        skeleton=_skeleton(category, names),
        videos=videos_by_view([], source.view, options),
        notes=(note,) if binary else (),
    )


def _parse(path: Path) -> dict[str, Any]:
    """Read the three lists of an annotation file, and check the types of their entries."""
    try:
        document = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON: {error}", code="invalid-syntax", path=path) from error
    sections = document if isinstance(document, dict) else {}
    lacking = [section for section in _SECTIONS if not isinstance(sections.get(section), list)]
    if lacking:
        raise InputError(
            f"{path}: not COCO annotations: there is no list {', '.join(map(repr, lacking))}",
            code="missing-field",
            path=path,
            field=lacking[0],
        )
    for section in _SECTIONS:
        for entry in sections[section]:
            _check_entry(path, section, entry)
    return sections


def _check_entry(path: Path, section: str, entry: object) -> None:
    """Check the types of an image, annotation or category."""
    if not isinstance(entry, dict):
        raise InputError(
            f"{path}: {section!r}: not an object, found {entry!r}", code="bad-field", path=path, field=section
        )
    for field, expected in _SECTIONS[section].items():
        value = entry.get(field)
        if not isinstance(value, expected):
            raise InputError(
                f"{path}: {section!r}, id {entry.get('id')!r}: {field} is of a wrong type, found {value!r}",
                code="bad-field",
                path=path,
                field=f"{section}.{field}",
                found=value,
            )


def _category(
    path: Path, categories: Sequence[dict[str, Any]], annotations: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Find the one category that is annotated with keypoints."""
    used = {each.get("category_id") for each in annotations}
    chosen = [each for each in categories if each.get("id") in used and each.get("keypoints")]
    if len(chosen) != 1:
        found = tuple(str(each.get("name")) for each in chosen)
        raise InputError(
            f"{path}: wrong number of categories with annotated keypoints, found {', '.join(found) or 'none'}, "
            "expected one",
            code="wrong-count",
            path=path,
            found=found,
        )
    return chosen[0]


def _by_image(
    path: Path, annotations: Sequence[dict[str, Any]], individual: str | None
) -> dict[_Id, Mapping[str, Any]]:
    """Find the annotation of each image, by the image's id."""
    found: dict[_Id, Mapping[str, Any]] = {}
    for each in annotations:
        attributes = each.get("attributes")
        track = each.get("track_id", attributes.get("track_id") if isinstance(attributes, dict) else None)
        if individual is not None and str(track) != individual:
            continue
        image = each.get("image_id")
        if image in found:
            raise InputError(
                f"{path}: image {image}: annotations of several animals, found {found[image].get('id')} and "
                f"{each.get('id')}, expected one. Choose the animal with --individual TRACK_ID",
                code="several-individuals",
                path=path,
                image=image,
            )
        found[image] = each
    if individual is not None and not found:
        raise InputError(
            f"{path}: no annotation has this track_id, found --individual {individual!r}",
            code="unknown-choice",
            path=path,
            option="--individual",
            found=individual,
        )
    return found


def _stated_size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the width and height in px that the file states; None without any (some writers put 0)."""
    width, height = image.get("width"), image.get("height")
    if isinstance(width, int | float) and isinstance(height, int | float) and min(width, height) >= 1:
        return int(width), int(height)
    return None


def _decode(keypoints: Sequence[Any], num_keypoints: int, origin: str) -> tuple[np.ndarray, np.ndarray]:
    """Decode COCO's x1, y1, v1, x2, ... to (K, 2) points and (K,) visibility."""
    try:
        values = np.array(keypoints, dtype=np.float64).reshape(num_keypoints, 3)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{origin}: keypoints: not numbers x, y, visibility for each of {num_keypoints} keypoints, found "
            f"{len(keypoints)} values, expected {3 * num_keypoints}",
            code="bad-field",
            field="annotations.keypoints",
            source=origin,
            found=list(keypoints),
        ) from error
    if not np.isin(values[:, 2], (0, 1, 2)).all() or not np.isfinite(values).all():
        raise InputError(
            f"{origin}: keypoints: a visibility is not 0, 1 or 2, or a coordinate is not finite, found "
            f"{list(keypoints)}",
            code="bad-field",
            field="annotations.keypoints",
            source=origin,
            found=list(keypoints),
        )
    visibility = values[:, 2].astype(np.int8)
    return np.where((visibility > 0)[:, None], values[:, :2], np.nan), visibility


def _skeleton(category: Mapping[str, Any], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return pairs of names; COCO counts keypoints from 1."""
    edges = category.get("skeleton") or []
    pairs = [edge for edge in edges if isinstance(edge, list) and len(edge) == 2]
    return tuple(
        (names[first - 1], names[second - 1])
        for first, second in pairs
        if all(isinstance(end, int) and 1 <= end <= len(names) for end in (first, second))
    )
