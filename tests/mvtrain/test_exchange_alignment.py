"""Foreign labels of all sources, merged and matched by frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import raises_input
from mvgeom.errors import InputError
from mvtrain.exchange.alignment import align
from mvtrain.exchange.foreign_labels import (
    ForeignLabels,
    ImageFile,
    LabeledImage,
    Place,
    VideoFrame,
    merge,
    plain_visibility,
)

NAMES = ("nose", "tail", "paw")
PLACES = st.builds(Place, st.sampled_from(["day1", "day2"]), st.sampled_from(["top", "side", "far"]), st.integers(0, 4))
COORDINATES = st.lists(st.one_of(st.just(np.nan), st.floats(0, 100)), min_size=6, max_size=6)


def labeled(place: Place, coordinates: list[float] | None = None, **changes: object) -> LabeledImage:
    points = np.array(range(6) if coordinates is None else coordinates, dtype=np.float64).reshape(3, 2)
    points[np.isnan(points).any(axis=1)] = np.nan
    path = Path(f"{place.session}_{place.view}/{place.number}.png")
    image = LabeledImage(
        place=place,
        points=points,
        visibility=plain_visibility(points),
        image=ImageFile(path=path),
        origin=f"table of {place.view}, row {place.number}",
    )
    return replace(image, **changes)


def labels(*images: LabeledImage, origin: str = "source", names: tuple[str, ...] = NAMES, **more) -> ForeignLabels:
    return ForeignLabels(origin=origin, keypoint_names=names, images=images, **more)


@given(
    entries=st.dictionaries(PLACES, COORDINATES, min_size=1, max_size=12),
    order=st.permutations(range(3)),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_every_label_is_in_the_row_of_its_frame_and_nothing_else_is(entries, order, data) -> None:
    images = [labeled(place, coordinates) for place, coordinates in entries.items()]
    # A source of its own for each image, in any order of sources and of keypoints.
    names = tuple(NAMES[k] for k in order)
    sources = [labels(images[0])]
    sources += [
        labels(replace(image, points=image.points[order], visibility=image.visibility[order]), names=names)
        for image in data.draw(st.permutations(images[1:]))
    ]
    merged = merge(sources)
    views = {place.view for place in entries}
    some = any(image.visibility.any() for image in images)
    wanted = {image.place[::2] for image in images if image.visibility.any()}
    shared = len(views) == 1 or any(len({p.view for p in entries if p[::2] == frame}) > 1 for frame in wanted)
    if not shared or not some:
        with pytest.raises(InputError) as caught:
            align(merged, allow_absent=True)
        assert caught.value.code == ("no-shared-frame" if some else "no-labels")
        return
    aligned = align(merged, allow_absent=True)
    assert aligned.view_names == tuple(sorted(views))
    assert list(aligned.frames) == sorted(set(aligned.frames))
    found = 0
    for image in images:
        frame = (image.place.session, image.place.number)
        if frame in aligned.frames:
            row, view = aligned.frames.index(frame), aligned.view_names.index(image.place.view)
            np.testing.assert_array_equal(aligned.points[row, view], image.points)
            assert aligned.images[row][view] == image.image
            found += int((image.visibility > 0).sum())
        else:
            assert not image.visibility.any()
    assert (aligned.visibility > 0).sum() == found == sum(int((image.visibility > 0).sum()) for image in images)
    np.testing.assert_array_equal(aligned.visibility > 0, np.isfinite(aligned.points).all(axis=-1))


def test_an_image_without_labels_comes_before_a_frame_of_the_video() -> None:
    place, other = Place("day1", "top", 1), Place("day1", "top", 3)
    left, video, other_video = Path("left.png"), Path("day1_side.mp4"), Path("day1_top.mp4")
    foreign = labels(
        *(labeled(each) for each in (place, other, Place("day1", "side", 5))),
        unlabeled={Place("day1", "side", 1): ImageFile(path=left)},
        videos={("day1", "side"): video, ("day1", "top"): other_video},
    )
    aligned = align(foreign, ["top", "side"])
    assert aligned.images[0][1] == ImageFile(path=left)
    assert aligned.images[1][1] == VideoFrame(path=video, number=3)
    assert aligned.images[2][0] == VideoFrame(path=other_video, number=5)


def test_an_image_that_is_lost_is_taken_from_the_video_unless_it_was_a_crop() -> None:
    lost = labeled(Place("day1", "top", 1), image=None)
    video = Path("day1_top.mp4")
    assert align(labels(lost, videos={("day1", "top"): video})).images == ((VideoFrame(path=video, number=1),),)
    cropped = replace(lost, crop=(10, 20))
    with raises_input("missing-frame", places=(("day1", "top", 1),)):
        align(labels(cropped, videos={("day1", "top"): video}))


def test_frames_without_a_label_are_left_out_and_counted() -> None:
    empty = labeled(Place("day1", "top", 2), [np.nan] * 6)
    aligned = align(labels(labeled(Place("day1", "top", 1)), empty))
    assert aligned.frames == (("day1", 1),)
    assert aligned.num_empty == 1


TOP, SIDE = Place("day1", "top", 1), Place("day1", "side", 1)


@pytest.mark.parametrize(
    ("call", "code", "facts"),
    [
        (
            lambda: merge([labels(labeled(TOP)), labels(labeled(TOP, [1.0] * 6, origin="other table, row 1"))]),
            "duplicate-name",
            {"session": "day1", "view": "top", "frame": 1},
        ),
        (
            lambda: merge([labels(labeled(TOP)), labels(labeled(SIDE), origin="b", names=("nose", "tail", "ear"))]),
            "keypoints-differ",
            {"source": "b", "found": ("nose", "tail", "ear"), "expected": NAMES},
        ),
        (lambda: align(labels(labeled(TOP, [np.nan] * 6))), "no-labels", {"source": "source"}),
        (
            lambda: align(labels(labeled(TOP)), ["top", "side"]),
            "views-differ",
            {"found": ("top",), "expected": ("top", "side")},
        ),
        (
            lambda: align(labels(labeled(Place("top1", "a", 1)), labeled(Place("side1", "b", 1)))),
            "no-shared-frame",
            {"found": {"a": ["top1"], "b": ["side1"]}},
        ),
        (
            lambda: align(labels(labeled(TOP), labeled(Place("day1", "side", 2))), allow_absent=True),
            "no-shared-frame",
            {"examples": (("", ("day1", "side", 2)), ("", TOP))},
        ),
        (
            lambda: align(labels(*(labeled(place, image=ImageFile(path=Path("1.png"))) for place in (TOP, SIDE)))),
            "ambiguous-file",
            {"candidates": (SIDE, TOP)},
        ),
        (
            lambda: align(
                labels(*(labeled(place, image=VideoFrame(path=Path("a.mp4"), number=1)) for place in (TOP, SIDE)))
            ),
            "ambiguous-file",
            {"candidates": (SIDE, TOP)},
        ),
        (
            # Two recordings of the same name in two folders; the unlabeled frame could be from either.
            lambda: align(
                labels(
                    labeled(TOP, image=VideoFrame(path=Path("/a/day1_top.mp4"), number=1)),
                    labeled(TOP._replace(number=2), image=VideoFrame(path=Path("/b/day1_top.mp4"), number=2)),
                )
            ),
            "ambiguous-file",
            {"candidates": (Path("/a/day1_top.mp4"), Path("/b/day1_top.mp4"))},
        ),
        (
            lambda: align(labels(labeled(TOP), labeled(SIDE), labeled(Place("day1", "side", 2)))),
            "missing-frame",
            {"source": "source", "places": (("day1", "top", 2),)},
        ),
    ],
)
def test_errors(call, code: str, facts: dict[str, object]) -> None:
    with raises_input(code, **facts):
        call()


def test_a_second_labeling_counts_only_if_it_is_another_one() -> None:
    same, lost = labeled(TOP), labeled(TOP, image=None, origin="copy")
    for order in ([same, lost], [lost, same]):
        merged = merge([labels(*order)])
        assert merged.images == (same,)
        (note,) = merged.notes
        assert "1 labeled image found twice" in note
    empty, predicted = labeled(TOP, [np.nan] * 6), labeled(TOP, [1.0] * 6, predicted=True)
    for other in (empty, predicted):
        for order in ([same, other], [other, same]):
            assert merge([labels(*order)]).images == (same,)


def test_crops_are_in_the_part_of_the_camera_that_was_recorded() -> None:
    foreign = labels(
        labeled(TOP, crop=(5, 6)),
        labeled(Place("day1", "side", 2)),
        unlabeled={SIDE: ImageFile(path=Path("a.png"), crop=(1, 2))},
        videos={("day1", "top"): Path("day1_top.mp4")},
        offsets={"top": (100, 200)},
    )
    assert align(foreign, ["top", "side"]).crops == (((105, 206), (1, 2)), ((100, 200), None))
