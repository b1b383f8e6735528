"""Near-twins across the split: found through noise and compression, and never where the subject is elsewhere."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvtrain.check.duplicates import Twin, find_twins
from mvtrain.check.image_scan import thumbnail
from mvtrain.project.splits import Split

NUM_VIEWS = 2
NUM_TRAIN, NUM_HELD = 12, 4
SIZE = 160


def scene(rng: np.random.Generator) -> np.ndarray:
    """(V, h, w, 3) float backgrounds, one per view."""
    coarse = rng.uniform(40, 200, (NUM_VIEWS, 6, 6, 3)).astype(np.float32)
    return np.stack([cv2.resize(each, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for each in coarse])


def photograph(background: np.ndarray, place: np.ndarray, rng: np.random.Generator, noise: float) -> np.ndarray:
    """(h, w, 3) uint8: a dark subject of 24 px at a place (x, y), with noise."""
    image = background.copy()
    cv2.circle(image, tuple(int(c) for c in place), 12, (15.0, 15.0, 15.0), -1)
    return np.clip(image + noise * rng.normal(size=image.shape), 0, 255).astype(np.uint8)


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def cells(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, V, 2) places, all at least 20 px apart in each view."""
    grid = np.stack(np.meshgrid(np.arange(6), np.arange(6)), -1).reshape(-1, 2) * 26 + 15
    return np.stack([rng.permutation(grid)[:count] + rng.integers(-3, 4, (count, 2)) for _ in range(NUM_VIEWS)], axis=1)


def split_of(num_train: int, num_held: int) -> Split:
    rows = np.arange(num_train + num_held)
    return Split(train=rows[:num_train], validation=rows[num_train:-1], test=rows[-1:])


def twins_of(images: np.ndarray, readable: np.ndarray | None = None) -> tuple[Twin, ...]:
    small = np.stack([[thumbnail(view) for view in frame] for frame in images])
    present = np.ones(small.shape[:2], dtype=bool) if readable is None else readable
    return find_twins(small, present, ("a",) * len(small), split_of(NUM_TRAIN, NUM_HELD))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    quality=st.integers(50, 95),
    noise=st.floats(0, 8),
    step=st.integers(0, 2),
    twins=st.lists(st.integers(0, NUM_TRAIN - 1), max_size=NUM_HELD, unique=True),
)
def test_exactly_the_twins_are_found(seed: int, quality: int, noise: float, step: int, twins: list[int]) -> None:
    """A twin is the same moment or the next (a step of 0 to 2 px), photographed and compressed anew."""
    rng = np.random.default_rng(seed)
    background = scene(rng)
    places = cells(rng, NUM_TRAIN + NUM_HELD)
    for held, train in enumerate(twins):
        places[NUM_TRAIN + held] = places[train] + rng.integers(-step, step + 1, (NUM_VIEWS, 2))
    images = np.stack(
        [
            [compressed(photograph(background[v], place[v], rng, noise), quality) for v in range(NUM_VIEWS)]
            for place in places
        ]
    )
    found = twins_of(images)
    assert {(twin.row, twin.train_row) for twin in found} == {(NUM_TRAIN + k, row) for k, row in enumerate(twins)}
    assert [twin.distance for twin in found] == sorted(twin.distance for twin in found)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_frames_alike_in_one_view_only_are_no_twins(seed: int) -> None:
    rng = np.random.default_rng(seed)
    background, places = scene(rng), cells(rng, NUM_TRAIN + NUM_HELD)
    places[NUM_TRAIN, 0] = places[0, 0]
    images = np.stack([[photograph(background[v], place[v], rng, 2.0) for v in range(NUM_VIEWS)] for place in places])
    assert twins_of(images) == ()
    # Unless the other view has no image of one of them.
    readable = np.ones((len(images), NUM_VIEWS), dtype=bool)
    readable[0, 1] = False
    assert [(twin.row, twin.train_row) for twin in twins_of(images, readable)] == [(NUM_TRAIN, 0)]


def test_sessions_that_look_different_do_not_make_their_frames_alike() -> None:
    """The unit is how much frames of one session differ, not how much sessions do."""
    rng = np.random.default_rng(0)
    places = cells(rng, 24)
    dark, bright = np.full((SIZE, SIZE, 3), 60.0, np.float32), np.full((SIZE, SIZE, 3), 220.0, np.float32)
    images = [
        [thumbnail(photograph(dark if k < 12 else bright, place[v], rng, 2.0)) for v in range(NUM_VIEWS)]
        for k, place in enumerate(places)
    ]
    order = np.arange(24)
    split = Split(train=order[order % 3 > 0], validation=order[order % 3 == 0], test=order[:0])
    present = np.ones((24, NUM_VIEWS), dtype=bool)
    assert find_twins(np.array(images), present, ("a",) * 12 + ("b",) * 12, split) == ()


@pytest.mark.parametrize("readable", [True, False])
def test_nothing_to_compare(readable: bool) -> None:
    thumbnails = np.zeros((4, NUM_VIEWS, 16, 16), dtype=np.uint8)
    present = np.full((4, NUM_VIEWS), readable)
    found = find_twins(thumbnails, present, ("a",) * 4, split_of(2, 2))
    # Images that do not differ at all are alike; images that are not there are nothing.
    assert len(found) == (2 if readable else 0)
    nothing = Split(train=np.arange(0), validation=np.arange(4), test=np.arange(0))
    assert find_twins(thumbnails, present, ("a",) * 4, nothing) == ()
