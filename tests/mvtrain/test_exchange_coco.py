"""COCO keypoints, and what is wrong with them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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


def test_visibility_is_as_in_coco(tmp_path: Path) -> None:
    labels = read(tmp_path, document(annotation(1, [1, 2, 1, 3, 4, 2]), annotation(2, [5, 6, 2, 0, 0, 0])))
    first, second = labels.images
    assert [first.place, second.place] == [("mouse", "top", 1), ("mouse", "top", 2)]
    assert first.visibility.tolist() == [1, 2]
    np.testing.assert_array_equal(first.points, [[1, 2], [3, 4]])
    assert second.visibility.tolist() == [2, 0]
    assert np.isnan(second.points[1]).all()
    assert labels.skeleton == (("nose", "tail"),)
    assert labels.notes == ()


def test_without_any_2_what_is_labelled_is_visible(tmp_path: Path) -> None:
    labels = read(tmp_path, document(annotation(1, [1, 2, 1, 0, 0, 0])))
    assert labels.images[0].visibility.tolist() == [2, 0]
    assert "no keypoint has visibility 2, so those with 1 are taken as visible" in labels.notes[0]


@pytest.mark.parametrize("place", [".", "images", "../images", ".."])
def test_images_are_found_where_they_usually_are(tmp_path: Path, place: str) -> None:
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
    with pytest.raises(ValueError, match=r"image 1 has several annotations with keypoints \(such as 101 and 101\)"):
        read(tmp_path, both)
    with pytest.raises(ValueError, match="no annotation has track_id '9'"):
        read(tmp_path, both, "9")


GOOD = annotation(1, [1, 2, 2, 3, 4, 2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "annotations.json: is not JSON"),
        ([], "no COCO annotations: it has no list 'images', 'annotations', 'categories'"),
        ({**document(GOOD), "images": [1]}, "'images' must be a list of objects"),
        (document(), "keypoints of one category are needed, found annotations of: none"),
        (
            {
                **document(GOOD, {**annotation(2, [1, 2, 2]), "category_id": 3}),
                "categories": [
                    {"id": 1, "name": "mouse", "keypoints": ["nose", "tail"]},
                    {"id": 3, "name": "rat", "keypoints": ["nose"]},
                ],
            },
            "keypoints of one category are needed, found annotations of: mouse, rat",
        ),
        (document(annotation(1, [1, 2, 2])), "image 'mouse_top/img001.png': keypoints must be 6 numbers"),
        (document(annotation(1, [1, 2, 5, 3, 4, 2])), "visibility must be 0, 1 or 2 and coordinates finite"),
    ],
)
def test_mistakes(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read(tmp_path, content)
