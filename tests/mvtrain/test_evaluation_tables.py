"""Errors of predictions that are known beforehand, and the tables made of them."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.tiny import generate_tiny_project, write_tiny_config
from mvtrain.config import load_config
from mvtrain.evaluation.error_tables import ALL, error_3d_table, error_table, pck_table
from mvtrain.evaluation.evaluation import Evaluation, compare
from mvtrain.metrics import subject_sizes
from mvtrain.model.inference import FramePredictions
from mvtrain.project.labels_3d import read_truth
from mvtrain.project.project import Project, project_into_images, read_project

NUM_FRAMES = 10
SETS = np.array(["train"] * 5 + ["validation"] * 2 + ["test"] * 3)


@pytest.fixture(scope="module", params=["whole frames", "crops"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("tables")
    changes = {"crop": True} if request.param == "crops" else {}
    generate_tiny_project(folder / "project", num_frames=NUM_FRAMES, num_sessions=2, **changes)
    config = load_config(write_tiny_config(folder / "tiny.yaml", folder / "project"))
    if request.param == "crops":
        boxes = tuple(f"bboxes_{view}.csv" for view in ("cam1", "cam2", "cam3"))
        config = replace(config, data=replace(config.data, bbox_file=boxes))
    return read_project(config)


def to_frame(project: Project, points: np.ndarray) -> np.ndarray:
    maps = project.crop_to_full
    return np.einsum("nvij,nvkj->nvki", maps[..., :2], points) + maps[..., None, :, 2]


def true_points(project: Project) -> np.ndarray:
    """(N, V, K, 2) crop px of every keypoint, hidden or not; NaN outside the image."""
    truth = read_truth(project)
    assert truth is not None
    return project_into_images(project, np.arange(NUM_FRAMES), truth)


def predictions_at(project: Project, file_points: np.ndarray) -> FramePredictions:
    points = to_frame(project, np.where(np.isfinite(file_points), file_points, 1.0))
    confidence = np.random.default_rng(0).uniform(0.1, 0.9, size=points.shape[:3])
    return FramePredictions(index=np.arange(NUM_FRAMES), points=points, confidence=confidence)


@pytest.fixture(scope="module")
def evaluation(project: Project) -> Evaluation:
    """Predictions that are off by noise."""
    noise = np.random.default_rng(1).normal(scale=3.0, size=true_points(project).shape)
    return compare(project, predictions_at(project, true_points(project) + noise), SETS)


def test_a_known_offset_is_the_error_of_visible_and_of_hidden_keypoints(project: Project) -> None:
    off = compare(project, predictions_at(project, true_points(project) + np.array([3.0, 4.0])), SETS)
    visible = project.visibility == 2
    hidden = ~visible & np.isfinite(true_points(project)).all(-1)
    assert hidden.any()
    assert np.isfinite(off.pixel_error).sum() == visible.sum()
    np.testing.assert_allclose(off.pixel_error[visible], 5, atol=0.02)  # labels are rounded in their tables
    assert off.hidden_truth_error is not None
    np.testing.assert_allclose(off.hidden_truth_error[hidden], 5, atol=1e-6)
    assert np.isnan(off.hidden_truth_error[~hidden]).all()
    # Without knowing the truth, other views' labels give the same places for most of them.
    placed = np.isfinite(off.hidden_error)
    assert (placed & ~visible)[hidden].mean() > 0.8
    assert not (placed & visible).any()
    assert np.median(off.hidden_error[placed]) == pytest.approx(5, abs=0.1)


def test_exact_predictions_have_no_error_in_3d(project: Project) -> None:
    exact = compare(project, predictions_at(project, true_points(project)), SETS)
    everywhere = np.isfinite(true_points(project)).all((1, 3))
    assert exact.truth_error_3d is not None
    assert np.nanmax(exact.truth_error_3d[everywhere]) < 1e-3
    assert np.nanmax(exact.error_3d[everywhere]) < 5  # mm: what rounding does to triangulated labels
    assert np.nanmax(exact.reprojection_error[np.broadcast_to(everywhere[:, None], (10, 3, 16))]) < 1e-3


def slow_statistics(values: list[float]) -> tuple[int, float, float, float]:
    ordered = sorted(values)

    def percentile(share: float) -> float:
        position = share * (len(ordered) - 1)
        below = int(position)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (position - below) * (ordered[above] - ordered[below])

    return len(ordered), sum(ordered) / len(ordered), percentile(0.5), percentile(0.95)


def test_every_row_of_the_error_table_is_that_of_a_slow_count(evaluation: Evaluation) -> None:
    table = error_table(evaluation)
    arrays = {
        "label": evaluation.pixel_error,
        "mean_pose": evaluation.mean_pose_error,
        "hidden": evaluation.hidden_error,
        "hidden_truth": evaluation.hidden_truth_error,
        "reprojection": evaluation.reprojection_error,
        "occluded": evaluation.occluded_error,
        "mean_pose_occluded": evaluation.occluded_mean_pose_error,
    }
    assert set(table["error"]) == set(arrays)
    assert list(table["split"].unique()) == ["train", "validation", "test"]
    for row in table.to_dict("records"):
        values = [
            float(arrays[row["error"]][n, v, k])
            for n, v, k in np.ndindex(evaluation.pixel_error.shape)
            if evaluation.split[n] == row["split"]
            and row["view"] in (ALL, evaluation.view_names[v])
            and row["keypoint"] in (ALL, evaluation.keypoint_names[k])
            and np.isfinite(arrays[row["error"]][n, v, k])
        ]
        found = (row["count"], row["mean"], row["median"], row["percentile_95"])
        assert found == pytest.approx(slow_statistics(values))
    whole = table[(table["view"] == ALL) & (table["keypoint"] == ALL) & (table["error"] == "label")]
    assert whole["count"].sum() == np.isfinite(evaluation.pixel_error).sum()


def test_the_table_in_3d_counts_what_was_not_predicted(evaluation: Evaluation) -> None:
    lost = replace(evaluation, error_3d=np.where(np.arange(16) == 2, np.nan, evaluation.error_3d))
    table = error_3d_table(lost)
    of_labels = table[(table["against"] == "labels") & (table["split"] == "test")].set_index("keypoint")
    known = np.isfinite(evaluation.labels_3d[evaluation.split == "test"]).all(-1)
    assert of_labels.loc[ALL, "known"] == known.sum()
    assert of_labels.loc[ALL, "count"] == np.delete(known, 2, axis=1).sum()
    assert evaluation.keypoint_names[2] not in of_labels.index  # nothing to average
    assert set(table["against"]) == {"labels", "truth"}


def test_correct_keypoints_are_counted_within_the_threshold(evaluation: Evaluation) -> None:
    table = pck_table(evaluation)
    sizes = dict(zip(evaluation.view_names, evaluation.subject_size, strict=True))
    visible = table[table["visibility"] == "visible"]
    chosen = visible[(visible["keypoint"] == ALL) & (visible["view"] != ALL)].sample(40, random_state=0)
    for row in chosen.to_dict("records"):
        view = evaluation.view_names.index(row["view"])
        errors = evaluation.pixel_error[evaluation.split == row["split"], view]
        errors = errors[np.isfinite(errors)] / (sizes[row["view"]] if row["unit"] == "share" else 1)
        assert row["count"] == len(errors)
        assert row["pck"] == pytest.approx(np.mean([error <= row["threshold"] for error in errors]))
    for _, curve in table.groupby(["split", "view", "keypoint", "unit", "visibility"]):
        assert curve["threshold"].is_monotonic_increasing
        assert curve["pck"].is_monotonic_increasing
    assert set(table["unit"]) == {"px", "share"}


def test_the_size_of_a_subject_is_the_median_diagonal() -> None:
    points = np.full((4, 2, 3, 2), np.nan)
    points[0, 0] = [[0, 0], [3, 4], [1, 1]]
    points[1, 0, :2] = [[10, 10], [16, 18]]
    points[2, 0, :2] = [[0, 0], [0, 1]]
    points[3, 0, 0] = [0, 0]  # one keypoint has no extent
    sizes = subject_sizes(points)
    assert sizes[0] == pytest.approx(5)
    assert np.isnan(sizes[1])


def test_without_calibration_there_is_no_3d_but_everything_else(project: Project) -> None:
    bare = replace(project, cameras=(None,) * NUM_FRAMES)
    evaluation = compare(bare, predictions_at(project, true_points(project)), SETS)
    assert np.isnan(evaluation.points_3d).all()
    assert error_3d_table(evaluation).empty
    errors = error_table(evaluation)
    assert (errors["error"] == "label").any()
    assert not errors["error"].isin(["reprojection", "hidden_truth"]).any()
    # The label table still has the places of occluded keypoints.
    located = np.isfinite(project.points).all(-1) & (project.visibility == 1)
    assert np.isfinite(evaluation.hidden_error).sum() == located.sum() > 0


def test_rows_may_come_in_any_order(project: Project, evaluation: Evaluation) -> None:
    order = np.array([7, 2, 9])
    some = FramePredictions(index=order, points=evaluation.points[order], confidence=evaluation.raw_confidence[order])
    part = compare(project, some, SETS)
    np.testing.assert_array_equal(part.split, SETS[order])
    np.testing.assert_array_equal(part.pixel_error, evaluation.pixel_error[order])
    np.testing.assert_array_equal(part.hidden_error, evaluation.hidden_error[order])
    np.testing.assert_array_equal(part.occluded_error, evaluation.occluded_error[order])
    np.testing.assert_array_equal(part.mean_pose_error, evaluation.mean_pose_error[order])
    assert part.sessions == tuple(project.sessions[row] for row in order)


def test_intervals_of_right_deviations_hold_their_share(evaluation: Evaluation) -> None:
    """Of a Gaussian error; that of 99 % at 2.58 deviations."""
    rng = np.random.default_rng(0)
    places = np.nan_to_num(evaluation.labels_3d)
    deviations = rng.uniform(0.5, 2, places.shape)
    exact = replace(
        evaluation, labels_3d=places, std_3d=deviations, points_3d=places + deviations * rng.normal(size=places.shape)
    )
    table = error_3d_table(exact)
    rows = table[(table["against"] == "labels") & (table["keypoint"] == ALL)]
    num_coordinates = places[0].size * np.array([(evaluation.split == split).sum() for split in rows["split"]])
    for level in (50, 80, 90, 99):
        share = np.average(rows[f"coverage_{level}"], weights=num_coordinates)
        error = np.sqrt(level / 100 * (1 - level / 100) / num_coordinates.sum())
        assert share == pytest.approx(level / 100, abs=4 * error)
