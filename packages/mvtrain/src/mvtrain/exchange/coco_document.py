"""COCO annotation files in memory: checked lists, the annotated category, keypoints as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom.documents import parse_json
from mvgeom.errors import InputError
from mvgeom.files import read_text
from mvgeom.wording import counted
from mvtrain.project.names import check_distinct

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
