"""Near-duplicates across the split: found despite noise and compression, and never where the subject has moved."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvtrain.check.image_checks import NearDuplicate, find_near_duplicates, thumbnail
from mvtrain.project.splits import Split

NUM_VIEWS = 2
NUM_TRAIN, NUM_HELD = 12, 4
SIZE = 160


def draw_backgrounds(rng: np.random.Generator) -> np.ndarray:
    """Draw float backgrounds (V, h, w, 3), one per view."""
    coarse = rng.uniform(40, 200, (NUM_VIEWS, 6, 6, 3)).astype(np.float32)
    return np.stack([cv2.resize(each, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for each in coarse])


def draw_image(background: np.ndarray, place: np.ndarray, rng: np.random.Generator, noise: float) -> np.ndarray:
    """Draw a dark subject of 24 px at a place (x, y), with noise, as (h, w, 3) uint8."""
    image = background.copy()
    cv2.circle(image, tuple(int(c) for c in place), 12, (15.0, 15.0, 15.0), -1)
    return np.clip(image + noise * rng.normal(size=image.shape), 0, 255).astype(np.uint8)


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def random_places(rng: np.random.Generator, count: int) -> np.ndarray:
    """Choose places (count, V, 2), all at least 20 px apart in each view."""
    grid = np.stack(np.meshgrid(np.arange(6), np.arange(6)), -1).reshape(-1, 2) * 26 + 15
    return np.stack([rng.permutation(grid)[:count] + rng.integers(-3, 4, (count, 2)) for _ in range(NUM_VIEWS)], axis=1)


def make_split(num_train: int, num_held: int) -> Split:
    rows = np.arange(num_train + num_held)
    return Split(train=rows[:num_train], validation=rows[num_train:-1], test=rows[-1:])


def find_in(images: np.ndarray, readable: np.ndarray | None = None) -> tuple[NearDuplicate, ...]:
    small = np.stack([[thumbnail(view) for view in frame] for frame in images])
    present = np.ones(small.shape[:2], dtype=bool) if readable is None else readable
    return find_near_duplicates(small, present, ("a",) * len(small), make_split(NUM_TRAIN, NUM_HELD))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    quality=st.integers(50, 95),
    noise=st.floats(0, 8),
    step=st.integers(0, 2),
    copied=st.lists(st.integers(0, NUM_TRAIN - 1), max_size=NUM_HELD, unique=True),
)
def test_exactly_the_near_duplicates_are_found(
    seed: int, quality: int, noise: float, step: int, copied: list[int]
) -> None:
    """Find frames of one scene (moved by 0 to 2 px) that were recorded and compressed separately."""
    rng = np.random.default_rng(seed)
    background = draw_backgrounds(rng)
    places = random_places(rng, NUM_TRAIN + NUM_HELD)
    for held, train in enumerate(copied):
        places[NUM_TRAIN + held] = places[train] + rng.integers(-step, step + 1, (NUM_VIEWS, 2))
    images = np.stack(
        [
            [compress(draw_image(background[v], place[v], rng, noise), quality) for v in range(NUM_VIEWS)]
            for place in places
        ]
    )
    found = find_in(images)
    assert {(pair.row, pair.train_row) for pair in found} == {(NUM_TRAIN + k, row) for k, row in enumerate(copied)}
    assert [pair.distance for pair in found] == sorted(pair.distance for pair in found)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_frames_similar_in_one_view_only_are_not_near_duplicates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    background, places = draw_backgrounds(rng), random_places(rng, NUM_TRAIN + NUM_HELD)
    places[NUM_TRAIN, 0] = places[0, 0]
    images = np.stack([[draw_image(background[v], place[v], rng, 2.0) for v in range(NUM_VIEWS)] for place in places])
    assert find_in(images) == ()
    # Unless the other view has no image of one of them.
    readable = np.ones((len(images), NUM_VIEWS), dtype=bool)
    readable[0, 1] = False
    assert [(pair.row, pair.train_row) for pair in find_in(images, readable)] == [(NUM_TRAIN, 0)]


def test_differences_between_sessions_do_not_make_their_frames_similar() -> None:
    """Check that the unit is the difference between frames of one session, not between sessions."""
    rng = np.random.default_rng(0)
    places = random_places(rng, 24)
    dark, bright = np.full((SIZE, SIZE, 3), 60.0, np.float32), np.full((SIZE, SIZE, 3), 220.0, np.float32)
    images = [
        [thumbnail(draw_image(dark if k < 12 else bright, place[v], rng, 2.0)) for v in range(NUM_VIEWS)]
        for k, place in enumerate(places)
    ]
    order = np.arange(24)
    split = Split(train=order[order % 3 > 0], validation=order[order % 3 == 0], test=order[:0])
    present = np.ones((24, NUM_VIEWS), dtype=bool)
    assert find_near_duplicates(np.array(images), present, ("a",) * 12 + ("b",) * 12, split) == ()


@pytest.mark.parametrize("readable", [True, False])
def test_images_without_differences_and_missing_images(readable: bool) -> None:
    thumbnails = np.zeros((4, NUM_VIEWS, 16, 16), dtype=np.uint8)
    present = np.full((4, NUM_VIEWS), readable)
    found = find_near_duplicates(thumbnails, present, ("a",) * 4, make_split(2, 2))
    # Images that do not differ at all are similar; missing images are not compared.
    assert len(found) == (2 if readable else 0)
    nothing = Split(train=np.arange(0), validation=np.arange(4), test=np.arange(0))
    assert find_near_duplicates(thumbnails, present, ("a",) * 4, nothing) == ()
