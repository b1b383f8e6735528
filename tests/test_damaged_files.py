"""Every reader ends, with a result or an `InputError`, whatever is in the file; in bounded time and memory."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from helpers.guarded import SECONDS, count_outcomes, example_path, make_damaged, read_damaged
from helpers.readers import READERS

NUM_LONG = int(os.environ.get("DAMAGED_FILES", "400"))
"""Examples of each reader in the long run."""


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    (tmp_path / "whole").mkdir()
    damaged = reader.make(tmp_path / "whole")
    reader.read(example_path(tmp_path / "whole", tmp_path / "copy", damaged))
    for seed in range(4):
        folder = tmp_path / str(seed)
        path, what = make_damaged(name, tmp_path / "whole", damaged, seed, folder)
        start = time.monotonic()
        outcome, message = read_damaged(reader, path)
        assert outcome in ("ok", "refused"), f"{what}: {message}"
        assert time.monotonic() - start < SECONDS, what


@pytest.mark.long
@pytest.mark.parametrize("name", READERS)
def test_many_damaged_files(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    counts = count_outcomes(name, range(NUM_LONG))
    others = ", ".join(f"{count} {outcome}" for outcome, count in counts.outcomes.items() if count)
    with capsys.disabled():
        print(f"\n{name:<34} {others}; slowest {counts.slowest:.1f} s")
        for failure in counts.failures.values():
            print(f"    {failure}")
    assert counts.bad == 0, counts.failures
