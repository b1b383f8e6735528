"""Figures of a validation, from predictions whose errors are known."""

import numpy as np
import pytest

from helpers.tiny import generate_tiny_project, write_tiny_config
from mvtrain.config import load_config
from mvtrain.metrics import validation_columns, validation_figures
from mvtrain.model.inference import FramePredictions
from mvtrain.model.reconstruction import reconstruct_project
from mvtrain.project.labels_3d import triangulate_labels
from mvtrain.project.project import Project, read_project

ROWS = np.array([9, 0, 7, 4])
"""Of both sessions, which have rigs of their own, and not in the project's order."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("validation")
    generate_tiny_project(folder / "project", num_frames=10, num_sessions=2)
    return read_project(load_config(write_tiny_config(folder / "tiny.yaml", folder / "project")))


def exact_predictions(project: Project) -> FramePredictions:
    """The labels, certain where they are visible and of no weight elsewhere."""
    visible = project.visibility[ROWS] == 2
    points = np.where(np.isfinite(project.points_full[ROWS]), project.points_full[ROWS], 30.0)
    return FramePredictions(index=ROWS, points=points, confidence=visible.astype(float))


def moved(predictions: FramePredictions, where: tuple[slice | int, ...]) -> FramePredictions:
    """The predictions with those at (frame, view, keypoint) 5 px off."""
    points = predictions.points.copy()
    points[where] += [3.0, 4.0]
    return FramePredictions(index=predictions.index, points=points, confidence=predictions.confidence)


def test_exact_predictions_have_no_error(project: Project) -> None:
    labels_3d = triangulate_labels(project)
    figures = validation_figures(project, labels_3d, exact_predictions(project))
    assert figures.keys() <= set(validation_columns(project.view_names, project.keypoint_names))
    for name, value in figures.items():
        if name != "val_reprojection_error":  # hidden keypoints, of no weight, were put anywhere
            assert value == pytest.approx(0, abs=1e-6), name
    points_3d = reconstruct_project(project, exact_predictions(project), None).points
    np.testing.assert_allclose(points_3d, labels_3d[ROWS], atol=1e-6)


@pytest.mark.parametrize("view", [0, 2])
def test_an_error_counts_for_its_view(project: Project, view: int) -> None:
    predictions = moved(exact_predictions(project), (slice(None), view))
    figures = validation_figures(project, triangulate_labels(project), predictions)
    for number, name in enumerate(project.view_names):
        assert figures[f"val_pixel_error_view_{name}"] == pytest.approx(5.0 if number == view else 0.0, abs=1e-9)
    visible = project.visibility[ROWS] == 2
    assert figures["val_pixel_error"] == pytest.approx(5 * visible[:, view].sum() / visible.sum())
    assert figures["val_error_3d"] > 1


def test_an_error_counts_for_its_keypoint(project: Project) -> None:
    predictions = moved(exact_predictions(project), (slice(None), slice(None), 3))
    figures = validation_figures(project, triangulate_labels(project), predictions)
    for number, name in enumerate(project.keypoint_names):
        expected = pytest.approx(5.0 if number == 3 else 0.0, abs=1e-9)
        if (project.visibility[ROWS, :, number] == 2).any():
            assert figures[f"val_pixel_error_keypoint_{name}"] == expected


def test_frames_without_labels_have_no_figures_but_the_first(project: Project) -> None:
    labels = np.full_like(triangulate_labels(project), np.nan)
    unlabeled = project.visibility.copy()
    project.visibility[ROWS] = 0
    try:
        figures = validation_figures(project, labels, exact_predictions(project))
    finally:
        project.visibility[:] = unlabeled
    assert np.isnan(figures["val_pixel_error"])
    assert not [name for name in figures if name.startswith("val_pixel_error_")]
    assert "val_error_3d" not in figures
