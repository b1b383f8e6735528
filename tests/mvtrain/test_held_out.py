"""Held-out label tables, `CollectedData_<view>_new.csv`: evaluated and predicted, never trained on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from helpers.command import Outcome, prepare_by_mvtrain, run_mvtrain
from helpers.errors import raises_input
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvtrain.config import Config, load_config
from mvtrain.project.held_out import HeldOut, read_held_out
from mvtrain.project.project import Project, read_project

VIEWS = ("cam1", "cam2", "cam3")
OWN, HELD_OUT = 8, 4


def move_rows(project: Path, ending: str, rows: slice) -> None:
    """Move rows of every label table into tables with an ending."""
    for view in VIEWS:
        path = project / f"CollectedData_{view}.csv"
        lines = path.read_text().splitlines(keepends=True)
        header, body = lines[:3], lines[3:]
        moved = body[rows]
        path.with_name(f"{path.stem}{ending}.csv").write_text("".join(header + moved))
        path.write_text("".join(header + [line for line in body if line not in moved]))


def images(table: Path) -> list[str]:
    return [line.split(",")[0] for line in table.read_text().splitlines()[3:]]


def write_boxes(project: Path, ending: str, tables: str) -> None:
    """Write boxes of the rows of tables: the whole image of 64 px, which begins at another corner in every view."""
    for number, view in enumerate(VIEWS):
        rows = [
            f"{name},{10 * number},{5},{64},{64}\n" for name in images(project / f"CollectedData_{view}{tables}.csv")
        ]
        (project / f"bboxes_{view}{ending}.csv").write_text(",x,y,h,w\n" + "".join(rows))


def change(config: Path, section: str, **values: object) -> None:
    document = yaml.safe_load(config.read_text())
    document[section] |= values
    config.write_text(yaml.safe_dump(document))


def read(config: Path) -> tuple[Config, Project]:
    loaded = load_config(config)
    return loaded, read_project(loaded)


def only(config: Path) -> HeldOut:
    (found,) = read_held_out(*read(config)).found
    return found


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = generate_tiny_project(tmp_path_factory.mktemp("held") / "project", num_frames=OWN + HELD_OUT)
    move_rows(folder, "_new", slice(-HELD_OUT, None))
    return folder


@pytest.fixture
def project(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "project"))


@pytest.fixture
def config(project: Path, tmp_path: Path) -> Path:
    return write_tiny_config(tmp_path / "tiny.yaml", project)


@pytest.fixture(scope="module")
def trained(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    path = write_tiny_config(folder / "tiny.yaml", pristine, max_epochs=1, patch_mask=None)
    prepare_by_mvtrain("fit", path, "--output", folder / "run")
    return folder / "run"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    return lambda *arguments: run_mvtrain(capsys, monkeypatch, *arguments)


def test_they_are_another_set_of_tables_of_the_project(config: Path, project: Path) -> None:
    found = only(config)
    assert (found.split, found.ending) == ("new", "_new")
    assert [names[0] for names in found.project.image_names] == images(project / "CollectedData_cam1_new.csv")
    assert all(cameras is not None for cameras in found.project.cameras)
    assert not found.warnings
    assert len(read(config)[1]) == OWN


def test_tables_of_both_endings_are_splits_of_their_own(config: Path, project: Path) -> None:
    move_rows(project, "_test", slice(0, 2))
    held_out = read_held_out(*read(config))
    assert [(each.split, len(each.project)) for each in held_out.found] == [("new", HELD_OUT), ("test_table", 2)]


def test_a_project_without_them_has_none(config: Path, project: Path) -> None:
    for view in VIEWS:
        (project / f"CollectedData_{view}_new.csv").unlink()
    held_out = read_held_out(*read(config))
    assert held_out.found == held_out.warnings == ()


def test_tables_that_the_config_names_are_the_projects_own(config: Path, project: Path) -> None:
    """A view may be named `cam1_new`."""
    names = ["cam1", "cam1_new"]
    table = (project / "CollectedData_cam1.csv").read_text()
    (project / "CollectedData_cam1_new.csv").write_text(table.replace("_cam1/", "_cam1_new/"))
    for folder in list((project / "labeled-data").glob("*_cam1")):
        shutil.copytree(folder, folder.with_name(f"{folder.name}_new"))
    shutil.rmtree(project / "calibrations")
    change(config, "data", view_names=names, csv_file=[f"CollectedData_{name}.csv" for name in names])
    held_out = read_held_out(*read(config))
    assert held_out.found == held_out.warnings == ()


def test_a_view_without_a_table_is_a_warning(config: Path, project: Path) -> None:
    (project / "CollectedData_cam2_new.csv").unlink()
    held_out = read_held_out(*read(config))
    assert held_out.found == ()
    assert len(held_out.warnings) == 1
    assert "CollectedData_cam2_new.csv" in held_out.warnings[0]


def test_a_single_view_has_one_table(project: Path, tmp_path: Path) -> None:
    for ending in ("", "_new"):
        shutil.copy(project / f"CollectedData_cam1{ending}.csv", project / f"CollectedData{ending}.csv")
    path = write_tiny_config(tmp_path / "one.yaml", project)
    change(path, "data", csv_file="CollectedData.csv")
    change(path, "training", imgaug_3d=False)
    assert len(only(path).project) == HELD_OUT


def test_other_keypoints_are_an_error(config: Path, project: Path) -> None:
    for view in VIEWS:
        path = project / f"CollectedData_{view}_new.csv"
        path.write_text(path.read_text().replace("nose", "snout"))
    with raises_input("keypoints-differ", path=project / "CollectedData_cam1_new.csv"):
        read_held_out(*read(config))


def test_frames_of_the_project_are_named(config: Path, project: Path) -> None:
    for view in VIEWS:
        own, other = (project / f"CollectedData_{view}{ending}.csv" for ending in ("", "_new"))
        rows = own.read_text().splitlines(keepends=True)[3:5]
        # The first as the same image in another format.
        name = rows[0].partition(",")[0]
        rows[0] = rows[0].replace(".jpg", ".png")
        cv2.imwrite(str((project / name).with_suffix(".png")), cv2.imread(str(project / name)))
        other.write_text(other.read_text() + "".join(rows))
    held_out = read_held_out(*read(config))
    assert len(held_out.warnings) == 1
    assert "2 frames" in held_out.warnings[0]


@pytest.mark.parametrize("own_tables", [True, False])
def test_boxes_are_those_with_the_ending_or_in_the_projects_own_tables(
    config: Path, project: Path, own_tables: bool
) -> None:
    write_boxes(project, "", "")
    if own_tables:
        for number, view in enumerate(VIEWS):
            with (project / f"bboxes_{view}.csv").open("a") as file:
                for name in images(project / f"CollectedData_{view}_new.csv"):
                    file.write(f"{name},{10 * number},5,64,64\n")
    else:
        write_boxes(project, "_new", "_new")
    change(config, "data", bbox_file=[f"bboxes_{view}.csv" for view in VIEWS], view_names=list(VIEWS))
    found = only(config)
    assert found.project.boxes is not None
    np.testing.assert_array_equal(found.project.boxes[0], [[0, 5, 64, 64], [10, 5, 64, 64], [20, 5, 64, 64]])
    assert all(cameras is not None for cameras in found.project.cameras)


def test_without_boxes_crops_are_not_taken_for_whole_images(config: Path, project: Path) -> None:
    """Lightning Pose evaluates them without boxes; the cameras would be those of other pixels."""
    write_boxes(project, "", "")
    change(config, "data", bbox_file=[f"bboxes_{view}.csv" for view in VIEWS], view_names=list(VIEWS))
    found = only(config)
    assert found.project.boxes is None
    assert all(cameras is None for cameras in found.project.cameras)
    assert len(found.warnings) == 1
    assert "bboxes_cam1_new.csv" in found.warnings[0]


def test_boxes_of_some_views_only_are_an_error(config: Path, project: Path) -> None:
    write_boxes(project, "", "")
    write_boxes(project, "_new", "_new")
    (project / "bboxes_cam2_new.csv").unlink()
    change(config, "data", bbox_file=[f"bboxes_{view}.csv" for view in VIEWS], view_names=list(VIEWS))
    with raises_input("missing-file", path=project / "bboxes_cam2_new.csv"):
        read_held_out(*read(config))


def test_a_table_of_calibrations_with_the_ending_is_theirs(config: Path, project: Path) -> None:
    (calibration,) = project.rglob("calibration*/*.toml")
    other = project / "other.toml"
    shutil.copy(calibration, other)
    for ending, file in (("", calibration), ("_new", other)):
        names = [name.replace("_cam1/", "/") for name in images(project / f"CollectedData_cam1{ending}.csv")]
        rows = [f"{name},{file.relative_to(project)}\n" for name in names]
        (project / f"calibrations{ending}.csv").write_text(",file\n" + "".join(rows))
    loaded = read(config)
    assert all(cameras is not None for cameras in only(config).project.cameras)
    other.unlink()
    with raises_input("missing-file", path=other):
        read_held_out(*loaded)


def test_views_are_not_named_by_them(project: Path, tmp_path: Path) -> None:
    """Without csv_file and view_names every label table of the folder counts, but these."""
    path = write_tiny_config(tmp_path / "unnamed.yaml", project)
    assert read(path)[1].view_names == VIEWS


def test_fit_writes_their_predictions_and_errors(trained: Path, pristine: Path) -> None:
    for view in VIEWS:
        named = images(pristine / f"CollectedData_{view}_new.csv")
        table = pd.read_csv(trained / f"predictions_{view}_new.csv", header=[0, 1, 2], index_col=0)
        assert table.index.tolist() == named
        assert table.columns[-1][0] == "set"
        assert set(table.iloc[:, -1]) == {"new"}
        errors = pd.read_csv(trained / f"predictions_{view}_pixel_error_new.csv", index_col=0)
        assert errors.index.tolist() == named
        assert errors.columns[-1] == "set"
        labels = pd.read_csv(pristine / f"CollectedData_{view}_new.csv", header=[0, 1, 2], index_col=0)
        keypoint = errors.columns[0]
        found = table.xs(keypoint, axis=1, level=1).iloc[0, :2].to_numpy(float)
        label = labels.xs(keypoint, axis=1, level=1).iloc[0, :2].to_numpy(float)
        if np.isfinite(errors.iloc[0, 0]):
            assert errors.iloc[0, 0] == pytest.approx(np.hypot(*(found - label)), abs=1e-3)
        folder = trained / "image_preds" / f"CollectedData_{view}_new.csv"
        for kind in ("", "_pixel_error"):
            written = (trained / f"predictions_{view}{kind}_new.csv").read_bytes()
            assert (folder / f"predictions{kind}.csv").read_bytes() == written
    in_3d = pd.read_csv(trained / "predictions_3d_new.csv", header=[0, 1, 2], index_col=0)
    assert len(in_3d) == HELD_OUT


def test_they_are_in_no_split_and_no_training_batch(trained: Path, pristine: Path) -> None:
    held_out = {Path(name).name for name in images(pristine / "CollectedData_cam1_new.csv")}
    split = pd.read_csv(trained / "split.csv")
    assert len(split) == OWN
    assert not held_out & {Path(name).name for name in split["image"]}
    own = pd.read_csv(trained / "predictions_cam1.csv", header=[0, 1, 2], index_col=0)
    assert len(own) == OWN
    assert "new" not in set(own.iloc[:, -1])


def test_evaluate_reports_them_beside_the_mean_pose_of_training(
    trained: Path, tmp_path: Path, command: Callable[..., Outcome]
) -> None:
    outcome = command("evaluate", trained, "--output", tmp_path / "out")
    assert outcome.status == 0
    errors = pd.read_csv(tmp_path / "out" / "errors.csv")
    splits = list(dict.fromkeys(errors["split"]))
    assert splits[-1] == "new"
    assert {"train", "test"} <= set(splits)
    overall = errors[(errors["view"] == "all") & (errors["keypoint"] == "all") & (errors["split"] == "new")]
    means = overall.set_index("error")["mean"]
    assert np.isfinite(means["mean_pose"])
    assert means["mean_pose"] != means["label"]
    tables = [pd.read_csv(trained / f"predictions_{view}_pixel_error_new.csv", index_col=0) for view in VIEWS]
    every = np.concatenate([table.iloc[:, :-1].to_numpy(float).ravel() for table in tables])
    assert means["label"] == pytest.approx(np.nanmean(every), rel=1e-3)
    for name in ("errors_3d.csv", "pck.csv", "confidence_summary.csv"):
        assert "new" in set(pd.read_csv(tmp_path / "out" / name)["split"]), name


def test_predict_writes_them_beside_the_project(
    trained: Path, pristine: Path, tmp_path: Path, command: Callable[..., Outcome]
) -> None:
    outcome = command("predict", trained, pristine, "--output", tmp_path / "out")
    assert outcome.status == 0
    folder = tmp_path / "out" / pristine.name
    for view in VIEWS:
        table = pd.read_csv(folder / f"predictions_{view}_new.csv", header=[0, 1, 2], index_col=0)
        assert table.index.tolist() == images(pristine / f"CollectedData_{view}_new.csv")
    assert (folder / "predictions_3d_new.csv").is_file()


def test_report_has_their_errors(trained: Path, tmp_path: Path, command: Callable[..., Outcome]) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    assert command("report", folder).status == 0
    page = (folder / "report.html").read_text()
    assert page.count("<td>new</td>") > 0


def test_check_names_them_and_their_faults(
    config: Path, project: Path, tmp_path: Path, command: Callable[..., Outcome]
) -> None:
    arguments = ("check", config, "--output", tmp_path / "check")
    assert "4 frames of label tables that end in _new" in " ".join(command(*arguments).out.split())
    table = project / "CollectedData_cam1_new.csv"
    table.write_text(table.read_text().replace("nose", "snout"))
    outcome = command(*arguments)
    assert outcome.status == 1
    assert "held_out_tables" in outcome.out


def test_faults_end_the_command_before_training(
    config: Path, project: Path, tmp_path: Path, command: Callable[..., Outcome]
) -> None:
    table = project / "CollectedData_cam2_new.csv"
    table.write_text(table.read_text().replace(".png,", ".jpg,").replace(".jpg,", "_gone.png,"))
    outcome = command("fit", config, "--output", tmp_path / "run")
    assert outcome.status == 2
    assert not (tmp_path / "run").exists()
