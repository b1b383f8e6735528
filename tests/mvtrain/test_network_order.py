"""Projects whose views and keypoints are in another order than a network's: the network's order is taken."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from helpers.command import run_mvtrain
from helpers.errors import raises_input
from helpers.runs import make_run
from helpers.tiny import generate_tiny_project
from mvtrain.config import load_config
from mvtrain.evaluation.evaluation import evaluate
from mvtrain.model.run_folder import Run, load_run
from mvtrain.predict.labeled_images import in_network_order
from mvtrain.project.labels_3d import read_truth
from mvtrain.project.project import Project, arranged, read_project


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "crops"])
def labeled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Project]:
    """A run, and its project, which has held-out tables."""
    folder = tmp_path_factory.mktemp("labeled")
    root = generate_tiny_project(folder / "project", num_frames=5, num_sessions=2, crop=request.param)
    config = load_config(root / "config.yaml")
    project = read_project(config)
    for view in project.view_names:
        table = root / f"CollectedData_{view}.csv"
        table.with_stem(f"{table.stem}_new").write_text("".join(table.read_text().splitlines(keepends=True)[:-2]))
    return load_run(make_run(folder / "run", project.view_names, project.keypoint_names)), project


def another_order(project: Project) -> Project:
    """The project with views backwards, and keypoints that begin in the middle."""
    names = project.keypoint_names
    return arranged(project, project.view_names[::-1], names[len(names) // 2 :] + names[: len(names) // 2])


def test_an_evaluation_does_not_depend_on_the_order(labeled: tuple[Run, Project]) -> None:
    run, project = labeled
    expected, found = evaluate(run, project), evaluate(run, another_order(project))
    assert expected.truth_error_3d is not None
    for field in dataclasses.fields(expected):
        first, second = getattr(expected, field.name), getattr(found, field.name)
        if isinstance(first, np.ndarray) and first.dtype != object:
            np.testing.assert_array_equal(second, first, err_msg=field.name)


def test_the_truth_is_in_the_order_of_the_project(labeled: tuple[Run, Project]) -> None:
    project = labeled[1]
    expected, found = read_truth(project), read_truth(another_order(project))
    assert expected is not None
    assert found is not None
    np.testing.assert_array_equal(np.roll(found, len(project.keypoint_names) // 2, axis=1), expected)


def test_every_field_of_a_project_follows(labeled: tuple[Run, Project]) -> None:
    project = labeled[1]
    bits, turned = tuple(range(len(project.view_names))), np.zeros(project.file_sizes.shape[:2], bool)
    turned[:, 0] = True
    project = dataclasses.replace(project, value_bits=bits, turned=turned)
    assert another_order(project).value_bits == bits[::-1]
    np.testing.assert_array_equal(another_order(project).turned, turned[:, ::-1])
    back = arranged(another_order(project), project.view_names, project.keypoint_names)
    for field in dataclasses.fields(project):
        first, second = getattr(project, field.name), getattr(back, field.name)
        if isinstance(first, np.ndarray):
            np.testing.assert_array_equal(second, first, err_msg=field.name)
        elif field.name == "cameras":
            assert [group.names for group in second] == [group.names for group in first]
            assert len(set(map(id, second))) == len(set(map(id, first)))
        else:
            assert second == first, field.name


def test_other_names_are_refused(labeled: tuple[Run, Project]) -> None:
    run, project = labeled
    views = dataclasses.replace(project, view_names=(*project.view_names[:-1], "other"))
    with raises_input("views-differ", found=views.view_names, expected=project.view_names):
        in_network_order(views, run.spec)
    keypoints = dataclasses.replace(project, keypoint_names=(*project.keypoint_names[:-1], "other"))
    with raises_input("keypoints-differ", found=keypoints.keypoint_names):
        in_network_order(keypoints, run.spec)


def test_a_config_that_names_the_views_in_another_order(
    labeled: tuple[Run, Project], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, project = labeled
    document = yaml.safe_load((project.root / "config.yaml").read_text())
    document["data"]["data_dir"] = str(project.root)
    for key in ("view_names", "csv_file", "bbox_file"):
        if document["data"].get(key):
            document["data"][key] = document["data"][key][::-1]
    turned = tmp_path / "turned.yaml"
    turned.write_text(yaml.safe_dump(document))
    assert load_config(turned).data.view_names == project.view_names[::-1]
    for config, out in ((project.root, "as it is"), (turned, "turned")):
        outcome = run_mvtrain(capsys, monkeypatch, "predict", run.folder, config, "--output", tmp_path / out)
        assert outcome.status == 0, outcome.err
    written = {path.name: path.read_bytes() for path in (tmp_path / "as it is" / "project").iterdir()}
    assert len(written) == 2 * (len(project.view_names) + 1) + 1  # and project.txt
    assert {path.name: path.read_bytes() for path in (tmp_path / "turned" / "project").iterdir()} == written
