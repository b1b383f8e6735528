"""A generator in a thread ahead of its consumer."""

import threading
import time
from collections.abc import Generator

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from mvtrain.runtime.prefetch import prefetch


class Source:
    """Numbers, and what became of the generator that gives them."""

    def __init__(self, length: int, fails_at: int | None = None) -> None:
        self.length, self.fails_at = length, fails_at
        self.given, self.closed = 0, False

    def numbers(self) -> Generator[int]:
        try:
            for number in range(self.length):
                if number == self.fails_at:
                    raise ValueError(f"number {number} is broken")
                self.given += 1
                yield number
        finally:
            self.closed = True


@settings(max_examples=25)
@given(length=st.integers(0, 30), depth=st.integers(1, 5), layers=st.integers(1, 3))
def test_all_items_in_order(length: int, depth: int, layers: int) -> None:
    source = Source(length)
    items = source.numbers()
    for _ in range(layers):
        items = prefetch(items, depth)
    assert list(items) == list(range(length))
    assert source.closed


def test_it_runs_ahead_but_no_further_than_asked() -> None:
    source = Source(100)
    items = prefetch(source.numbers(), 3)
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while source.given < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert source.given == 5  # one taken, three waiting, one in hand
    items.close()
    assert source.closed


def test_errors_arrive_after_what_came_before() -> None:
    items = prefetch(prefetch(Source(10, fails_at=4).numbers(), 2), 2)
    assert [next(items) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="number 4 is broken"):
        next(items)


def test_closing_ends_all_threads() -> None:
    before = threading.active_count()
    sources = [Source(10**9) for _ in range(3)]
    items = [prefetch(prefetch(source.numbers(), 2), 2) for source in sources]
    for each in items:
        assert next(each) == 0
    assert threading.active_count() == before + 6
    for each in items:
        each.close()
    assert threading.active_count() == before
    assert all(source.closed for source in sources)
