"""Names of files made of any text: in their folder, distinct, and as they are where every system takes them."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.errors import raises_input
from helpers.hostile import NAMES
from mvgeom.files import file_name, inside


@pytest.mark.parametrize(
    "name",
    [
        "mouse_top.csv",
        "2024-01-01 10.30_cam 1.csv",
        "..hidden.csv",
        ".partial",
        "é日本.png",
        "a.b.c",
        "console.csv",
        "(1)",
        f"{'x' * 236}.csv",
    ],
)
def test_usual_names_stay(name: str) -> None:
    assert file_name(name) == name


def check(text: str) -> str:
    name = file_name(text)
    assert name == os.fsencode(name).decode("utf-8", "surrogateescape")
    assert len(os.fsencode(name)) <= 240
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind("folder") / name
        assert path.parent == kind("folder")
        assert path.name == name
    assert not PureWindowsPath(name).drive
    assert name not in ("", ".", "..")
    assert not any(ord(character) < 32 for character in name)
    return name


@given(st.text())
def test_any_text_gives_a_name_in_the_folder(text: str) -> None:
    name = check(text)
    assert check(f"{text}.csv").endswith(".csv")
    assert check(name) == name


@given(st.text())
def test_an_ending_that_is_looked_for_stays(text: str) -> None:
    name = file_name(text, "_prediction.json")
    assert name.endswith("_prediction.json")
    assert check(name) == name
    if file_name(f"{text}_prediction.json") == f"{text}_prediction.json":
        assert name == f"{text}_prediction.json"


@given(st.text(alphabet="a./\\:\0 "), st.text(alphabet="a./\\:\0 "))
def test_different_texts_give_different_names(one: str, other: str) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)


@pytest.mark.parametrize("text", NAMES)
def test_hostile_names_can_be_written(text: str, tmp_path: Path) -> None:
    (tmp_path / check(f"{text}.csv")).write_text("")
    (tmp_path / check(text)).mkdir()
    assert len(list(tmp_path.iterdir())) == 2


def test_paths_inside_a_folder(tmp_path: Path) -> None:
    assert inside(tmp_path, "labeled-data/s_top/img1.png") == tmp_path / "labeled-data" / "s_top" / "img1.png"
    assert inside(tmp_path, "a\\b.png") == tmp_path / "a" / "b.png"
    for name in ("../a", "a/../../b", "/a", "\\a", "C:\\a", "C:a", "", "a\0b", "a/..", ".."):
        with raises_input("bad-name", name=name):
            inside(tmp_path, name)
