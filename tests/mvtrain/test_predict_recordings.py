"""Videos grouped into sessions by their names."""

from collections.abc import Sequence
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from helpers.errors import raises_input
from mvtrain.predict.recordings import find_sessions

VIEWS = ("top", "left")


def touch(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return [folder / name for name in names]


def names_of(inputs: Sequence[Path], views: Sequence[str] = VIEWS) -> dict[str, list[str]]:
    return {session.name: [path.name for path in session.videos] for session in find_sessions(inputs, views).complete}


@settings(max_examples=25)
@given(order=st.permutations(range(6)), session=st.sampled_from(["a", "day_1", "x.y", "top"]))
def test_the_order_of_files_does_not_matter(
    order: list[int], session: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("videos")
    names = [f"{name}_{view}.mp4" for name in (session, "b", "c") for view in VIEWS]
    files = touch(folder, *names)
    expected = {name: [f"{name}_top.mp4", f"{name}_left.mp4"] for name in (session, "b", "c")}
    assert names_of([files[number] for number in order]) == expected
    assert names_of([folder]) == expected


def test_folders_files_and_patterns_name_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    touch(folder, "a_top.mp4", "a_left.AVI", "b_top.mkv", "b_left.mkv", "a_top.csv", "a_overlay.mp4", "notes.mp4")
    both = {"a": ["a_top.mp4", "a_left.AVI"], "b": ["b_top.mkv", "b_left.mkv"]}
    assert names_of([folder]) == both
    assert names_of([folder / "*_top.*"]) == both
    assert names_of([folder / "a_top.mp4", folder]) == both
    # One video stands for its session.
    assert names_of([folder / "a_left.AVI"]) == {"a": both["a"]}
    assert names_of([tmp_path / "**" / "b_*.mkv"]) == {"b": both["b"]}


def test_views_with_underscores_and_views_that_end_in_another(tmp_path: Path) -> None:
    touch(tmp_path, "a_cam_1.mp4", "a_1.mp4")
    assert names_of([tmp_path], ("1", "cam_1")) == {"a": ["a_1.mp4", "a_cam_1.mp4"]}


def test_a_view_anywhere_in_a_name_counts_where_no_name_ends_in_one(tmp_path: Path) -> None:
    names = [f"mouse_{view}_{trial}.mp4" for trial in (3, 4) for view in VIEWS]
    touch(tmp_path, *names, "top_5.mp4", "5-left.mp4", "stop_left3.mp4", "top_left_6.mp4")
    expected = {"mouse_3": names[:2], "mouse_4": names[2:], "5": ["top_5.mp4", "5-left.mp4"]}
    assert names_of([tmp_path]) == expected
    assert names_of([tmp_path / "mouse_top_3.mp4"]) == {"mouse_3": names[:2]}
    touch(tmp_path, "a_top.mp4", "a_left.mp4")
    assert names_of([tmp_path]) == {"a": ["a_top.mp4", "a_left.mp4"]}


def test_any_video_is_one_of_a_single_view(tmp_path: Path) -> None:
    touch(tmp_path, "monday.mp4", "tuesday_2.avi", "notes.txt")
    expected = {"monday": ["monday.mp4"], "tuesday_2": ["tuesday_2.avi"]}
    assert names_of([tmp_path], ("CollectedData",)) == expected
    assert names_of([tmp_path / "*"], ("CollectedData",)) == expected
    assert names_of([tmp_path / "monday.mp4"], ("CollectedData",)) == {"monday": ["monday.mp4"]}
    touch(tmp_path, "monday_cam.mp4")
    assert names_of([tmp_path], ("cam",)) == {"monday": ["monday_cam.mp4"]}


def test_videos_whose_names_do_not_end_in_a_view_as_others_do_are_named(tmp_path: Path) -> None:
    used = touch(tmp_path, "s1_top.mp4", "s1_left.mp4")
    touch(tmp_path, "notes.mp4", "s1_overlay.mp4", "s1_top.csv", "s1_top.short.txt")
    assert find_sessions([tmp_path], VIEWS).ignored_note() is None
    ignored = touch(tmp_path, "s1_left.short.mp4", "s1_top.short.mp4")
    found = find_sessions([tmp_path, tmp_path], VIEWS)
    assert found.complete[0].videos == tuple(used)
    assert found.ignored == tuple(ignored)
    note = found.ignored_note()
    assert note is not None
    for part in (str(tmp_path), "2 videos", "s1_top.short.mp4"):
        assert part in note
    assert find_sessions(used, VIEWS).ignored == ()


def test_a_session_that_lacks_a_view_is_incomplete_and_others_are_kept(tmp_path: Path) -> None:
    touch(tmp_path, "a_top.mp4", "a_left.mp4", "b_top.mp4")
    found = find_sessions([tmp_path], VIEWS)
    assert [session.name for session in found.complete] == ["a"]
    (incomplete,) = found.incomplete
    assert (incomplete.name, incomplete.missing) == ("b", ("left",))
    for part in ("'b'", str(tmp_path), "view left", "top, left", "b_top.mp4"):
        assert part in incomplete.problem


@pytest.mark.parametrize(
    ("name", "code", "facts"),
    [
        ("absent", "missing-file", {}),
        ("*.mov", "missing-file", {}),
        ("readme.txt", "bad-name", {}),
        ("c_side.mp4", "bad-name", {}),
        ("_top.mp4", "bad-name", {}),
        ("empty", "missing-file", {"found": ()}),
        ("other", "missing-file", {"found": ("x.mp4", "y_side.mp4")}),
    ],
)
def test_inputs_without_a_session_are_refused(name: str, code: str, facts: dict[str, object], tmp_path: Path) -> None:
    touch(tmp_path, "readme.txt", "c_side.mp4", "_top.mp4")
    touch(tmp_path / "empty")
    touch(tmp_path / "other", "x.mp4", "y_side.mp4", "table.csv")
    with raises_input(code, path=tmp_path / name, **facts) as caught:
        find_sessions([tmp_path / name], VIEWS)
    for found in facts.get("found", ()):  # type: ignore[attr-defined]
        assert found in str(caught.value)


def test_two_videos_of_one_view_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "monday", "a_top.mp4", "a_left.mp4")
    touch(tmp_path / "tuesday", "a_top.mp4", "a_left.mp4")
    paths = tuple(tmp_path / day / "a_left.mp4" for day in ("monday", "tuesday"))
    with raises_input("duplicate-name", session="a", view="left", paths=paths):
        find_sessions([tmp_path / "monday", tmp_path / "tuesday"], VIEWS)


@pytest.mark.parametrize("given", [".", "a_top.mp4", "*.mp4", "b_top.mp4"])
def test_links_to_videos_that_were_moved_state_where_they_lead(tmp_path: Path, given: str) -> None:
    touch(tmp_path / "raw", "a_top.mp4")
    touch(tmp_path / "videos", "b_left.mp4", "b_top.mp4")
    (tmp_path / "videos" / "a_top.mp4").symlink_to(tmp_path / "raw" / "a_top.mp4")
    (tmp_path / "raw").rename(tmp_path / "moved")
    with raises_input("missing-file", path="a_top.mp4", target=tmp_path / "raw" / "a_top.mp4"):
        find_sessions([tmp_path / "videos" / given], VIEWS)
