"""Images of several views matched to frames by arrays of presentation times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.errors import raises_input
from mvgeom._frame_matching import _CLEAR, _LEVEL_LENGTH, levels_agree
from mvgeom.synchronization import match_images

STEP = 0.04
LENGTH = 60
NUMBERS = np.arange(LENGTH)
CONSTANT = NUMBERS * STEP
SLOWER = np.cumsum(np.r_[0, np.where(NUMBERS[1:] < 30, STEP, 1.25 * STEP)])
MUCH_SLOWER = np.cumsum(np.r_[0, np.where(NUMBERS[1:] < 30, STEP, 1.8 * STEP)])
MILLISECONDS = np.round(NUMBERS / 30, 3)
PAUSED = CONSTANT + np.where(NUMBERS < 20, 0, 100.0)
CLOCKS = {
    "constant": CONSTANT,
    "milliseconds": MILLISECONDS,
    "slower": SLOWER,
    "much slower": MUCH_SLOWER,
    "paused": PAUSED,
    "late start": CONSTANT + 1000,
}


def late(times: np.ndarray, *numbers: int, steps: float = 0.8) -> np.ndarray:
    """Times of which single ones are delivered late, as by a busy bus."""
    changed = times.copy()
    changed[list(numbers)] += steps * STEP
    return changed


def match(*times: np.ndarray) -> list[list[int]]:
    return [each.tolist() for each in match_images(times, [f"view{view}" for view in range(len(times))])]


@pytest.mark.parametrize("clock", CLOCKS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_images_of_one_time_are_of_one_frame(clock: str, data: st.DataObject) -> None:
    """Any images may be missing in any view; a frame counts if any view has it."""
    times = CLOCKS[clock]
    missing = st.sets(st.integers(0, LENGTH - 1), max_size=8)
    kept = [np.setdiff1d(NUMBERS, list(data.draw(missing))) for _ in range(data.draw(st.integers(2, 4)))]
    found = match(*(times[each] for each in kept))
    present = np.unique(np.concatenate(kept))
    assert found == [np.searchsorted(present, each).tolist() for each in kept]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(0, 0.15))
def test_jitter_hides_no_gap(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    kept = [NUMBERS, np.setdiff1d(NUMBERS, [20, 21]), np.setdiff1d(NUMBERS, [0, 40])]
    times = [CONSTANT[each] + rng.uniform(-size, size, len(each)) * STEP for each in kept]
    assert match(*times) == [each.tolist() for each in kept]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), clock=st.sampled_from(sorted(CLOCKS)), views=st.integers(2, 4))
def test_jitter_below_half_a_step_makes_no_gap(seed: int, clock: str, views: int) -> None:
    rng = np.random.default_rng(seed)
    # Two views whose times jitter by a quarter each differ by less than half a step.
    times = [CLOCKS[clock] + rng.uniform(-0.249, 0.249, LENGTH) * STEP * 0.8 for _ in range(views)]
    assert match(*times) == [NUMBERS.tolist()] * views


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(0.2, 0.5))
@example(seed=26091, size=0.34375)  # an image gets a frame of its own, which renumbers all later frames
def test_jitter_that_may_hide_a_gap_gives_no_wrong_frames(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    kept = [NUMBERS, np.setdiff1d(NUMBERS, [20, 21]), np.setdiff1d(NUMBERS, [40])]
    times = [np.sort(CONSTANT[each] + rng.uniform(-size, size, len(each)) * STEP) for each in kept]
    try:
        found = match(*times)
    except ValueError:
        return
    # Beside a gap, an image may be closer to the frame next to its own.
    assert sum(count_wrong_partners(kept, found, one, other) for one, other in ((0, 1), (0, 2), (1, 2))) <= 4


def count_wrong_partners(kept: list[np.ndarray], found: list[list[int]], one: int, other: int) -> int:
    """Count the images of a view that are matched to another image of a second view than that of their time."""
    partners = dict(zip(found[other], kept[other].tolist(), strict=True))
    known = set(kept[other].tolist())
    expected = {number: number if number in known else None for number in kept[one].tolist()}
    return sum(
        partners.get(frame) != expected[number] for frame, number in zip(found[one], kept[one].tolist(), strict=True)
    )


@pytest.mark.parametrize(
    "times",
    [
        pytest.param((CONSTANT, CONSTANT[:40]), id="a view ends earlier"),
        pytest.param((CONSTANT, CONSTANT + 0.45 * STEP), id="started within half a step"),
        pytest.param((CONSTANT, late(CONSTANT, 10)), id="a late delivery"),
        pytest.param((CONSTANT, late(CONSTANT, 10, 11, 12, steps=1.6)), id="several late deliveries"),
        pytest.param((CONSTANT,), id="one view"),
        pytest.param((CONSTANT[:1], CONSTANT[:1] + 5), id="one image per view"),
        pytest.param((np.full(9, np.nan), np.full(9, np.nan)), id="no times"),
        pytest.param((CONSTANT[:9], np.full(9, np.nan)), id="no times in one view"),
    ],
)
def test_matched_by_number(times: tuple[np.ndarray, ...]) -> None:
    assert match(*times) == [list(range(len(each))) for each in times]


def test_gaps_beside_late_deliveries_and_drift() -> None:
    kept = np.delete(NUMBERS, 40)
    assert match(CONSTANT, late(CONSTANT, 10)[kept]) == [NUMBERS.tolist(), kept.tolist()]
    long = np.arange(4000) * STEP
    kept = np.delete(np.arange(4000), [2000, 2001])
    with pytest.warns(UserWarning, match="view1: its clock drifts"):
        assert match(long, 1.001 * long[kept]) == [list(range(4000)), kept.tolist()]


def test_clocks_that_drift_are_followed_with_a_warning() -> None:
    assert match(CONSTANT, CONSTANT * 1.001) == [NUMBERS.tolist()] * 2
    long = np.arange(4000) * STEP
    with pytest.warns(UserWarning, match=r"view1: its clock drifts against that of view0, by \+4\.0 steps"):
        assert match(long, long * 1.001) == [list(range(4000))] * 2


@pytest.mark.parametrize("digits", [9, 3], ids=["exact", "milliseconds"])
def test_rates_that_are_whole_multiples_are_matched_by_time_where_that_is_asked_for(digits: int) -> None:
    fast, slow = np.round(NUMBERS / 60, digits), np.round(NUMBERS[: LENGTH // 2 - 4] / 30 + 4 / 60, digits)
    found = match_images([slow, fast], ["slow", "fast"], multiples=True)
    assert [each.tolist() for each in found] == [(2 * NUMBERS[: LENGTH // 2 - 4] + 4).tolist(), NUMBERS.tolist()]


@pytest.mark.parametrize("rate", [25, 29.0, 45], ids=str)
def test_other_rates_and_rates_half_a_step_apart_are_refused_also_then(rate: float) -> None:
    with raises_input("rates-differ"):
        match_images([NUMBERS / 60, NUMBERS / rate], ["fast", "slow"], multiples=True)
    with raises_input("rates-differ"):
        match_images([NUMBERS / 60, NUMBERS / 30 + 0.5 / 60], ["fast", "slow"], multiples=True)


def test_the_last_image_but_one_is_missing() -> None:
    kept = np.delete(NUMBERS, LENGTH - 2)
    assert match(CONSTANT, CONSTANT[kept], CONSTANT) == [NUMBERS.tolist(), kept.tolist(), NUMBERS.tolist()]


@pytest.mark.parametrize(
    ("times", "code", "facts"),
    [
        pytest.param((CONSTANT, NUMBERS / 30), "rates-differ", {"found": {"view0": 25.0, "view1": 30.0}}, id="rates"),
        pytest.param(
            (CONSTANT, CONSTANT[::2]), "rates-differ", {"found": {"view0": 25.0, "view1": 12.5}}, id="half the rate"
        ),
        pytest.param(
            (CONSTANT, CONSTANT + 1.5 * STEP), "unmatched-frames", {"view": "view1", "image": 0, "frame": 1}, id="start"
        ),
        pytest.param(
            (CONSTANT, CONSTANT + np.where(NUMBERS < 20, 0, 1.47 * STEP), CONSTANT),
            "unmatched-frames",
            {"view": "view1", "image": 20, "frame": 21, "step": STEP},
            id="a gap of one and a half steps",
        ),
        pytest.param(
            (CONSTANT, CONSTANT + 100), "unmatched-frames", {"views": ("view0", "view1")}, id="no common time"
        ),
        pytest.param(
            (CONSTANT, np.full(LENGTH - 1, np.nan)),
            "unmatched-frames",
            {"view": "view1", "found": {"view0": LENGTH, "view1": LENGTH - 1}},
            id="no times and other counts",
        ),
    ],
)
def test_what_times_cannot_settle_is_refused(times: tuple[np.ndarray, ...], code: str, facts: dict) -> None:
    with raises_input(code, **facts):
        match(*times)


def levels_agree_slowly(frames: list[np.ndarray], residuals: list[np.ndarray]) -> bool:
    """Reference of `levels_agree`, which goes through the images of all views after every gap."""
    for view, numbers in enumerate(frames):
        gaps = np.diff(numbers, prepend=numbers[:1] - 2)
        for first in np.flatnonzero(gaps > 1).tolist():
            level = residuals[view][first : first + _LEVEL_LENGTH].mean()
            stop = min(first + _LEVEL_LENGTH, len(numbers)) - 1
            others = [
                residuals[other][(frames[other] >= numbers[first]) & (frames[other] <= numbers[stop])]
                for other in range(len(frames))
                if other != view
            ]
            reference = np.concatenate(others)
            if len(reference) and abs(level - reference.mean()) > _CLEAR:
                return False
    return True


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_views=st.integers(2, 4),
    lost=st.floats(0, 0.4),
    jitter=st.sampled_from([0.0, 0.05, 0.15]),
    late=st.sampled_from([0.0, 0.2, 0.45]),
    num_late=st.sampled_from([1, 5, 60]),
)
def test_levels_agree_where_the_slow_reference_states_so(
    seed: int, num_views: int, lost: float, jitter: float, late: float, num_late: int
) -> None:
    rng = np.random.default_rng(seed)
    frames, residuals = [], []
    for view in range(num_views):
        kept = rng.random(120) > lost
        kept[[0, -1]] = True
        numbers = np.flatnonzero(kept)
        frames.append(numbers)
        residuals.append(rng.uniform(-jitter, jitter, len(numbers)) + late * (view == 0) * (numbers >= 120 - num_late))
    assert levels_agree(frames, residuals) == levels_agree_slowly(frames, residuals)
