"""Every command of mvgeom, given every kind of wrong path: one line that names the path and the next step."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from helpers.boards import arc_of_cameras
from helpers.mvgeom_command import run
from helpers.wrong_paths import assert_helps, command_options, make_wrong_paths
from mvgeom.path_kinds import DESCRIPTIONS, kind_of_path

KEYPOINTS_READ = {"keypoint-table", "keypoint-json", "folder-of-json"}
"""Kinds that are read where keypoints are expected; the keypoints of one view are then too few views."""

ARGUMENTS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "convert calibration": (("convert", "{path}", "-o", "{new}.toml"), {"calibration"}),
    "show calibration": (("show", "{path}"), {"calibration"}),
    "triangulate calibration": (("triangulate", "{path}", "{good}", "-o", "{new}.csv"), {"calibration"}),
    "triangulate keypoints": (
        ("triangulate", "{rig}", "cam1={path}", "cam2={path}", "-o", "{new}.csv"),
        KEYPOINTS_READ,
    ),
    "smooth keypoints": (("smooth", "{rig}", "cam1={path}", "cam2={path}", "-o", "{new}.csv"), KEYPOINTS_READ),
    "check keypoints": (("check", "{rig}", "cam1={path}", "cam2={path}"), KEYPOINTS_READ),
    "sync keypoints": (("sync", "{rig}", "cam1={path}", "cam2={path}", "--fps", "50"), KEYPOINTS_READ),
    "refine keypoints": (("refine", "{rig}", "cam1={path}", "cam2={path}", "-o", "{new}.toml"), KEYPOINTS_READ),
    "triangulate boxes": (
        ("triangulate", "{rig}", "{good}", "--boxes", "cam1={path}", "--crop-size", "8x8", "-o", "{new}.csv"),
        {"box-table"},
    ),
    "calibrate images": (
        ("calibrate", "cam1={path}", "cam2={path}", "--chessboard", "4x3", "--square", "1", "-o", "{new}.toml"),
        {"image", "folder-of-images", "video"},
    ),
    "calibrate keypoints": (
        ("calibrate", "--keypoints", "cam1={path}", "cam2={path}", "--size", "9x9", "-o", "{new}.toml"),
        KEYPOINTS_READ,
    ),
    "place calibration": (
        ("place", "{path}", "{good}", "--points", "{positions}", "-o", "{new}.toml"),
        {"calibration"},
    ),
    "place clicks": (
        ("place", "{rig}", "cam1={path}", "--points", "{positions}", "-o", "{new}.toml"),
        KEYPOINTS_READ,
    ),
    "place positions": (("place", "{rig}", "{good}", "--points", "{path}", "-o", "{new}.toml"), set()),
    "world calibration": (("world", "{path}", "{good}", "--floor", "a", "-o", "{new}.toml"), {"calibration"}),
    "world keypoints": (
        ("world", "{rig}", "cam1={path}", "cam2={path}", "--floor", "a", "-o", "{new}.toml"),
        KEYPOINTS_READ,
    ),
    "world positions": (("world", "{rig}", "{good}", "--points", "{path}", "-o", "{new}.toml"), set()),
    "world images": (
        ("world", "{rig}", "cam1={path}", "--chessboard", "4x3", "--square", "1", "-o", "{new}.toml"),
        {"image", "folder-of-images", "video"},
    ),
    "calibrate board": (("calibrate", "c={board}", "--board", "{path}", "-o", "{new}.toml"), set()),
    "world board": (("world", "{rig}", "cam1={board}", "--board", "{path}", "-o", "{new}.toml"), set()),
    "sync board": (("sync", "{rig}", "cam1={board}", "--board", "{path}"), set()),
    "calibrate intrinsics": (
        (
            "calibrate",
            "c={board}",
            "--chessboard",
            "4x3",
            "--square",
            "1",
            "--intrinsics",
            "{path}",
            "-o",
            "{new}.toml",
        ),
        {"calibration"},
    ),
}
"""Command line with {path} for the wrong one, and the kinds that are right there."""


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_wrong_paths(tmp_path_factory.mktemp("wrong"))


def test_every_kind_has_a_path(paths: dict[str, Path]) -> None:
    assert set(DESCRIPTIONS) <= set(paths)
    for kind, path in paths.items():
        if kind not in ("missing", "binary"):
            assert kind_of_path(path) == kind


def test_every_command_is_tried() -> None:
    assert {f"mvgeom {name.split()[0]}" for name in ARGUMENTS} == set(command_options("mvgeom"))


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_the_message_names_the_path_and_the_next_step(argument: str, paths: dict[str, Path], tmp_path: Path) -> None:
    arc_of_cameras(2).save(tmp_path / "rig.json")
    template, right = ARGUMENTS[argument]
    options = {**command_options("mvgeom"), "mvtrain predict": frozenset(), "mvtrain import": frozenset()}
    for kind, path in paths.items():
        if kind in right:
            continue
        (tmp_path / "positions.csv").write_text("name,x,y,z\na,0,0,0\n")
        places = {
            "path": path,
            "positions": tmp_path / "positions.csv",
            "rig": tmp_path / "rig.json",
            "new": tmp_path / "new",
            "board": paths["image"],
        }
        arguments: list[str] = []
        for word in template:
            good = [f"cam{number}={paths['keypoint-table']}" for number in (1, 2)]
            arguments += good if word == "{good}" else [word.format(**places)]
        result = run(*arguments)
        assert result.exit_code == 2, f"{kind}: {result.output}"
        lines = result.stderr.splitlines()
        assert len(lines) == 1, f"{kind}: {result.stderr}"
        assert lines[0].startswith("error: ")
        if kind == "missing":
            assert str(path) in lines[0]
        elif 'pip install "mvgeom[hdf5]"' in lines[0]:  # nothing can be told of the file without the library
            assert str(path) in lines[0]
            assert importlib.util.find_spec("h5py") is None
        else:
            assert_helps(lines[0], path, options)
    assert not list(tmp_path.glob("new*"))
