"""Tables and heat maps of errors in the report: every value is that of the evaluation."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from helpers.evaluations import made_up_evaluation
from helpers.page import Page
from mvtrain.evaluation.error_tables import error_3d_table, error_table, pck_table
from mvtrain.evaluation.evaluation import Evaluation, held_out_first, held_out_split
from mvtrain.evaluation.fits_to_labels import calibration_table
from mvtrain.model.error_bars import ErrorBars
from mvtrain.report.error_sections import draw_heat_map, errors_section, reliability_section

VIEWS, KEYPOINTS = ("top", "left"), ("nose", "tail & <b>tip</b>", "paw")
SPLITS = ["train"] * 6 + ["validation"] * 3 + ["test"] * 4
Statistic = Callable[[np.ndarray], float]
STATISTICS: tuple[Statistic, ...] = (np.nanmean, np.nanmedian, lambda values: float(np.nanpercentile(values, 95)))


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return made_up_evaluation(views=VIEWS, keypoints=KEYPOINTS, sets=SPLITS)


@pytest.fixture(scope="module")
def page(evaluation: Evaluation) -> Page:
    errors, errors_3d = held_out_first(error_table(evaluation)), error_3d_table(evaluation)
    return Page(errors_section(evaluation, errors, errors_3d).body_html)


def selected(evaluation: Evaluation, values: np.ndarray, split: str, view: str, keypoint: str = "all") -> np.ndarray:
    found = values[evaluation.split == split]
    found = found if view == "all" else found[:, [VIEWS.index(view)]]
    return found if keypoint == "all" else found[..., [KEYPOINTS.index(keypoint)]]


def test_the_table_by_view_has_the_values_of_the_evaluation(evaluation: Evaluation, page: Page) -> None:
    head, *rows = page.tables["errors-by-view"]
    assert head == ["split", "view", "visibility", "count", "mean", "median", "95 %", "mean pose"]
    assert [tuple(row[:3]) for row in rows] == [
        (split, view, visibility)
        for split in ("test", "validation", "train")
        for view in (*VIEWS, "all")
        for visibility in ("visible", "occluded")
    ]
    arrays = {
        "visible": (evaluation.pixel_error, evaluation.mean_pose_error),
        "occluded": (evaluation.occluded_error, evaluation.occluded_mean_pose_error),
    }
    for split, view, visibility, count, *shown in rows:
        errors, baseline = (selected(evaluation, values, split, view) for values in arrays[visibility])
        assert int(count) == np.isfinite(errors).sum()
        expected = [*(statistic(errors) for statistic in STATISTICS), np.nanmean(baseline)]
        assert shown == [f"{value:.2f}" for value in expected]


def test_the_table_by_keypoint_has_the_values_of_the_test_split(evaluation: Evaluation, page: Page) -> None:
    head, *rows = page.tables["errors-by-keypoint"]
    assert head == [
        *("keypoint", *VIEWS, "all: median", "mean", "95 %"),
        *("occluded: median", "mean", "95 %", "3D: median"),
    ]
    assert [row[0] for row in rows] == [*KEYPOINTS, "all"]
    for keypoint, *shown in rows:
        by_view = [np.nanmedian(selected(evaluation, evaluation.pixel_error, "test", view, keypoint)) for view in VIEWS]
        everywhere = selected(evaluation, evaluation.pixel_error, "test", "all", keypoint)
        occluded = selected(evaluation, evaluation.occluded_error, "test", "all", keypoint)
        overall = [STATISTICS[i](values) for values in (everywhere, occluded) for i in (1, 0, 2)]
        expected = [f"{value:.2f}" for value in (*by_view, *overall)]
        in_3d = evaluation.error_3d[evaluation.split == "test"]
        in_3d = in_3d if keypoint == "all" else in_3d[:, KEYPOINTS.index(keypoint)]
        assert shown == [*expected, f"{np.nanmedian(in_3d):.4g}"]


@pytest.mark.parametrize("visibility", ["visible", "occluded"])
def test_the_heat_map_shows_the_medians_of_one_split_at_a_time(evaluation: Evaluation, visibility: str) -> None:
    drawn = draw_heat_map(evaluation, held_out_first(error_table(evaluation)), visibility)
    values = evaluation.pixel_error if visibility == "visible" else evaluation.occluded_error
    assert [(trace.name, trace.visible) for trace in drawn.data] == [
        ("test", True),
        ("validation", False),
        ("train", False),
    ]
    for trace in drawn.data:
        for row, keypoint in enumerate((*KEYPOINTS, "all")):
            for column, view in enumerate((*VIEWS, "all")):
                errors = selected(evaluation, values, trace.name, view, keypoint)
                median = pd.Series(errors.ravel()).median()  # NaN of nothing, without a warning
                assert trace.z[row][column] == pytest.approx(median, nan_ok=True)
    buttons = drawn.layout.updatemenus[0].buttons
    assert [button.args[0]["visible"].index(True) for button in buttons] == [0, 1, 2]
    assert drawn.data[0].y[1] == "tail &amp; &lt;b&gt;tip&lt;/b&gt;"


def test_a_cell_without_a_label_is_a_dash_and_a_gap() -> None:
    unlabeled = made_up_evaluation(views=VIEWS, keypoints=KEYPOINTS, sets=SPLITS, missing=0.0)
    unlabeled.pixel_error[:, 1, 2] = np.nan
    errors = error_table(unlabeled)
    section = Page(errors_section(unlabeled, errors, error_3d_table(unlabeled)).body_html)
    assert section.tables["errors-by-keypoint"][3][2] == "\u2013"
    assert np.isnan(draw_heat_map(unlabeled, errors).data[0].z[2][1])


def test_without_occluded_keypoints_only_visible_ones_are_shown() -> None:
    evaluation = made_up_evaluation(views=VIEWS, keypoints=KEYPOINTS, sets=SPLITS, occluded=0.0)
    errors, pck = error_table(evaluation), pck_table(evaluation)
    section = errors_section(evaluation, errors, error_3d_table(evaluation))
    page = Page(
        section.body_html + reliability_section(pck, calibration_table(evaluation, 0.1, None), 0.1, None).body_html
    )
    assert page.tables["errors-by-view"][0][:3] == page.tables["pck-table"][0][:3] == ["split", "view", "count"]
    assert "ccluded" not in section.body_html + section.how_to_read
    assert len(page.tables["errors-by-view"]) == 1 + 3 * 3


def test_without_calibration_the_page_states_that_there_is_no_3d() -> None:
    flat = made_up_evaluation(views=VIEWS, keypoints=KEYPOINTS, sets=SPLITS)
    for values in (flat.points_3d, flat.labels_3d, flat.error_3d, flat.reprojection_error):
        values[:] = np.nan
    section = errors_section(flat, error_table(flat), error_3d_table(flat))
    assert "errors-3d" not in Page(section.body_html).tables
    assert "No errors in 3D: the project has no calibration" in section.body_html


@pytest.mark.parametrize(("splits", "expected"), [(["train", "test"], "test"), (["train", "validation"], "validation")])
def test_the_held_out_split_is_test_else_validation(splits: list[str], expected: str) -> None:
    assert held_out_split(made_up_evaluation(views=VIEWS, keypoints=KEYPOINTS, sets=splits)) == expected


def test_pck_and_likelihoods_are_those_of_the_evaluation(evaluation: Evaluation) -> None:
    share = 0.1
    calibration = calibration_table(evaluation, share, None)
    page = Page(reliability_section(pck_table(evaluation), calibration, share, None).body_html)
    head, *rows = page.tables["pck-table"]
    assert head[:4] == ["split", "view", "visibility", "count"]
    assert len(rows) == 3 * 3 * 2
    for split, view, visibility, count, *shown in rows:
        errors = evaluation.pixel_error if visibility == "visible" else evaluation.occluded_error
        relative = errors / evaluation.subject_size[:, None]
        found = selected(evaluation, relative, split, view)
        found = found[np.isfinite(found)]
        assert int(count) == len(found)
        assert shown == [f"{100 * (found <= limit).mean():.1f} %" for limit in (0.02, 0.05, 0.1, 0.2)]
    known = np.isfinite(evaluation.relative_error) & (evaluation.split == "test")[:, None, None]
    (row,) = (row for row in page.tables["likelihood-table"] if row[0] == "test" and row[2] == "all")
    mean, found = evaluation.confidence[known].mean(), (evaluation.relative_error[known] <= share).mean()
    assert row[3:6] == [str(known.sum()), f"{mean:.3f}", f"{found:.3f}"]


@pytest.mark.parametrize("fitted", [False, True])
def test_the_page_states_where_the_standard_deviations_come_from(evaluation: Evaluation, fitted: bool) -> None:
    error_bars = ErrorBars(scale=1.5, std=(2.0, 3.0, 4.0), factor=1.2, size=90.0, num_frames=41, num_points=123)
    table = error_3d_table(evaluation)
    body = errors_section(evaluation, error_table(evaluation), table, error_bars if fitted else None).body_html
    assert ("123 points of 41 frames" in body) == fitted
    assert ("--fit-confidence" in body) == (not fitted)
