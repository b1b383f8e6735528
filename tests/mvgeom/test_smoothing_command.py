"""The command `mvgeom smooth`: tables that it reads and writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.geometry import random_rig
from helpers.mvgeom_command import run
from mvgeom import project
from mvgeom.tables import COORDS_3D, COORDS_VIEW, read_keypoints

NAMES = ("nose", "tail")
RIG = random_rig(np.random.default_rng(3), 3, distance=(1.0, 1.3))


def write_tables(folder: Path, points: np.ndarray, rows: list[str] | None = None) -> list[str]:
    """Write a table of predictions per view; return the arguments VIEW=PATH."""
    RIG.save(folder / "rig.toml")
    columns = pd.MultiIndex.from_product([["net"], NAMES, ["x", "y", "likelihood"]])
    likelihood = np.where(np.isfinite(points[..., :1]), 0.9, 0.0)
    values = np.concatenate([points, likelihood], axis=-1)
    arguments = []
    for view, name in enumerate(RIG.names):
        index = pd.Index(rows or range(len(points)))
        table = pd.DataFrame(values[:, view].reshape(len(points), -1), index=index, columns=columns)
        table.columns.names = ["scorer", "bodyparts", "coords"]
        table.to_csv(folder / f"{name}.csv")
        arguments.append(f"{name}={folder / f'{name}.csv'}")
    return arguments


@pytest.fixture
def truth() -> np.ndarray:
    frames = np.arange(60)[:, None]
    swing = np.stack([np.sin(frames / 9), np.cos(frames / 11), np.sin(frames / 14)], axis=-1)
    return 0.1 * swing + np.array([[0.05, 0.0, 0.0], [-0.05, 0.02, 0.0]])


def test_too_few_frames_to_learn_from_are_a_warning(truth: np.ndarray, tmp_path: Path) -> None:
    points = project(truth, RIG) + np.random.default_rng(0).normal(0, 1.0, (60, 3, 2, 2))
    for count, expected in ((5, "learned from 5 frames"), (60, "")):
        arguments = write_tables(tmp_path, np.where(np.arange(60)[:, None, None, None] < count, points, np.nan))
        outcome = run("smooth", tmp_path / "rig.toml", *arguments, "-o", tmp_path / "smooth.csv")
        assert outcome.exit_code == 0, outcome.output
        assert expected in outcome.stderr
        assert bool(outcome.stderr) == bool(expected), outcome.stderr


def test_tables_are_those_of_triangulate_and_more(truth: np.ndarray, tmp_path: Path) -> None:
    points = project(truth, RIG) + np.random.default_rng(0).normal(0, 1.0, (60, 3, 2, 2))
    points[20:24, 1, 0] += 50.0
    points[30:45, :, 1] = np.nan
    arguments = write_tables(tmp_path, points)
    output, views = tmp_path / "smooth.csv", tmp_path / "views"
    outcome = run("smooth", tmp_path / "rig.toml", *arguments, "-o", output, "--view-tables", views, "--max-gap", "10")
    assert outcome.exit_code == 0, outcome.stderr
    table = pd.read_csv(output, header=[0, 1, 2], index_col=0)
    assert tuple(table.columns.get_level_values(2)[:8]) == COORDS_3D
    values = table.to_numpy().reshape(60, 2, 8)
    assert np.isnan(values[30:45, 1, :3]).all()
    assert (values[30:45, 1, 7] == 0).all()
    assert (values[20:24, 0, 7] == 2).all()
    kept = np.isfinite(values[..., 0])
    assert np.linalg.norm(values[..., :3] - truth, axis=-1)[kept].max() < 0.01
    assert (values[..., 3:6][kept] > 0).all()
    for view, name in enumerate(RIG.names):
        written = pd.read_csv(views / f"{name}.csv", header=[0, 1, 2], index_col=0)
        assert tuple(written.columns.get_level_values(2)[:7]) == COORDS_VIEW
        found = read_keypoints(views / f"{name}.csv")
        np.testing.assert_allclose(found.points[:20], project(truth, RIG)[:20, view], atol=4.0)
    outliers = pd.read_csv(views / f"{RIG.names[1]}.csv", header=[0, 1, 2], index_col=0)["mvgeom"]["nose"]["inlier"]
    assert (outliers[20:24] < 0.5).all()


def test_frames_that_the_tables_lack_count_as_time(truth: np.ndarray, tmp_path: Path) -> None:
    points = project(truth, RIG)
    rows = [str(row) for row in [*range(30), *range(130, 160)]]
    arguments = write_tables(tmp_path, points, rows)
    outcome = run("smooth", tmp_path / "rig.toml", *arguments, "-o", tmp_path / "smooth.csv")
    assert outcome.exit_code == 0, outcome.stderr
    values = pd.read_csv(tmp_path / "smooth.csv", header=[0, 1, 2], index_col=0)
    assert [str(row) for row in values.index] == rows


def test_labeled_images_are_no_recording(truth: np.ndarray, tmp_path: Path) -> None:
    rows = [f"labeled-data/a/img{frame:03d}.png" for frame in range(60)]
    arguments = write_tables(tmp_path, project(truth, RIG), rows)
    outcome = run("smooth", tmp_path / "rig.toml", *arguments, "-o", tmp_path / "smooth.csv")
    assert outcome.exit_code == 2
    assert "img000.png" in outcome.stderr
    assert not (tmp_path / "smooth.csv").exists()


@pytest.mark.parametrize(("option", "value"), [("--max-gap", "-1"), ("--view-tables", "rig.toml")])
def test_wrong_options(
    option: str, value: str, truth: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = write_tables(tmp_path, project(truth, RIG))
    outcome = run("smooth", "rig.toml", *arguments, "-o", "smooth.csv", option, value)
    assert outcome.exit_code == 2
    assert option in outcome.stderr
