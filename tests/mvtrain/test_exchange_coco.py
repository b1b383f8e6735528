"""Reader of COCO keypoints, and its errors."""

from __future__ import annotations

import json
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


def test_visibility_is_judged_over_all_files(tmp_path: Path) -> None:
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
        (document(annotation(1, [10**400, 2, 2, 3, 4, 2])), "bad-field", {"field": "annotations.keypoints"}),
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
