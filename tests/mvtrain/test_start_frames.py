"""`mvtrain frames`: the same frames in all views, none that is black, frozen, blurred or there already."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from helpers.errors import raises_input
from helpers.runs import make_run
from helpers.videos import cut_off, damage_frames, drop, encode, write_session, write_video
from mvgeom.videos import open_video, read_frames
from mvtrain.check.image_checks import NEAR, image_distances, thumbnail, typical_distance
from mvtrain.config import load_config
from mvtrain.predict.recordings import early_end
from mvtrain.project.images import read_image
from mvtrain.start import add_frames as command
from mvtrain.start.add_frames import FramesOptions, add_frames
from mvtrain.start.choose_frames import sample_numbers
from mvtrain.start.frame_measures import find_faults, measure_image, to_gray
from mvtrain.start.init_project import InitOptions, init_project
from mvtrain.start.session_choice import CHOSEN_FRAMES, ChosenFrame, add_to_table
from mvtrain.start.session_plan import VideoInput

VIEWS = ("top", "left")
SIZE = (96, 64)
LENGTH = 120
BLACK, FROZEN, BLURRED = range(20, 35), range(50, 70), range(90, 105)


def make_images(view: int, seed: int = 0, length: int = LENGTH) -> list[np.ndarray]:
    """A textured room in which a bright animal walks, with sensor noise."""
    generator = np.random.default_rng([seed, view])
    room = cv2.resize(generator.integers(60, 140, (16, 24, 3), dtype=np.uint8), SIZE, interpolation=cv2.INTER_NEAREST)
    path = np.cumsum(generator.normal(0, 4, (length, 2)), axis=0)
    images = []
    for place in path:
        image = room.astype(np.float64)
        x, y = (
            int(abs((c + side / 2) % (2 * side) - side))
            for c, side in zip(place, (SIZE[0] - 16, SIZE[1] - 12), strict=True)
        )
        image[y : y + 10, x : x + 14] = (230, 220, 200)
        images.append(np.clip(image + generator.normal(0, 3, image.shape), 0, 255).astype(np.uint8))
    return images


def make_project(tmp_path: Path, change: Callable[[int, list[np.ndarray]], Any] = lambda view, images: None) -> Path:
    """A project of `mvtrain init` with one session of two views; `change` changes the images of a view."""
    (tmp_path / "raw").mkdir()
    for number, view in enumerate(VIEWS):
        images = make_images(number)
        change(number, images)
        write_video(tmp_path / "raw" / f"mouse_{view}.mp4", images, codec="mp4v")
    return init(tmp_path)


def init(tmp_path: Path) -> Path:
    options = InitOptions(output=tmp_path / "project", keypoint_names=("nose", "tail"), cameras={}, view_names=VIEWS)
    init_project([VideoInput(path=tmp_path / "raw")], options, quiet())
    return tmp_path / "project"


def quiet() -> Console:
    return Console(record=True, width=200, file=io.StringIO(), markup=False)


def run(project: Path, num_frames: int | None, **options: Any) -> str:
    console = quiet()
    add_frames(load_config(project / "config.yaml"), FramesOptions(num_frames=num_frames, **options), console)
    return console.export_text()


def rows_of(project: Path, view: str) -> list[str]:
    return (project / f"CollectedData_{view}.csv").read_text().splitlines()[3:]


def chosen_numbers(project: Path) -> list[int]:
    return pd.read_csv(project / "frames.csv")["frame"].tolist() if (project / "frames.csv").exists() else []


def black(images: list[np.ndarray], numbers: Sequence[int]) -> None:
    for number in numbers:
        images[number] = np.zeros_like(images[0])


def freeze(images: list[np.ndarray], numbers: Sequence[int]) -> None:
    for number in numbers:
        images[number] = images[numbers[0] - 1]


def blur(images: list[np.ndarray], numbers: Sequence[int]) -> None:
    for number in numbers:
        images[number] = cv2.GaussianBlur(images[number], (0, 0), 2.5)


def test_no_black_frozen_or_blurred_frame_is_chosen(tmp_path: Path) -> None:
    def change(view: int, images: list[np.ndarray]) -> None:
        # One view alone is enough to make a frame useless.
        if view == 0:
            black(images, BLACK)
            freeze(images, FROZEN)
        else:
            blur(images, BLURRED)

    project = make_project(tmp_path, change)
    printed = run(project, 100)
    chosen = chosen_numbers(project)
    bad = {*BLACK, *FROZEN, *BLURRED}
    assert len(chosen) >= 40
    assert not bad & set(chosen)
    counts = printed.split("mouse")[1].split()
    assert counts[2] == str(len(BLACK))
    assert abs(int(counts[3]) - len(BLURRED)) <= 3
    assert abs(int(counts[4]) - len(FROZEN)) <= 3
    assert "near-duplicates" in printed


def test_images_are_those_of_the_videos_in_all_views(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    printed = run(project, 8)
    numbers = chosen_numbers(project)
    assert numbers == sorted(numbers)
    assert len(numbers) == 8
    for view in VIEWS:
        assert [row.split(",")[0] for row in rows_of(project, view)] == [
            f"labeled-data/mouse_{view}/img{number:08d}.png" for number in numbers
        ]
        frames = list(read_frames(open_video(tmp_path / "raw" / f"mouse_{view}.mp4")))
        for number in numbers:
            image = read_image(project / f"labeled-data/mouse_{view}/img{number:08d}.png")
            assert np.array_equal(image[..., ::-1], frames[number])
    assert f"Next: mvtrain label {project}" in printed
    assert not [path for path in project.iterdir() if path.name.startswith(".")]
    table = pd.read_csv(project / "frames.csv")
    assert sorted(table["order"]) == list(range(1, 9))
    assert table.set_index("order").loc[1, "novelty"] != table.set_index("order").loc[1, "novelty"]  # none before it
    assert (table["time_s"] - table["frame"] / 25).abs().max() < 1e-3


def test_the_same_seed_chooses_the_same_frames(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    for _ in range(2):
        run(project, 5, dry_run=True)
    assert rows_of(project, "top") == []
    run(project, 5)
    first = chosen_numbers(project)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "raw").symlink_to(tmp_path / "raw")
    again = init(tmp_path / "again")
    run(again, 5)
    assert chosen_numbers(again) == first


def test_frames_are_added_to_labels_and_differ_from_them(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    run(project, 6)
    for view in VIEWS:  # somebody labels the first one
        path = project / f"CollectedData_{view}.csv"
        lines = path.read_text().splitlines()
        lines[3] = lines[3].split(",")[0] + ",1.50,2.25,2,,,0"
        path.write_text("\r\n".join(lines) + "\r\n", newline="")
    before = {view: (project / f"CollectedData_{view}.csv").read_bytes() for view in VIEWS}
    run(project, 4)
    for view in VIEWS:
        content = (project / f"CollectedData_{view}.csv").read_bytes()
        assert content.startswith(before[view])
        assert len(rows_of(project, view)) == 10
    assert len(set(chosen_numbers(project))) == 10
    assert "has 200" not in run(project, 200)
    small = [
        [thumbnail(read_image(path)).ravel() for path in sorted((project / "labeled-data" / f"mouse_{view}").iterdir())]
        for view in VIEWS
    ]
    values = np.array(small, dtype=np.float64).swapaxes(0, 1)
    # In units of the chosen frames, which differ more than typical frames of the film.
    units = np.tile([typical_distance(values[:, view]) for view in range(len(VIEWS))], (len(values), 1))
    rows = np.arange(len(values))
    apart = image_distances(values, units, np.ones((len(values), len(VIEWS)), bool), rows, rows)
    assert apart[~np.eye(len(values), dtype=bool)].min() > 0.9 * NEAR


def test_a_view_that_is_always_black_is_ignored_and_reported(tmp_path: Path) -> None:
    project = make_project(tmp_path, lambda view, images: black(images, range(LENGTH)) if view else None)
    printed = run(project, 5)
    assert len(chosen_numbers(project)) == 5
    assert "mouse_left.mp4: 100% of the images are blank" in printed


def test_a_film_with_every_frame_twice_is_not_frozen(tmp_path: Path) -> None:
    def twice(view: int, images: list[np.ndarray]) -> None:
        images[1::2] = images[::2]

    project = make_project(tmp_path, twice)
    assert len(chosen_numbers(project)) == 0
    run(project, 6)
    assert len(chosen_numbers(project)) == 6


def test_sessions_views_and_ends(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_session(raw, VIEWS, [30, 22], session="a")
    write_session(raw, VIEWS, [30, 30], session="b")
    write_session(raw, VIEWS[:1], [30], session="c")
    damage_frames(raw / "b_left.avi", range(10, 30))
    options = InitOptions(
        output=tmp_path / "project", keypoint_names=("nose",), cameras={}, view_names=VIEWS, skip=True
    )
    init_project([VideoInput(path=raw)], options, quiet())
    project = tmp_path / "project"
    run(project, 40)
    table = pd.read_csv(project / "frames.csv")
    assert set(table["session"]) == {"a", "b"}
    # A frame needs an image in every view.
    assert table.groupby("session")["frame"].max().lt(pd.Series({"a": 22, "b": 10})).all()
    with raises_input("unknown-choice", option="--session", expected=("a", "b")):
        run(project, 5, sessions=("c",))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text.removesuffix("\n"), id="no final line end"),
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="other line ends"),
        pytest.param(lambda text: "\ufeff" + text, id="byte order mark"),
        pytest.param(lambda text: text.replace(",", ";").replace(".0", ",0"), id="semicolons, decimal commas"),
        pytest.param(lambda text: text.replace("novelty", "seen by"), id="another column"),
        pytest.param(lambda text: "", id="empty"),
    ],
)
def test_the_table_of_chosen_frames_is_continued_as_it_is_written(tmp_path: Path, change: Callable[[str], str]) -> None:
    path = tmp_path / CHOSEN_FRAMES
    first = ChosenFrame(session="a", frame=3, time=1.0, order=1, novelty=2.0)
    second = ChosenFrame(session="a", frame=5, time=2.0, order=2, novelty=float("inf"))
    add_to_table(tmp_path, [first], "small, gray images")
    before = change(path.read_text(encoding="utf-8")).encode()
    path.write_bytes(before)
    add_to_table(tmp_path, [second], "list")
    after = path.read_bytes()
    assert after.startswith(before)
    ends = {line[len(line.rstrip(b"\r\n")) :] for line in after.splitlines(keepends=True)}
    assert len(ends) == 1
    delimiter = ";" if b";" in after else ","
    table = pd.read_csv(path, sep=delimiter, decimal="," if delimiter == ";" else ".", encoding="utf-8-sig")
    assert table["frame"].tolist() == ([3, 5] if before else [5])
    assert table["time_s"].tolist() == ([1.0, 2.0] if before else [2.0])
    assert table["features"].iloc[-1] == "list"


def test_the_time_of_a_frame_is_that_in_the_file(tmp_path: Path) -> None:
    """Images 5 to 14 are missing in all views, so that the rate of the header is a mean over the gap."""
    (tmp_path / "raw").mkdir()
    paths = [tmp_path / "raw" / f"a_{view}.mkv" for view in VIEWS]
    encode(paths, [drop(*range(5, 15))] * 2, "-c:v", "mpeg4", count=40)
    project = init(tmp_path)
    run(project, 6)
    table = pd.read_csv(project / CHOSEN_FRAMES)
    frames = table["frame"].to_numpy()
    np.testing.assert_allclose(table["time_s"], (frames + np.where(frames >= 5, 10, 0)) / 25, atol=2e-3)
    assert (frames >= 5).any()


def test_one_session_of_several(tmp_path: Path) -> None:
    for session in ("a", "b"):
        write_session(tmp_path / "raw", VIEWS, [20, 20], session=session)
    project = init(tmp_path)
    run(project, 3, sessions=("b",))
    assert set(pd.read_csv(project / "frames.csv")["session"]) == {"b"}


def test_rates_that_differ_are_refused(tmp_path: Path) -> None:
    write_session(tmp_path / "raw", VIEWS, [20, 20], fps=[25, 30])
    project = init(tmp_path)
    with raises_input("rates-differ"):
        run(project, 3)
    run(project, 3, by_time=False)
    assert len(rows_of(project, "top")) == 3


def test_nothing_is_left_of_an_attempt_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path)
    before = {path: path.read_bytes() for path in project.glob("*.*")}

    def fails(images: object, advance: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "write_images", fails)
    with pytest.raises(KeyboardInterrupt):
        run(project, 3)
    assert {path: path.read_bytes() for path in project.glob("*.*")} == before
    assert not list((project / "labeled-data").iterdir())


def test_a_table_of_calibrations_that_does_not_know_the_session_is_reported_before_anything_is_written(
    tmp_path: Path,
) -> None:
    project = make_project(tmp_path)
    (project / "calibrations.csv").write_text("image,file\n")
    before = {path: path.read_bytes() for path in project.glob("*.*")}
    with raises_input("missing-row"):
        run(project, 3)
    assert {path: path.read_bytes() for path in project.glob("*.*")} == before
    assert not list((project / "labeled-data").iterdir())


def test_a_video_that_ends_early(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    broken = write_video(tmp_path / "raw" / "mouse_left.avi", make_images(1), codec="MJPG")
    cut_off(broken, 0.5)
    (project / "videos" / "mouse_left.mp4").unlink()
    (project / "videos" / "mouse_left.avi").symlink_to(broken)
    run(project, 10)
    assert max(chosen_numbers(project)) < 65


def test_labels_that_are_written_meanwhile_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path)
    run(project, 3)
    write_images, label = command.write_images, ",7.50,2.25,2,,,0"

    def somebody_labels(images: Any, advance: Any) -> None:
        for view in VIEWS:
            path = project / f"CollectedData_{view}.csv"
            lines = path.read_text().splitlines()
            lines[3] = lines[3].split(",")[0] + label
            path.write_text("\n".join(lines) + "\n")
        write_images(images, advance)

    monkeypatch.setattr(command, "write_images", somebody_labels)
    run(project, 2)
    for view in VIEWS:
        assert rows_of(project, view)[0].endswith(label)
        assert len(rows_of(project, view)) == 5


def test_crops_are_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    config = load_config(project / "config.yaml", ["data.bbox_file=[a.csv,b.csv]"])
    with raises_input("bad-value", key="data.bbox_file"):
        add_frames(config, FramesOptions(num_frames=1), quiet())


def test_the_backbone_of_a_run_compares_frames(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    folder = make_run(tmp_path / "run", views=VIEWS, keypoints=("nose", "tail", "paw"))
    printed = run(project, 4, run=folder, device="cpu")
    assert "backbone vit_tiny_patch16_224" in printed
    assert len(chosen_numbers(project)) == 4
    run(project, 4, run=folder, device="cpu")
    assert len(set(chosen_numbers(project))) == 8


@pytest.mark.parametrize(("num_frames", "most"), [(1000, 50), (10, 50), (7, 7), (1, 1)])
def test_frames_to_look_at_are_spread_over_the_film(num_frames: int, most: int) -> None:
    numbers = sample_numbers(num_frames, most, 0, "mouse", ())
    assert len(set(numbers.tolist())) == len(numbers) == min(most, num_frames)
    assert (np.diff(numbers) > 0).all()
    assert (numbers * min(most, num_frames) // num_frames == np.arange(len(numbers))).all()
    assert sample_numbers(num_frames, most, 0, "mouse", ()).tolist() == numbers.tolist()
    assert numbers[0] not in sample_numbers(num_frames, most, 0, "mouse", [int(numbers[0])])


def test_a_film_that_has_given_frames_is_looked_at_elsewhere() -> None:
    first = sample_numbers(10_000, 300, 0, "mouse", ()).tolist()
    second = sample_numbers(10_000, 300, 0, "mouse", first[:20]).tolist()
    assert len(set(first) & set(second)) < 30


def test_faults_are_relative_to_the_film() -> None:
    # A dark film with little contrast is not black, and a soft lens is not blur.
    images = [cv2.GaussianBlur(image, (0, 0), 2) // 6 for image in make_images(0, length=40)]
    grays = [to_gray(image) for image in images]
    measures = [[measure_image([grays[n - 2], grays[n - 1], grays[n]])] for n in range(2, 40)]
    faults, ignored = find_faults(measures)
    assert (faults == -1).mean() > 0.9
    assert not ignored


def test_large_images_are_measured_small() -> None:
    assert max(to_gray(np.zeros((1024, 1280, 3), np.uint8)).shape) <= 640


def write_list(tmp_path: Path, *rows: str, header: str = "session,frame,why") -> Path:
    path = tmp_path / "worst_frames.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def numbers_of(project: Path, view: str) -> list[int]:
    return [int(row.split(",")[0][-12:-4]) for row in rows_of(project, view)]


def test_exactly_the_listed_frames_are_added_in_all_views(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    listed = write_list(tmp_path, 'mouse,7,"a, b"', "mouse,3,", "mouse,7,again")
    printed = run(project, None, listed=listed)
    assert "wrote 2 frames of 2 views" in printed
    assert f"Next: mvtrain label {project} --frames {listed}" in printed
    for view in VIEWS:
        assert numbers_of(project, view) == [3, 7]
        frames = list(read_frames(open_video(tmp_path / "raw" / f"mouse_{view}.mp4")))
        for number in (3, 7):
            image = read_image(project / f"labeled-data/mouse_{view}/img{number:08d}.png")
            assert np.array_equal(image[..., ::-1], frames[number])
    assert "mouse,7" in (project / "frames.csv").read_text()


def test_frames_that_are_there_are_skipped_and_bytes_stay(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    run(project, None, listed=write_list(tmp_path, "mouse,3"))
    before = {view: (project / f"CollectedData_{view}.csv").read_bytes() for view in VIEWS}
    listed = write_list(tmp_path, "mouse,9", "mouse,3", "mouse,5")
    assert "1 of 3 frames" in run(project, None, listed=listed, dry_run=True)
    assert {view: (project / f"CollectedData_{view}.csv").read_bytes() for view in VIEWS} == before
    printed = run(project, 1, listed=listed)  # the first one that is not there
    assert "1 of 3 frames" in printed
    for view in VIEWS:
        assert (project / f"CollectedData_{view}.csv").read_bytes().startswith(before[view])
        assert numbers_of(project, view) == [3, 9]
    run(project, None, listed=listed)
    assert "wrote 0 frames" in run(project, None, listed=listed)
    assert numbers_of(project, VIEWS[0]) == [3, 9, 5]


@pytest.mark.parametrize(
    ("rows", "code", "facts"),
    [
        (["mouse,1", "rat,2"], "unknown-choice", {"line": 3, "found": "rat"}),
        (["mouse,1", f"mouse,{LENGTH}"], "missing-frame", {"line": 3, "frame": LENGTH}),
    ],
)
def test_what_the_videos_do_not_have_is_an_error_and_nothing_is_written(
    tmp_path: Path, rows: list[str], code: str, facts: dict[str, object]
) -> None:
    project = make_project(tmp_path)
    with raises_input(code, **facts):
        run(project, None, listed=write_list(tmp_path, *rows))
    assert rows_of(project, VIEWS[0]) == []
    assert not (project / "labeled-data" / "mouse_top").exists()


@pytest.mark.parametrize("listed", [False, True])
def test_a_video_that_is_shorter_is_named_as_predict_names_it(tmp_path: Path, listed: bool) -> None:
    write_session(tmp_path / "raw", VIEWS, [20, 14], session="mouse")
    project = init(tmp_path)
    options = {"listed": write_list(tmp_path, "mouse,3,x")} if listed else {}
    printed = run(project, None if listed else 3, dry_run=True, **options)
    (video,) = (project / "videos").glob("mouse_left.*")
    assert early_end(video, 14, 20) in printed.replace("\n", "")
