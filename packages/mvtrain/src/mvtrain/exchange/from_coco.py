"""Reader of COCO keypoint annotations, also as CVAT, Label Studio and Roboflow write them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from mvgeom.errors import InputError
from mvgeom.files import read_text
from mvtrain.exchange.file_search import find_file
from mvtrain.exchange.foreign_labels import (
    ForeignLabels,
    ImageFile,
    ImageSource,
    LabeledImage,
    Place,
    ReadOptions,
    Source,
)
from mvtrain.exchange.media import videos_by_view
from mvtrain.project.names import as_posix, split_image_name

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
_SUBSET = re.compile(r"person_keypoints_(.+)")
"""Name of CVAT's files: the images are in a folder `images/<subset>` beside that of the annotations."""
_LABEL_STUDIO = "Label Studio"
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the names of uploaded images."""


def read(sources: Sequence[Source], options: ReadOptions) -> list[ForeignLabels]:
    """Read annotation files, or all those in a folder.

    COCO's visibility is that of this project: 0 not labeled, 1 labeled but occluded, 2 visible. An occluded keypoint
    keeps its coordinates. In a file without any 2, which some programs write, 1 marks labeled keypoints and counts as
    visible. Annotations without a labeled keypoint, such as boxes, are left out.

    Raises:
        InputError: A source is not a COCO file (`invalid-syntax`, `missing-field`, `bad-field`) or a folder without any
            (`no-labels`), keypoints are of several categories (`wrong-count`), an image has several annotations and
            none is chosen (`several-individuals`), or names do not contain view and frame (`bad-name`).
    """
    return [_read_file(replace(source, path=path), options) for source in sources for path in _find_files(source.path)]


def _find_files(path: Path) -> list[Path]:
    """Find the annotation files of a source: of a folder, those in it and in its folders that have keypoints."""
    if not path.is_dir():
        return [path]
    found = []
    for file in sorted([*path.glob("*.json"), *path.glob("*/*.json")]):
        try:
            document = _parse(file)
        except InputError:
            continue  # any other JSON file
        if any(_is_labeled(each) for each in document["annotations"]):
            found.append(file)
    if not found:
        raise InputError(
            f"{path}: no COCO file with keypoints in the folder or its folders", code="no-labels", path=path
        )
    return found


def _read_file(source: Source, options: ReadOptions) -> ForeignLabels:
    """Read one annotation file; see `read`."""
    path = source.path
    document = _parse(path)
    annotations = [each for each in document["annotations"] if _is_labeled(each)]
    category = _category(path, document["categories"], annotations)
    names = tuple(str(name) for name in category["keypoints"])
    by_image = _by_image(path, annotations, options.individual)
    flags = [flag for each in annotations for flag in each["keypoints"][2::3]]
    binary = 1 in flags and 2 not in flags
    info = document.get("info")
    uploaded = isinstance(info, dict) and info.get("contributor") == _LABEL_STUDIO
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
        points, visibility = _decode(annotation["keypoints"], len(names), origin)
        labeled.append(
            LabeledImage(
                place=place,
                points=points,
                visibility=np.where(visibility > 0, 2, 0).astype(np.int8) if binary else visibility,
                image=None if file is None else ImageFile(path=file),
                origin=origin,
                name=name,
            )
        )
    note = f"{path}: no keypoint has visibility 2, so keypoints with 1 count as visible"
    return ForeignLabels(
        origin=str(path),
        keypoint_names=names,
        images=tuple(labeled),
        has_visibility=True,
        skeleton=_skeleton(category, names),
        unlabeled=unlabeled,
        videos=videos_by_view([], source.view, options),
        notes=(note,) if binary else (),
    )


def _is_labeled(annotation: Mapping[str, Any]) -> bool:
    """Return True if an annotation has a labeled keypoint."""
    keypoints = annotation.get("keypoints")
    return isinstance(keypoints, list) and any(flag != 0 for flag in keypoints[2::3])


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
