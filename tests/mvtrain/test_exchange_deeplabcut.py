"""Reader of DeepLabCut's tables and projects, and its errors."""

from __future__ import annotations

import io
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from helpers.errors import raises_input
from helpers.videos import moving_dot, write_video
from mvtrain.exchange import from_deeplabcut as deeplabcut
from mvtrain.exchange.deeplabcut_tables import prediction_tables, read_table
from mvtrain.exchange.foreign_labels import ForeignLabels, ReadOptions, Source, VideoFrame
from mvtrain.exchange.run_import import ImportOptions, import_project
from mvtrain.project.names import pattern_rule

OPTIONS = ReadOptions(rule=pattern_rule("<session>_<view>"))
LEVELS = ["scorer", "bodyparts", "coords"]


def table(columns: list[tuple[str, ...]], rows: int = 2, levels: list[str] = LEVELS) -> pd.DataFrame:
    images = [f"labeled-data/mouse_top/img{row:03d}.png" for row in range(rows)]
    values = np.arange(rows * len(columns), dtype=np.float64).reshape(rows, -1)
    return pd.DataFrame(values, index=images, columns=pd.MultiIndex.from_tuples(columns, names=levels))


def single(*names: str) -> list[tuple[str, ...]]:
    return [("me", name, coord) for name in names for coord in "xy"]


def several() -> pd.DataFrame:
    columns = [("me", animal, name, coord) for animal in ("a", "b") for name in ("nose", "tail") for coord in "xy"]
    return table(columns, levels=["scorer", "individuals", "bodyparts", "coords"])


def project(folder: Path, config: dict[str, object] | None = None, size: tuple[int, int] = (20, 10)) -> Path:
    labeled = folder / "labeled-data" / "mouse_top"
    labeled.mkdir(parents=True)
    table(single("nose", "tail")).to_csv(labeled / "CollectedData_me.csv")
    for number in range(3):
        cv2.imwrite(str(labeled / f"img{number:03d}.png"), np.zeros((size[1], size[0], 3), np.uint8))
    document = {"scorer": "me", "bodyparts": ["nose", "tail"], "video_sets": {}, **(config or {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return folder


def read(path: Path, view: str | None = None) -> ForeignLabels:
    return deeplabcut.read([Source(path=path, view=view)], OPTIONS)[0]


def save(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".h5":
        frame.to_hdf(path, key="df_with_missing", mode="w")
    else:
        frame.to_csv(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".h5"])
def test_one_animal_of_several_can_be_chosen(tmp_path: Path, suffix: str) -> None:
    path = save(several(), tmp_path / f"CollectedData_me{suffix}")
    rows = read_table(path, "b")
    assert rows.keypoint_names == ("nose", "tail")
    np.testing.assert_array_equal(rows.points[1], [[12, 13], [14, 15]])
    with raises_input("several-individuals", path=path, found=("a", "b")):
        read_table(path, None)
    with raises_input("unknown-choice", path=path, option="--individual", found="c", expected=("a", "b")):
        read_table(path, "c")


@pytest.mark.parametrize("suffix", [".csv", ".h5"])
def test_paths_of_windows_and_keypoints_that_are_not_sorted(tmp_path: Path, suffix: str) -> None:
    frame = table(single("tail", "nose"))
    frame.index = pd.Index([name.replace("/", "\\") for name in frame.index])
    rows = read_table(save(frame, tmp_path / f"CollectedData_me{suffix}"), None)
    assert rows.keypoint_names == ("tail", "nose")
    assert rows.images == ("labeled-data/mouse_top/img000.png", "labeled-data/mouse_top/img001.png")


@pytest.mark.parametrize(
    "start", [".", "config.yaml", "labeled-data/mouse_top", "labeled-data/mouse_top/CollectedData_me.csv"]
)
def test_any_part_of_a_project_is_a_source(tmp_path: Path, start: str) -> None:
    labels = read(project(tmp_path / "dlc", {"skeleton": [["nose", "tail"], ["nose", "gone"]]}) / start)
    assert [image.place for image in labels.images] == [("mouse", "top", 0), ("mouse", "top", 1)]
    assert all(image.image is not None and image.crop is None for image in labels.images)
    assert labels.skeleton == (("nose", "tail"),)
    assert ("mouse", "top", 2) in labels.unlabeled


def test_a_video_folder_named_without_view_is_the_session(tmp_path: Path) -> None:
    assert read(project(tmp_path / "dlc"), view="side").images[0].place == ("mouse_top", "side", 0)


def test_cropped_images_have_their_corner(tmp_path: Path) -> None:
    config: dict[str, object] = {"video_sets": {"D:\\videos\\mouse_top.mp4": {"crop": "100, 120, 30, 40"}}}
    assert read(project(tmp_path / "cropped", config)).images[0].crop == (100, 30)
    # The crop was set after these full images had been extracted.
    assert read(project(tmp_path / "whole", config, size=(200, 100))).images[0].crop is None


def test_a_skeleton_and_a_crop_that_are_words_are_ignored(tmp_path: Path) -> None:
    config: dict[str, object] = {"skeleton": 3, "video_sets": {"mouse_top.mp4": {"crop": "inf, 20, 0, 10"}}}
    labels = read(project(tmp_path / "dlc", config))
    assert labels.skeleton == ()
    assert labels.images[0].crop is None


def test_lost_images_are_none(tmp_path: Path) -> None:
    folder = project(tmp_path / "dlc")
    (folder / "labeled-data" / "mouse_top" / "img001.png").unlink()
    first, second = read(folder).images
    assert first.image is not None
    assert second.image is None


def test_several_scorers(tmp_path: Path) -> None:
    folder = project(tmp_path / "dlc")
    labeled = folder / "labeled-data" / "mouse_top"
    save(table(single("nose", "tail")), labeled / "CollectedData_you.csv")
    assert len(read(folder).images) == 2
    (folder / "config.yaml").unlink()
    with raises_input("wrong-count", path=labeled, found=("CollectedData_me", "CollectedData_you")):
        read(folder)


CSV = "scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\n"


@pytest.mark.parametrize(
    ("content", "code", "facts"),
    [
        ("a,b\n1,2\n", "bad-header", {}),
        ("", "bad-header", {}),
        (CSV.replace(",", ",,") + "a,img1.png,1,,2\n", "bad-header", {}),
        ("scorer\nbodyparts\ncoords\na/img1.png\n", "no-labels", {}),
        (CSV + "a/img1.png,1\n", "wrong-count", {"found": (2, 3)}),
        (CSV + "a/img1.png,1,one\n", "bad-number", {"image": "a/img1.png", "found": "one"}),
        (CSV + "a/img1.png,1,inf\n", "bad-number", {"image": "a/img1.png", "found": "inf"}),
        (CSV + "a/img1.png,1,\n", "empty-cell", {"image": "a/img1.png", "keypoint": "nose"}),
        (CSV.replace("x,y", "x,z") + "a/img1.png,1,2\n", "missing-column", {"keypoint": "nose", "column": "y"}),
        (CSV + '"a/img1.png,1,2\n', "invalid-syntax", {}),
        (b"\xff\xfe", "not-text", {}),
    ],
    ids=range(11),
)
def test_damaged_csv(tmp_path: Path, content: str | bytes, code: str, facts: dict[str, object]) -> None:
    path = tmp_path / "CollectedData_me.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with raises_input(code, path=path, **facts) as caught:
        read_table(path, None)
    assert str(path) in str(caught.value)


def test_damaged_h5(tmp_path: Path) -> None:
    path = tmp_path / "CollectedData_me.h5"
    path.write_bytes(b"no HDF5")
    with raises_input("damaged-file", path=path):
        read_table(path, None)
    pd.DataFrame({"a": [1.0]}).to_hdf(path, key="df_with_missing", mode="w")
    with raises_input("bad-header", path=path):
        read_table(path, None)


def multi(*labeled: str) -> pd.DataFrame:
    """Individuals a and b, and a corner that belongs to neither; only the named ones have labels."""
    columns = [("me", animal, name, coord) for animal in "ab" for name in ("nose", "tail") for coord in "xy"]
    columns += [("me", "single", "corner", coord) for coord in "xy"]
    frame = table(columns, levels=["scorer", "individuals", "bodyparts", "coords"])
    for number, (_, animal, _, _) in enumerate(columns):
        if animal not in labeled:
            frame.iloc[:, number] = np.nan
    return frame


@pytest.mark.parametrize("suffix", [".csv", ".h5"])
def test_body_parts_without_an_individual_are_keypoints_of_each(tmp_path: Path, suffix: str) -> None:
    path = save(multi("a", "b", "single"), tmp_path / f"CollectedData_me{suffix}")
    rows = read_table(path, "b")
    assert rows.keypoint_names == ("nose", "tail", "corner")
    assert rows.unique == ("corner",)
    np.testing.assert_array_equal(rows.points[1], [[14, 15], [16, 17], [18, 19]])
    assert read_table(path, "single").keypoint_names == ("corner",)
    with raises_input("several-individuals", found=("a", "b")):
        read_table(path, None)


def test_an_individual_without_labels_is_no_second_animal(tmp_path: Path) -> None:
    folder = project(tmp_path / "dlc")
    labeled = folder / "labeled-data" / "mouse_top"
    save(multi("b", "single"), labeled / "CollectedData_me.csv")
    labels = read(folder)
    np.testing.assert_array_equal(labels.images[0].points, [[4, 5], [6, 7], [8, 9]])
    (note,) = labels.notes
    assert "corner" in note
    # Another animal in another view is a second one, though each table has one.
    other = folder / "labeled-data" / "mouse_side"
    other.mkdir()
    save(multi("a"), other / "CollectedData_me.csv")
    with raises_input("several-individuals", found=("a", "b")):
        read(folder)


def test_a_different_h5_beside_the_csv_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project(tmp_path / "dlc")
    csv = folder / "labeled-data" / "mouse_top" / "CollectedData_me.csv"
    frame, later = table(single("nose", "tail")), csv.stat().st_mtime + 3600
    h5 = save(frame, csv.with_suffix(".h5"))
    os.utime(h5, (later, later))
    assert read(folder).notes == ()  # a copy of the project has other times
    for layout in ("fixed", "table"):
        (frame + 1).to_hdf(h5, key="df_with_missing", mode="w", format=layout)
        (note,) = read(folder).notes
        assert str(csv) in note
        assert "has other labels" in note
    values = frame.to_numpy()
    moved = values.copy()
    moved[:, 2:] = np.nan
    cases = {
        "left and right exchanged": (values[:, [2, 3, 0, 1]], False),
        "x and y exchanged": (values[:, [1, 0, 3, 2]], False),
        "labels of two images exchanged": (values[[1, 0]], True),  # as rows in another order
        "parts of two images exchanged": (np.column_stack([values[[1, 0], :2], values[:, 2:]]), False),
        "a label is missing": (moved, False),
        "rounded": (values + 1e-12, True),
    }
    for case, (other, is_same) in cases.items():
        for layout in ("fixed", "table"):
            pd.DataFrame(other, index=frame.index, columns=frame.columns).to_hdf(
                h5, key="df_with_missing", mode="w", format=layout
            )
            assert (read(folder).notes == ()) == is_same, (case, layout)
    whole = frame.astype({frame.columns[0]: int})
    for same in (whole, pd.concat([frame, frame.iloc[:1].rename(index=str.upper) * np.nan])):
        save(same, h5)
        assert read(folder).notes == ()
    # The label of one keypoint is that of the other, in a table that pandas keeps and writes in several blocks.
    frame.iloc[:, 2:] = np.nan
    save(frame, csv)
    save(frame, h5)
    assert read(folder).notes == ()
    frame.iloc[:, [2, 3, 0, 1]] = frame.to_numpy().copy()
    save(frame, h5)
    assert len(read(folder).notes) == 1
    os.utime(h5, (later, later))
    monkeypatch.setitem(sys.modules, "h5py", None)
    (note,) = read(folder).notes
    assert "is newer" in note


def test_rows_relative_to_the_folder_of_the_table(tmp_path: Path) -> None:
    columns = single("nose", "tail")
    for place in ("labeled-data/mouse_top", "mouse_top", "."):
        folder = tmp_path / f"at-{place.replace('/', '-')}" / "mouse_top"
        frame = table(columns)
        image = folder / place / "img000.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(image), np.zeros((4, 5, 3), np.uint8))
        frame.index = [f"{place}/img{number:03d}.png".removeprefix("./") for number in range(2)]
        path = save(frame, folder / "CollectedData_me.csv")
        for source in (path, folder):
            first, second = read(source).images
            assert first.place == ("mouse", "top", 0)
            assert first.image is not None
            assert first.image.path.samefile(image)
            assert second.image is None
    folder = tmp_path / "inner" / "mouse_top"
    (folder / "images").mkdir(parents=True)
    cv2.imwrite(str(folder / "images" / "img000.png"), np.zeros((4, 5, 3), np.uint8))
    frame = table(columns, rows=1)
    frame.index = ["images/img000.png"]
    (image,) = read(save(frame, folder / "CollectedData_me.csv")).images
    assert image.place == ("mouse", "top", 0)


def test_a_table_in_the_current_folder_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mouse_top"
    folder.mkdir()
    frame = table(single("nose", "tail"), rows=1)
    frame.index = ["img001.png"]
    save(frame, folder / "CollectedData_me.csv")
    monkeypatch.chdir(folder)
    for source in (Path("CollectedData_me.csv"), Path(), folder):
        assert read(source).images[0].place == ("mouse", "top", 1)
        assert read(source, view="side").images[0].place == ("mouse_top", "side", 1)


def test_a_table_of_two_folders_takes_each_image_from_its_own(tmp_path: Path) -> None:
    folder = project(tmp_path / "dlc")
    other = folder / "labeled-data" / "mouse_side" / "img000.png"
    other.parent.mkdir()
    cv2.imwrite(str(other), np.zeros((10, 20, 3), np.uint8))
    frame = table(single("nose", "tail"))
    frame.index = ["labeled-data/mouse_top/img000.png", "labeled-data/mouse_side/img000.png"]
    save(frame, folder / "labeled-data" / "mouse_top" / "CollectedData_me.csv")
    first, second = read(folder).images
    assert first.place[1:] == ("top", 0)
    assert second.place[1:] == ("side", 0)
    assert second.image is not None
    assert second.image.path == other


def predictions(folder: Path, name: str = "mouse_topDLC_resnet50_task", suffix: str = ".h5") -> Path:
    """Write predictions of four frames as DeepLabCut does, with rising likelihoods, and an empty video."""
    scorer = name.removeprefix("mouse_top").removesuffix("_filtered").removeprefix("_")
    columns = pd.MultiIndex.from_product([[scorer], ["nose", "tail"], ["x", "y", "likelihood"]], names=LEVELS)
    frame = pd.DataFrame(np.arange(24.0).reshape(4, 6), columns=columns)
    frame.iloc[:, 2::3] = np.array([[0.1, 0.2], [0.3, 0.9], [0.7, 0.8], [0.9, 1.0]])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mouse_top.mp4").touch()
    return save(frame, folder / f"{name}{suffix}")


@pytest.mark.parametrize("suffix", [".csv", ".h5"])
@pytest.mark.parametrize("name", ["DLC_resnet50_task", "DLC_resnet50_task_filtered", "_superanimal_quadruped_hrnet"])
def test_predictions_are_labels_on_request(tmp_path: Path, suffix: str, name: str) -> None:
    path = predictions(tmp_path, f"mouse_top{name}", suffix)
    (tmp_path / "mouse_3dDLC_mvtrain.csv").touch()  # not predictions of a view
    for source in (path, tmp_path):
        with raises_input("no-labels", path=source) as caught:
            read(source)
        assert "--min-likelihood" in str(caught.value)
        options = replace(OPTIONS, min_likelihood=0.6)
        (labels,) = deeplabcut.read([Source(path=source)], options)
        assert [image.place for image in labels.images] == [("mouse", "top", number) for number in (1, 2, 3)]
        assert all(image.predicted for image in labels.images)
        assert labels.images[0].image == VideoFrame(path=tmp_path / "mouse_top.mp4", number=1)
        np.testing.assert_array_equal(labels.images[0].points, [[np.nan, np.nan], [9, 10]])
        (labels,) = deeplabcut.read([Source(path=source)], replace(options, every=2))
        assert [image.place.number for image in labels.images] == [2]


def test_of_the_tables_of_a_network_one_is_read(tmp_path: Path) -> None:
    path = predictions(tmp_path)
    for end in ("_filtered", "_filtered_skeleton", "_skeleton"):
        shutil.copy(path, path.with_name(f"{path.stem}{end}.h5"))
    (tmp_path / f"{path.stem}_skeleton.csv").touch()
    assert prediction_tables(tmp_path) == [path]
    path.unlink()
    assert [table.stem for table in prediction_tables(tmp_path)] == [f"{path.stem}_filtered"]


def test_the_summary_states_that_labels_are_predictions(tmp_path: Path) -> None:
    path = predictions(tmp_path)
    write_video(tmp_path / "mouse_top.avi", [moving_dot(number) for number in range(4)])
    (tmp_path / "mouse_top.mp4").unlink()
    console = Console(file=io.StringIO(), width=200)
    import_project("deeplabcut", [path], ImportOptions(out=tmp_path / "out", predictions=0.6), console)
    assert "warning: predictions as labels in 3 images" in console.file.getvalue()
    for wrong in ({"predictions": 1.5}, {"every": 2}, {"every": 0, "predictions": 0.5}):
        with raises_input("out-of-range" if "every" not in wrong else "bad-option"):
            import_project("deeplabcut", [path], ImportOptions(out=tmp_path / "other", **wrong), console)


def test_labels_made_by_hand_come_before_predictions(tmp_path: Path) -> None:
    folder = project(tmp_path / "dlc")
    predictions(folder / "videos")
    (labels,) = deeplabcut.read([Source(path=folder)], replace(OPTIONS, min_likelihood=0.0))
    assert {image.place.number: image.predicted for image in labels.images} == {0: False, 1: False, 2: True, 3: True}


def test_an_h5_file_of_predictions_is_refused(tmp_path: Path) -> None:
    predictions = table(single("nose"))
    predictions.index = pd.RangeIndex(len(predictions))
    path = save(predictions, tmp_path / "CollectedData_me.h5")
    with raises_input("bad-header", path=path):
        read_table(path, None)


def test_h5_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(table(single("nose")), tmp_path / "CollectedData_me.h5")
    monkeypatch.setitem(sys.modules, "tables", None)
    with raises_input("missing-library", library="tables", extra="exchange"):
        read_table(path, None)


def test_no_project(tmp_path: Path) -> None:
    with raises_input("no-labels", path=tmp_path):
        read(tmp_path)
    (tmp_path / "labeled-data" / "mouse_top").mkdir(parents=True)
    with raises_input("no-labels", path=tmp_path):
        read(tmp_path)
    (tmp_path / "config.yaml").write_text("data: {}")
    with raises_input("unknown-format", path=tmp_path / "config.yaml"):
        read(tmp_path)
    for broken in ("[", "bodyparts: !!int x"):
        (tmp_path / "config.yaml").write_text(broken)
        with raises_input("invalid-syntax", path=tmp_path / "config.yaml"):
            read(tmp_path)
    (tmp_path / "labels.txt").write_text("")
    (tmp_path / "config.yaml").unlink()
    with raises_input("unsupported-file", path=tmp_path / "labels.txt"):
        read(tmp_path / "labels.txt")
