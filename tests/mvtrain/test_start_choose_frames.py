"""The choice of frames: what it never does, whatever the film."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvtrain.check.image_checks import FLOOR, NEAR, image_distances, typical_distance
from mvtrain.start.choose_frames import Appearance, choose_frames
from mvtrain.start.session_choice import most_candidates, share_frames


def make_film(seed: int, num_frames: int, num_views: int, num_states: int) -> Appearance:
    """A film that goes through some states, with noise; few states make many near-duplicates."""
    generator = np.random.default_rng(seed)
    states = generator.integers(0, 255, (num_states, num_views, 64))
    shown = states[generator.integers(0, num_states, num_frames)] + generator.normal(0, 2, (num_frames, num_views, 64))
    thumbnails = np.clip(shown, 0, 255).astype(np.uint8)
    return Appearance(
        thumbnails=thumbnails,
        features=thumbnails,
        readable=np.ones((num_frames, num_views), dtype=bool),
        times=np.linspace(0, 1, num_frames),
    )


def take(film: Appearance, rows: object, *, views: object = slice(None)) -> Appearance:
    return Appearance(
        thumbnails=film.thumbnails[rows][:, views],
        features=film.features[rows][:, views],
        readable=film.readable[rows][:, views],
        times=film.times[rows],
    )


films = st.builds(
    make_film,
    seed=st.integers(0, 10_000),
    num_frames=st.integers(1, 40),
    num_views=st.integers(1, 4),
    num_states=st.integers(1, 12),
)


def distances_to(film: Appearance, others: Appearance) -> np.ndarray:
    """Distances as `mvtrain check` measures them, in units of the film."""
    values = np.concatenate([film.thumbnails, others.thumbnails]).astype(np.float64)
    num_views = values.shape[1]
    typical = [max(typical_distance(values[: len(film), view]), FLOOR / NEAR) for view in range(num_views)]
    readable = np.concatenate([film.readable, others.readable])
    rows = np.arange(len(film))
    return image_distances(
        values, np.tile(typical, (len(values), 1)), readable, rows, len(film) + np.arange(len(others))
    )


@settings(max_examples=60)
@given(film=films, num_frames=st.integers(0, 45), num_existing=st.integers(0, 5))
def test_properties_of_a_choice(film: Appearance, num_frames: int, num_existing: int) -> None:
    existing = take(film, np.arange(min(num_existing, len(film))))
    chosen = choose_frames(film, existing, num_frames)
    assert len(chosen.rows) <= num_frames
    assert len(set(chosen.rows.tolist())) == len(chosen.rows)
    picked = take(film, chosen.rows)
    if len(existing):
        assert (distances_to(film, existing)[chosen.rows] > NEAR).all()
    among = distances_to(film, picked)
    apart = among[chosen.rows]
    assert (apart[~np.eye(len(apart), dtype=bool)] > NEAR).all()
    if len(chosen.rows) < num_frames:
        # The number is missed only when every other frame is a near-duplicate.
        near_existing = (
            (distances_to(film, existing) <= NEAR).any(axis=1) if len(existing) else np.zeros(len(film), bool)
        )
        near = (among <= NEAR).any(axis=1) | near_existing
        near[chosen.rows] = True
        assert near.all()
        assert chosen.num_twins == len(film) - len(chosen.rows)


@settings(max_examples=40)
@given(film=films, num_frames=st.integers(1, 12), data=st.data())
def test_the_order_of_the_views_changes_nothing(film: Appearance, num_frames: int, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(film.thumbnails.shape[1])))
    nothing = take(film, slice(0, 0))
    one = choose_frames(film, nothing, num_frames)
    other = choose_frames(take(film, slice(None), views=order), take(nothing, slice(None), views=order), num_frames)
    assert one.rows.tolist() == other.rows.tolist()
    assert one.novelty.tolist() == other.novelty.tolist()


@settings(max_examples=40)
@given(film=films, first=st.integers(0, 8), more=st.integers(0, 8))
def test_the_first_frames_are_the_choice_of_fewer(film: Appearance, first: int, more: int) -> None:
    nothing = take(film, slice(0, 0))
    few, many = choose_frames(film, nothing, first), choose_frames(film, nothing, first + more)
    assert many.rows[: len(few.rows)].tolist() == few.rows.tolist()


def test_every_state_is_chosen_before_any_comes_twice() -> None:
    film = make_film(3, 60, 2, 6)
    states = np.unique((film.thumbnails[:, 0, :8] // 16).astype(int), axis=0, return_inverse=True)[1]
    chosen = choose_frames(film, take(film, slice(0, 0)), 6)
    assert len(chosen.rows) == 6
    apart = distances_to(film, take(film, chosen.rows))[chosen.rows]
    assert (apart[~np.eye(6, dtype=bool)] > 0.5).all()
    assert states.max() >= 5


def test_frames_of_a_project_count_as_chosen() -> None:
    film = make_film(5, 30, 2, 4)
    alone = choose_frames(film, take(film, slice(0, 0)), 3)
    rest = choose_frames(film, take(film, alone.rows[:2]), 1)
    assert rest.rows.tolist() == alone.rows[2:].tolist()
    assert np.isinf(alone.novelty[0])
    assert np.isfinite(alone.novelty[1:]).all()


@pytest.mark.parametrize(
    ("num_frames", "num_sessions", "shares"),
    [(10, 2, [5, 5]), (7, 3, [3, 2, 2]), (2, 4, [1, 0, 1, 0]), (0, 3, [0, 0, 0]), (1, 1, [1])],
)
def test_sessions_share_frames_evenly(num_frames: int, num_sessions: int, shares: list[int]) -> None:
    assert share_frames(num_frames, num_sessions) == shares


@pytest.mark.parametrize(
    ("num_frames", "with_backbone", "looked_at"),
    [(5, False, 300), (50, False, 1000), (50, True, 600), (200, False, 2000), (3000, False, 3000), (3000, True, 3000)],
)
def test_as_many_frames_are_looked_at_as_are_asked_for(num_frames: int, with_backbone: bool, looked_at: int) -> None:
    assert most_candidates(num_frames, with_backbone=with_backbone) == looked_at
