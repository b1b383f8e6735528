"""COCO keypoint annotations: one JSON file for all views, or one for each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom.files import read_text
from mvtrain.exchange.foreign_labels import ForeignLabels, ImageFile, LabeledImage, Place, ReadOptions, Source
from mvtrain.exchange.media import find_file, videos_by_view
from mvtrain.project.names import split_image_name

_SECTIONS = ("images", "annotations", "categories")
_FOLDERS = (".", "images", "..", "../images")
"""Where images usually are, from the folder of the JSON file."""


def read(sources: Sequence[Source], options: ReadOptions) -> list[ForeignLabels]:
    """Read annotation files.

    COCO's visibility means the same as here: 0 not labelled, 1 labelled but hidden, 2 visible. A hidden keypoint keeps
    its coordinates. In a file without any 2, which some programs write, 1 is what is labelled and counts as visible.

    Raises:
        ValueError: a source that is no COCO file, keypoints of several categories, several annotations of an image and
            none chosen, a list of keypoints of the wrong length, and names that do not tell view and frame.
    """
    return [_read_file(source, options) for source in sources]


def _read_file(source: Source, options: ReadOptions) -> ForeignLabels:
    path = source.path
    document = _parse(path)
    annotations = [each for each in document["annotations"] if isinstance(each.get("keypoints"), list)]
    category = _category(path, document["categories"], annotations)
    names = tuple(str(name) for name in category["keypoints"])
    by_image = _by_image(path, annotations, options.individual)
    flags = {flag for each in annotations for flag in each["keypoints"][2::3]}
    binary = 1 in flags and 2 not in flags
    labelled = []
    for image in document["images"]:
        name = str(image.get("file_name", ""))
        origin = f"{path}, image {name!r}"
        annotation = by_image.get(image.get("id"))
        if annotation is not None:
            parts = split_image_name(name, source.view, options.rule, origin)
            assert parts.frame is not None
            points, visibility = _decode(annotation["keypoints"], len(names), origin)
            file = find_file(name, [*(path.parent / folder for folder in _FOLDERS), options.media])
            labelled.append(
                LabeledImage(
                    place=Place(parts.session, parts.view, parts.frame),
                    points=points,
                    visibility=np.where(visibility > 0, 2, 0).astype(np.int8) if binary else visibility,
                    image=None if file is None else ImageFile(path=file),
                    origin=origin,
                )
            )
    note = f"{path}: no keypoint has visibility 2, so those with 1 are taken as visible"
    return ForeignLabels(
        origin=str(path),
        keypoint_names=names,
        images=tuple(labelled),
        has_visibility=True,
        skeleton=_skeleton(category, names),
        videos=videos_by_view([], source.view, options),
        notes=(note,) if binary else (),
    )


def _parse(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: is not JSON: {error}") from error
    sections = document if isinstance(document, dict) else {}
    lacking = [section for section in _SECTIONS if not isinstance(sections.get(section), list)]
    if lacking:
        raise ValueError(f"{path}: no COCO annotations: it has no list {', '.join(map(repr, lacking))}")
    for section in _SECTIONS:
        if not all(isinstance(entry, dict) for entry in sections[section]):
            raise ValueError(f"{path}: no COCO annotations: {section!r} must be a list of objects")
    return sections


def _category(
    path: Path, categories: Sequence[dict[str, Any]], annotations: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The one category that is annotated with keypoints."""
    used = {each.get("category_id") for each in annotations}
    chosen = [each for each in categories if each.get("id") in used and each.get("keypoints")]
    if len(chosen) != 1:
        found = ", ".join(str(each.get("name")) for each in chosen) or "none"
        raise ValueError(f"{path}: keypoints of one category are needed, found annotations of: {found}")
    return chosen[0]


def _by_image(
    path: Path, annotations: Sequence[dict[str, Any]], individual: str | None
) -> dict[Any, Mapping[str, Any]]:
    """The annotation of each image, by the image's id."""
    found: dict[Any, Mapping[str, Any]] = {}
    for each in annotations:
        track = each.get("track_id", (each.get("attributes") or {}).get("track_id"))
        if individual is not None and str(track) != individual:
            continue
        image = each.get("image_id")
        if image in found:
            raise ValueError(
                f"{path}: image {image} has several annotations with keypoints (such as {found[image].get('id')} and "
                f"{each.get('id')}), but a project here has one animal; choose it with --individual TRACK_ID"
            )
        found[image] = each
    if individual is not None and not found:
        raise ValueError(f"{path}: no annotation has track_id {individual!r}")
    return found


def _decode(keypoints: Sequence[Any], num_keypoints: int, origin: str) -> tuple[np.ndarray, np.ndarray]:
    """(K, 2) points and (K,) visibility of COCO's x1, y1, v1, x2, ..."""
    try:
        values = np.array(keypoints, dtype=np.float64).reshape(num_keypoints, 3)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{origin}: keypoints must be {3 * num_keypoints} numbers (x, y, visibility for each of {num_keypoints}), "
            f"found {len(keypoints)}"
        ) from error
    if not np.isin(values[:, 2], (0, 1, 2)).all() or not np.isfinite(values).all():
        raise ValueError(f"{origin}: visibility must be 0, 1 or 2 and coordinates finite, found {list(keypoints)}")
    visibility = values[:, 2].astype(np.int8)
    return np.where((visibility > 0)[:, None], values[:, :2], np.nan), visibility


def _skeleton(category: Mapping[str, Any], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pairs of names; COCO counts keypoints from 1."""
    edges = category.get("skeleton") or []
    return tuple(
        (names[edge[0] - 1], names[edge[1] - 1])
        for edge in edges
        if len(edge) == 2 and all(isinstance(end, int) and 1 <= end <= len(names) for end in edge)
    )
