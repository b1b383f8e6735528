"""Errors of occluded keypoints: where they are known from, what is not counted, and the tables that show them."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from helpers.evaluations import in_file, made_up_evaluation, noisy_evaluation
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvgeom import CameraGroup
from mvtrain.config import load_config
from mvtrain.evaluation.error_tables import ALL, error_3d_table, error_table, errors_by_view, pck_table
from mvtrain.evaluation.evaluation import Evaluation, compare
from mvtrain.evaluation.fits_to_labels import calibration_errors, calibration_table
from mvtrain.evaluation.presentation import (
    print_calibration,
    print_consistency,
    print_errors,
    print_errors_3d,
    print_keypoints,
)
from mvtrain.metrics import occluded_points
from mvtrain.model.inference import FramePredictions
from mvtrain.project.labels_3d import read_truth, triangulate_labels
from mvtrain.project.project import Project, project_into_images, read_project

VIEWS = ("cam1", "cam2", "cam3")
SIZE = 64
SETS = np.array(["train"] * 4 + ["validation"] * 2 + ["test"] * 2)
NUM_FRAMES = len(SETS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_tiny_project(tmp_path_factory.mktemp("occluded") / "project", num_frames=NUM_FRAMES)


@pytest.fixture(scope="module")
def project(folder: Path) -> Project:
    return read(folder)


@pytest.fixture(scope="module")
def without_truth(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make the same labels and cameras, in a folder without `points_3d.csv`."""
    return replace(project, root=tmp_path_factory.mktemp("empty"))


def read(folder: Path) -> Project:
    return read_project(load_config(write_tiny_config(folder.parent / f"{folder.name}.yaml", folder)))


def cells_of(folder: Path, view: str) -> np.ndarray:
    """(N, K, 3) x, y and visible of a label table."""
    table = pd.read_csv(folder / f"CollectedData_{view}.csv", header=[0, 1, 2], index_col=0)
    return table.to_numpy(dtype=float).reshape(len(table), -1, 3)


def opencv_places(folder: Path) -> np.ndarray:
    """(N, V, K, 2) px of the true points, projected by OpenCV; NaN outside of the image."""
    truth = pd.read_csv(folder / "points_3d.csv", header=[0, 1, 2], index_col=0).to_numpy(dtype=float)
    (calibration,) = (folder / "calibrations").glob("*.toml")
    cameras = CameraGroup.load(calibration).select(VIEWS)
    places = []
    for view in range(len(VIEWS)):
        rotation, _ = cv2.Rodrigues(cameras.rotation[view])
        camera = (cameras.matrix[view], cameras.distortion[view])
        flat, _ = cv2.projectPoints(truth.reshape(-1, 1, 3), rotation, cameras.translation[view], *camera)
        places.append(flat.reshape(len(truth), -1, 2))
    points = np.stack(places, axis=1)
    inside = ((points >= -0.5) & (points <= SIZE - 0.5)).all(-1, keepdims=True)
    return np.where(inside, points, np.nan)


def test_every_occluded_row_is_that_of_csv_files_and_opencv(folder: Path, project: Project) -> None:
    evaluation = noisy_evaluation(project, list(SETS), noise=4.0)
    visible = np.stack([cells_of(folder, view)[..., 2] == 2 for view in VIEWS], axis=1)
    places = np.where(visible[..., None], np.nan, opencv_places(folder))
    errors = np.linalg.norm(evaluation.points - places, axis=-1)  # whole images: crop px are full-image px
    assert np.isfinite(errors).sum() > 50
    labels = np.stack([cells_of(folder, view)[..., :2] for view in VIEWS], axis=1)
    of_training = np.where(visible[..., None], labels, np.nan)[SETS == "train"]
    flat = of_training.transpose(1, 2, 0, 3).reshape(-1, len(of_training), 2)  # (V K, N, 2)
    means = [known[np.isfinite(known[:, 0])].mean(0) if np.isfinite(known).any() else [np.nan] * 2 for known in flat]
    pose = np.array(means).reshape(len(VIEWS), -1, 2)
    table = error_table(evaluation)
    occluded = table[table["error"] == "occluded"]
    assert set(occluded["visibility"]) == {"occluded"}
    checked = 0
    for split in ("train", "validation", "test"):
        for v, view in [*enumerate(VIEWS), (slice(None), ALL)]:
            for k, keypoint in [*enumerate(project.keypoint_names), (slice(None), ALL)]:
                found = errors[split == SETS][:, v][..., k]
                found = found[np.isfinite(found)]
                row = occluded[
                    (occluded["split"] == split) & (occluded["view"] == view) & (occluded["keypoint"] == keypoint)
                ]
                assert len(row) == (len(found) > 0)
                if len(found):
                    figures = row[["count", "mean", "median", "percentile_95"]].iloc[0].tolist()
                    expected = [len(found), found.mean(), np.median(found), np.percentile(found, 95)]
                    assert figures == pytest.approx(expected, abs=1e-3)
                    checked += 1
    assert checked == len(occluded)
    # The mean pose of keypoints that are labeled in the view, beside the same places.
    baseline = np.linalg.norm(pose - places, axis=-1)
    own = np.isfinite(baseline)
    np.testing.assert_allclose(evaluation.occluded_mean_pose_error[own], baseline[own], atol=1e-3)


def test_shares_of_occluded_keypoints_are_counted_beside_those_of_visible_ones(project: Project) -> None:
    evaluation = noisy_evaluation(project, list(SETS), noise=4.0)
    table = pck_table(evaluation)
    first_occluded = int((table["visibility"] == "occluded").argmax())
    assert set(table["visibility"][:first_occluded]) == {"visible"}
    assert set(table["visibility"][first_occluded:]) == {"occluded"}
    arrays = {"visible": evaluation.pixel_error, "occluded": evaluation.occluded_error}
    for row in table.sample(60, random_state=0).to_dict("records"):
        errors = arrays[row["visibility"]] / (evaluation.subject_size[:, None] if row["unit"] == "share" else 1.0)
        errors = errors[evaluation.split == row["split"]]
        if row["view"] != ALL:
            errors = errors[:, [VIEWS.index(row["view"])]]
        if row["keypoint"] != ALL:
            errors = errors[..., [project.keypoint_names.index(row["keypoint"])]]
        known = errors[np.isfinite(errors)]
        assert row["count"] == len(known)
        assert row["pck"] == pytest.approx((known <= row["threshold"]).mean())


def hide(source: Project, hidden: np.ndarray, visibility: int, points: np.ndarray | float) -> Project:
    """Make the project with other labels where `hidden` (N, V, K) is True."""
    return replace(
        source,
        points=np.where(hidden[..., None], points, source.points),
        visibility=np.where(hidden, visibility, source.visibility).astype(np.int8),
    )


def all_seen(source: Project) -> Project:
    """Make the project with an exact visible label wherever a true place is inside the image."""
    truth = read_truth(source)
    assert truth is not None
    places = project_into_images(source, np.arange(len(source)), truth)
    seen = np.isfinite(places).all(-1)
    return replace(source, points=places, visibility=np.where(seen, 2, 0).astype(np.int8))


@given(seed=st.integers(0, 1000), share=st.floats(0, 1), visibility=st.sampled_from([0, 1]), is_garbage=st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_hidden_label_is_known_where_two_other_views_have_it(
    project: Project, without_truth: Project, seed: int, share: float, visibility: int, is_garbage: bool
) -> None:
    whole = replace(all_seen(project), root=without_truth.root)
    generator = np.random.default_rng(seed)
    hidden = (generator.random(whole.visibility.shape) < share) & (whole.visibility == 2)
    anything = generator.uniform(0, SIZE, size=whole.points.shape) if is_garbage else np.nan
    labeled = hide(whole, hidden, visibility, anything)
    places = occluded_points(labeled, triangulate_labels(labeled), None)
    known = hidden & ((labeled.visibility == 2).sum(1, keepdims=True) >= 2)
    np.testing.assert_array_equal(np.isfinite(places).all(-1), known)
    np.testing.assert_allclose(places[known], whole.points[known], atol=1e-4)


def test_labels_that_contradict_each_other_show_no_place(project: Project, without_truth: Project) -> None:
    whole = replace(all_seen(project), root=without_truth.root)
    frame, keypoint = map(int, np.argwhere((whole.visibility == 2).all(1))[0])
    hidden = np.zeros(whole.visibility.shape, dtype=bool)
    hidden[frame, 2, keypoint] = True
    labeled = hide(whole, hidden, 0, np.nan)
    assert np.isfinite(occluded_points(labeled, triangulate_labels(labeled), None)).all(-1)[hidden].all()
    moved = labeled.points.copy()
    moved[frame, 1, keypoint] += 0.5 * SIZE * np.array([0.7, -0.7])
    wrong = replace(labeled, points=moved)
    assert np.isnan(occluded_points(wrong, triangulate_labels(wrong), None)).all()
    # The truth needs no label.
    truth = read_truth(project)
    assert truth is not None
    places = occluded_points(wrong, triangulate_labels(wrong), truth)
    np.testing.assert_allclose(places[hidden], whole.points[hidden], atol=1e-6)


def test_a_true_place_outside_the_image_is_not_counted_whatever_the_labels_are(project: Project) -> None:
    whole = all_seen(project)
    truth = read_truth(project)
    assert truth is not None
    hidden = np.zeros(whole.visibility.shape, dtype=bool)
    hidden[:, 0] = whole.visibility[:, 0] == 2
    labeled = hide(whole, hidden, 0, np.nan)
    labels_3d = triangulate_labels(labeled)
    far = np.broadcast_to(1e6, truth.shape)
    assert np.isnan(occluded_points(labeled, labels_3d, far)).all()
    # A frame that the truth does not list falls back on labels.
    partly = np.where(np.arange(NUM_FRAMES)[:, None, None] < 3, np.nan, truth)
    places = occluded_points(labeled, labels_3d, partly)
    known = hidden & ((labeled.visibility == 2).sum(1, keepdims=True) >= 2)
    np.testing.assert_array_equal(np.isfinite(places[:3]).all(-1), known[:3])
    np.testing.assert_array_equal(np.isfinite(places[3:]).all(-1), hidden[3:])


def test_without_calibration_no_occluded_keypoint_is_known(project: Project, without_truth: Project) -> None:
    for source in (project, without_truth):
        bare = replace(source, cameras=(None,) * NUM_FRAMES)
        points = np.zeros((*project.visibility.shape, 2))
        predictions = FramePredictions(index=np.arange(NUM_FRAMES), points=points, confidence=points[..., 0] + 0.5)
        assert np.isnan(compare(bare, predictions, SETS).occluded_error).all()


def test_a_project_of_lightning_pose_may_give_anything_for_occluded_labels(folder: Path, tmp_path: Path) -> None:
    """Compare projects without truth: x and y of labels with `visible` 1 are empty in one and random in the other."""
    known = {}
    for kind in ("empty", "random"):
        other = Path(shutil.copytree(folder, tmp_path / kind))
        (other / "points_3d.csv").unlink()
        generator = np.random.default_rng(3)
        for view in VIEWS:
            path = other / f"CollectedData_{view}.csv"
            table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
            values = cells_of(other, view)
            occluded = values[..., 2] == 1
            assert occluded.any()
            values[occluded, :2] = np.nan if kind == "empty" else generator.uniform(0, SIZE, (occluded.sum(), 2))
            pd.DataFrame(values.reshape(len(table), -1), index=table.index, columns=table.columns).to_csv(path)
        source = read(other)
        predictions = noisy_evaluation(read(folder), list(SETS), noise=4.0)
        frames = FramePredictions(
            index=np.arange(NUM_FRAMES), points=predictions.points, confidence=predictions.raw_confidence
        )
        known[kind] = compare(source, frames, SETS)
        assert (error_table(known[kind])["error"] == "occluded").any()
    np.testing.assert_array_equal(known["empty"].occluded_error, known["random"].occluded_error)
    # Places by two views and by the truth agree: rounded labels of 64 px, triangulated.
    placed = np.isfinite(known["empty"].occluded_error)
    visible = np.stack([cells_of(folder, view)[..., 2] == 2 for view in VIEWS], axis=1)
    true_error = np.linalg.norm(predictions.points - opencv_places(folder), axis=-1)
    at_border = np.isnan(true_error)
    assert placed.sum() > 20
    assert not (placed & visible).any()
    assert (placed & at_border).sum() <= 2
    assert np.median(np.abs(known["empty"].occluded_error - true_error)[placed & ~at_border]) < 0.1
    expected = ~visible & (visible.sum(1, keepdims=True) >= 2) & ~at_border
    assert (placed & expected).sum() >= 0.95 * expected.sum()


def test_a_project_without_occluded_labels_has_no_row_of_them(project: Project) -> None:
    whole = all_seen(project)
    evaluation = noisy_evaluation(whole, list(SETS), noise=2.0)
    assert np.isnan(evaluation.occluded_error).all()
    for table in (error_table(evaluation), pck_table(evaluation)):
        assert "occluded" not in set(table["visibility"])
    (text,) = printed(evaluation, 80)
    assert "occluded" not in text
    assert "visible labels only" in text


def test_tables_keep_the_columns_and_rows_that_scripts_read(project: Project) -> None:
    table = error_table(noisy_evaluation(project, list(SETS), noise=2.0))
    assert list(table.columns) == [
        *("split", "error", "view", "keypoint", "count", "mean", "median", "percentile_95"),
        "visibility",
    ]
    before = ["label", "mean_pose", "hidden", "hidden_truth", "reprojection"]
    assert list(dict.fromkeys(table["error"])) == [*before, "occluded", "mean_pose_occluded"]
    assert not table.duplicated(["split", "error", "view", "keypoint"]).any()
    of = table.groupby("error")["visibility"].agg(set).to_dict()
    assert of["label"] == of["mean_pose"] == {"visible"}
    assert of["hidden"] == of["hidden_truth"] == of["occluded"] == of["mean_pose_occluded"] == {"occluded"}
    assert of["reprojection"] == {ALL}
    pck = pck_table(noisy_evaluation(project, list(SETS), noise=2.0))
    assert list(pck.columns)[:-1] == ["split", "view", "keypoint", "unit", "threshold", "count", "pck"]


def test_occluded_stands_after_visible_of_the_same_view() -> None:
    sets = [name for name in ("train", "validation", "test") for _ in range(20)]
    evaluation = made_up_evaluation(views=("top", "left"), keypoints=("nose", "paw"), sets=sets)
    for values in (evaluation.pixel_error, evaluation.mean_pose_error):  # a view whose keypoints are all occluded
        values[:, 0] = np.nan
    table = errors_by_view(error_table(evaluation))
    for split, part in table.groupby("split", sort=False):
        views = list(zip(part["view"], part["visibility"], strict=True))
        assert views[-2:] == [(ALL, "visible"), (ALL, "occluded")], split
        assert ("left", "visible") in views
        assert ("top", "visible") not in views
    assert list(dict.fromkeys(table["split"])) == ["train", "validation", "test"]
    np.testing.assert_allclose(table["mean_pose"] / table["mean"], np.where(table["visibility"] == "visible", 4, 3))


def printed(evaluation: Evaluation, *widths: int) -> list[str]:
    """Tables of an evaluation, as printed on consoles of these widths."""
    errors, errors_3d = error_table(evaluation), error_3d_table(evaluation)
    summary = calibration_errors(calibration_table(evaluation, 0.1, None))
    texts = []
    for width in widths:
        console = Console(file=StringIO(), width=width)
        print_errors(console, errors)
        print_keypoints(console, errors)
        print_errors_3d(console, errors_3d)
        print_consistency(console, errors)
        print_calibration(console, summary, 0.1)
        assert isinstance(console.file, StringIO)
        texts.append(console.file.getvalue())
    return texts


def numbers(text: str) -> Iterator[str]:
    return (word for word in text.split() if word.replace(".", "").isdigit())


@pytest.mark.parametrize("occluded", [0.0, 0.8])
@pytest.mark.parametrize("name", ["top", "a_camera_with_a_long_name", "left-rear-camera 2"])
@pytest.mark.parametrize("factor", [40, 1e4, 1e7])
def test_nothing_is_cut_off_at_80_columns(name: str, occluded: float, factor: float) -> None:
    evaluation = made_up_evaluation(
        views=(name, "b"),
        keypoints=(f"{name}_paw", "nose"),
        sets=["train"] * 700 + ["validation"] * 20 + ["test"] * 20 + ["unused"] * 5,
        occluded=occluded,
    )
    evaluation.pixel_error[:] *= factor  # errors of hundreds of px and more
    evaluation.occluded_error[:] *= factor
    narrow, wide = printed(evaluation, 80, 200)
    assert "\u2026" not in narrow
    if factor < 1e5:  # beyond, lines are longer rather than cut
        assert max(map(len, narrow.splitlines())) <= 80
    lines = [line.split()[0] for line in narrow.splitlines() if line.strip()]
    for split, rows in (("train", 2), ("validation", 3), ("test", 3)):
        assert lines.count(split) >= rows
    assert sorted(numbers(narrow)) == sorted(numbers(wide))  # no figure is cut or folded


def test_printed_errors_are_those_of_the_evaluation() -> None:
    evaluation = made_up_evaluation(views=("top", "left"), keypoints=("nose", "paw"), sets=["train"] * 9 + ["test"] * 6)
    console = Console(file=StringIO(), width=80)
    print_errors(console, error_table(evaluation))
    assert isinstance(console.file, StringIO)
    rows = [line.split() for line in console.file.getvalue().splitlines() if line[:6].strip() in ("train", "test")]
    assert len(rows) == 2 * 3 * 2
    for split, view, visibility, count, *figures in rows:
        errors = {"visible": evaluation.pixel_error, "occluded": evaluation.occluded_error}[visibility]
        times = {"visible": 4, "occluded": 3}[visibility]
        found = errors[evaluation.split == split]
        found = found if view == ALL else found[:, ("top", "left").index(view)]
        found = found[np.isfinite(found)]
        expected = (found.mean(), np.median(found), np.percentile(found, 95), times * found.mean(), times)
        assert int(count) == len(found)
        assert figures == [f"{value:.2f}" for value in expected]


def test_crops_have_their_occluded_keypoints_in_px_of_the_stored_image(tmp_path: Path) -> None:
    folder = generate_tiny_project(tmp_path / "crops", num_frames=NUM_FRAMES, crop=True)
    config = load_config(write_tiny_config(tmp_path / "crops.yaml", folder))
    boxes = tuple(f"bboxes_{view}.csv" for view in VIEWS)
    source = read_project(replace(config, data=replace(config.data, bbox_file=boxes)))
    evaluation = noisy_evaluation(source, list(SETS), noise=4.0)
    truth = read_truth(source)
    assert truth is not None
    places = occluded_points(source, triangulate_labels(source), truth)
    expected = np.linalg.norm(in_file(source, evaluation.points) - places, axis=-1)
    np.testing.assert_allclose(evaluation.occluded_error, expected)
    occluded = source.visibility == 1  # labels of occluded keypoints are the truth in generated projects
    np.testing.assert_allclose(places[occluded], source.points[occluded], atol=1e-2)
    assert occluded.sum() > 20
