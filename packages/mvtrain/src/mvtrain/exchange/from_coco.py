"""Reader of COCO keypoint annotations, also as CVAT, Label Studio and Roboflow write them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from mvgeom.documents import parse_json
from mvgeom.errors import InputError
from mvgeom.files import list_files, read_text
from mvgeom.wording import counted
from mvtrain.exchange.foreign_labels import (
    ForeignLabels,
    ImageFile,
    ImageSource,
    LabeledImage,
    LabelPixels,
    Place,
    ReadOptions,
    Source,
)
from mvtrain.exchange.media import find_file, videos_by_view
from mvtrain.project.names import as_posix, check_distinct, split_image_name

CocoId = int | float | str | None
"""An id of an image or category; None if there is none."""
_SECTIONS: dict[str, dict[str, Any]] = {
    "images": {"id": CocoId},
    "annotations": {"image_id": CocoId, "category_id": CocoId},
    "categories": {"id": CocoId, "keypoints": list | None, "skeleton": list | None},
}
"""Lists of an annotation file, with the types of the fields of their entries."""
_ADVICE = "Export the labels as COCO keypoints: in CVAT 'COCO Keypoints 1.0', in Label Studio and Roboflow 'COCO'."
"""The user's next step with the own files of programs that label."""

_FOLDERS = (".", "images", "..", "../images")
"""Usual folders of the images, relative to the folder of the JSON file."""

_SUBSET = re.compile(r"person_keypoints_(.+)")
"""Name of CVAT's files: the images are in a folder `images/<subset>` beside that of the annotations."""

_LABEL_STUDIO = "Label Studio"

_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")
"""Prefix that Label Studio puts before the names of uploaded images."""


def parse_coco(path: Path) -> dict[str, Any]:
    """Read an annotation file, and check the three lists `images`, `annotations` and `categories`.

    Raises:
        InputError: The file is not text (`not-text`) or not JSON (`invalid-syntax`), lacks a list (`missing-field`), or
            an entry has a field of a wrong type (`bad-field`).
    """
    try:
        document = parse_json(read_text(path), path)
    except InputError as error:
        raise error.advised(_ADVICE) from error
    sections = document if isinstance(document, dict) else {}
    lacking = [section for section in _SECTIONS if not isinstance(sections.get(section), list)]
    if lacking:
        raise InputError(
            f"{path}: not COCO annotations: there is no list {', '.join(map(repr, lacking))}. {_ADVICE}",
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


def annotated_category(
    path: Path, categories: Sequence[dict[str, Any]], annotations: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the one category that is annotated with keypoints.

    Args:
        path: Path of the file, for messages.
        categories: Categories of the file.
        annotations: Annotations that have labeled keypoints.

    Raises:
        InputError: There is none or more than one (`wrong-count`), or two of its keypoints have one name
            (`duplicate-name`).
    """
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
    names = [str(name) for name in chosen[0]["keypoints"]]
    check_distinct(names, f"{path}: keypoints of category {chosen[0].get('name')!r}", path=path)
    return chosen[0]


def check_image_ids(path: Path, images: Sequence[dict[str, Any]], annotations: Sequence[dict[str, Any]]) -> None:
    """Check that every annotation is of one image of the file.

    Args:
        path: Path of the file, for messages.
        images: Images of the file.
        annotations: Annotations that have labeled keypoints.

    Raises:
        InputError: Two images have one id (`duplicate-name`), or an annotation has an image_id that no image has
            (`missing-row`).
    """
    ids: dict[CocoId, str] = {}
    for image in images:
        name = str(image.get("file_name", ""))
        other = ids.setdefault(image.get("id"), name)
        if other != name:
            raise InputError(
                f"{path}: two images have one id, found {other!r} and {name!r} with the id {image.get('id')!r}, "
                "expected an id for each. Number images and annotations anew where files are merged",
                code="duplicate-name",
                path=path,
                found=image.get("id"),
                images=(other, name),
            )
    unknown = [each for each in annotations if each.get("image_id") not in ids]
    if not unknown:
        return
    found = unknown[0].get("image_id")
    twin = next((each for each in ids if str(each) == str(found)), None)
    if twin is None:
        help_text = "Add the image, or remove the annotation"
    else:
        kinds = ("text", "a number") if isinstance(found, str) else ("a number", "text")
        help_text = f"The file has an image {twin!r}: image_id is {kinds[0]}, and the image's id is {kinds[1]}"
    raise InputError(
        f"{path}: {counted(len(unknown), 'labeled annotation')} with an image_id that no image has, such as annotation "
        f"{unknown[0].get('id')!r}, found image_id {found!r}. {help_text}",
        code="missing-row",
        path=path,
        found=found,
        annotations=tuple(each.get("id") for each in unknown),
    )


def is_labeled(annotation: Mapping[str, Any]) -> bool:
    """Return True if an annotation has a labeled keypoint."""
    keypoints = annotation.get("keypoints")
    return isinstance(keypoints, list) and any(flag != 0 for flag in keypoints[2::3])


def decode_keypoints(keypoints: Sequence[Any], num_keypoints: int, origin: str) -> tuple[np.ndarray, np.ndarray]:
    """Decode COCO's x1, y1, v1, x2, ...

    Args:
        keypoints: Coordinates in px of the image, with visibilities.
        num_keypoints: K, number of keypoints of the category.
        origin: Place of the annotation, for messages.

    Returns:
        (K, 2) points, NaN where not labeled, and (K,) int8 visibility.

    Raises:
        InputError: The list is not 3 K numbers, a visibility is not 0, 1 or 2, or a coordinate is not finite
            (`bad-field`).
    """
    try:
        values = np.array(keypoints, dtype=np.float64).reshape(num_keypoints, 3)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{origin}: keypoints: not numbers x, y, visibility for each of {counted(num_keypoints, 'keypoint')}, "
            f"found {counted(len(keypoints), 'value')}, expected {3 * num_keypoints}",
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


def coco_skeleton(category: Mapping[str, Any], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the category's pairs of names; COCO counts keypoints from 1. Pairs of other numbers are left out."""
    edges = category.get("skeleton") or []
    pairs = [edge for edge in edges if isinstance(edge, list) and len(edge) == 2]
    return tuple(
        (names[first - 1], names[second - 1])
        for first, second in pairs
        if all(isinstance(end, int) and 1 <= end <= len(names) for end in (first, second))
    )


def read(sources: Sequence[Source], options: ReadOptions) -> list[ForeignLabels]:
    """Read annotation files, or all those in a folder.

    COCO's visibility is that of this project: 0 not labeled, 1 labeled but occluded, 2 visible. An occluded keypoint
    keeps its coordinates. Where no file has any 2, which some programs write, 1 marks labeled keypoints and counts as
    visible. All files are judged together: in those of one view every labeled keypoint may be occluded. Annotations
    without a labeled keypoint, such as boxes, are left out.

    Labels are in px of the image as browsers show it, turned by its EXIF orientation. The width and height of an image
    say which size was labeled. In files of CVAT and Label Studio, (0, 0) is the corner of the image, and in those of
    COCO itself, whose keypoints are whole px, the center of the top-left pixel: labels of the former are moved.

    Raises:
        InputError: A source is not a COCO file (`invalid-syntax`, `missing-field`, `bad-field`) or a folder without any
            (`no-labels`), images or keypoints have the same id or name (`duplicate-name`), an annotation is of no
            image (`missing-row`), keypoints are of several categories (`wrong-count`), an image has several
            annotations and none is chosen (`several-individuals`), or names do not contain view and frame
            (`bad-name`).
    """
    files = [replace(source, path=path) for source in sources for path in _find_files(source.path)]
    documents = [parse_coco(file.path) for file in files]
    flags = [flag for document in documents for each in _labeled(document) for flag in each["keypoints"][2::3]]
    binary = 1 in flags and 2 not in flags
    return [_read_file(file, document, options, binary=binary) for file, document in zip(files, documents, strict=True)]


def _find_files(path: Path) -> list[Path]:
    """Find the annotation files of a source: of a folder, those in it and in its folders that have keypoints."""
    if not path.is_dir():
        return [path]
    found = []
    for file in sorted([*list_files(path, "*.json"), *list_files(path, "*/*.json")]):
        try:
            document = parse_coco(file)
        except InputError:
            continue  # any other JSON file
        if any(is_labeled(each) for each in document["annotations"]):
            found.append(file)
    if not found:
        raise InputError(
            f"{path}: no COCO file with keypoints in the folder or its folders", code="no-labels", path=path
        )
    return found


def _labeled(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the annotations with labeled keypoints."""
    return [each for each in document["annotations"] if is_labeled(each)]


def _read_file(source: Source, document: Mapping[str, Any], options: ReadOptions, *, binary: bool) -> ForeignLabels:
    """Read one annotation file; see `read`."""
    path = source.path
    annotations = _labeled(document)
    check_image_ids(path, document["images"], annotations)
    category = annotated_category(path, document["categories"], annotations)
    names = tuple(str(name) for name in category["keypoints"])
    by_image = _by_image(path, annotations, options.individual)
    info = document.get("info")
    uploaded = isinstance(info, dict) and info.get("contributor") == _LABEL_STUDIO
    program = _LABEL_STUDIO if uploaded else "CVAT" if _is_of_datumaro(document) else None
    labeled: list[LabeledImage] = []
    unlabeled: dict[Place, ImageSource] = {}
    for image in document["images"]:
        written = str(image.get("file_name", ""))
        name = _original_name(written) if uploaded else written
        origin = f"{path}, image {written!r}"
        annotation = by_image.get(image.get("id"))
        try:
            parts = split_image_name(name, source.view, options.rule, origin)
        except InputError:
            if annotation is None:
                continue  # an image that nothing asks for
            raise
        assert parts.frame is not None
        place = Place(parts.session, parts.view, parts.frame)
        file = _find_image(path, written, name, options.media)
        if annotation is None:
            if file is not None:
                unlabeled.setdefault(place, ImageFile(path=file))
            continue
        points, visibility = decode_keypoints(annotation["keypoints"], len(names), origin)
        if program is not None:  # whose places begin at the image's corner, as those of browsers do
            points = points - 0.5
        labeled.append(
            LabeledImage(
                place=place,
                points=points,
                visibility=np.where(visibility > 0, 2, 0).astype(np.int8) if binary else visibility,
                image=None if file is None else ImageFile(path=file),
                pixels=LabelPixels(size=_stated_size(image), turned=True),
                origin=origin,
                name=name,
            )
        )
    notes = [f"{path}: no keypoint has visibility 2, so keypoints with 1 count as visible"] if binary else []
    if program is not None:
        notes.append(
            f"{path}: {program} counts px from the image's corner, so labels are moved by half a pixel, to count from "
            "the center of the top-left pixel"
        )
    return ForeignLabels(
        origin=str(path),
        keypoint_names=names,
        images=tuple(labeled),
        has_visibility=True,
        skeleton=coco_skeleton(category, names),
        unlabeled=unlabeled,
        videos=videos_by_view([], source.view, options),
        notes=tuple(notes),
    )


def _is_of_datumaro(document: Mapping[str, Any]) -> bool:
    """Return True for a file of datumaro, the library with which CVAT exports: by its empty license and information."""
    info, licenses = document.get("info"), document.get("licenses")
    empty = isinstance(info, dict) and "contributor" in info and not any(info.values())
    return empty and licenses == [{"name": "", "id": 0, "url": ""}]


def _original_name(written: str) -> str:
    """Return the path of an image before it was uploaded to Label Studio.

    An upload has a name such as `/data/upload/7/<8 hexadecimal digits>-<name>`; an image of a local folder is the
    argument `d` of an address.
    """
    _, local, path = written.partition("?d=")
    if local:
        return unquote(path)
    return _UPLOAD.sub("", as_posix(written).name, count=1)


def _find_image(annotations: Path, written: str, name: str, media: Path | None) -> Path | None:
    """Find an image by its name in the file, else by its name before the upload."""
    subset = _SUBSET.fullmatch(annotations.stem)
    folders = [annotations.parent / folder for folder in _FOLDERS]
    folders += [annotations.parent / "../images" / subset[1]] if subset else []
    found = find_file(written, [*folders, media])
    return found if found is not None or name == written else find_file(name, [*folders, media])


def _by_image(
    path: Path, annotations: Sequence[dict[str, Any]], individual: str | None
) -> dict[CocoId, Mapping[str, Any]]:
    """Find the annotation of each image, by the image's id."""
    found: dict[CocoId, Mapping[str, Any]] = {}
    for each in annotations:
        attributes = each.get("attributes")
        track = each.get("track_id", attributes.get("track_id") if isinstance(attributes, dict) else None)
        if individual is not None and str(track) != individual:
            continue
        image = each.get("image_id")
        if image in found and found[image]["keypoints"] != each["keypoints"]:
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
