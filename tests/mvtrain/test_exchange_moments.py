"""Foreign labels of all sources put side by side."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def labelled(place: Place, coordinates: list[float] | None = None, **changes: object) -> LabeledImage:
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
def test_every_label_is_in_the_row_of_its_moment_and_nothing_else_is(entries, order, data) -> None:
    images = [labelled(place, coordinates) for place, coordinates in entries.items()]
    # A source of its own for each image, in any order of sources and of keypoints.
    names = tuple(NAMES[k] for k in order)
    sources = [labels(images[0])]
    sources += [
        labels(replace(image, points=image.points[order], visibility=image.visibility[order]), names=names)
        for image in data.draw(st.permutations(images[1:]))
    ]
    merged = merge(sources)
    views = {place.view for place in entries}
    sessions_by_view = [{p.session for p in entries if p.view == view} for view in views]
    shared = len(views) == 1 or sum(map(len, sessions_by_view)) > len(set.union(*sessions_by_view))
    some = any(image.visibility.any() for image in images)
    if not shared or not some:
        with pytest.raises(ValueError, match=r"no session is labelled|no image with a label"):
            align(merged, allow_absent=True)
        return
    moments = align(merged, allow_absent=True)
    assert moments.view_names == tuple(sorted(views))
    assert list(moments.frames) == sorted(set(moments.frames))
    found = 0
    for image in images:
        moment = (image.place.session, image.place.number)
        if moment in moments.frames:
            row, view = moments.frames.index(moment), moments.view_names.index(image.place.view)
            np.testing.assert_array_equal(moments.points[row, view], image.points)
            assert moments.images[row][view] == image.image
            found += int((image.visibility > 0).sum())
        else:
            assert not image.visibility.any()
    assert (moments.visibility > 0).sum() == found == sum(int((image.visibility > 0).sum()) for image in images)
    np.testing.assert_array_equal(moments.visibility > 0, np.isfinite(moments.points).all(axis=-1))


def test_an_image_without_labels_comes_before_a_frame_of_the_video() -> None:
    place, other = Place("day1", "top", 1), Place("day1", "top", 3)
    left, video = Path("left.png"), Path("day1_side.mp4")
    foreign = labels(
        *(labelled(each) for each in (place, other, Place("day1", "side", 5))),
        unlabelled={Place("day1", "side", 1): ImageFile(path=left)},
        videos={("day1", "side"): video, ("day1", "top"): video},
    )
    moments = align(foreign, ["top", "side"])
    assert moments.images[0][1] == ImageFile(path=left)
    assert moments.images[1][1] == VideoFrame(path=video, number=3)
    assert moments.images[2][0] == VideoFrame(path=video, number=5)


def test_an_image_that_is_lost_is_taken_from_the_video_unless_it_was_a_crop() -> None:
    lost = labelled(Place("day1", "top", 1), image=None)
    video = Path("day1_top.mp4")
    assert align(labels(lost, videos={("day1", "top"): video})).images == ((VideoFrame(path=video, number=1),),)
    cropped = replace(lost, crop=(10, 20))
    with pytest.raises(ValueError, match="1 images are missing"):
        align(labels(cropped, videos={("day1", "top"): video}))


def test_moments_without_a_label_are_left_out_and_counted() -> None:
    empty = labelled(Place("day1", "top", 2), [np.nan] * 6)
    moments = align(labels(labelled(Place("day1", "top", 1)), empty))
    assert moments.frames == (("day1", 1),)
    assert moments.num_empty == 1


TOP, SIDE = Place("day1", "top", 1), Place("day1", "side", 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: merge([labels(labelled(TOP)), labels(labelled(TOP, origin="other table, row 1"))]),
            "two labelled images would be frame 1 of view 'top' of session 'day1': table of top, row 1 and other "
            "table, row 1; rename one",
        ),
        (
            lambda: merge([labels(labelled(TOP)), labels(labelled(SIDE), origin="b", names=("nose", "tail", "ear"))]),
            "all sources must have the same keypoints: b lacks paw and has ear besides, compared with source",
        ),
        (lambda: align(labels(labelled(TOP, [np.nan] * 6))), "source: no image with a label"),
        (
            lambda: align(labels(labelled(TOP)), ["top", "side"]),
            "labels are of the views top, but the views were said to be top, side",
        ),
        (
            lambda: align(labels(labelled(Place("top1", "a", 1)), labelled(Place("side1", "b", 1)))),
            "no session is labelled in more than one view, so no moments can be matched; sessions by view are "
            "a: top1; b: side1",
        ),
        (
            lambda: align(labels(labelled(TOP), labelled(SIDE), labelled(Place("day1", "side", 2)))),
            "source: 1 images are missing, and there is no video to take them from: day1, view top, frame 2. "
            "Name a folder",
        ),
    ],
)
def test_mistakes(call, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
