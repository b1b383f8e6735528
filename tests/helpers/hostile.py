"""Names that try to lead out of a folder, or that some system cannot store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = (
    *("../../escaped", "..", ".", "...", "", " ", "/escaped", "//host/escaped", "a/b", "a\\b", "..\\..\\escaped"),
    *(
        "C:\\escaped",
        "C:escaped",
        "\\\\host\\share",
        "con",
        "NUL",
        "aux.txt",
        "COM1",
        "lpt9",
        "a\0b",
        "a\nb",
        "\x1b[31m",
    ),
    *("x" * 300, "é" * 300, "~/escaped", "$HOME", "${HOME}", "%s", "{0}", "*", "a?", "\ud800", "-rf", "é\u202ecsv.exe"),
    *("../" * 40 + "tmp/escaped", "./../escaped", "a/../../escaped", "file:///escaped", "a\\..\\..\\escaped", "\u2028"),
)


@contextmanager
def nothing_escapes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder to write into; afterwards there is nothing beside it, above it, or in the current folder.

    Args:
        folder: Empty folder of the test.
        monkeypatch: For the current folder.
    """
    current, output = folder / "current", folder / "a" / "b" / "output"
    current.mkdir(parents=True)
    output.mkdir(parents=True)
    monkeypatch.chdir(current)
    before = set(Path("/").iterdir()) | set(Path("/tmp").glob("*escaped*"))
    yield output
    found = {path.relative_to(folder) for path in folder.rglob("*") if not path.is_relative_to(output)}
    assert found == {Path("current"), Path("a"), Path("a/b")}, found
    assert set(Path("/").iterdir()) | set(Path("/tmp").glob("*escaped*")) == before
