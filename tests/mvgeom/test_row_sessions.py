"""Rows of views are matched only within a session, whatever the folders are called."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.boards import arc_of_cameras
from helpers.errors import raises_input
from helpers.mvgeom_command import fails
from mvgeom.tables import KeypointTable, stack_views
from mvgeom.tables.row_names import session_of_recording, session_of_row

LAYOUTS = {
    "<session>_<view>": "labeled-data/{session}_{view}/img{frame:04d}.png",
    "<view>_<session>": "labeled-data/{view}_{session}/img{frame:04d}.png",
    "<session>/<view>": "{session}/{view}/img{frame:04d}.png",
    "Windows": "labeled-data\\{session}_{view}\\img{frame:04d}.png",
    "another name of the view": "labeled-data/{session}_video{number}/img{frame:04d}.png",
    "another name in front": "labeled-data/video{number}-{session}/img{frame:04d}.png",
}
VIEWS = ("top", "left", "cam_3")


def table(rows: list[str], name: str = "labels.csv", *, recording: str = "", sparse: bool = False) -> KeypointTable:
    return KeypointTable(
        path=Path(name),
        rows=tuple(rows),
        keypoint_names=("nose",),
        points=np.zeros((len(rows), 1, 2)),
        likelihood=None,
        recording=recording,
        sparse=sparse,
    )


def rows_of(layout: str, view: str, frames: list[tuple[str, int]]) -> list[str]:
    number = VIEWS.index(view)
    return [LAYOUTS[layout].format(session=session, view=view, frame=frame, number=number) for session, frame in frames]


@pytest.mark.parametrize("layout", LAYOUTS)
@given(
    sessions=st.permutations(["s1", "s2", "2024-05-01", "mouse_a"]).map(lambda names: names[:3]),
    order=st.permutations(range(6)),
)
def test_sessions_are_compared_in_every_layout(layout: str, sessions: list[str], order: list[int]) -> None:
    frames = [(session, frame) for session in sessions for frame in (3, 7)]
    frames = [frames[place] for place in order]
    tables = {view: table(rows_of(layout, view, frames)) for view in VIEWS}
    assert stack_views(tables).points.shape == (6, 3, 1, 2)
    # One view has the sessions in another order: the names of the files agree, but not the frames.
    other = dict(zip(sessions, [*sessions[1:], sessions[0]], strict=True))
    tables["left"] = table(rows_of(layout, "left", [(other[session], frame) for session, frame in frames]))
    with raises_input("tables-differ", view="left", row=1):
        stack_views(tables)


@pytest.mark.parametrize("layout", ["<session>_<view>", "<view>_<session>", "<session>/<view>"])
def test_one_other_session_of_one_view(layout: str) -> None:
    tables = {
        view: table(rows_of(layout, view, [(session, 1), (session, 2)]))
        for view, session in zip(VIEWS, ("a", "a", "b"), strict=True)
    }
    with raises_input("tables-differ", view="cam_3", row=1, line=4):
        stack_views(tables)


def test_the_name_of_the_table_is_another_name_of_the_view() -> None:
    tables = {
        "cam_0": table(["x/a_top/1.png"], "CollectedData_top.csv"),
        "cam_1": table(["x/b_left/1.png"], "CollectedData_left.csv"),
    }
    with raises_input("tables-differ", view="cam_1"):
        stack_views(tables)


@pytest.mark.parametrize(
    "rows",
    [
        # What worked before: names that tell no session, or name it only in one view.
        {"a": ["1.png", "2.png"], "b": ["1.png", "2.png"]},
        {"a": ["left/1.png"], "b": ["right/1.png"]},
        {"a": ["d/monday_left/1.png"], "b": ["d/rec0007/1.png"]},
        {"a": ["d/s1_a/1.png"], "b": ["d/s1/b/1.png"]},
        {"a": ["d/run1/1.png", "d/run2/1.png"], "b": ["d/cut5/1.png", "d/cut9/1.png"]},
        {"a": ["0", "1"], "b": ["0", "1"]},
    ],
)
def test_names_without_a_session_are_accepted(rows: dict[str, list[str]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack_views({view: table(names) for view, names in rows.items()})


def test_one_session_of_a_view_is_never_matched_with_two() -> None:
    one = ["d/run1/1.png", "d/run1/2.png", "d/run2/1.png"]
    other = ["d/cut5/1.png", "d/cut9/2.png", "d/cut9/1.png"]
    for first, second in itertools.permutations((one, other)):
        with raises_input("tables-differ", view="b", row=2):
            stack_views({"a": table(first), "b": table(second)})


def test_the_rule_agrees_with_mvtrain() -> None:
    names = pytest.importorskip("mvtrain.project.names")
    for row, view in (("labeled-data/s_1_cam_3/img1.png", "cam_3"), ("a\\b_top\\1.png", "top")):
        assert session_of_row(row, view) == ("<session>_<view>", names.frame_of(row, view)[0])
        assert names.names_view(row, view)
    assert session_of_row("labeled-data/s1/img1.png", "top") is None


@pytest.mark.parametrize(
    ("recording", "session"),
    [
        ("mouse_1_top", "mouse_1"),
        ("mouse_1_topDLC_resnet50_projectMay1shuffle1_100000", "mouse_1"),
        ("predictions_top", "predictions"),
        ("top", None),
        ("desktop", None),
        ("", None),
    ],
)
def test_sessions_of_recordings(recording: str, session: str | None) -> None:
    assert session_of_recording(recording, "top") == session


def test_recordings_of_other_sessions_are_named_in_a_warning() -> None:
    rows = ["0", "1"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack_views({view: table(rows, recording=f"s1_{view}") for view in VIEWS})
        stack_views({"a": table(rows, recording="s1_a"), "b": table(rows, recording="b")})
    with pytest.warns(UserWarning, match=r"'s1' \(a\), 's2' \(b\)"):
        stack_views({"a": table(rows, recording="s1_a"), "b": table(rows, recording="s2_b")})


@pytest.mark.parametrize("command", ["triangulate", "check", "refine"])
def test_no_command_blames_the_pose_for_other_sessions(command: str, tmp_path: Path) -> None:
    cameras = arc_of_cameras(3)
    cameras.save(tmp_path / "rig.json")
    columns = pd.MultiIndex.from_product([["me"], ["nose"], ["x", "y"]], names=["scorer", "bodyparts", "coords"])
    arguments = []
    for view, name in enumerate(cameras.names):
        sessions = ("s1", "s2") if view < 2 else ("s2", "s1")
        rows = [f"labeled-data/{session}_{name}/img{row}.png" for session in sessions for row in range(15)]
        pd.DataFrame(np.ones((30, 2)), columns=columns, index=rows).to_csv(tmp_path / f"{name}.csv")
        arguments.append(f"{name}={tmp_path / name}.csv")
    output = () if command == "check" else ("-o", tmp_path / ("out.csv" if command == "triangulate" else "out.json"))
    line = fails("tables-differ", command, tmp_path / "rig.json", *arguments, *output, view=cameras.names[2], line=4)
    assert "session" in line
    assert "pose" not in line
