"""`mvtrain evaluate` from the command line to its files, and what a fitted calibration changes in `mvtrain predict`."""

import dataclasses
import re
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

import mvtrain
from helpers.command import Outcome, prepare_by_mvtrain, run_mvtrain
from helpers.errors import raises_input
from helpers.runs import make_run
from helpers.tiny import generate_tiny_project
from helpers.videos import SIZE, moving_dot, write_session
from mvgeom import CameraGroup
from mvgeom.tables import read_keypoints
from mvtrain.config import load_config
from mvtrain.evaluation import fits_to_labels
from mvtrain.evaluation.run_evaluate import EvaluateOptions, evaluate_command
from mvtrain.model.reconstruction import Observations, estimate_noise, to_3d
from mvtrain.model.run_folder import load_run
from mvtrain.predict.ensemble import find_error_bars
from mvtrain.project.project import read_project
from mvtrain.project.splits import split_frames, write_split
from mvtrain.report.write_report import ReportOptions, report_command
from mvtrain.runtime.folders import EnsembleMember, write_ensemble
from mvtrain.synth.animal import KEYPOINT_NAMES

VIEWS = ("cam1", "cam2", "cam3")
NUM_FRAMES = 12
FILES = [
    "confidence_calibration.csv",
    "confidence_summary.csv",
    "errors.csv",
    "errors_3d.csv",
    "evaluation.png",
    "pck.csv",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_tiny_project(tmp_path_factory.mktemp("evaluate") / "project", num_frames=NUM_FRAMES)


@pytest.fixture(scope="module")
def untouched_run(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the run of an untrained network; half of the frames are of its validation split."""
    folder = make_run(
        tmp_path_factory.mktemp("run") / "run",
        VIEWS,
        KEYPOINT_NAMES,
        {"data_dir": str(project), "skeleton": []},
    )
    set_in_config(folder, train_prob=0.25, val_prob=0.5)
    return folder


@pytest.fixture
def run(untouched_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(untouched_run, tmp_path / "run"))


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A run after `mvtrain evaluate`, and what the command printed."""

    folder: Path
    out: str

    def copy(self, target: Path) -> Path:
        return Path(shutil.copytree(self.folder, target))


@pytest.fixture(scope="module")
def evaluated(untouched_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    return evaluate_copy(untouched_run, tmp_path_factory.mktemp("evaluated") / "run")


@pytest.fixture(scope="module")
def fitted(untouched_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    return evaluate_copy(untouched_run, tmp_path_factory.mktemp("fitted") / "run", "--fit-confidence")


def evaluate_copy(run: Path, folder: Path, *options: str) -> Evaluated:
    shutil.copytree(run, folder)
    with redirect_stdout(StringIO()) as printed:
        prepare_by_mvtrain("evaluate", folder, *options)
    return Evaluated(folder=folder, out=printed.getvalue())


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    return lambda *arguments: run_mvtrain(capsys, monkeypatch, *arguments)


def set_in_config(run: Path, **training: object) -> None:
    document = yaml.safe_load((run / "config.yaml").read_text())
    document["training"].update(training)
    (run / "config.yaml").write_text(yaml.safe_dump(document))


def read_world(path: Path) -> np.ndarray:
    """(N, K, 3) points of a 3D table."""
    table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
    chosen = table.loc[:, table.columns.get_level_values(2).isin(["x", "y", "z"])]
    return chosen.to_numpy(dtype=float).reshape(len(table), -1, 3)


def test_the_tables_equal_a_recount_from_csv_files(
    evaluated: Evaluated, project: Path, tmp_path: Path, command
) -> None:
    run = evaluated.copy(tmp_path / "run")
    assert sorted(path.name for path in (run / "evaluation").iterdir()) == FILES
    assert "not calibrated" in evaluated.out
    assert "\u2026" not in evaluated.out  # nothing is cut off at 80 columns
    assert "validation  cam1  visible " in evaluated.out
    assert "validation  cam1  occluded " in evaluated.out
    command("predict", run, project / "config.yaml", "--device", "cpu")
    errors = []
    for view in VIEWS:
        predicted = read_keypoints(run / "image_preds" / "project" / f"predictions_{view}.csv")
        labels = pd.read_csv(project / f"CollectedData_{view}.csv", header=[0, 1, 2], index_col=0)
        assert list(predicted.rows) == list(labels.index)
        for k, keypoint in enumerate(KEYPOINT_NAMES):
            cells = labels[labels.columns[0][0]][keypoint]
            for (x, y), label_x, label_y, visible in zip(
                predicted.points[:, k], cells["x"], cells["y"], cells["visible"], strict=True
            ):
                if visible == 2:
                    errors.append((view, keypoint, ((x - label_x) ** 2 + (y - label_y) ** 2) ** 0.5))
    slow = pd.DataFrame(errors, columns=["view", "keypoint", "error"])
    table = pd.read_csv(run / "evaluation" / "errors.csv")
    table = table[table["error"] == "label"]
    assert set(table["split"]) == {"train", "validation", "test"}
    for view in VIEWS:
        rows = table[(table["view"] == view) & (table["keypoint"] == "all")]
        own = slow[slow["view"] == view]["error"]
        assert rows["count"].sum() == len(own)
        assert (rows["mean"] * rows["count"]).sum() / len(own) == pytest.approx(own.mean(), abs=1e-3)
    for keypoint in KEYPOINT_NAMES:
        rows = table[(table["view"] == "all") & (table["keypoint"] == keypoint)]
        own = slow[slow["keypoint"] == keypoint]["error"]
        assert (rows["mean"] * rows["count"]).sum() / rows["count"].sum() == pytest.approx(own.mean(), abs=1e-3)


def test_the_splits_written_after_training_count(evaluated: Evaluated, tmp_path: Path, command) -> None:
    run = evaluated.copy(tmp_path / "run")
    before = pd.read_csv(run / "evaluation" / "errors_3d.csv")
    # As if all frames but the first had been trained on; the first was labeled later.
    for view in VIEWS:
        labels = pd.read_csv(load_run(run).config.data.data_dir / f"CollectedData_{view}.csv", skiprows=3, header=None)
        rows = "".join(f"{image},1,train\n" for image in labels.iloc[1:, 0])
        (run / f"predictions_{view}.csv").write_text(f"scorer,a,set\nbodyparts,b,\ncoords,x,\n{rows}")
    command("evaluate", run)
    after = pd.read_csv(run / "evaluation" / "errors_3d.csv")
    known = after[(after["keypoint"] == "all") & (after["against"] == "truth")].set_index("split")["known"]
    assert known.to_dict() == {"train": 16 * (NUM_FRAMES - 1), "test": 16}
    assert set(before["split"]) == {"train", "validation", "test"}


def test_a_table_of_predictions_without_sets_is_an_error(run: Path, command) -> None:
    for view in VIEWS:
        (run / f"predictions_{view}.csv").write_text("scorer,a\nbodyparts,b\ncoords,x\nimage,1.5\n")
    outcome = command("evaluate", run)
    assert outcome.status == 2
    assert str(run / f"predictions_{VIEWS[0]}.csv") in outcome.err
    assert "'1.5'" in outcome.err
    (run / f"predictions_{VIEWS[0]}.csv").write_bytes(b"a\nb\nc\n\xff\xfe,1\n")
    outcome = command("evaluate", run)
    assert outcome.status == 2
    assert str(run / f"predictions_{VIEWS[0]}.csv") in outcome.err


def test_another_project_is_all_test(run: Path, tmp_path: Path, command) -> None:
    other = generate_tiny_project(tmp_path / "other", num_frames=4, seed=5)
    outcome = command("evaluate", run, other)
    assert outcome.status == 0, outcome.err
    assert "is not the project of the run" in outcome.out
    table = pd.read_csv(run / "evaluation_other" / "errors.csv")
    assert set(table["split"]) == {"test"}
    assert "mean_pose" not in set(table["error"])
    same_name = shutil.copytree(other, tmp_path / "elsewhere" / "other")
    before = (run / "evaluation_other" / "errors.csv").stat().st_mtime_ns
    replacing = command("evaluate", run, same_name)
    assert replacing.status == 2
    assert all(str(path) in replacing.err for path in (other, same_name))
    assert (run / "evaluation_other" / "errors.csv").stat().st_mtime_ns == before
    assert command("evaluate", run, same_name, "-o", tmp_path / "out").status == 0
    refused = command("evaluate", run, other, "--fit-confidence")
    assert refused.status == 2
    assert "--fit-confidence" in refused.err
    assert str(other) in refused.err


def test_a_moved_project_keeps_its_splits(run: Path, project: Path, tmp_path: Path, command) -> None:
    """A run and its project on another computer: training frames are no test frames there."""
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    config = load_config(run / "config.yaml")
    labeled = read_project(config)
    write_split(run, labeled, split_frames(labeled, config).names())
    outcome = command("evaluate", run, copy, "--output", tmp_path / "still_there")
    assert set(pd.read_csv(tmp_path / "still_there" / "errors.csv")["split"]) == {"test"}
    assert "in 3 of its 12 frames" in outcome.out
    moved_run = tmp_path / "moved_run"
    shutil.copytree(run, moved_run)
    text = (moved_run / "config.yaml").read_text()
    assert str(project) in text
    (moved_run / "config.yaml").write_text(text.replace(str(project), str(tmp_path / "gone")))
    outcome = command("evaluate", moved_run, copy)
    assert (outcome.status, "warning" in outcome.out) == (0, False), outcome.err
    table = pd.read_csv(moved_run / "evaluation" / "errors.csv")
    assert {"train", "validation", "test"} <= set(table["split"])


def test_images_of_another_size_than_the_calibration_are_named(
    run: Path, project: Path, tmp_path: Path, command
) -> None:
    """3D is wrong then, in every command that reads the project."""
    enlarged = Path(shutil.copytree(project, tmp_path / "enlarged"))
    for path in enlarged.glob("labeled-data/*/*"):
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), None, fx=2, fy=2))
    for arguments in (
        ("evaluate", run, enlarged),
        ("predict", run, enlarged, "--device", "cpu"),
        ("crop", enlarged, "-o", tmp_path / "crops"),
    ):
        outcome = command(*arguments)
        assert outcome.status == 0, outcome.err
        warning = next(line for line in outcome.out.splitlines() if line.startswith("warning:"))
        assert {"64x64", "128x128"} <= set(re.findall(r"\d+x\d+", warning)), warning
    with pytest.warns(UserWarning, match="128x128"):
        mvtrain.evaluate(run, enlarged, device="cpu")


def test_crops_of_training_frames_are_known_and_named(run: Path, project: Path, tmp_path: Path, command) -> None:
    """Crops are PNG files, the images of this project JPEG files: training frames were test frames without a word."""
    config = load_config(run / "config.yaml")
    labeled = read_project(config)
    write_split(run, labeled, split_frames(labeled, config).names())
    assert command("crop", project, "-o", tmp_path / "crops").status == 0
    outcome = command("evaluate", run, tmp_path / "crops")
    assert outcome.status == 0, outcome.err
    warnings = [line for line in outcome.out.splitlines() if line.startswith("warning:")]
    assert ["3 of its 12 frames" in line for line in warnings] == [False, True]
    assert "crops" in warnings[0]
    document = yaml.safe_load((run / "config.yaml").read_text())
    document["data"] |= {"data_dir": str(tmp_path / "crops"), "bbox_file": [f"bboxes_{view}.csv" for view in VIEWS]}
    (run / "config.yaml").write_text(yaml.safe_dump(document))
    outcome = command("predict", run, project, "--device", "cpu")
    assert "trained on crops" in outcome.out


def test_what_the_runs_project_lacks_is_reported_by_the_runs_config(run: Path, project: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(project, tmp_path / "changed"))
    config = run / "config.yaml"
    document = yaml.safe_load(config.read_text())
    document["data"]["data_dir"] = str(changed)
    config.write_text(yaml.safe_dump(document))
    for path in changed.glob("CollectedData_*.csv"):
        path.write_text(path.read_text().replace("spine", "back"))
    for refused in (lambda: mvtrain.evaluate(run), lambda: report_command(run, ReportOptions(), Console(quiet=True))):
        with raises_input("keypoints-differ", key="data.keypoint_names", config=config):
            refused()
    shutil.rmtree(changed)
    with raises_input("missing-file", key="data.data_dir", path=changed, config=config):
        mvtrain.evaluate(run)


def test_projects_of_one_name_do_not_share_a_folder(run: Path, project: Path, tmp_path: Path, command) -> None:
    """The tables of the second replaced those of the first."""
    (tmp_path / "other").mkdir()
    other = Path(shutil.copytree(project, tmp_path / "other" / "project"))
    outcome = command("predict", run, project, other, "--device", "cpu")
    assert outcome.status == 2
    assert str(project) in outcome.err
    assert not (run / "image_preds").exists()


def test_images_without_any_label_are_predicted(run: Path, project: Path, tmp_path: Path, command) -> None:
    """Those of a new project, to propose labels."""
    bare = Path(shutil.copytree(project, tmp_path / "bare"))
    for path in bare.glob("CollectedData_*.csv"):
        lines = path.read_text().splitlines()
        width = lines[0].count(",")
        path.write_text("\n".join([*lines[:3], *(line.split(",")[0] + "," * width for line in lines[3:])]) + "\n")
    for folder in (project, bare):
        outcome = command("predict", run, folder, "--device", "cpu")
        assert outcome.status == 0, outcome.err
    for table in ("predictions_cam1.csv", "predictions_3d.csv"):
        expected, found = ((run / "image_preds" / name / table).read_text() for name in ("project", "bare"))
        assert expected == found


def test_a_fitted_calibration_reaches_every_prediction(
    untouched_run: Path, fitted: Evaluated, project: Path, tmp_path: Path, command
) -> None:
    run = fitted.copy(tmp_path / "run")
    write_session(tmp_path / "videos", VIEWS, (5, 5, 5))
    cameras = CameraGroup.load(next((project / "calibrations").glob("*.toml")))
    rig = cameras.replace(sizes=np.tile(np.array(SIZE, dtype=float), (3, 1)))
    rig.save(tmp_path / "videos" / "calibration.toml")
    inputs = (project / "config.yaml", tmp_path / "videos", "--calibration", tmp_path / "videos" / "calibration.toml")
    before = command("predict", untouched_run, *inputs, "--device", "cpu", "--output", tmp_path / "before")
    assert "not calibrated" in before.out
    assert "not those of labels" in fitted.out, "the validation split has too few frames"
    assert load_run(run).error_bars is None
    confidence_map = load_run(run).confidence_map
    assert confidence_map is not None
    assert load_run(run, "last").confidence_map is None
    after = command("predict", run, *inputs, "--device", "cpu", "--output", tmp_path / "after")
    assert after.status == 0, after.err
    assert f"calibrated: the probability that a keypoint lies within {confidence_map.share} of the" in after.out
    for name in (*(f"project/predictions_{view}.csv" for view in VIEWS), *(f"mouse_{view}.csv" for view in VIEWS)):
        raw, likely = (read_keypoints(tmp_path / folder / name) for folder in ("before", "after"))
        np.testing.assert_array_equal(raw.points, likely.points)
        rounding = 0.6e-4  # both tables have four decimals
        assert (likely.likelihood >= confidence_map(raw.likelihood - rounding) - rounding).all()
        assert (likely.likelihood <= confidence_map(raw.likelihood + rounding) + rounding).all()
        assert np.abs(likely.likelihood - raw.likelihood).max() > 0.05
    # Points of fused views come from what each view shows, whatever its likelihood.
    for name in ("project/predictions_3d.csv", "mouse_3d.csv"):
        np.testing.assert_array_equal(*(read_world(tmp_path / folder / name) for folder in ("before", "after")))
    again = command("predict", run, *inputs, "--device", "cpu", "--output", tmp_path / "before")
    assert "predicted before" not in again.out  # with other likelihoods


def test_a_fitted_calibration_reaches_python(untouched_run: Path, fitted: Evaluated, project: Path) -> None:
    images = [moving_dot(0, view, (64, 64))[..., ::-1].copy() for view in range(3)]
    cameras = CameraGroup.load(next((project / "calibrations").glob("*.toml")))
    raw = mvtrain.load_predictor(untouched_run, device="cpu").predict(images, cameras)
    predictor = mvtrain.load_predictor(fitted.folder, device="cpu")
    likely = predictor.predict(images, cameras)
    assert predictor.confidence_map is not None
    np.testing.assert_array_equal(likely.points, raw.points)
    np.testing.assert_allclose(likely.confidence, predictor.confidence_map(raw.confidence))
    np.testing.assert_array_equal(likely.points_3d, raw.points_3d)
    # Without fusion a view counts by its likelihood.
    network = dataclasses.replace(predictor.network, fuses_views=False)
    alone = dataclasses.replace(predictor, network=network).predict(images, cameras)
    observed = Observations(points=alone.points, weights=-np.log(1 - alone.confidence))
    assert alone.points_3d is not None
    expected = to_3d(observed, cameras, estimate_noise(observed, cameras))
    np.testing.assert_allclose(alone.points_3d, expected.points)


def test_fitting_makes_likelihoods_of_the_validation_split_reliable(run: Path, command) -> None:
    command("evaluate", run, "--fit-confidence", "--within", "0.3")
    summary = pd.read_csv(run / "evaluation" / "confidence_summary.csv")
    chosen = summary[(summary["split"] == "validation") & (summary["points"] == "all")].set_index("confidence")
    assert chosen.loc["calibrated", "calibration_error"] < chosen.loc["raw", "calibration_error"]
    assert chosen.loc["calibrated", "predicted"] == pytest.approx(chosen.loc["calibrated", "observed"], abs=0.02)
    bins = pd.read_csv(run / "evaluation" / "confidence_calibration.csv")
    bins = bins[(bins["split"] == "validation") & (bins["points"] == "all")]
    assert bins.groupby("confidence")["count"].sum().to_dict() == chosen["count"].to_dict()
    # Without the option the run's own share is used; another one is refused.
    assert "within 0.3 of" in command("evaluate", run).out
    refused = command("evaluate", run, "--within", "0.1")
    assert refused.status == 2
    assert "--within" in refused.err
    assert "0.3" in refused.err


@pytest.mark.slow
def test_fitting_also_fits_error_bars_in_3d(run: Path, command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits_to_labels, "LEAST_FRAMES", 5)
    outcome = command("evaluate", run, "--fit-confidence")
    assert outcome.status == 0, outcome.err
    bars = load_run(run).error_bars
    assert bars is not None
    assert bars.describe() in outcome.out
    assert load_run(run, "last").error_bars is None
    table = pd.read_csv(run / "evaluation" / "errors_3d.csv").set_index(["split", "against", "keypoint"])
    assert table.loc[("validation", "labels", "all"), "coverage_90"] == pytest.approx(0.9, abs=0.02)


@pytest.mark.slow
def test_an_ensemble_has_error_bars_of_its_own(
    untouched_run: Path, tmp_path: Path, command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fits_to_labels, "LEAST_FRAMES", 5)
    folder = tmp_path / "both"
    for name in ("seed0", "seed1"):
        shutil.copytree(untouched_run, folder / name)
    write_ensemble(folder, {f"seed{seed}": EnsembleMember(seed=seed, done=True) for seed in range(2)})
    outcome = command("evaluate", folder, "--fit-confidence", "--device", "cpu")
    assert outcome.status == 0, outcome.err
    runs = [load_run(folder / name) for name in ("seed0", "seed1")]
    found = find_error_bars([folder], runs)
    assert found is not None
    assert found.describe() in outcome.out
    assert len(list(folder.glob("error_bars-*.yaml"))) == 1


def test_weights_that_were_trained_on_lose_their_calibration(fitted: Evaluated, tmp_path: Path, command) -> None:
    run = fitted.copy(tmp_path / "run")
    (own,) = (run / "checkpoints" / "best").glob("confidence-*.yaml")
    own.rename(own.with_name("confidence-000000000000.yaml"))
    outcome = command("evaluate", run)
    assert outcome.status == 0
    assert "not calibrated" in outcome.out


def test_without_calibration_of_cameras_there_is_no_3d(run: Path, project: Path, tmp_path: Path, command) -> None:
    bare = Path(shutil.copytree(project, tmp_path / "bare"))
    shutil.rmtree(bare / "calibrations")
    outcome = command("evaluate", run, bare)
    assert outcome.status == 0, outcome.err
    assert "3D error" not in outcome.out
    assert "reprojection" not in outcome.out
    assert (run / "evaluation_bare" / "errors_3d.csv").read_text().count("\n") == 1
    assert "reprojection" not in set(pd.read_csv(run / "evaluation_bare" / "errors.csv")["error"])


def test_a_run_without_validation_frames_cannot_be_fitted(run: Path, command) -> None:
    set_in_config(run, train_prob=0.5, val_prob=0.0)
    outcome = command("evaluate", run, "--fit-confidence")
    assert outcome.status == 2
    assert str(run) in outcome.err
    assert "training.val_prob" in outcome.err


def test_validation_frames_with_hidden_keypoints_alone_cannot_be_fitted_to(
    run: Path, project: Path, tmp_path: Path, command
) -> None:
    bare = Path(shutil.copytree(project, tmp_path / "bare"))
    document = yaml.safe_load((run / "config.yaml").read_text())
    document["data"] |= {"data_dir": str(bare), "split": "block"}
    document["training"] |= {"train_prob": 0.5, "val_prob": 0.5}
    (run / "config.yaml").write_text(yaml.safe_dump(document))
    for view in VIEWS:
        path = bare / f"CollectedData_{view}.csv"
        lines = path.read_text().splitlines()
        empty = [line.split(",")[0] + ",,,1" * 16 for line in lines[3 + NUM_FRAMES // 2 :]]
        path.write_text("\n".join([*lines[: 3 + NUM_FRAMES // 2], *empty]) + "\n")
    outcome = command("evaluate", run, "--fit-confidence")
    assert outcome.status == 2
    assert "--fit-confidence" in outcome.err
    assert str(run) in outcome.err


def test_labels_without_a_size_of_the_subject_cannot_be_fitted_to(run: Path, project: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(project, tmp_path / "bare"))
    (bare / "points_3d.csv").unlink()
    document = yaml.safe_load((run / "config.yaml").read_text())
    document["data"] |= {"data_dir": str(bare)}
    (run / "config.yaml").write_text(yaml.safe_dump(document))
    for view in VIEWS:
        path = bare / f"CollectedData_{view}.csv"
        lines = [line.split(",") for line in path.read_text().splitlines()]
        first = [",".join([*cells[:4], *[""] * len(cells[4:])]) for cells in lines[3:]]
        path.write_text("\n".join([*map(",".join, lines[:3]), *first]) + "\n")
    with raises_input("no-subject-size", option="--fit-confidence", path=run):
        evaluate_command(run, EvaluateOptions(fit_confidence=True, device="cpu"), Console(quiet=True))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("keypoints", "snout"),
        ("views", "top"),
    ],
)
def test_a_project_of_others_is_refused(
    run: Path, project: Path, tmp_path: Path, change: str, name: str, command
) -> None:
    other = Path(shutil.copytree(project, tmp_path / "other"))
    document = yaml.safe_load((other / "config.yaml").read_text())
    if change == "keypoints":
        for view in VIEWS:
            path = other / f"CollectedData_{view}.csv"
            path.write_text(path.read_text().replace("nose", "snout"))
        document["data"].pop("keypoint_names", None)
    else:
        table = other / "CollectedData_cam1.csv"
        (other / "CollectedData_top.csv").write_text(table.read_text().replace("_cam1/", "_top/"))
        table.unlink()
        for folder in (other / "labeled-data").glob("*_cam1"):
            folder.rename(folder.with_name(folder.name.replace("_cam1", "_top")))
        for file in (other / "calibrations").glob("*.toml"):
            file.write_text(file.read_text().replace('"cam1"', '"top"'))
        document["data"] |= {"view_names": ["top", "cam2", "cam3"]}
        document["data"]["csv_file"] = [f"CollectedData_{view}.csv" for view in ("top", "cam2", "cam3")]
    (other / "config.yaml").write_text(yaml.safe_dump(document))
    outcome = command("evaluate", run, other)
    assert outcome.status == 2
    assert change in outcome.err
    assert name in outcome.err


def test_arguments_that_do_not_fit_are_refused(run: Path, tmp_path: Path, command) -> None:
    for arguments, named in (
        ((tmp_path / "nowhere",), str(tmp_path / "nowhere")),
        ((run, tmp_path), str(tmp_path)),
        ((run, "--checkpoint", "first"), "'first'"),
        ((run, "--within", "0"), "--within"),
        ((run, "--device", "abacus"), "'abacus'"),
    ):
        outcome = command("evaluate", *arguments)
        assert outcome.status == 2, arguments
        assert named in outcome.err


def test_a_project_is_not_taken_for_a_run(project: Path, command) -> None:
    with raises_input("not-a-run", path=project):
        load_run(project)
    outcome = command("evaluate", project)
    assert outcome.status == 2
    assert f"mvtrain fit {project / 'config.yaml'}" in outcome.err
    assert "--resume" not in outcome.err


def test_a_run_without_a_checkpoint_can_be_resumed(run: Path, command) -> None:
    with raises_input("no-checkpoint", path=run, checkpoint="first"):
        load_run(run, "first")
    shutil.rmtree(run / "checkpoints")
    with raises_input("no-checkpoint", path=run, checkpoint="best"):
        load_run(run)
    outcome = command("evaluate", run)
    assert outcome.status == 2
    assert f"mvtrain fit --resume {run}" in outcome.err
    (run / "run.yaml").unlink()
    with raises_input("not-a-run", path=run):
        load_run(run)
