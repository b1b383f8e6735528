"""Session, view and frame in foreign names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import raises_input
from mvtrain.project.names import (
    ONLY_SESSION,
    NameParts,
    camera_regex_rule,
    frame_number,
    pattern_rule,
    split_image_name,
    split_name,
    split_view_paths,
    trim,
)

WORDS = st.text(alphabet="abcXYZ019", min_size=1, max_size=6)


@given(session=st.lists(WORDS, min_size=1, max_size=3).map("_".join), view=WORDS, frame=st.integers(0, 10**8))
@settings(max_examples=60, deadline=None)
def test_a_pattern_splits_the_names_that_it_makes(session: str, view: str, frame: int) -> None:
    parts = NameParts(session=session, view=view, frame=frame)
    for template in ("<session>_<view>_<frame>", "<session>_<view>-img<frame>", "<session> (<view>) <frame>"):
        name = template.replace("<session>", session).replace("<view>", view).replace("<frame>", f"{frame:06d}")
        assert pattern_rule(template, [view]).split(name) == parts
        assert pattern_rule(template).split(name) == parts


@given(session=st.lists(WORDS, min_size=1, max_size=3).map("_".join), view=WORDS)
@settings(max_examples=60, deadline=None)
def test_a_given_view_is_only_removed_from_the_name(session: str, view: str) -> None:
    rule = pattern_rule("<session>_<view>")
    assert split_name(f"{session}_{view}", view, rule, "") == NameParts(session=session, view=view)
    assert split_name(session, f"{view}!", rule, "") == NameParts(session=session, view=f"{view}!")


def test_names_of_views_can_have_the_separator() -> None:
    rule = pattern_rule("<session>_<view>", ["left", "far_left"])
    assert rule.split("mouse_1_far_left") == NameParts(session="mouse_1", view="far_left")
    assert rule.split("mouse_1_left") == NameParts(session="mouse_1", view="left")
    assert pattern_rule("<session>_<view>").split("mouse_1_far_left") == NameParts(session="mouse_1_far", view="left")
    assert rule.split("mouse_1_right") is None


def test_pattern_without_session_has_one_session() -> None:
    assert pattern_rule("<view>_<frame>").split("top_0012") == NameParts(session="session", view="top", frame=12)


def test_the_folder_has_the_view_and_the_file_the_frame() -> None:
    rule = pattern_rule("<session>_<view>")
    expected = NameParts(session="mouse", view="top", frame=7)
    assert split_image_name("labeled-data\\mouse_top\\img2_0007.png", None, rule, "") == expected
    flat = pattern_rule("<session>_<view>_frame_<frame>")
    assert split_image_name("images/mouse_top_frame_000007.png", None, flat, "") == expected


def test_anipose_cam_regex() -> None:
    rule = camera_regex_rule("-cam([A-Z])")
    assert rule.split("2019-08-02-vid01-camA") == NameParts(session="2019-08-02-vid01", view="A")
    assert rule.split("2019-08-02-vid01") is None


@given(number=st.integers(0, 10**9))
@settings(max_examples=30, deadline=None)
def test_frame_number_is_the_last_number(number: int) -> None:
    assert frame_number(f"cam2_img{number:05d}") == number
    assert frame_number("image") is None


TAILS = st.sampled_from(
    ["", " (3)", " - Copy", "_copy2", "_1920x1080", "_30fps", "_1080p", "_png.rf.0a1b2c3d4e5f", "_0f1e2d3c", "_top"]
)


@given(number=st.integers(0, 10**9), tails=st.lists(TAILS, max_size=3).map("".join))
@settings(max_examples=60, deadline=None)
def test_what_programs_append_is_not_the_frame_number(number: int, tails: str) -> None:
    assert frame_number(f"cam2_img{number:05d}{tails}", "top") == number
    assert trim(f"cam2_img{number:05d}{tails}", "top") == f"cam2_img{number:05d}"


@pytest.mark.parametrize(
    ("name", "view", "expected"),
    [
        ("Image (12)", None, 12),
        ("bee00012", None, 12),
        ("00001234", None, 1234),
        ("vid1_2", "2", 2),
        ("f_2_cam1", "cam1", 2),
    ],
)
def test_numbers_that_only_look_appended(name: str, view: str | None, expected: int) -> None:
    assert frame_number(name, view) == expected


def test_a_pattern_with_folders_has_one_for_videos() -> None:
    rule = pattern_rule("<session>/<view>/*_<frame>", ["top"])
    assert rule.depth == 3
    assert rule.without_frame is not None
    assert split_name("C:\\rig\\day1\\top", None, rule.without_frame, "") == NameParts(session="day1", view="top")
    flat = pattern_rule("<session>_<view>_<frame>", ["top"]).without_frame
    assert flat is not None
    assert split_name("rig/day1_top", None, flat, "") == NameParts(session="day1", view="top")


def test_a_pattern_can_be_without_the_view_where_it_is_given() -> None:
    rule = pattern_rule("<session>-*_<frame>", need_view=False, given=True)
    assert split_image_name("a/b/day1-img_0012.png", "top", rule, "") == NameParts(session="day1", view="top", frame=12)
    with raises_input("bad-name", name="other"):
        split_image_name("a/b/other.png", "top", rule, "")


@pytest.mark.parametrize("name", ["", "top", "."])
def test_a_session_always_has_a_name(name: str) -> None:
    assert split_name(name, "top", pattern_rule("<session>_<view>"), "").session == ONLY_SESSION


@pytest.mark.parametrize("template", ["<session>", "<view>_<view>", "<camera>_<view>"])
def test_errors_of_patterns(template: str) -> None:
    with raises_input("bad-option", option="--pattern", found=template):
        pattern_rule(template)


@pytest.mark.parametrize("expression", ["cam(", "cam"])
def test_errors_of_cam_regex(expression: str) -> None:
    with raises_input("bad-value", key="cam_regex", found=expression):
        camera_regex_rule(expression)


def test_errors_of_names() -> None:
    rule = pattern_rule("<session>_<view>")
    with raises_input("bad-name", name="mouse") as caught:
        split_name("mouse", None, rule, "a.slp")
    assert "a.slp" in str(caught.value)
    with raises_input("bad-name", name="nose.png") as caught:
        split_image_name("mouse_top/nose.png", None, rule, "a.csv, row 3")
    assert "a.csv, row 3" in str(caught.value)


def test_views_and_paths_may_have_an_equals_sign(tmp_path: Path) -> None:
    folder = tmp_path / "run=3"
    folder.mkdir()
    (folder / "a.mp4").touch()
    for path in (folder, folder / "a.mp4", folder / "*.mp4"):
        for view in ("top", "cam=1", "cafe\u0301l"):
            assert split_view_paths([f"{view}={path}"]) == [(view.replace("e\u0301", "é"), path)]
    assert split_view_paths(["top=no=where.csv"]) == [("top", Path("no=where.csv"))]
    for text in ("top", "=a.csv", "top="):
        with raises_input("bad-option", found=text):
            split_view_paths([text])
