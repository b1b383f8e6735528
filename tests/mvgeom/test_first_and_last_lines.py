"""First and last lines of every command of mvgeom: what it reads, what it wrote, and the next command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.command_lines import keypoint_table, write_inputs
from helpers.mvgeom_command import run
from helpers.wrong_paths import command_options
from mvgeom import CameraGroup, project
from mvgeom.cli.output import print_start
from mvgeom.cli.search_progress import SECONDS_BETWEEN_LINES, SearchProgress

VIEWS = ("rig.toml", "cam1=cam1.csv", "cam2=cam2.csv")
BOARD = ("cam1=images", "cam2=board*.png", "--board", "board.toml")

FIRST: dict[str, tuple[str, tuple[str, ...]]] = {
    "convert": ("rig.toml", ("rig.toml", "-o", "new.json")),
    "show": ("rig.toml", ("rig.toml",)),
    "triangulate": ("rig.toml and 2 others", (*VIEWS, "-o", "new.csv")),
    "smooth": ("rig.toml and 2 others", (*VIEWS, "-o", "new.csv")),
    "check": ("rig.toml and 3 others", (*VIEWS, "--boxes", "cam1=boxes.csv", "--crop-size", "8x8")),
    "refine": ("rig.toml and 2 others", (*VIEWS, "-o", "new.toml")),
    "sync": ("rig.toml and 2 others", (*VIEWS, "--fps", "50", "-o", "new.json")),
    "sync board": ("rig.toml and 2 others", ("rig.toml", "cam1=images", "--board", "board.toml", "-o", "new.json")),
    "place": ("rig.toml and 2 others", ("rig.toml", "cam1=cam1.csv", "--points", "room.csv", "-o", "new.toml")),
    "world": ("rig.toml and 2 others", (*VIEWS, "--floor", "a", "-o", "new.toml")),
    "world points": ("rig.toml and 3 others", (*VIEWS, "--points", "room.csv", "-o", "new.toml")),
    "world board": ("rig.toml and 3 others", ("rig.toml", *BOARD, "-o", "new.toml")),
    "calibrate": ("images and 2 others", (*BOARD, "-o", "new.toml")),
    "calibrate keypoints": (
        "cam1.csv and 1 other",
        ("--keypoints", *VIEWS[1:], "--size", "1280x1024", "-o", "new.toml"),
    ),
}
"""First line and arguments of each command, which need not succeed."""

STOP_AT_FIRST_LINE = """
import io, os, sys
from mvgeom.cli.commands import main

class FirstLine(io.StringIO):
    def flush(self):
        if "\\n" in self.getvalue():
            heavy = sorted({"scipy", "cv2", "pandas", "matplotlib", "h5py"} & set(sys.modules))
            os.write(1, f"{self.getvalue()}{heavy}".encode())
            os._exit(0)

sys.stdout = FirstLine()
main()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with inputs of all commands, in which the commands run."""
    write_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_is_tried() -> None:
    names = {name.removeprefix("mvgeom ") for name in command_options("mvgeom")}
    assert names == {name.split()[0] for name in FIRST} == set(LAST)


@pytest.mark.parametrize("name", FIRST)
def test_the_first_line_comes_before_heavy_imports(name: str, folder: Path) -> None:
    expected, arguments = FIRST[name]
    if name.endswith(" board"):
        (folder / "rig.sync.json").unlink()
    words = [sys.executable, "-c", STOP_AT_FIRST_LINE, name.split()[0], *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"reading {expected} ...", "[]"]


def test_no_path_is_no_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_start()
    assert capsys.readouterr().out == ""
    print_start("a [b].mp4")
    assert capsys.readouterr().out == "reading a [b].mp4 ...\n"


LAST: dict[str, tuple[tuple[object, ...], str]] = {
    "convert": (("rig.toml", "-o", "new.json"), "new.json"),
    "show": (("rig.toml", "-o", "new.png"), "new.png"),
    "triangulate": ((*VIEWS, "-o", "new.csv"), "new.csv"),
    "smooth": ((*VIEWS, "-o", "new.csv"), "new.csv"),
    "check": (VIEWS, ""),
    "refine": ((*VIEWS, "-o", "new.toml"), "new.toml"),
    "sync": ((*VIEWS, "--fps", 50, "-o", "new.json"), "new.json"),
    "place": (("rig.toml", "cam1=clicks.csv", "--points", "known.csv", "-o", "new.toml"), "new.toml"),
    "world": ((*VIEWS, "--floor", "a", "--floor", "b", "--floor", "c", "-o", "new.toml"), "new.toml"),
    "calibrate": (("--keypoints", *VIEWS[1:], "--intrinsics", "rig.toml", "-o", "new.toml", "--force"), "new.toml"),
}
"""Arguments with which each command succeeds, and the file that it writes."""

NO_NEXT_COMMAND = {"smooth": "its tables are for programs that analyze motion"}
"""Commands after which there is none of ours, and the reason."""


@pytest.mark.parametrize("name", LAST)
def test_the_last_lines_name_what_was_written_and_the_next_command(name: str, folder: Path) -> None:
    (folder / "rig.sync.json").unlink()
    corners = np.array([[0.0, 0, 0], [0.3, 0, 0], [0.3, 0.2, 0], [0, 0.2, 0]])
    pixels = project(corners, CameraGroup.load("rig.toml"))[:1]
    (folder / "clicks.csv").write_text(keypoint_table(pixels))
    lines = [f"{name},{x},{y},{z}" for name, (x, y, z) in zip("abcd", corners, strict=True)]
    (folder / "known.csv").write_text("\n".join(["name,x,y,z", *lines]) + "\n")
    arguments, written = LAST[name]
    result = run(name, *arguments)
    assert result.exit_code == 0, result.output
    *_, before, last = result.stdout.splitlines()
    if written:
        assert (folder / written).is_file()
        assert written in f"{before}\n{last}"
    assert ("next: mvgeom " in last) == (name not in NO_NEXT_COMMAND), last


def test_a_long_search_prints_a_line_from_time_to_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines stand for the bars of a terminal."""
    now = 0.0
    with SearchProgress(["boards of cam1", "boards of cam2"], clock=lambda: now) as shown:
        for second in range(1, 3 * int(SECONDS_BETWEEN_LINES)):
            now = float(second)
            shown.update("boards of cam2", second, 500)
    captured = capsys.readouterr()
    assert captured.out.splitlines() == ["boards of cam2: 30 of 500", "boards of cam2: 60 of 500"]
    assert captured.err == ""
