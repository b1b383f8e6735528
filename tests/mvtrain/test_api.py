"""The Python interface: train, evaluate and predict without a console."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

import mvtrain
from helpers.command import run_mvtrain
from helpers.errors import raises_input
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvtrain.project import labels_3d
from mvtrain.runtime.folders import EnsembleMember, write_ensemble
from mvtrain.runtime.messages import command


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A run, what its training printed, and how often it triangulated the labels."""

    run: mvtrain.Run
    printed: str
    triangulations: int


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("api")
    project = generate_tiny_project(folder / "project")
    config = mvtrain.load_config(write_tiny_config(folder / "tiny.yaml", project), ["training.max_epochs=1"])
    labels_3d.triangulate_labels.cache_clear()
    with redirect_stdout(StringIO()) as printed:
        run = mvtrain.train(config, str(folder / "runs" / "[b]"))
    triangulations = labels_3d.triangulate_labels.cache_info().misses
    return Trained(run=run, printed=printed.getvalue(), triangulations=triangulations)


@pytest.fixture
def run(trained: Trained) -> mvtrain.Run:
    return trained.run


def test_repr_of_a_run_is_one_screen(run: mvtrain.Run) -> None:
    lines = repr(run).splitlines()
    assert len(lines) <= 12
    text = "\n".join(lines)
    for fact in (run.folder, "cam1, cam2, cam3", run.spec.backbone, run.checksum[:12]):
        assert str(fact) in text


def test_training_prints_nothing_without_a_console(trained: Trained) -> None:
    assert trained.printed == ""
    # Dataset, model and validation share one triangulation of the labels; evaluating reads the project no second time.
    assert trained.triangulations == 1


def test_evaluating_a_run_its_folder_and_its_project_is_the_same(run: mvtrain.Run) -> None:
    evaluation = mvtrain.evaluate(run, device="cpu")
    assert evaluation.pixel_error.shape[1:] == (3, len(run.spec.keypoint_names))
    assert set(evaluation.split) == {"train", "validation", "test"}
    project = run.config.data.data_dir
    for again in (mvtrain.evaluate(str(run.folder), device="cpu"), mvtrain.evaluate(run, project, device="cpu")):
        np.testing.assert_array_equal(again.pixel_error, evaluation.pixel_error)


def test_held_out_tables_and_ensembles_are_evaluated_as_by_the_command(
    run: mvtrain.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = run.config.data.data_dir
    assert root is not None
    other = shutil.copytree(root, tmp_path / "other")
    for table in other.glob("CollectedData_*.csv"):
        table.with_stem(f"{table.stem}_new").write_text("".join(table.read_text().splitlines(keepends=True)[:8]))
    with raises_input("unknown-choice", argument="held_out", expected=("new",)):
        mvtrain.evaluate(run, other, held_out="test_table")
    with pytest.warns(UserWarning, match="_new"):  # frames that are in the other tables, too
        found = mvtrain.evaluate(run, other, held_out="new", device="cpu", batch_size=2)
    assert set(found.split) == {"new"}
    whole = mvtrain.evaluate(run, other, device="cpu")
    np.testing.assert_allclose(found.pixel_error, whole.pixel_error[:5], atol=1e-2)
    ensemble = tmp_path / "ensemble"
    names = [f"seed{number}" for number in (1, 2)]
    for name in names:
        shutil.copytree(run.folder, ensemble / name)
    write_ensemble(ensemble, {name: EnsembleMember(seed=number, done=True) for number, name in enumerate(names)})
    together = mvtrain.evaluate(ensemble, other, device="cpu")
    np.testing.assert_allclose(together.pixel_error, whole.pixel_error, atol=1e-2)  # of a network and its copy


def test_what_is_no_run_is_an_input_error(run: mvtrain.Run, tmp_path: Path) -> None:
    project = run.config.data.data_dir
    assert project is not None
    for path in (tmp_path, project):
        with raises_input("not-a-run", path=path):
            mvtrain.evaluate(path)
        with raises_input("not-a-run", path=path):
            mvtrain.load_predictor(path)
    with raises_input("occupied-folder", path=run.folder):
        mvtrain.train(run.config, run.folder)
    with raises_input("not-a-run", path=tmp_path / "mistyped"):
        mvtrain.train(run.config, tmp_path / "mistyped", resume=True)
    assert not (tmp_path / "mistyped").exists()


def test_a_path_for_a_config_and_a_text_for_a_list_are_input_errors(run: mvtrain.Run, tmp_path: Path) -> None:
    config = run.folder / "config.yaml"
    with raises_input("wrong-type", argument="config"):
        mvtrain.train(config, tmp_path / "new")  # type: ignore[arg-type]
    with raises_input("wrong-type", argument="overrides"):
        mvtrain.load_config(config, "training.max_epochs=2")
    assert mvtrain.load_config(config, ["training.max_epochs=2"]).training.max_epochs == 2


def test_brackets_of_a_path_are_printed(
    run: mvtrain.Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = run_mvtrain(capsys, monkeypatch, "evaluate", run.folder, "--device", "cpu")
    assert outcome.status == 0, outcome.err
    first, *_, last = outcome.out.strip().splitlines()
    assert str(run.folder) in first
    assert command("mvtrain", "report", run.folder) in last


def test_importing_the_package_imports_no_torch() -> None:
    code = "import mvtrain, sys; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_results_are_one_readable_screen(run: mvtrain.Run) -> None:
    predictor = mvtrain.load_predictor(run.folder, device="cpu")
    height, width = predictor.spec.image_size
    found = predictor.predict([np.zeros((2, height, width, 3), np.uint8)] * len(predictor.spec.view_names))
    for shown in map(repr, (run, mvtrain.evaluate(run), predictor, found)):
        assert shown.count("\n") < 40
        assert max(map(len, shown.splitlines())) < 240
    assert f"points: {found.points.shape} {found.points.dtype}" in repr(found)
