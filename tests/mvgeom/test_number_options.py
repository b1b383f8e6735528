"""Options with numbers of all commands of mvgeom: each is checked before any file is read, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from helpers.command_lines import write_inputs, write_keypoints
from helpers.mvgeom_command import fails, run
from mvgeom.cli.commands import app

ARGUMENTS = {
    "convert": ("none.toml", "-o", "out.json"),
    "triangulate": ("none.toml", "a=none.csv", "-o", "out.csv"),
    "smooth": ("none.toml", "a=none.csv", "-o", "out.csv"),
    "refine": ("none.toml", "a=none.csv", "-o", "out.toml"),
    "check": ("none.toml", "a=none.csv"),
    "sync": ("none.toml", "a=none.csv"),
    "place": ("none.toml", "a=none.csv", "-o", "out.toml"),
    "world": ("none.toml", "a=none.csv", "-o", "out.toml"),
    "calibrate": ("a=none", "-o", "out.toml"),
}
LENGTHS = {"--length", "--bone"}
TAKE_0 = {"--min-likelihood", "--max-gap", "--first-id", "--two-sided", "--coefficients"}


def numeric() -> list[tuple[str, str, str]]:
    """Command, option and kind, `float` or `int`, of all options with a number."""
    found = []
    for command in app.registered_commands:
        assert command.callback is not None
        for parameter, hint in get_type_hints(command.callback, include_extras=True).items():
            kinds = {hint, *get_args(hint), *(part for each in get_args(hint) for part in get_args(each))}
            for kind in (float, int):
                if kind in kinds:
                    declared = [name for each in get_args(hint) for name in getattr(each, "param_decls", None) or ()]
                    option = declared[0] if declared else "--" + parameter.replace("_", "-")
                    found.append((command.callback.__name__, option, kind.__name__))
    return found


def test_the_walk_finds_options() -> None:
    found = numeric()
    assert {name for name, _, _ in found} == set(ARGUMENTS)
    assert {option for _, option, _ in found} >= {"--noise", "--scale", "--fps", "--max-frames", "--min-likelihood"}


@pytest.mark.parametrize(("name", "option", "kind"), numeric())
def test_wrong_numbers_are_refused_by_the_options_name(name: str, option: str, kind: str) -> None:
    wrong = ["-1"] if kind == "int" else ["nan", "inf", "-inf", "-1"]
    wrong += [] if option in TAKE_0 else ["0"]
    wrong += ["2", "1.001"] if option == "--min-likelihood" else []
    for value in wrong:
        fails("bad-option", name, *ARGUMENTS[name], option, value, option=option)


@pytest.mark.parametrize("option", sorted(LENGTHS))
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0", "x"])
def test_wrong_lengths(option: str, value: str, tmp_path: Path) -> None:
    write_keypoints(tmp_path)
    views = [f"{name}={tmp_path / name}.csv" for name in ("cam1", "cam2")]
    command = ("smooth", tmp_path / "rig.toml") if option == "--bone" else ("calibrate", "--keypoints", "--size", "9x9")
    output = tmp_path / ("out.csv" if option == "--bone" else "out.toml")
    fails("bad-option", *command, *views, "-o", output, option, "nose", "tail", value, option=option)


def test_a_threshold_belongs_to_the_robust_method(tmp_path: Path) -> None:
    write_keypoints(tmp_path)
    views = [f"{name}={tmp_path / name}.csv" for name in ("cam1", "cam2")]
    command = ("triangulate", tmp_path / "rig.toml", *views, "-o", tmp_path / "out.csv", "--threshold", 3)
    for method in ("linear", "refined"):
        fails("excluded-options", *command, "--method", method, option="--threshold")
    assert run(*command).exit_code == 0


@pytest.mark.parametrize("text", ["9", "9x", "0x6", "9x6x2", "9 6"])
@pytest.mark.parametrize(("kind", "counted"), [("chessboard", "inner corners"), ("charuco", "squares")])
def test_the_form_of_a_board_is_named(kind: str, counted: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    board = (f"--{kind}", text, "--square", 1)
    line = fails("bad-option", "calibrate", f"a={tmp_path}", *board, "-o", tmp_path / "o.toml", option=f"--{kind}")
    assert counted in line
    assert "9x6" in line
    assert "px" not in line


def test_calibrate_checks_its_options_before_it_looks_for_boards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def detect(*_: object) -> None:
        raise AssertionError

    write_inputs(tmp_path)
    monkeypatch.setattr("mvgeom.cli.film_input.detect", detect)
    command = ("calibrate", f"a={tmp_path / 'images'}", "--chessboard", "4x3", "--square", 1, "-o", tmp_path / "o.toml")
    fails("missing-view", *command, "--reference", "b", option="--reference", view="b")
    fails("missing-argument", *command, "--fix-intrinsics", option="--intrinsics")
    fails("missing-argument", *command, "--fix-distortion", option="--intrinsics")
    fails("bad-option", *command, "--max-frames", 0, option="--max-frames")


@pytest.mark.parametrize("command", ["triangulate", "smooth"])
@pytest.mark.parametrize("name", ["out.h5", "out.txt", "out", "out.csv.gz"])
def test_tables_are_named_as_what_they_are(command: str, name: str, tmp_path: Path) -> None:
    write_keypoints(tmp_path)
    views = [f"{view}={tmp_path / view}.csv" for view in ("cam1", "cam2")]
    fails("unknown-format", command, tmp_path / "rig.toml", *views, "-o", tmp_path / name, path=name)
    assert not (tmp_path / name).exists()
