"""Lists of frames by session and number: columns are found by name, faults are told with their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.errors import raises_input
from mvtrain.project.listed_frames import read_listed_frames


@pytest.mark.parametrize("header", ["session,frame", "Frame ,x,SESSION", "session;frame"])
def test_columns_are_found_by_their_names(tmp_path: Path, header: str) -> None:
    order = {"session,frame": "a,4", "Frame ,x,SESSION": "4,,a", "session;frame": "a;4"}[header]
    path = tmp_path / "list.csv"
    path.write_text(f"{header}\n{order}\n\n")
    (frame,) = read_listed_frames(path)
    assert (frame.session, frame.frame, frame.line) == ("a", 4, 2)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "missing-column"),
        ("session,number\na,1\n", "missing-column"),
        ("session,frame\n", "empty-file"),
        ("session,frame\na,\n", "empty-cell"),
        ("session,frame\na\n", "empty-cell"),
        ("session,frame\na,1.5\n", "bad-number"),
        ("session,frame\na,-1\n", "bad-number"),
        ('session,frame\n"a,1\n', "invalid-syntax"),
    ],
)
def test_faults_of_a_list(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with raises_input(code, path=tmp_path / "list.csv"):
        read_listed_frames(tmp_path / "list.csv")
    with raises_input("missing-file"):
        read_listed_frames(tmp_path / "nowhere.csv")
