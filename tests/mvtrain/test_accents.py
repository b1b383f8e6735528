"""Names with accents: macOS stores the letter and the accent apart, most other programs as one character."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from helpers.tiny import generate_tiny_project, write_tiny_config
from mvtrain.config import load_config, save_config
from mvtrain.label.open_tables import list_images
from mvtrain.predict.recordings import find_calibration, find_sessions, load_calibration
from mvtrain.project.project import read_project

FORMS = [("NFC", "NFD"), ("NFD", "NFC")]
"""Form of the config's names, and of those of files and in files."""

ONE, OTHER = "é1", "süd"


def written(form: str, text: str) -> str:
    return unicodedata.normalize(form, text.replace("cam1", ONE).replace("cam2", OTHER).replace("session1", "à"))


def rename(root: Path, form: str) -> None:
    """Give views and session of a generated project names with accents, in tables, folders, videos and calibrations."""
    for path in sorted(root.rglob("*"), reverse=True):
        if path.suffix in (".csv", ".toml"):
            path.write_text(written(form, path.read_text()))
        path.rename(path.with_name(written(form, path.name)))


@pytest.mark.parametrize(("of_config", "of_files"), FORMS)
@pytest.mark.parametrize("listed", [True, False])
def test_views_and_sessions_are_found_in_either_form(
    of_config: str, of_files: str, listed: bool, tmp_path: Path
) -> None:
    root = generate_tiny_project(tmp_path / "project", num_frames=4, num_video_frames=4)
    (root / "config.yaml").unlink(missing_ok=True)
    plain = read_project(load_config(write_tiny_config(tmp_path / "plain.yaml", root)))
    rename(root, of_files)
    path = write_tiny_config(tmp_path / "tiny.yaml", root)
    views = tuple(written("NFC", view) for view in ("cam1", "cam2", "cam3"))
    names = [written(of_config, view) for view in ("cam1", "cam2", "cam3")]
    overrides = [f"data.view_names=[{','.join(names)}]"] if listed else []
    config = load_config(path, overrides)
    project = read_project(config)
    assert sorted(project.view_names) == sorted(views)
    order = [project.view_names.index(view) for view in views]
    np.testing.assert_array_equal(project.points[:, order], plain.points)
    assert set(project.sessions) == {"à"}
    assert all(cameras is not None for cameras in project.cameras)
    assert project.read_image(0, 0).ndim == 3
    (session,) = find_sessions([root / "videos"], project.view_names).complete
    assert session.name == "à"
    calibration = find_calibration(session, None, root)
    assert calibration is not None
    assert load_calibration(calibration, project.view_names).cameras.names == project.view_names
    for table in root.glob("CollectedData_*.csv"):
        table.write_text("".join(table.read_text().splitlines(keepends=True)[:3]))
    assert list_images(root, config.data) == len(project)
    assert read_project(config, need_labels=False).sessions == project.sessions
    save_config(config, tmp_path / "run" / "config.yaml")
    assert load_config(tmp_path / "run" / "config.yaml") == config
