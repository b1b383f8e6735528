"""Names of videos to sessions and views, suggestions of patterns, keypoints and skeletons."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.errors import raises_input
from mvtrain.project.names import pattern_rule
from mvtrain.start.init_project import parse_renaming
from mvtrain.start.keypoint_list import Skeleton, check_keypoints, read_skeleton
from mvtrain.start.session_plan import (
    SUGGESTED_PATTERNS,
    VideoInput,
    find_videos,
    natural_key,
    pattern_depth,
    read_name,
    suggest_pattern,
)

SESSIONS, VIEWS = ("day1", "day2"), ("top", "side", "front")


def touch(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


@pytest.mark.parametrize("pattern", SUGGESTED_PATTERNS)
@pytest.mark.parametrize("known", [VIEWS, ()])
def test_every_suggested_pattern_reads_its_names_and_is_found(pattern: str, known: tuple[str, ...]) -> None:
    sessions = SESSIONS if "<session>" in pattern else ("session",)
    names = [
        (session, view, Path("raw") / (pattern.replace("<session>", session).replace("<view>", view) + ".mp4"))
        for session in sessions
        for view in VIEWS
    ]
    rule = pattern_rule(pattern, known)
    for session, view, path in names:
        named = read_name(path, None, rule, pattern_depth(pattern))
        assert (named.session, named.view) == (session, view)
    suggested = suggest_pattern([path for *_, path in names], known)
    assert suggested is not None
    if known:
        read = [read_name(path, None, pattern_rule(suggested, known), pattern_depth(suggested)) for *_, path in names]
        assert [video.view for video in read] == [view for _, view, _ in names]


def test_no_pattern_is_suggested_for_names_without_views(tmp_path: Path) -> None:
    assert suggest_pattern([Path("a.mp4"), Path("b.mp4")], ("top", "side")) is None


def test_a_given_view_leaves_the_session() -> None:
    rule = pattern_rule("<session>_<view>", ())
    assert read_name(Path("raw/top/mouse_1.mp4"), "top", rule, 1).session == "mouse_1"
    assert read_name(Path("raw/mouse_top.mp4"), "top", rule, 1).session == "mouse"


def test_videos_are_found_in_folders_and_by_patterns(tmp_path: Path) -> None:
    touch(tmp_path, "b_cam10.mp4", "b_cam2.MP4", "notes.txt", "in/a_cam1.avi", "._b_cam2.mp4", "b_cam2_bbox.csv")
    found = find_videos(VideoInput(path=tmp_path))
    assert [path.name for path in found] == ["b_cam2.MP4", "b_cam10.mp4", "a_cam1.avi"]
    assert [path.name for path in find_videos(VideoInput(path=tmp_path / "*cam10*"))] == ["b_cam10.mp4"]
    assert find_videos(VideoInput(path=tmp_path / "b_cam10.mp4")) == [tmp_path / "b_cam10.mp4"]


@pytest.mark.parametrize(
    ("name", "code"),
    [("nothing", "missing-file"), ("x*", "missing-file"), ("a.txt", "unsupported-file"), (".", "missing-file")],
)
def test_inputs_without_videos(tmp_path: Path, name: str, code: str) -> None:
    touch(tmp_path, "a.txt")
    with raises_input(code):
        find_videos(VideoInput(path=tmp_path / name))


def test_numbers_sort_as_numbers() -> None:
    assert sorted(["cam10", "cam2", "Cam1", "cam"], key=natural_key) == ["Cam1", "cam", "cam2", "cam10"]


@pytest.mark.parametrize(
    ("text", "names", "pairs"),
    [
        ("keypoints: [nose, tail]\nskeleton: [[nose, tail]]", ("nose", "tail"), (("nose", "tail"),)),
        ("keypoint_names: [nose]", ("nose",), ()),
        ("data: {keypoint_names: [a, b], skeleton: [[a, b]]}", ("a", "b"), (("a", "b"),)),
        ("bodyparts:\n- a\n- b\nskeleton:\n- - a\n  - b\n", ("a", "b"), (("a", "b"),)),
        ('{"keypoints": ["a"], "skeleton": []}', ("a",), ()),
        ("bodyparts: MULTI!\nmultianimalbodyparts: [a, b]\nuniquebodyparts: [c]", ("a", "b", "c"), ()),
        ("bodyparts: MULTI!\nmultianimalbodyparts: [a, b]\nskeleton: [[a, b]]", ("a", "b"), (("a", "b"),)),
    ],
)
def test_skeleton_files(tmp_path: Path, text: str, names: tuple[str, ...], pairs: tuple[tuple[str, str], ...]) -> None:
    (tmp_path / "s.yaml").write_text(text)
    assert read_skeleton(tmp_path / "s.yaml") == Skeleton(keypoint_names=names, pairs=pairs)


def test_lines_of_deeplabcut_to_removed_keypoints_are_left_out_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("bodyparts: [a, b]\nskeleton: [[a, bodypart2], [a, b], [objectA, bodypart3]]")
    skeleton = read_skeleton(tmp_path / "s.yaml")
    assert skeleton.pairs == (("a", "b"),)
    (note,) = skeleton.notes
    assert "a-bodypart2, objectA-bodypart3" in note


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[nose]", "missing-field"),
        ("keypoints: nose", "missing-field"),
        ("keypoints: [nose, nose]", "duplicate-name"),
        ("keypoints: [1, 2]", "bad-name"),
        ("bodyparts: [yes, no]", "bad-name"),
        ("bodyparts: [2020-01-01]", "bad-name"),
        ("bodyparts: [a, b]\nskeleton: [[a]]", "bad-field"),
        ("bodyparts: MULTI!", "missing-argument"),
        ("bodyparts: MULTI!\nmultianimalbodyparts: a", "missing-field"),
        ("bodyparts: MULTI!\nmultianimalbodyparts: [a]\nuniquebodyparts: [a]", "duplicate-name"),
        ("keypoints: []", "missing-argument"),
        ("keypoints: [a, b]\nskeleton: [[a, c]]", "bad-field"),
        ("keypoints: [a, b]\nskeleton: [a, b]", "bad-field"),
        ("keypoints: [a, b]\nskeleton: {a: b}", "bad-field"),
        ("keypoints: [a, b]\nskeleton: [[a, [b]]]", "bad-field"),
        ("keypoints: {", "invalid-syntax"),
    ],
)
def test_faulty_skeleton_files(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with raises_input(code):
        read_skeleton(tmp_path / "s.yaml")


def test_a_missing_skeleton_file(tmp_path: Path) -> None:
    with raises_input("missing-file", path="no.yaml"):
        read_skeleton(tmp_path / "no.yaml")


@pytest.mark.parametrize(
    ("names", "code"), [([""], "bad-name"), (["a", " b"], "bad-name"), (["a", "a"], "duplicate-name")]
)
def test_faulty_names_of_keypoints(names: list[str], code: str) -> None:
    with raises_input(code):
        check_keypoints(names, "--keypoints")


def test_cameras_get_the_names_of_views() -> None:
    assert parse_renaming("top=cam0, side = cam1") == {"cam0": "top", "cam1": "side"}
    assert parse_renaming(None) == {}
    for text in ("top", "top=", "=cam0", "top=cam0,top=cam1", "top=cam0,side=cam0"):
        with raises_input("bad-option", option="--cameras"):
            parse_renaming(text)
