"""Rules for every source of `mvtrain import`: files of one view, names of recordings, nothing twice or left behind.

The tests walk `READERS`, so a new format fails here until it has a maker in `helpers.foreign_rows` and keeps the rules.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from helpers import foreign_rows
from helpers.errors import raises_input
from helpers.foreign_rows import MAKERS, Row, row, write_image
from helpers.rigs import ring
from mvgeom import CameraGroup
from mvtrain.config import load_config
from mvtrain.exchange.alignment import align
from mvtrain.exchange.foreign_labels import ForeignLabels, ImageFile, Place, ReadOptions, Source, merge
from mvtrain.exchange.project_folder import write_project
from mvtrain.exchange.run_import import READERS, ImportOptions, import_project
from mvtrain.project.names import DEFAULT_PATTERN, ONLY_SESSION, pattern_rule
from mvtrain.project.project import read_project

VIEWS = ("side", "top")
PEOPLE = ("mmpose", "openpose")
"""Formats of predictions of people, in files that do not say which images they are of."""

every_source = pytest.mark.parametrize("name", READERS)
every_source_of_paths = pytest.mark.parametrize("name", [name for name in READERS if name not in PEOPLE])
NAMED = [name for name in READERS if name not in ("anipose", *PEOPLE)]
"""Formats whose names the user can describe; an anipose project does that itself, with `cam_regex`."""


def read(
    name: str,
    folder: Path,
    rows: list[Row],
    *,
    media: Path | None = None,
    pattern: str | None = None,
    view: str | None = None,
) -> ForeignLabels:
    """Write rows in a format, and read them."""
    path = MAKERS[name](folder / "source", rows)
    rule = pattern_rule(pattern or DEFAULT_PATTERN, need_view=view is None, given=pattern is not None)
    options = ReadOptions(rule=rule, media=media, min_likelihood=0.5 if name in PEOPLE else None)
    return merge(READERS[name]([Source(path=path, view=view)], options))


def test_every_reader_has_a_maker() -> None:
    assert set(MAKERS) == set(READERS)


@every_source
@pytest.mark.parametrize("written", ["C:\\rig\\mouse_{view}\\img{frame}.png", "/gone/mouse_{view}/img{frame}.png"])
def test_the_longest_tail_of_a_path_comes_before_the_name_alone(tmp_path: Path, name: str, written: str) -> None:
    media = tmp_path / "media"
    rows = [row(written.format(view=view, frame=frame)) for frame in (1, 2) for view in VIEWS]
    for frame in (1, 2):
        write_image(media / f"img{frame}.png", 200)  # of neither view
        for view in VIEWS:
            write_image(media / f"mouse_{view}" / f"img{frame}.png", 10 * frame)
    aligned = align(read(name, tmp_path, rows, media=media))
    expected = tuple(
        tuple(ImageFile(path=media / f"mouse_{view}" / f"img{frame}.png") for view in VIEWS) for frame in (1, 2)
    )
    assert aligned.images == expected


@every_source
def test_labels_of_lost_images_can_be_left_out(tmp_path: Path, name: str) -> None:
    media = tmp_path / "media"
    media.mkdir()
    rows = [row(f"C:\\rig\\mouse_{view}\\img{frame}.png") for frame in (1, 2, 3) for view in VIEWS]
    places = tuple(Place("mouse", view, frame) for frame in (1, 2, 3) for view in VIEWS)
    labels = read(name, tmp_path / "all", rows, media=media)
    for allow_absent in (False, True):
        with raises_input("missing-frame", places=places):
            align(labels, allow_absent=allow_absent)
    for frame, view in ((1, "side"), (1, "top"), (2, "top")):
        write_image(media / f"mouse_{view}" / f"img{frame}.png", 10)
    labels = read(name, tmp_path / "some", rows, media=media)
    with raises_input("missing-frame", places=(places[2], *places[4:])):
        align(labels)
    aligned = align(labels, allow_absent=True)
    assert (aligned.num_lost, aligned.num_lost_frames) == (3, 1)
    written = write_project(tmp_path / "project", aligned, labels, {})
    assert (written.num_frames, written.num_labels) == (2, 6)
    project = read_project(load_config(tmp_path / "project" / "config.yaml"))
    assert [[image is not None for image in images] for images in project.image_names] == [[True, True], [False, True]]
    np.testing.assert_array_equal(np.isfinite(project.points).all(axis=(2, 3)), [[True, True], [False, True]])


@every_source_of_paths
def test_a_file_is_not_used_for_two_views(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / "media" / "img1.png", 10)
    rows = [row(f"C:\\rig\\mouse_{view}\\img1.png") for view in VIEWS]
    labels = read(name, tmp_path, rows, media=tmp_path / "media")
    for allow_absent in (False, True):
        with raises_input("ambiguous-file", path=tmp_path / "media" / "img1.png"):
            align(labels, allow_absent=allow_absent)


@every_source_of_paths
def test_a_lost_file_is_found_beside_the_labels_and_in_media(tmp_path: Path, name: str) -> None:
    media = tmp_path / "media"
    rows = [row("C:\\rig\\mouse_top\\img1.png")]
    beside = write_image(tmp_path / "source" / "img1.png", 10)
    copy = write_image(media / "img1.png", 10)
    assert read(name, tmp_path / "once", rows, media=media).images[0].image == ImageFile(path=copy)
    assert read(name, tmp_path, rows, media=media).images[0].image == ImageFile(path=beside)


@every_source_of_paths
def test_different_files_of_a_lost_files_name_are_an_error(tmp_path: Path, name: str) -> None:
    beside = write_image(tmp_path / "source" / "img1.png", 10)
    other = write_image(tmp_path / "media" / "img1.png", 20)
    with raises_input("ambiguous-file", candidates=(beside, other)):
        read(name, tmp_path, [row("C:\\rig\\mouse_top\\img1.png")], media=tmp_path / "media")


FRAME_12 = (
    "img_0012.png",
    "img_0012_jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9.jpg",
    "frame12 (2).png",
    "frame12 - Copy (3).png",
    "f_0012_1280x720.png",
    "cam2_f_0012_60fps.png",
    "img12_3fa85f64-5717-4562-b3fc-2c963f66afa6.png",
    "0012_1a2b3c4d.png",
    "0012_top.png",
    "Image (12).png",
    "20240131_00000012.png",
)


@every_source_of_paths
@pytest.mark.parametrize("image", FRAME_12)
def test_digits_behind_the_frame_number_are_not_the_frame_number(tmp_path: Path, name: str, image: str) -> None:
    labels = read(name, tmp_path, [row(f"rig/mouse_top/{image}")])
    assert [each.place for each in labels.images] == [("mouse", "top", 12)]


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("<session>/<view>/Frame_<frame>", "D:\\rig\\day 1\\top\\Frame_00012.png"),
        ("<session>_<view>/<frame>_*", "rig/day 1_top/12_ab12.png"),
        ("<session>/*/<view>_<frame>", "rig/day 1/raw data/top_12_jpg.rf.0a1b2c3d4e5f6071.jpg"),
        ("<session>/<view>", "rig/day 1/top/a1_0012.png"),
        ("*-<view>/<session>-<frame>", "rig/camera-top/day 1-012.png"),
        ("<session>_<view>_im<frame>*", "rig/all/day 1_top_im12b.png"),
    ],
)
def test_patterns_are_about_the_whole_path(tmp_path: Path, name: str, pattern: str, path: str) -> None:
    labels = read(name, tmp_path, [row(path)], pattern=pattern)
    assert [each.place for each in labels.images] == [("day 1", "top", 12)]


@pytest.mark.parametrize("name", [*NAMED, *PEOPLE])
def test_no_session_is_without_a_name(tmp_path: Path, name: str) -> None:
    for number, path in enumerate(("img_0012.png", "top/img_0012.png")):
        labels = read(name, tmp_path / f"flat{number}" / "top", [row(path)], view="top")
        assert labels.images[0].place[1:] == ("top", 12)
        assert labels.images[0].place.session in (ONLY_SESSION, "source", "img")


@every_source
def test_where_no_frame_has_two_views_the_error_shows_how_names_were_read(tmp_path: Path, name: str) -> None:
    rows = [row("rig/mouse_top/img001.png"), row("rig/mouse_side/img002.png")]
    labels = read(name, tmp_path, rows)
    for allow_absent in (False, True):
        with raises_input("no-shared-frame") as caught:
            align(labels, allow_absent=allow_absent)
        assert [place for _, place in caught.value.examples] == [("mouse", "side", 2), ("mouse", "top", 1)]
        for text in ("mouse_side", "session mouse, view top, frame 1", "--pattern"):
            assert text in str(caught.value)


@pytest.mark.parametrize("name", [name for name in READERS if name not in PEOPLE])
def test_keypoints_have_different_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_rows, "KEYPOINTS", ("nose", "nose"))
    with raises_input("duplicate-name") as caught:
        read(name, tmp_path, [row("rig/mouse_top/img001.png")])
    assert str(tmp_path / "source") in str(caught.value)


@every_source
def test_a_view_is_named_once(tmp_path: Path, name: str) -> None:
    path = MAKERS[name](tmp_path / "source", [row(f"rig/mouse_{view}/img001.png") for view in VIEWS])
    options = ImportOptions(out=tmp_path / "out", view_names=(*VIEWS, "top"))
    with raises_input("duplicate-name", option="--views", found=("top",)):
        import_project(name, [path], options, Console())


@pytest.mark.parametrize("name", [*NAMED, "mmpose"])
def test_given_views_end_the_name_of_the_session(tmp_path: Path, name: str) -> None:
    views = ("left_cam", "right_cam")
    sources = []
    for view in views:
        write_image(tmp_path / "media" / f"m_1_{view}" / "img1.png", 10)
        path = MAKERS[name](tmp_path / view / "source", [row(f"C:\\rig\\m_1_{view}\\img1.png")])
        sources.append(f"{view}={path}")
    console = Console(record=True, width=300, file=io.StringIO())
    likely = 0.5 if name in PEOPLE else None
    options = ImportOptions(out=tmp_path / "out", views=tuple(sources), media=tmp_path / "media", predictions=likely)
    import_project(name, [], options, console)
    assert "2 views (left_cam, right_cam), 1 session (" in console.export_text()


def test_calibrations_of_a_folder(tmp_path: Path) -> None:
    rows = [row(f"C:\\rig\\m_1_{view}\\img1.png") for view in VIEWS]
    for view in VIEWS:
        write_image(tmp_path / "media" / f"m_1_{view}" / "img1.png", 10)
    path = MAKERS["deeplabcut"](tmp_path / "source", rows)
    given = ring(2, size=16).replace(names=VIEWS, sizes=[[16.0, 12.0]] * 2)

    def run(folder: Path) -> CameraGroup:
        options = ImportOptions(out=folder / "out", media=tmp_path / "media", calibration=folder / "given")
        import_project("deeplabcut", [path], options, Console(file=io.StringIO()))
        return CameraGroup.load(folder / "out" / "calibrations" / "m_1.toml")

    given.save(tmp_path / "colmap" / "given", file_format="colmap")
    assert run(tmp_path / "colmap").names == VIEWS
    for name in ("m_1", "calibration", "others"):
        (tmp_path / name / "given").mkdir(parents=True)
        given.save(tmp_path / name / "given" / f"{name}.toml")
    for name in ("m_1", "calibration"):
        assert run(tmp_path / name).names == VIEWS
    with raises_input("no-calibration", found=("others",), expected=("m_1",)):
        run(tmp_path / "others")
    assert not (tmp_path / "others" / "out").exists()


@every_source
def test_several_sessions_with_one_view_are_reported(tmp_path: Path, name: str) -> None:
    names = [f"mouse{number}_{camera}_cam" for number in (1, 2) for camera in ("left", "right")]
    media = tmp_path / "media"
    for each in names:
        write_image(media / each / "img1.png", 10)

    def run(number: int, chosen: list[str], **more: object) -> str:
        rows = [row(f"C:\\rig\\{each}\\img1.png") for each in chosen]
        path = MAKERS[name](tmp_path / str(number) / "source", rows)
        console = Console(record=True, width=300, file=io.StringIO())
        likely = 0.5 if name in PEOPLE else None
        options = ImportOptions(out=tmp_path / str(number) / "out", media=media, predictions=likely, **more)
        import_project(name, [path], options, console)
        return console.export_text()

    printed = run(1, names).replace("\\", "/").replace("/img1.png", "")
    for text in ("one view, cam, in 4 sessions", "mouse1_left_cam is session", "session mouse2_right, view cam"):
        assert text in printed
    assert ("cam_regex" if name == "anipose" else "--views") in printed
    assert "one view" not in run(2, names[:1])
    if name != "anipose":
        printed = run(3, names, view_names=("left_cam", "right_cam"))
        assert "one view" not in printed
        assert "2 views (left_cam, right_cam), 2 sessions" in printed


@every_source
def test_the_same_labels_twice_are_one_animal_and_no_labels_are_none(tmp_path: Path, name: str) -> None:
    once, empty = row("rig/mouse_top/img001.png"), ("rig/mouse_top/img001.png", np.full((2, 2), np.nan))
    for number, rows in enumerate(([once, once], [once, empty], [empty, once], [once, empty, once])):
        (image,) = read(name, tmp_path / str(number), rows).images
        np.testing.assert_array_equal(image.points, once[1])
        assert image.visibility.tolist() == [2, 2]
    if name in PEOPLE:  # nobody is named, so the most certain person counts, and the command says so
        labels = read(name, tmp_path / "two", [once, row("rig/mouse_top/img001.png", 1.0)])
        assert "several people in 1 of 1 frames" in labels.notes[0]
        return
    with raises_input("duplicate-name" if name in ("anipose", "deeplabcut") else "several-individuals"):
        read(name, tmp_path / "two", [once, row("rig/mouse_top/img001.png", 1.0)])
