"""Reader of COCO keypoint annotations, also as CVAT, Label Studio and Roboflow write them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from mvgeom.errors import InputError
from mvgeom.files import list_files
from mvtrain.exchange.coco_document import (
    CocoId,
    annotated_category,
    check_image_ids,
    coco_skeleton,
    decode_keypoints,
    is_labeled,
    parse_coco,
)
from mvtrain.exchange.file_search import find_file
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
from mvtrain.exchange.media import videos_by_view
from mvtrain.project.names import as_posix, split_image_name

_FOLDERS = (".", "images", "..", "../images")
"""Usual folders of the images, relative to the folder of the JSON file."""
_SUBSET = re.compile(r"person_keypoints_(.+)")
"""Name of CVAT's files: the images are in a folder `images/<subset>` beside that of the annotations."""
_LABEL_STUDIO = "Label Studio"
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")
"""Prefix that Label Studio puts before the names of uploaded images."""


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
