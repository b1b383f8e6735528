"""Labels in tables: what was accepted is read back, all else keeps its bytes, whatever crashes or writes meanwhile."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import check_error, raises_input
from helpers.labeling import KEYPOINTS, SIZE, make_project, tables, write_table
from mvgeom.errors import InputError
from mvtrain.label import journal, open_tables
from mvtrain.label.journal import JOURNAL_FOLDER, Label
from mvtrain.label.open_tables import TableText
from mvtrain.label.run_label import project_config
from mvtrain.label.store import LabelStore, open_store
from mvtrain.project.label_tables import read_labels
from mvtrain.project.project import read_project

VIEWS = ("view0", "view1")
FRAMES = 3
ROWS = (
    "1.50,2,2,,,0,nan,NaN,0",  # written by another program, in its own way
    ',,,"7.25",8,2,3,4,1',
    ",,,,,,,,",
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two views and three frames, with labels that are written in several ways."""
    root = make_project(tmp_path_factory.mktemp("template") / "project", num_views=2, num_frames=FRAMES)
    for view in VIEWS:
        path = root / f"CollectedData_{view}.csv"
        images = [f"labeled-data/s_{view}/img{frame:08d}.png" for frame in range(FRAMES)]
        write_table(path, images, rows=ROWS)
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n" if view == "view1" else b"\n"))
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "project")


def store_of(root: Path) -> LabelStore:
    (root / JOURNAL_FOLDER).mkdir(exist_ok=True)
    return LabelStore(project_config(root))


def expected_labels(store: LabelStore) -> tuple[np.ndarray, np.ndarray]:
    return store.points.copy(), store.visible.copy()


def assert_tables_have(root: Path, points: np.ndarray, visible: np.ndarray) -> None:
    """The tables, as mvtrain and as pandas reads them (Lightning Pose reads with pandas), have these labels."""
    for view, name in enumerate(VIEWS):
        path = root / f"CollectedData_{name}.csv"
        table = read_labels(path)
        assert table.visible is not None
        located = (table.visible > 0)[..., None]
        np.testing.assert_array_equal(np.where(located, table.points, np.nan), points[:, view])
        np.testing.assert_array_equal(table.visible, visible[:, view])
        frame = pd.read_csv(path, header=[0, 1, 2], index_col=0)
        values = frame.to_numpy(dtype=np.float64).reshape(FRAMES, len(KEYPOINTS), 3)
        assert [name for _, name, coord in frame.columns if coord == "x"] == list(KEYPOINTS)
        np.testing.assert_array_equal(np.where(located, values[..., :2], np.nan), points[:, view])


coordinates = st.floats(-0.5, SIZE - 0.5).map(lambda value: round(value, 3))
placed = st.builds(Label, coordinates, coordinates, st.sampled_from([1, 2]), st.sampled_from(["click", "projection"]))
labels = st.one_of(
    placed, st.sampled_from([Label(None, None, 0), Label(None, None, 0, "absent"), Label(None, None, 1)])
)
edits = st.tuples(
    st.integers(0, FRAMES - 1),
    st.dictionaries(st.tuples(st.integers(0, 1), st.integers(0, len(KEYPOINTS) - 1)), labels, min_size=1, max_size=3),
)
actions = st.lists(st.one_of(edits, st.just("save"), st.just("reopen"), st.just("reload")), max_size=8)


@given(actions=actions)
@settings(max_examples=40)
def test_any_edits_and_saves_write_what_was_accepted_and_nothing_else(template: Path, actions: list) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = shutil.copytree(template, Path(folder) / "project")
        before = tables(root)
        store = store_of(root)
        original = expected_labels(store)
        for action in actions:
            if action == "save":
                store.save()
            elif action == "reload":
                store.reload()
            elif action == "reopen":
                points, visible = expected_labels(store)
                store = store_of(root)  # nothing was saved: the journal has it
                np.testing.assert_array_equal(store.points, points)
                np.testing.assert_array_equal(store.visible, visible)
            else:
                store.edit(*action)
        store.save()
        points, visible = expected_labels(store)
        assert store.save() == []
        assert_tables_have(root, points, visible)
        touched = {(action[0], view) for action in actions if isinstance(action, tuple) for view, _ in action[1]}
        for view, name in enumerate(VIEWS):
            old, new = before[f"CollectedData_{name}.csv"].splitlines(True), tables(root)[f"CollectedData_{name}.csv"]
            kept = [number for number in range(len(old)) if (number - 3, view) not in touched]
            assert [new.splitlines(True)[number] for number in kept] == [old[number] for number in kept]
        if not touched:
            np.testing.assert_array_equal(points, original[0])


def test_cells_of_a_touched_row_that_were_not_edited_keep_their_bytes(root: Path) -> None:
    store = store_of(root)
    store.edit(1, {(0, 2): Label(10.0, 20.5, 2, "click")})
    store.save()
    line = (root / "CollectedData_view0.csv").read_text().splitlines()[4]
    assert line == 'labeled-data/s_view0/img00000001.png,,,0,"7.25",8,2,10.0,20.5,2'


def test_a_row_that_was_labeled_has_no_empty_visible_because_lightning_pose_would_train_on_nan(root: Path) -> None:
    store = store_of(root)
    store.edit(2, {(0, 1): Label(1.0, 2.0, 2, "click")})
    store.save()
    assert (root / "CollectedData_view0.csv").read_text().splitlines()[5].endswith(".png,,,0,1.0,2.0,2,,,0")


def test_an_undone_edit_leaves_the_table_as_it_was(root: Path) -> None:
    before = tables(root)
    store = store_of(root)
    old = store.label(0, 0, 0)
    store.edit(0, {(0, 0): Label(50.0, 60.0, 2, "click")})
    store.edit(0, {(0, 0): old})
    assert store.save() == []
    assert tables(root) == before


class Killed(BaseException):
    """The process ends here."""


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[Callable[[], bool]]:
    """Let the process die before the write with this number, of tables and of the journal; half of the line remains."""
    count, died = 0, False

    def step() -> bool:
        nonlocal count, died
        count += 1
        died = died or count == number
        return died

    write, append = open_tables.replace_file, journal.Journal._append

    def replace_file(path: Path, function: Callable[[Path], object]) -> None:
        if step():
            raise Killed
        write(path, function)

    def half_append(self: journal.Journal, *entries: dict) -> None:
        if step():
            with self._path.open("a") as file:
                file.write(json.dumps(entries[0])[:20])
            raise Killed
        append(self, *entries)

    with monkeypatch.context() as patch:
        patch.setattr(open_tables, "replace_file", replace_file)
        patch.setattr(journal.Journal, "_append", half_append)
        yield lambda: died


@pytest.mark.parametrize("number", range(1, 9))
def test_killed_before_any_write_the_tables_are_whole_and_no_edit_that_counted_is_lost(
    root: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(root)
    wanted = [
        (0, {(0, 0): Label(11.0, 12.0, 2, "click"), (1, 1): Label(13.0, 14.0, 1, "projection")}),
        (2, {(1, 2): Label(15.0, 16.0, 2, "prediction")}),
    ]
    accepted: list = []
    with killed_at(monkeypatch, number) as died:
        try:
            for edit in wanted:
                store.edit(*edit)
                accepted.append(edit)
            store.save()
            store.edit(1, {(0, 0): Label(17.0, 18.0, 2, "click")})
            accepted.append((1, {(0, 0): Label(17.0, 18.0, 2, "click")}))
            store.save()
        except Killed:
            assert died()
    for view in VIEWS:
        read_labels(root / f"CollectedData_{view}.csv")
    again = store_of(root)
    assert again.conflicts == ()
    for frame, labels_ in accepted:
        assert {place: again.label(frame, *place) for place in labels_} == labels_
    again.save()
    assert_tables_have(root, *expected_labels(again))


@pytest.mark.parametrize("number", range(1, 5))
def test_killed_while_the_column_visible_is_added(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_project(tmp_path / "project", num_views=2, visible=False)
    store = store_of(root)
    store.edit(0, {(0, 0): Label(1.0, 2.0, 2, "click")})
    store.save()
    with killed_at(monkeypatch, number), pytest.raises(Killed):
        store.add_visible()
    again = store_of(root)
    assert again.has_visible == (number > 1)
    assert again.label(0, 0, 0)[:3] == (1.0, 2.0, 2)


def test_the_column_visible_is_added_to_all_tables_and_digits_stay(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", num_views=2, visible=False)
    path = root / "CollectedData_view0.csv"
    path.write_text(path.read_text().replace("img00000001.png,,,,,,", "img00000001.png,1.500,2,,,3,04.0"))
    store = store_of(root)
    with raises_input("missing-column", column="visible"):
        store.edit(0, {(0, 0): Label(None, None, 1)})
    store.add_visible()
    lines = path.read_text().splitlines()
    assert lines[2] == "coords,x,y,visible,x,y,visible,x,y,visible"
    assert lines[4] == "labeled-data/s_view0/img00000001.png,1.500,2,2,,,0,3,04.0,2"
    store.edit(0, {(0, 0): Label(None, None, 1)})
    store.save()
    assert read_project(project_config(root)).visibility[0, 0, 0] == 1


def test_labels_whose_cell_visible_is_empty_stay_labels(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", num_views=2)
    path = root / "CollectedData_view0.csv"
    path.write_text(path.read_text().replace("img00000001.png,,,,,,,,,", "img00000001.png,,,,3,4,,,,nan"))
    store = store_of(root)
    assert store.label(1, 0, 1)[:3] == (3.0, 4.0, 2)
    store.edit(1, {(0, 0): Label(5.0, 6.0, 2)})
    store.save()
    assert path.read_text().splitlines()[4] == "labeled-data/s_view0/img00000001.png,5.0,6.0,2,3,4,2,,,0"
    assert store_of(root).label(1, 0, 1)[:3] == (3.0, 4.0, 2)


def test_a_column_visible_in_one_view_alone_is_that_of_its_view(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", num_views=2, visible=False)
    table = root / "CollectedData_view1.csv"
    TableText.read(table).with_visible(missing=1).write()
    store = store_of(root)
    assert not store.has_visible
    assert store.label(0, 0, 0).visible == 0
    assert store.label(0, 1, 0).visible == 1
    store.edit(0, {(0, 0): Label(3.0, 4.0, 2), (1, 0): Label(5.0, 6.0, 2), (1, 1): Label(7.0, 8.0, 1)})
    with raises_input("missing-column", column="visible"):
        store.edit(0, {(0, 1): Label(None, None, 1)})
    store.save()
    assert (root / "CollectedData_view0.csv").read_text().splitlines()[3].endswith("png,3.0,4.0,,,,")
    assert table.read_text().splitlines()[3].endswith("png,5.0,6.0,2,7.0,8.0,1,,,1")
    assert read_project(project_config(root)).visibility[0].tolist() == [[2, 0, 0], [2, 1, 1]]
    store.add_visible()
    assert store_of(root).has_visible
    assert read_project(project_config(root)).visibility[0].tolist() == [[2, 0, 0], [2, 1, 1]]


def test_origins_are_remembered_as_long_as_the_table_has_the_label(root: Path) -> None:
    store = store_of(root)
    store.edit(0, {(0, 0): Label(5.0, 6.0, 2, "projection"), (0, 1): Label(None, None, 0, "absent")})
    store.save()
    assert store_of(root).label(0, 0, 0).origin == "projection"
    assert store_of(root).label(0, 0, 1).origin == "absent"
    path = root / "CollectedData_view0.csv"
    path.write_text(path.read_text().replace("5.0,6.0,2", "5.5,6.0,2"))
    assert store_of(root).label(0, 0, 0).origin is None


def test_a_table_that_was_changed_is_never_overwritten_and_edits_of_other_labels_are_made_again(root: Path) -> None:
    store = store_of(root)
    store.edit(0, {(0, 0): Label(11.0, 12.0, 2, "click"), (0, 1): Label(13.0, 14.0, 2, "click")})
    path = root / "CollectedData_view0.csv"
    changed = path.read_text().replace("1.50,2,2", "99,98,2")
    path.write_text(changed)
    for _ in range(2):
        with raises_input("changed-file", path=path):
            store.save()
    assert path.read_text() == changed
    store.reload()
    (conflict,) = store.conflicts
    assert conflict.cell == ("view0", "nose")
    assert conflict.edited[:2] == (11.0, 12.0)
    assert conflict.found[:2] == (99.0, 98.0)
    store.save()
    assert store_of(root).label(0, 0, 0)[:2] == (99.0, 98.0)
    assert store_of(root).label(0, 0, 1)[:2] == (13.0, 14.0)
    assert store_of(root).conflicts == ()  # told once


def test_rows_that_another_program_added_move_no_edit_to_another_frame(root: Path) -> None:
    store = store_of(root)
    store.edit(0, {(0, 0): Label(11.0, 12.0, 2, "click")})
    for view in VIEWS:
        path = root / f"CollectedData_{view}.csv"
        lines = path.read_text().splitlines()
        image = f"labeled-data/s_{view}/img00000009.png"
        shutil.copy(root / f"labeled-data/s_{view}/img00000000.png", root / image)
        path.write_text("\n".join([*lines[:3], f"{image},,,,,,,,,", *lines[3:]]) + "\n")
    with raises_input("changed-file"):
        store.save()
    store.reload()
    assert store.label(1, 0, 0)[:2] == (11.0, 12.0)
    store.save()
    assert store_of(root).label(1, 0, 0)[:2] == (11.0, 12.0)
    assert store_of(root).label(0, 0, 0)[:2] == (None, None)


@pytest.mark.parametrize(
    ("place", "label", "code"),
    [
        ((0, 0), Label(-0.6, 5.0, 2), "out-of-range"),
        ((0, 0), Label(5.0, SIZE - 0.4, 2), "out-of-range"),
        ((0, 0), Label(float("nan"), 5.0, 2), "out-of-range"),
        ((0, 0), Label(float("inf"), 5.0, 2), "out-of-range"),
        ((2, 0), Label(5.0, 5.0, 2), "out-of-range"),
        ((0, -1), Label(5.0, 5.0, 2), "out-of-range"),
        ((0, 0), Label(5.0, None, 2), "bad-value"),
        ((0, 0), Label(5.0, 5.0, 0), "bad-value"),
        ((0, 0), Label(None, None, 2), "bad-value"),
        ((0, 0), Label(5.0, 5.0, 3), "bad-value"),
    ],
)
def test_labels_that_no_table_may_have_are_refused(root: Path, place: tuple[int, int], label: Label, code: str) -> None:
    store = store_of(root)
    with raises_input(code):
        store.edit(0, {(0, 1): Label(1.0, 1.0, 2), place: label})
    assert store.unsaved_frames() == []


def test_a_view_without_an_image_takes_no_label(root: Path) -> None:
    path = root / "CollectedData_view1.csv"
    path.write_text(path.read_text().replace("labeled-data/s_view1/img00000002.png", ""))
    with raises_input("missing-frame", view="view1"):
        store_of(root).edit(2, {(1, 0): Label(5.0, 5.0, 2)})


def test_a_project_is_labeled_by_one_process(root: Path) -> None:
    config = project_config(root)
    with open_store(config), raises_input("busy-folder"), open_store(config):
        pass
    with open_store(config):
        pass


def test_a_project_that_cannot_be_written_is_refused_at_once(root: Path) -> None:
    (root / JOURNAL_FOLDER).write_text("a file where the folder must be")
    with raises_input("unwritable-file"), open_store(project_config(root)):
        pass


def test_a_table_that_cannot_be_written_keeps_its_edits_in_the_journal(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(root)
    store.edit(0, {(0, 0): Label(11.0, 12.0, 2, "click")})
    before = tables(root)

    def full(path: Path, write: object) -> None:
        raise InputError(f"{path}: cannot be written: no space left", code="unwritable-file", path=path)

    with monkeypatch.context() as patch, raises_input("unwritable-file"):
        patch.setattr(open_tables, "replace_file", full)
        store.save()
    assert tables(root) == before
    assert store_of(root).num_recovered == 1
    store.save()
    assert store_of(root).label(0, 0, 0)[:2] == (11.0, 12.0)


def test_an_edit_that_the_journal_cannot_have_does_not_count(root: Path) -> None:
    store = store_of(root)
    shutil.rmtree(root / JOURNAL_FOLDER)
    with raises_input("unwritable-file"):
        store.edit(0, {(0, 0): Label(11.0, 12.0, 2, "click")})
    assert store.unsaved_frames() == []


def test_a_damaged_journal_is_not_overlooked(root: Path) -> None:
    store_of(root).edit(0, {(0, 0): Label(11.0, 12.0, 2, "click")})
    path = root / JOURNAL_FOLDER / "journal.jsonl"
    path.write_text("{}\n" + path.read_text())
    with pytest.raises(InputError) as caught:
        store_of(root)
    check_error(caught.value, "damaged-file", line=1)
