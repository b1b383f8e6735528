"""Frames appended to label tables: existing bytes stay, all views get the rows or, after a crash, get them later."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.errors import raises_input
from mvtrain.config import load_config
from mvtrain.config.schema import DataConfig
from mvtrain.project import frame_rows
from mvtrain.project.calibrations import find_calibrations
from mvtrain.project.frame_rows import JOURNAL, append_frames, project_root, read_frame_rows
from mvtrain.project.label_tables import read_labels
from mvtrain.project.writer import image_name, write_labels

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


def test_an_interrupted_append_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_project(tmp_path / "p", 2, visible=True)
    rows = read_frame_rows(load_config(config))
    replace_file, calls = frame_rows.replace_file, []

    def dies_at_the_second(path: Path, write: object) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace_file(path, write)

    monkeypatch.setattr(frame_rows, "replace_file", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        append_frames(rows, [new_names(5)])
    assert len({len(read_labels(table.path)) for table in rows.tables}) == 2
    monkeypatch.setattr(frame_rows, "replace_file", replace_file)
    assert read_frame_rows(load_config(config)).frames() == [("mouse", 0), ("mouse", 1), ("mouse", 5)]
    assert len(read_frame_rows(load_config(config))) == 3


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
