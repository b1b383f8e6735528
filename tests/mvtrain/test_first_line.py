"""The first line of every command of mvtrain: what it reads, in one line, before anything heavy is imported."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from mvtrain.cli.app import COMMANDS
from mvtrain.cli.options import print_start

LONG = "longer than a line of a terminal " * 4


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["a.mp4"], "reading a.mp4 ...\n"),
        (["a.mp4", "b.mp4"], "reading a.mp4 and 1 other ...\n"),
        ([f"{LONG} [{number}].mp4" for number in range(40)], f"reading {LONG} [0].mp4 and 39 others ...\n"),
        ([], ""),
    ],
)
def test_several_paths_are_one_line(names: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_start(*map(Path, names))
    assert capsys.readouterr().out == line


def test_of_several_processes_the_first_one_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    print_start(Path("a.mp4"))
    assert capsys.readouterr().out == ""


def statements(body: list[ast.stmt]) -> Iterator[str]:
    """First words of the statements of a function: those in loops and conditions do not count."""
    for each in body:
        yield ast.unparse(each).splitlines()[0].partition("(")[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_it_once_before_its_imports(name: str) -> None:
    source = textwrap.dedent(inspect.getsource(COMMANDS[name]))
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    found = list(statements(function.body))
    line = "make_console" if name == "synth" else "print_start"  # synth reads nothing: `rendering FOLDER ...`
    assert found.count("print_start") == (name != "synth")
    assert found.index(line) < found.index("with quick_imports")
    assert source.count("print_start") == (name != "synth")
