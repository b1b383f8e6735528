"""Frames appended to label tables: existing bytes stay, all views get the rows or, after a crash, get them later."""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from helpers.errors import raises_input
from mvgeom.errors import InputError
from mvtrain.check.run_check import check
from mvtrain.config import Config, load_config
from mvtrain.config.schema import DataConfig
from mvtrain.label.store import open_store
from mvtrain.project import frame_rows
from mvtrain.project.calibrations import find_calibrations
from mvtrain.project.frame_rows import JOURNAL, adding_frames, append_frames, project_root, read_frame_rows
from mvtrain.project.label_tables import image_name, read_labels, write_labels
from mvtrain.project.project import read_project

VIEWS = ("top", "side")
KEYPOINTS = ("nose", "tail")


def write_project(folder: Path, rows: int, *, visible: bool, text: str = "{}") -> Path:
    """A config and the label tables of two views; `text` changes the content of the tables."""
    folder.mkdir()
    points = np.arange(rows * 4, dtype=float).reshape(rows, 2, 2)
    for view in VIEWS:
        names = [image_name("mouse", view, frame) for frame in range(rows)]
        visibility = np.full((rows, 2), 2) if visible else None
        path = folder / f"CollectedData_{view}.csv"
        write_labels(path, names, KEYPOINTS, points, visibility, scorer="me")
        path.write_bytes(text.format(path.read_text()).encode())
    (folder / "config.yaml").write_text(f"data: {{data_dir: ., view_names: [{', '.join(VIEWS)}]}}\n")
    return folder / "config.yaml"


def new_names(frame: int) -> list[str]:
    return [image_name("mouse", view, frame) for view in VIEWS]


@pytest.mark.parametrize("visible", [True, False])
@pytest.mark.parametrize("rows", [0, 3])
@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_existing_bytes_stay(tmp_path: Path, visible: bool, rows: int, ending: str, mark: str) -> None:
    config = write_project(tmp_path / "p", rows, visible=visible)
    paths = [tmp_path / "p" / f"CollectedData_{view}.csv" for view in VIEWS]
    for path in paths:
        lines = path.read_text().splitlines()
        content = mark + (ending or "\n").join(lines) + ending
        path.write_bytes(content.encode())
    before = [path.read_bytes() for path in paths]
    append_frames(read_frame_rows(load_config(config)), [new_names(7), [image_name("other, one", "top", 9), ""]])
    for view, (path, content) in enumerate(zip(paths, before, strict=True)):
        assert path.read_bytes().startswith(content)
        table = read_labels(path)
        assert table.image_names[rows:] == (new_names(7)[view], None if view else image_name("other, one", "top", 9))
        assert not np.isfinite(table.points[rows:]).any()
        cells = path.read_text("utf-8-sig").splitlines()[-2].split(",")[1:]  # Lightning Pose reads no empty `visible`
        assert cells == (["", "", "0"] if visible else ["", ""]) * 2
        assert (b"\r\n" in path.read_bytes()) == (ending == "\r\n")
    found = read_frame_rows(load_config(config))
    assert found.frames() == [*(("mouse", frame) for frame in range(rows)), ("mouse", 7), ("other, one", 9)]
    assert found.keypoint_names == KEYPOINTS
    assert not (tmp_path / "p" / JOURNAL).exists()


@pytest.mark.parametrize("style", ["labeled-data/mouse/{}", "{}"])
def test_the_table_of_calibrations_gets_rows_too(tmp_path: Path, style: str) -> None:
    config = write_project(tmp_path / "p", 2, visible=False)
    images = [Path(image_name("mouse", "top", frame)).name for frame in range(2)]
    (tmp_path / "p" / "rig.toml").touch()
    table = tmp_path / "p" / "calibrations.csv"
    table.write_text("image,note,file\n" + "".join(f"{style.format(image)},x,rig.toml\n" for image in images))
    append_frames(read_frame_rows(load_config(config)), [new_names(7)])
    rows = read_frame_rows(load_config(config))
    files, _ = find_calibrations(rows.root, rows.names(), None)
    assert [file and file.name for file in files] == ["rig.toml"] * 3
    other = [image_name("rat", view, 1) for view in VIEWS]
    if style == "{}":  # rows in order, whatever the session
        return
    append_frames(rows, [other])
    rows = read_frame_rows(load_config(config))
    assert all(find_calibrations(rows.root, rows.names(), None)[0])
    (tmp_path / "p" / "other.toml").touch()
    table.write_text(table.read_text().replace("rat/img00000001.png,,rig", "rat/img00000001.png,,other"))
    before = {path: path.read_bytes() for path in (tmp_path / "p").iterdir()}
    with raises_input("missing-row", session="cat"):
        append_frames(rows, [[image_name("cat", view, 1) for view in VIEWS]])
    assert {path: path.read_bytes() for path in (tmp_path / "p").iterdir()} == before


def interrupt(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Append a frame, and die before the second table has it."""
    rows = read_frame_rows(load_config(config))
    replace_file, calls = frame_rows.replace_file, []

    def dies_at_the_second(path: Path, write: object) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace_file(path, write)

    with monkeypatch.context() as patch:
        patch.setattr(frame_rows, "replace_file", dies_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            append_frames(rows, [new_names(5)])
    assert len({len(read_labels(table.path)) for table in rows.tables}) == 2


def make_images(root: Path) -> None:
    for frame in (0, 1, 5):
        for name in new_names(frame):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / name), np.full((32, 32, 3), 90, np.uint8))


def open_for_labeling(config: Config) -> None:
    with open_store(config) as store:
        assert len(store) == 3


def reload_while_labeling(config: Config, interrupted: Callable[[], None]) -> None:
    with open_store(config) as store:
        interrupted()
        store.reload()
        assert len(store) == 3


OPENERS: dict[str, Callable[[Config], object]] = {
    "frames, import --into": read_frame_rows,
    "fit, check, evaluate, crop": read_project,
    "check": lambda config: check(config, Path(config.data.data_dir or "") / "check", Console(file=io.StringIO())),
    "label": open_for_labeling,
}


@pytest.mark.parametrize("opener", OPENERS)
def test_an_interrupted_append_is_completed_by_whoever_opens_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opener: str
) -> None:
    config = write_project(tmp_path / "p", 2, visible=True)
    make_images(tmp_path / "p")
    interrupt(config, monkeypatch)
    with suppress(InputError):  # three frames are too few for some of what `check` does afterwards
        OPENERS[opener](load_config(config))
    assert not (tmp_path / "p" / JOURNAL).exists()
    assert {len(read_labels(tmp_path / "p" / f"CollectedData_{view}.csv")) for view in VIEWS} == {3}
    assert read_frame_rows(load_config(config)).frames() == [("mouse", 0), ("mouse", 1), ("mouse", 5)]


def test_reloading_the_tables_while_labeling_completes_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_project(tmp_path / "p", 2, visible=True)
    make_images(tmp_path / "p")
    reload_while_labeling(load_config(config), lambda: interrupt(config, monkeypatch))


@pytest.mark.parametrize("opener", OPENERS)
def test_a_read_only_project_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opener: str
) -> None:
    config = write_project(tmp_path / "p", 2, visible=True)
    make_images(tmp_path / "p")
    interrupt(config, monkeypatch)
    before = {path: path.read_bytes() for path in (tmp_path / "p").glob("*.csv")}

    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("mvtrain.runtime.locks.FileLock.acquire", read_only)
    # Labeling needs the folder in any case; all others say what is missing.
    facts = {} if opener == "label" else {"journal": tmp_path / "p" / JOURNAL}
    with raises_input("unwritable-file", **facts):
        OPENERS[opener](load_config(config))
    assert {path: path.read_bytes() for path in (tmp_path / "p").glob("*.csv")} == before
    monkeypatch.undo()
    with adding_frames(tmp_path / "p"):  # completed here; nobody else waits for it now
        pass
    assert not (tmp_path / "p" / JOURNAL).exists()


def test_a_project_to_which_another_process_adds_frames_now_is_not_read(tmp_path: Path) -> None:
    config = write_project(tmp_path / "p", 2, visible=True)
    with adding_frames(tmp_path / "p"):
        (tmp_path / "p" / JOURNAL).write_text("[]")
        with raises_input("busy-folder"):
            read_project(load_config(config))


@pytest.mark.parametrize(
    "entries",
    [
        "no json",
        "{}x",
        '["a"]',
        '[{"file": "../CollectedData_top.csv", "bytes": 0, "rows": "a"}]',
        '[{"move": "a.png", "file": "/etc/a.png"}]',
        '[{"move": "a.png", "file": "..\\\\b.png"}]',
        '[{"file": "CollectedData_top.csv", "bytes": "0", "rows": "a"}]',
    ],
)
def test_a_journal_that_is_none_moves_nothing(tmp_path: Path, entries: str) -> None:
    config = write_project(tmp_path / "p", 2, visible=True)
    (tmp_path / "p" / JOURNAL).write_text(entries)
    with raises_input("damaged-file", path=tmp_path / "p" / JOURNAL):
        read_frame_rows(load_config(config))


def test_a_table_that_was_changed_meanwhile_is_not_touched(tmp_path: Path) -> None:
    config = write_project(tmp_path / "p", 2, visible=True)
    path = tmp_path / "p" / "CollectedData_top.csv"
    entry = {"file": path.name, "bytes": path.stat().st_size, "rows": "a,,,,,,\n"}
    (tmp_path / "p" / JOURNAL).write_text(json.dumps([entry]))
    path.write_text(path.read_text() + "labeled-data/mouse_top/img3.png,1,1,2,1,1,2\n")
    content = path.read_bytes()
    with raises_input("damaged-file", path=path.name):
        read_frame_rows(load_config(config))
    assert path.read_bytes() == content


@pytest.mark.parametrize(("data_dir", "code"), [(None, "missing-field"), (Path("/nowhere/at/all"), "missing-file")])
def test_a_project_needs_a_folder(data_dir: Path | None, code: str) -> None:
    with raises_input(code, key="data.data_dir"):
        project_root(DataConfig(data_dir=data_dir))
