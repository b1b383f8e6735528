"""Labels imported into a project that exists: new frames are appended, nothing that is there changes."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from rich.console import Console

from helpers.errors import raises_input
from helpers.foreign import frame_number, read, write_coco, write_deeplabcut
from helpers.tiny import generate_tiny_project
from mvgeom import CameraGroup
from mvgeom.clock_files import clocks_file, find_clocks, save_clocks
from mvgeom.clocks import Clocks
from mvtrain.config import load_config
from mvtrain.exchange.run_import import ImportOptions, import_project
from mvtrain.project import frame_rows
from mvtrain.project.project import Project, read_project

NUM_FRAMES = 6


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("original") / "project"
    sizes = {"num_frames": NUM_FRAMES, "num_sessions": 2, "num_video_frames": 3, "num_views": 2, "size": 48}
    return read(generate_tiny_project(folder, **sizes, image_format="png", occlusion=0.2))


def source(folder: Path, original: Project, rows: list[int], name: str = "deeplabcut") -> Path:
    """Labels of some frames in the files of another program."""
    if name == "coco":
        return write_coco(folder / "annotations.json", original)
    by_view = dict.fromkeys(range(len(original.view_names)), rows)
    write_deeplabcut(folder, original, rows=by_view, index="path", formats=("csv",), with_videos=False)
    for labeled in (folder / "labeled-data").iterdir():
        if not list(labeled.glob("*.png")):
            shutil.rmtree(labeled)
    return folder


def crop_source(folder: Path, original: Project, rows: list[int], corner: int = 2) -> Path:
    """The same, cropped by the program that has labeled them."""
    path = source(folder, original, rows)
    document = yaml.safe_load((path / "config.yaml").read_text())
    names = {folder.name for folder in (path / "labeled-data").iterdir()}
    crop = f"{corner}, {corner + 48}, {corner}, {corner + 48}"
    document["video_sets"] = {f"C:\\elsewhere\\{name}.mp4": {"crop": crop} for name in names}
    (path / "config.yaml").write_text(yaml.safe_dump(document))
    return path


def add(path: Path, *, out: Path | None = None, into: Path | None = None, name: str = "deeplabcut", **more: Any) -> str:
    console = Console(record=True, width=300, file=io.StringIO(), markup=False)
    config = None if into is None else into / "config.yaml"
    import_project(name, [path], ImportOptions(out=out, into=config, **more), console)
    return console.export_text()


def calibrations(original: Project) -> Path:
    return original.root / "calibrations"


@pytest.fixture(scope="module")
def imported(original: Project, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Projects into which some frames were imported, each made once; a test copies what it changes."""
    made: dict[tuple[Any, ...], Path] = {}

    def make(*rows: int, cropped: bool = False) -> Path:
        if (rows, cropped) not in made:
            folder = tmp_path_factory.mktemp("imported")
            labels = (crop_source if cropped else source)(folder / "source", original, list(rows))
            add(labels, out=folder / "project", calibration=calibrations(original))
            made[rows, cropped] = folder / "project"
        return made[rows, cropped]

    return make


def copied(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


def content(root: Path) -> dict[str, bytes]:
    """All files of a project but its config and its lock."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in ("config.yaml", ".frames.lock")
    }


def as_sets(root: Path) -> dict[str, Any]:
    """Files of a project, tables as sets of rows."""
    found: dict[str, Any] = {}
    for name, data in content(root).items():
        found[name] = frozenset(data.splitlines()) if name.endswith(".csv") else data
    return found


@pytest.mark.parametrize("seed", range(3))
def test_two_halves_equal_all_at_once(
    original: Project, imported: Callable[..., Path], tmp_path: Path, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(NUM_FRAMES).tolist()
    halves = sorted(order[:3]), sorted(order[2:])  # one frame is in both
    given = {"calibration": calibrations(original)}
    once = imported(*range(NUM_FRAMES))
    add(source(tmp_path / "a", original, halves[0]), out=tmp_path / "twice", **given)
    before = content(tmp_path / "twice")
    config = (tmp_path / "twice" / "config.yaml").read_bytes()
    printed = add(source(tmp_path / "b", original, halves[1]), into=tmp_path / "twice", **given)
    assert "added 3 frames" in printed
    assert "1 frame in the project already" in printed
    assert as_sets(tmp_path / "twice") == as_sets(once)
    assert (tmp_path / "twice" / "config.yaml").read_bytes() == config
    for name, data in content(tmp_path / "twice").items():
        assert data.startswith(before.get(name, b"")), name
    whole, joined = read(once), read(tmp_path / "twice")
    assert sorted(joined.image_names) == sorted(whole.image_names)
    # Again: everything is there.
    before = content(tmp_path / "twice")
    assert "added 0 frames" in add(source(tmp_path / "c", original, order), into=tmp_path / "twice", **given)
    assert content(tmp_path / "twice") == before


def test_labels_of_lost_images_can_be_left_out(
    original: Project, imported: Callable[..., Path], tmp_path: Path
) -> None:
    copied(imported(0, 1), tmp_path / "project")
    before = content(tmp_path / "project")
    path = source(tmp_path / "b", original, [1, 2, 3])
    one, other = (original.image_names[row] for row in (2, 3))
    for image in (*original.image_names[1][:1], *one[:1], *other):  # of a frame that is there, and of new ones
        assert image is not None
        (path / image).with_name(f"img{frame_number(image):04d}.png").unlink()
    given = {"into": tmp_path / "project", "calibration": calibrations(original), "allow_absent": True}
    printed = add(path, **given)
    for text in ("labels of 4 missing images", "them 1 frame", "added 1 frame with", "1 frame in the project already"):
        assert text in printed
    joined = read(tmp_path / "project")
    assert sorted(map(str, joined.image_names)) == sorted(
        map(str, [*original.image_names[:2], (None, *original.image_names[2][1:])])
    )
    for name, data in content(tmp_path / "project").items():
        assert data.startswith(before.get(name, b"")), name


def test_labels_with_visibility_join_labels_without(original: Project, tmp_path: Path) -> None:
    """Into a generated project, which has `visible`, come the labels of a program that does not know it."""
    project = tmp_path / "project"
    shutil.copytree(original.root, project)
    keep(project, [0, 1])
    add(source(tmp_path / "a", original, [2, 3]), into=project)
    joined = read(project)
    np.testing.assert_array_equal(joined.visibility[:2], original.visibility[:2])
    np.testing.assert_array_equal(joined.visibility[2:] == 2, original.visibility[2:4] == 2)
    np.testing.assert_allclose(joined.points[:2], original.points[:2])


def test_occluded_labels_need_the_column_visible(
    original: Project, imported: Callable[..., Path], tmp_path: Path
) -> None:
    assert (original.visibility == 1).any()
    project = copied(imported(0), tmp_path / "project")
    keep(project, [])
    before = content(project)
    with raises_input("bad-value", path=project):
        add(source(tmp_path / "coco", original, [], "coco"), into=project, name="coco")
    assert content(project) == before


def keep(project: Path, rows: list[int]) -> None:
    """Keep these rows of all label tables."""
    for table in project.glob("CollectedData_*.csv"):
        lines = table.read_text().splitlines(keepends=True)
        table.write_text("".join([*lines[:3], *(lines[3 + row] for row in rows)]))


def test_images_that_are_there_without_a_row_stay(original: Project, tmp_path: Path) -> None:
    path, project = source(tmp_path / "a", original, list(range(NUM_FRAMES))), tmp_path / "project"
    add(path, out=project, calibration=calibrations(original))
    image = project / str(read(project).image_names[0][0])
    keep(project, list(range(1, NUM_FRAMES)))  # a table of test frames, for example, has the first
    before = image.read_bytes() + b"\0"  # the same pixels, another file
    image.write_bytes(before)
    assert "added 1 frame" in add(path, into=project, calibration=calibrations(original))
    assert image.read_bytes() == before
    keep(project, list(range(NUM_FRAMES - 1)))  # the row that was appended
    cv2.imwrite(str(image), np.zeros((48, 48, 3), dtype=np.uint8))
    before_all = content(project)
    with raises_input("duplicate-name", path=image):
        add(path, into=project, calibration=calibrations(original))
    assert content(project) == before_all


def rename_keypoint(path: Path) -> None:
    for table in path.glob("labeled-data/*/*.csv"):
        table.write_text(table.read_text().replace("nose", "snout"))
    document = yaml.safe_load((path / "config.yaml").read_text())
    document["bodyparts"] = [name.replace("nose", "snout") for name in document["bodyparts"]]
    (path / "config.yaml").write_text(yaml.safe_dump(document))


def move_labels(path: Path) -> None:
    """Change the first number of every table."""
    for table in path.glob("labeled-data/*/*.csv"):
        lines = table.read_text().splitlines()
        cells = lines[-1].split(",")
        place = next(n for n, cell in enumerate(cells) if n > 2 and cell)
        cells[place] = str(float(cells[place]) + 1)
        table.write_text("\n".join([*lines[:-1], ",".join(cells)]) + "\n")


def drop_view(path: Path) -> None:
    for folder in path.glob("labeled-data/*_cam2"):
        shutil.rmtree(folder)


def rename_view(path: Path) -> None:
    for folder in list(path.glob("labeled-data/*_cam2")):
        table = next(folder.glob("*.csv"))
        table.write_text(table.read_text().replace("_cam2", "_other"))
        folder.rename(folder.with_name(folder.name.replace("_cam2", "_other")))


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "another keypoint": (rename_keypoint, "keypoints-differ"),
    "other labels": (move_labels, "tables-differ"),
    "a view less": (drop_view, "views-differ"),
    "another view": (rename_view, "views-differ"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_does_not_fit_is_refused_and_nothing_changes(
    original: Project, imported: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    change, code = FAULTS[name]
    given = {"calibration": calibrations(original)}
    copied(imported(0, 1, 2), tmp_path / "project")
    before = content(tmp_path / "project")
    other = source(tmp_path / "b", original, [1, 2, 3])
    change(other)
    with raises_input(code):
        add(other, into=tmp_path / "project", **given)
    assert content(tmp_path / "project") == before


DIALECTS = [(";", "."), (";", ","), ("\t", ",")]


def rewrite(path: Path, delimiter: str, decimal: str) -> None:
    """Save a table as a spreadsheet does."""
    rows = list(csv.reader(io.StringIO(path.read_text())))
    number = re.compile(r"^(-?\d+)\.(\d+)$")
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    writer.writerows([[number.sub(rf"\1{decimal}\2", cell) for cell in row] for row in rows])
    path.write_bytes(("\ufeff" + text.getvalue()).encode())


@pytest.mark.parametrize(("delimiter", "decimal"), DIALECTS)
@pytest.mark.parametrize("cropped", [False, True])
def test_tables_of_spreadsheets_get_rows_in_their_own_dialect(
    original: Project, imported: Callable[..., Path], tmp_path: Path, delimiter: str, decimal: str, cropped: bool
) -> None:
    make = crop_source if cropped else source
    project = copied(imported(0, cropped=cropped), tmp_path / "project")
    tables = [*project.glob("CollectedData_*.csv"), *project.glob("bboxes_*.csv")]
    assert len(tables) == (4 if cropped else 2)
    for table in tables:
        rewrite(table, delimiter, decimal)
    before = {table: table.read_bytes() for table in tables}
    add(make(tmp_path / "b", original, [1]), into=project, calibration=calibrations(original))
    for table in tables:
        content = table.read_bytes()
        assert content.startswith(before[table])
        added = content.removeprefix(before[table]).decode()
        assert added.endswith("\r\n")
        assert added.count(delimiter) == before[table].decode().splitlines()[0].count(delimiter)
        assert decimal == "." or "." not in added.replace(".png", "")
    joined, whole = read(project), read(imported(0, 1, cropped=cropped))
    np.testing.assert_array_equal(joined.points, whole.points)
    if cropped:
        np.testing.assert_array_equal(joined.boxes, whole.boxes)


def as_table(project: Path, original: Project, rows: list[int], delimiter: str = ",", **files: str) -> Path:
    """Replace the calibrations by a table that names one for every image."""
    table = project / "calibrations.csv"
    lines = [delimiter.join(("image", "note", "file"))]
    for row in rows:
        session, name = original.sessions[row], Path(original.image_names[row][0] or "").name
        lines.append(delimiter.join((f"labeled-data/{session}/{name}", "a note", files[session])))
    table.write_text("\n".join(lines) + "\n")
    return table


def test_clocks_come_with_a_new_session(original: Project, tmp_path: Path) -> None:
    given, rows = tmp_path / "rigs", [0, len(original) - 1]
    given.mkdir()
    zeros = np.zeros(len(original.view_names))
    for path in calibrations(original).glob("*.toml"):
        shutil.copyfile(path, given / path.name)
        clocks = Clocks(
            names=original.view_names,
            reference=original.view_names[0],
            frame_rate=25,
            offset=zeros,
            drift=zeros,
            offset_std=zeros,
            drift_std=zeros,
        )
        save_clocks(clocks, clocks_file(given / path.name))
    project = tmp_path / "project"
    add(source(tmp_path / "a", original, rows[:1]), out=project, calibration=given)
    add(source(tmp_path / "b", original, rows[-1:]), into=project, calibration=given)
    for row in (rows[0], rows[-1]):
        assert find_clocks(project / "calibrations" / f"{original.sessions[row]}.toml") is not None


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_table_of_calibrations_gets_rows_for_known_and_new_sessions(
    original: Project, imported: Callable[..., Path], tmp_path: Path, delimiter: str
) -> None:
    given = {"calibration": calibrations(original)}
    rows = sorted(range(NUM_FRAMES), key=lambda row: original.sessions[row])
    first = original.sessions[rows[0]]
    project = copied(imported(rows[0]), tmp_path / "project")
    (project / "rigs").mkdir()
    (project / "calibrations" / f"{first}.toml").rename(project / "rigs" / "old.toml")
    table = as_table(project, original, rows[:1], delimiter, **{first: "rigs/old.toml"})
    before = table.read_bytes()
    add(source(tmp_path / "b", original, [rows[1], rows[-1]]), into=project, **given)
    assert table.read_bytes().startswith(before)
    joined = read(project)
    assert [joined.sessions[row] for row in (1, 2)] == [original.sessions[row] for row in (rows[1], rows[-1])]
    for row, old in ((1, rows[1]), (2, rows[-1])):
        np.testing.assert_allclose(joined.cameras[row].translation, original.cameras[old].translation)  # type: ignore[union-attr]
    added = [line.split(delimiter)[-1] for line in table.read_text().splitlines()[2:]]
    assert added == ["rigs/old.toml", f"calibrations/{original.sessions[rows[-1]]}.toml"]


def test_a_session_with_several_calibrations_gets_the_one_that_the_source_has(
    original: Project, tmp_path: Path
) -> None:
    """A camera was moved within the session: its images name two files."""
    given = {"calibration": calibrations(original)}
    rows = [row for row in range(NUM_FRAMES) if original.sessions[row] == original.sessions[0]]
    project, session = tmp_path / "project", original.sessions[0]
    add(source(tmp_path / "a", original, rows[:2]), out=project, **given)
    own = project / "calibrations" / f"{session}.toml"
    cameras = CameraGroup.load(own)
    cameras.replace(translation=np.asarray(cameras.translation) + 1).save(project / "moved.toml")
    own.rename(project / "before.toml")
    table = as_table(project, original, rows[:2], **{session: "before.toml"})
    table.write_text("moved.toml".join(table.read_text().rsplit("before.toml", 1)))
    other = tmp_path / "other"
    other.mkdir()
    cameras.replace(translation=np.asarray(cameras.translation) + 2).save(other / f"{session}.toml")
    before = content(project)
    with raises_input("cameras-differ", session=session):
        add(source(tmp_path / "c", original, rows[2:3]), into=project, calibration=other)
    assert content(project) == before
    add(source(tmp_path / "b", original, rows[2:3]), into=project, **given)
    assert [line.rsplit(",", 1)[1] for line in table.read_text().splitlines()[1:]] == [
        "before.toml",
        "moved.toml",
        "before.toml",
    ]


def test_a_new_session_without_calibration_joins_a_table_without_a_file(original: Project, tmp_path: Path) -> None:
    rows = sorted(range(NUM_FRAMES), key=lambda row: original.sessions[row])
    first, project = original.sessions[rows[0]], tmp_path / "project"
    add(source(tmp_path / "a", original, rows[:2]), out=project, calibration=calibrations(original))
    cameras = CameraGroup.load(project / "calibrations" / f"{first}.toml")
    cameras.save(project / "two.toml")
    table = as_table(project, original, rows[:2], **{first: f"calibrations/{first}.toml"})
    add(source(tmp_path / "b", original, rows[-1:]), into=copied(project, tmp_path / "single"))
    assert all(cameras is not None for cameras in read(tmp_path / "single").cameras)  # one file is that of all
    table.write_text("two.toml".join(table.read_text().rsplit(f"calibrations/{first}.toml", 1)))
    add(source(tmp_path / "c", original, rows[-1:]), into=project)
    assert [cameras is None for cameras in read(project).cameras] == [False, False, True]


def test_a_view_can_be_absent(original: Project, imported: Callable[..., Path], tmp_path: Path) -> None:
    given = {"calibration": calibrations(original)}
    copied(imported(0, 1), tmp_path / "project")
    other = source(tmp_path / "b", original, [2, 3])
    drop_view(other)
    add(other, into=tmp_path / "project", allow_absent=True, **given)
    joined = read(tmp_path / "project")
    assert [names[1] is None for names in joined.image_names] == [False, False, True, True]


def test_names_are_split_by_the_views_of_the_project(original: Project, tmp_path: Path) -> None:
    def renamed(name: str, rows: list[int]) -> Path:
        by_view = {0: rows, 1: rows}
        given = {"name": "{session}_my_{view}", "index": "path", "formats": ("csv",), "with_videos": False}
        return write_deeplabcut(tmp_path / name, original, rows=by_view, **given)

    add(renamed("a", [0, NUM_FRAMES - 1]), out=tmp_path / "project", view_names=("my_cam2", "my_cam1"))
    add(renamed("b", [1, NUM_FRAMES - 2]), into=tmp_path / "project")
    joined = read(tmp_path / "project")
    assert joined.view_names == ("my_cam2", "my_cam1")
    assert set(joined.sessions) == set(original.sessions)
    np.testing.assert_allclose(
        joined.points[2, 0], np.where((original.visibility[1, 1] == 2)[:, None], original.points[1, 1], np.nan)
    )


def test_cameras_must_be_those_of_the_project(original: Project, tmp_path: Path) -> None:
    first = [row for row in range(NUM_FRAMES) if original.sessions[row] == original.sessions[0]]
    second = [row for row in range(NUM_FRAMES) if row not in first]
    add(source(tmp_path / "a", original, first[:1]), out=tmp_path / "project", calibration=calibrations(original))
    before = content(tmp_path / "project")
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in calibrations(original).glob("*.toml"):
        cameras = CameraGroup.load(path)
        cameras.replace(translation=np.asarray(cameras.translation) + 1).save(moved / path.name)
    with raises_input("cameras-differ", session=original.sessions[0]):
        add(source(tmp_path / "b", original, first[1:2]), into=tmp_path / "project", calibration=moved)
    assert content(tmp_path / "project") == before
    # A new session brings its own.
    add(source(tmp_path / "c", original, second), into=tmp_path / "project", calibration=moved)
    assert all(cameras is not None for cameras in read(tmp_path / "project").cameras)


def test_crops_bring_their_boxes_and_whole_images_get_them(original: Project, tmp_path: Path) -> None:
    add(crop_source(tmp_path / "a", original, [0, 1]), out=tmp_path / "project")
    add(crop_source(tmp_path / "b", original, [2], 3), into=tmp_path / "project")
    add(source(tmp_path / "c", original, [3]), into=tmp_path / "project")
    boxes = read(tmp_path / "project").boxes
    assert boxes is not None
    assert boxes[:, 0].tolist() == [[2, 2, 48, 48], [2, 2, 48, 48], [3, 3, 48, 48], [0, 0, 48, 48]]
    add(source(tmp_path / "d", original, [0]), out=tmp_path / "whole")
    with raises_input("bad-value"):
        add(crop_source(tmp_path / "e", original, [1]), into=tmp_path / "whole")


@pytest.mark.parametrize("step", range(7))
def test_a_kill_leaves_the_project_as_it_was_or_complete(
    original: Project, imported: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    class KilledError(BaseException):
        pass

    given = {"calibration": calibrations(original)}
    rows = sorted(range(NUM_FRAMES), key=lambda row: original.sessions[row])
    once, project = imported(rows[0], rows[-1]), copied(imported(rows[0]), tmp_path / "project")
    before = as_sets(project)
    left = step

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal left
            if left == 0:
                raise KilledError
            left -= 1
            return function(*arguments)

        return call

    for name in ("write_text", "replace_file", "_move"):
        monkeypatch.setattr(frame_rows, name, counted(getattr(frame_rows, name)))
    with pytest.raises(KilledError) if step < 6 else nullcontext():
        add(source(tmp_path / "b", original, rows[-1:]), into=project, **given)
    monkeypatch.undo()
    read_project(load_config(project / "config.yaml"), need_labels=False)
    if step:
        assert not list(project.glob(".import-*"))
    for leftover in project.glob(".import-*"):
        shutil.rmtree(leftover)
    assert as_sets(project) == (before if step == 0 else as_sets(once))
