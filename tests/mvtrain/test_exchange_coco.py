"""Reader of COCO keypoints, and its errors."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.errors import raises_input
from mvtrain.exchange import from_coco as coco
from mvtrain.exchange.foreign_labels import ForeignLabels, ReadOptions, Source
from mvtrain.project.names import pattern_rule


def annotation(number: int, keypoints: list[float], **more: object) -> dict[str, Any]:
    return {"id": 100 + number, "image_id": number, "category_id": 1, "keypoints": keypoints, **more}


def document(*annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        "images": [{"id": number, "file_name": f"mouse_top/img{number:03d}.png"} for number in range(3)],
        "annotations": list(annotations),
        "categories": [
            {"id": 1, "name": "mouse", "keypoints": ["nose", "tail"], "skeleton": [[1, 2], [2, 3]]},
            {"id": 2, "name": "cage"},
        ],
    }


def read(folder: Path, content: object, individual: str | None = None) -> ForeignLabels:
    path = folder / "annotations.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    options = ReadOptions(rule=pattern_rule("<session>_<view>"), individual=individual)
    return coco.read([Source(path=path)], options)[0]


def test_visibility_is_that_of_coco(tmp_path: Path) -> None:
    labels = read(tmp_path, document(annotation(1, [1, 2, 1, 3, 4, 2]), annotation(2, [5, 6, 2, 0, 0, 0])))
    first, second = labels.images
    assert [first.place, second.place] == [("mouse", "top", 1), ("mouse", "top", 2)]
    assert first.visibility.tolist() == [1, 2]
    np.testing.assert_array_equal(first.points, [[1, 2], [3, 4]])
    assert second.visibility.tolist() == [2, 0]
    assert np.isnan(second.points[1]).all()
    assert labels.skeleton == (("nose", "tail"),)
    assert labels.notes == ()


def test_visibility_is_determined_over_all_files(tmp_path: Path) -> None:
    """A file of one view in which every labeled keypoint is occluded is not one of a program that writes 0 and 1."""
    contents = [document(annotation(1, [1, 2, 1, 3, 4, 1])), document(annotation(2, [5, 6, 2, 0, 0, 0]))]
    sources = []
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.json").write_text(json.dumps(content))
        sources.append(Source(path=tmp_path / f"{number}.json"))
    options = ReadOptions(rule=pattern_rule("<session>_<view>"))
    first, second = coco.read(sources, options)
    assert [part.images[0].visibility.tolist() for part in (first, second)] == [[1, 1], [2, 0]]
    assert first.notes == second.notes == ()
    (alone,) = coco.read(sources[:1], options)
    assert alone.images[0].visibility.tolist() == [2, 2]
    assert len(alone.notes) == 1


def test_in_a_file_without_2_labeled_keypoints_are_visible(tmp_path: Path) -> None:
    labels = read(tmp_path, document(annotation(1, [1, 2, 1, 0, 0, 0])))
    assert labels.images[0].visibility.tolist() == [2, 0]
    (note,) = labels.notes
    assert str(tmp_path / "annotations.json") in note


@pytest.mark.parametrize("place", [".", "images", "../images", ".."])
def test_images_are_found_in_the_usual_folders(tmp_path: Path, place: str) -> None:
    (tmp_path / "annotations").mkdir()
    image = tmp_path / "annotations" / place / "mouse_top" / "img001.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"")
    (found,) = read(tmp_path / "annotations", document(annotation(1, [1, 2, 2, 3, 4, 2]))).images
    assert found.image is not None
    assert found.image.path.samefile(image)


def test_several_animals(tmp_path: Path) -> None:
    both = document(
        annotation(1, [1, 2, 2, 3, 4, 2], track_id=7),
        annotation(1, [5, 6, 2, 7, 8, 2], attributes={"track_id": 8}),
    )
    np.testing.assert_array_equal(read(tmp_path, both, "8").images[0].points, [[5, 6], [7, 8]])
    np.testing.assert_array_equal(read(tmp_path, both, "7").images[0].points, [[1, 2], [3, 4]])
    with raises_input("several-individuals", path=tmp_path / "annotations.json", image=1):
        read(tmp_path, both)
    with raises_input("unknown-choice", option="--individual", found="9"):
        read(tmp_path, both, "9")


def read_rows(path: Path, images: list[str], *, pattern: str, view: str | None = None, **more: object) -> ForeignLabels:
    """Write a file with one annotation for each image, and read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    annotations = [annotation(number, [1, 2, 2, 3, 4, 2]) for number in range(len(images))]
    content = {
        **document(*annotations),
        "images": [{"id": i, "file_name": name} for i, name in enumerate(images)],
        **more,
    }
    path.write_text(json.dumps(content))
    options = ReadOptions(rule=pattern_rule(pattern, need_view=view is None, given=True))
    return coco.read([Source(path=path, view=view)], options)[0]


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize(("written", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_images_with_accents_are_found_in_both_forms_of_unicode(tmp_path: Path, written: str, on_disk: str) -> None:
    name = "k\u00e4fig_top/img012.png"
    image = touch(tmp_path / "images" / unicodedata.normalize(on_disk, name))
    labels = read_rows(
        tmp_path / "a.json", [unicodedata.normalize(written, name)], pattern="<session>_<view>/img<frame>"
    )
    assert labels.images[0].image is not None
    assert labels.images[0].image.path.samefile(image)


def test_layout_of_cvat(tmp_path: Path) -> None:
    # As datumaro 1.13 writes it, the library with which CVAT exports. Its px begin at the corner of the image.
    fields = ("contributor", "date_created", "description", "url", "version", "year")
    more = {"info": dict.fromkeys(fields, ""), "licenses": [{"name": "", "id": 0, "url": ""}]}
    image = touch(tmp_path / "images" / "default" / "frame_000012.png")
    decoy = touch(tmp_path / "images" / "other" / "frame_000012.png")
    path = tmp_path / "annotations" / "person_keypoints_default.json"
    labels = read_rows(path, ["frame_000012.png"], pattern="frame_<frame>", view="top", **more)
    np.testing.assert_array_equal(labels.images[0].points, [[0.5, 1.5], [2.5, 3.5]])
    assert len(labels.notes) == 1
    # Files of COCO itself have whole px, counted from the center of the first; so may those of others without license.
    for other in ({}, more | {"info": dict.fromkeys(fields, "") | {"contributor": "COCO"}}):
        plain = read_rows(path, ["frame_000012.png"], pattern="frame_<frame>", view="top", **other)
        np.testing.assert_array_equal(plain.images[0].points, [[1, 2], [3, 4]])
        assert plain.notes == ()
    assert [each.place for each in labels.images] == [("session", "top", 12)]
    assert labels.images[0].image is not None
    assert labels.images[0].image.path.samefile(image)
    assert not decoy.samefile(image)


def test_layout_of_label_studio(tmp_path: Path) -> None:
    # The first name is as the converter of label-studio-sdk writes it; the others are of exports with images.
    info = {"year": 2026, "version": "1.0", "contributor": "Label Studio"}
    names = [
        "/data/upload/7/0a1b2c3d-mouse_top_0012.png",
        "images/9f8e7d6c-mouse_top_0013.png",
        "images\\20240101-mouse_top_0014.png",
        "/data/local-files/?d=rig%2Fmouse_top_0015.png",
    ]
    touch(tmp_path / "mouse_top_0012.png")
    touch(tmp_path / "images" / "9f8e7d6c-mouse_top_0013.png")
    labels = read_rows(tmp_path / "result.json", names, pattern="<session>_<view>_<frame>", info=info)
    assert [each.place for each in labels.images] == [("mouse", "top", number) for number in range(12, 16)]
    found = [None if each.image is None else each.image.path.name for each in labels.images]
    assert found == ["mouse_top_0012.png", "9f8e7d6c-mouse_top_0013.png", None, None]
    np.testing.assert_array_equal(labels.images[0].points, [[0.5, 1.5], [2.5, 3.5]])


def test_layout_of_roboflow(tmp_path: Path) -> None:
    # Made by hand, because no file of Roboflow is at hand: a folder for each split, flat names with the old suffix
    # and a hash, and a category without keypoints first.
    categories = [
        {"id": 0, "name": "mice", "supercategory": "none"},
        {"id": 1, "name": "mouse", "supercategory": "mice", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]},
    ]
    for split, number in (("train", 12), ("valid", 13)):
        name = f"mouse_top_{number:04d}_png.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9.jpg"
        touch(tmp_path / split / name)
        read_rows(
            tmp_path / split / "_annotations.coco.json",
            [name],
            pattern="<session>_<view>_<frame>",
            categories=categories,
        )
    (tmp_path / "other.json").write_text("[1]")
    options = ReadOptions(rule=pattern_rule("<session>_<view>_<frame>", given=True))
    parts = coco.read([Source(path=tmp_path)], options)
    assert [each.place for part in parts for each in part.images] == [("mouse", "top", 12), ("mouse", "top", 13)]
    assert all(each.image is not None for part in parts for each in part.images)
    (tmp_path / "empty").mkdir()
    with raises_input("no-labels", path=tmp_path / "empty"):
        coco.read([Source(path=tmp_path / "empty")], options)


def test_boxes_are_no_animals_and_images_without_annotation_can_be_used(tmp_path: Path) -> None:
    touch(tmp_path / "mouse_top" / "img002.png")
    box = {"id": 3, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]}
    labels = read(
        tmp_path,
        document(
            annotation(1, [1, 2, 2, 3, 4, 2]),
            box,
            {**box, "category_id": 1, "keypoints": []},
            annotation(1, [0, 0, 0, 0, 0, 0]),
            annotation(2, [0, 0, 0, 5, 6, 0]),
        ),
    )
    assert [each.place.number for each in labels.images] == [1]
    assert list(labels.unlabeled) == [("mouse", "top", 2)]


GOOD = annotation(1, [1, 2, 2, 3, 4, 2])


@pytest.mark.parametrize(
    ("content", "code", "facts"),
    [
        ("{", "invalid-syntax", {}),
        (100_000 * "[", "invalid-syntax", {}),
        ([], "missing-field", {"field": "images"}),
        ({**document(GOOD), "images": [1]}, "bad-field", {"field": "images"}),
        ({**document(GOOD), "images": [{"id": [1]}]}, "bad-field", {"field": "images.id", "found": [1]}),
        (document({**GOOD, "category_id": {}}), "bad-field", {"field": "annotations.category_id"}),
        (
            {**document(GOOD), "categories": [{"id": 1, "name": "mouse", "keypoints": 2}]},
            "bad-field",
            {"field": "categories.keypoints", "found": 2},
        ),
        (document(), "wrong-count", {"found": ()}),
        (
            {
                **document(GOOD, {**annotation(2, [1, 2, 2]), "category_id": 3}),
                "categories": [
                    {"id": 1, "name": "mouse", "keypoints": ["nose", "tail"]},
                    {"id": 3, "name": "rat", "keypoints": ["nose"]},
                ],
            },
            "wrong-count",
            {"found": ("mouse", "rat")},
        ),
        (document(annotation(1, [1, 2, 2])), "bad-field", {"found": [1, 2, 2]}),
        (document(annotation(1, [1, 2, [2], 3, 4, 2])), "bad-field", {"field": "annotations.keypoints"}),
        (document(annotation(1, [10**400, 2, 2, 3, 4, 2])), "invalid-syntax", {}),
        (document(annotation(1, [1, 2, 5, 3, 4, 2])), "bad-field", {"found": [1, 2, 5, 3, 4, 2]}),
    ],
    ids=range(13),
)
def test_errors_name_the_field(tmp_path: Path, content: object, code: str, facts: dict[str, object]) -> None:
    with raises_input(code, **facts) as caught:
        read(tmp_path, content)
    assert str(tmp_path / "annotations.json") in str(caught.value)


def test_strange_skeletons_and_attributes_are_ignored(tmp_path: Path) -> None:
    strange = document({**GOOD, "attributes": ["tagged"]})
    strange["categories"][0]["skeleton"] = [1, [1], [1, 2], ["nose", "tail"]]
    assert read(tmp_path, strange).skeleton == (("nose", "tail"),)


def test_every_annotation_is_of_one_image(tmp_path: Path) -> None:
    path, labeled = tmp_path / "annotations.json", [1, 2, 2, 3, 4, 2]
    good = document(annotation(1, labeled), annotation(2, labeled))
    merged = {**good, "images": [good["images"][1], {**good["images"][2], "id": 1}]}
    with raises_input("duplicate-name", path=path, found=1, images=("mouse_top/img001.png", "mouse_top/img002.png")):
        read(tmp_path, merged)
    # The same image entered twice is one.
    assert len(read(tmp_path, {**good, "images": [*good["images"], good["images"][1]]}).images) >= 2
    for image_id, is_text in ((99, False), ("99", False), ("1", True)):
        dangling = {**good, "annotations": [good["annotations"][1], {**good["annotations"][0], "image_id": image_id}]}
        with raises_input("missing-row", path=path, found=image_id, annotations=(101,)) as caught:
            read(tmp_path, dangling)
        assert ("image_id is text" in str(caught.value)) == is_text
    # Boxes of images that are not in the file are none of ours.
    boxes = {"id": 7, "image_id": 99, "category_id": 2, "bbox": [1, 2, 3, 4]}
    assert len(read(tmp_path, {**good, "annotations": [*good["annotations"], boxes]}).images) == 2
