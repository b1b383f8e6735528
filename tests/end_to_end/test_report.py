"""`mvtrain report`: the page of a trained run has the values of the run's tables, and a browser plays it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from playwright.sync_api import Page as BrowserPage
from rich.console import Console

from helpers.browser import offline_page
from helpers.command import Outcome, run_mvtrain
from helpers.page import Page
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvgeom import CameraGroup
from mvtrain import load_predictor
from mvtrain.config import load_config
from mvtrain.evaluation.run_evaluate import evaluate_trained
from mvtrain.predict.run_predict import PredictOptions, predict
from mvtrain.training.train import train

VIEWS = ("cam1", "cam2", "cam3")
NUM_VIDEO_FRAMES = 120


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_tiny_project(tmp_path_factory.mktemp("generated") / "project", num_video_frames=NUM_VIDEO_FRAMES)


@pytest.fixture(scope="module")
def trained(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run of two epochs, and predict the project's videos."""
    folder = tmp_path_factory.mktemp("trained")
    config = write_tiny_config(folder / "tiny.yaml", project, max_epochs=2)
    skeleton = load_config(project / "config.yaml").data.skeleton
    assert skeleton is not None
    document = yaml.safe_load(config.read_text())
    document["data"]["skeleton"] = [list(edge) for edge in skeleton]
    config.write_text(yaml.safe_dump(document))
    run, console = folder / "run", Console(quiet=True)
    trained = train(load_config(config, ()), run, console)
    assert trained is not None
    evaluate_trained(trained, console)
    predict([run], [project / "videos"], PredictOptions(accelerator="cpu"), console)
    return run


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    def command(*arguments: object) -> Outcome:
        return run_mvtrain(capsys, monkeypatch, "report", *arguments, "--device", "cpu")

    return command


@pytest.fixture(scope="module")
def html(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mvtrain.report.write_report import ReportOptions, report_command

    out = tmp_path_factory.mktemp("report") / "a page.html"
    report_command(trained, ReportOptions(out=out, device="cpu"), Console(quiet=True))
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """Copy the run, so that a test can damage it."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def point_at(run: Path, project: Path) -> None:
    """Set `data.data_dir` in the run's config, as the message about a missing project advises."""
    config = run / "config.yaml"
    document = yaml.safe_load(config.read_text())
    document["data"]["data_dir"] = str(project)
    config.write_text(yaml.safe_dump(document))


def read(path: Path, num_columns: int) -> np.ndarray:
    """Read (N, K, num_columns) values of a table with three header rows, without the last column `set`."""
    table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
    values = table.loc[:, [column for column in table.columns if column[0] != "set"]]
    return values.to_numpy(dtype=float).reshape(len(table), -1, num_columns)


def statistics(values: np.ndarray) -> list[float]:
    return [float(np.nanmean(values)), float(np.nanmedian(values)), float(np.nanpercentile(values, 95))]


def recomputed(project: Path, run: Path) -> tuple[np.ndarray, np.ndarray]:
    """Compute pixel errors (N, V, K) and splits (N,) from the tables alone."""
    errors = []
    for view in VIEWS:
        labels = read(project / f"CollectedData_{view}.csv", 3)
        points = np.where((labels[..., 2] == 2)[..., None], labels[..., :2], np.nan)
        errors.append(np.linalg.norm(read(run / f"predictions_{view}.csv", 3)[..., :2] - points, axis=-1))
    splits = pd.read_csv(run / f"predictions_{VIEWS[0]}.csv", header=[0, 1, 2], index_col=0).iloc[:, -1].to_numpy()
    return np.stack(errors, axis=1), splits


def points_by_themselves(project: Path, run: Path) -> np.ndarray:
    """Predict (N, V, K, 2) px of the images of a project without boxes, each view by itself."""
    loaded = load_predictor(run, device="cpu")
    alone = dataclasses.replace(loaded, network=dataclasses.replace(loaded.network, fuses_views=False))
    images = [
        np.stack([cv2.imread(str(project / row))[..., ::-1] for row in table.index])
        for table in (
            pd.read_csv(project / f"CollectedData_{view}.csv", header=[0, 1, 2], index_col=0) for view in VIEWS
        )
    ]
    return alone.predict(images).points


def recomputed_occluded(project: Path, run: Path) -> np.ndarray:
    """Compute (N, V, K) distances of keypoints without visible label to the true points projected by OpenCV."""
    truth = read(project / "points_3d.csv", 3)
    (calibration,) = (project / "calibrations").glob("*.toml")
    cameras = CameraGroup.load(calibration).select(VIEWS)
    errors = []
    for view, name in enumerate(VIEWS):
        rotation, _ = cv2.Rodrigues(cameras.rotation[view])
        camera = (cameras.matrix[view], cameras.distortion[view])
        flat, _ = cv2.projectPoints(truth.reshape(-1, 1, 3), rotation, cameras.translation[view], *camera)
        places = flat.reshape(*truth.shape[:2], 2)
        counts = (places >= -0.5).all(-1) & (places <= 63.5).all(-1)
        counts &= read(project / f"CollectedData_{name}.csv", 3)[..., 2] != 2
        distance = np.linalg.norm(read(run / f"predictions_{name}.csv", 3)[..., :2] - places, axis=-1)
        errors.append(np.where(counts, distance, np.nan))
    return np.stack(errors, axis=1)


def test_errors_are_those_of_the_tables(project: Path, trained: Path, html: Path) -> None:
    errors, splits = recomputed(project, trained)
    occluded = recomputed_occluded(project, trained)
    page = Page(html.read_text(encoding="utf-8"))
    _, *rows = page.tables["errors-by-view"]
    assert len(rows) == 3 * (len(VIEWS) + 1) * 2
    for split, view, visibility, count, *values in rows:
        found = (errors if visibility == "visible" else occluded)[splits == split]
        found = found if view == "all" else found[:, VIEWS.index(view)]
        assert int(count) == np.isfinite(found).sum()
        assert [float(value) for value in values[:3]] == pytest.approx(statistics(found), abs=0.006)
    names = pd.read_csv(project / "CollectedData_cam1.csv", header=[0, 1, 2], index_col=0).columns.get_level_values(1)
    keypoints = list(dict.fromkeys(names))
    _, *rows = page.tables["errors-by-keypoint"]
    assert [row[0] for row in rows] == [*keypoints, "all"]
    for k, row in enumerate(rows[:-1]):
        found = errors[splits == "test"][..., k]
        medians = pd.DataFrame(found).median().to_numpy()  # of a view without label NaN, without a warning
        shown = [float("nan") if cell == "\u2013" else float(cell) for cell in row[1:4]]
        assert shown == pytest.approx(medians.tolist(), abs=0.006, nan_ok=True)
        mean, median, worst = statistics(found)
        assert [float(cell) for cell in row[4:7]] == pytest.approx([median, mean, worst], abs=0.006)
    mean, median, worst = statistics(occluded[splits == "test"])
    assert [float(cell) for cell in rows[-1][7:10]] == pytest.approx([median, mean, worst], abs=0.006)
    assert f"{median:.2f} px" in page.texts["card-occluded"]
    median = np.nanmedian(errors[splits == "test"])
    assert f"{median:.2f} px" in page.texts["card-error"]
    counts = {name: int((splits == name).sum()) for name in ("train", "validation", "test")}
    assert ", ".join(f"{count} {name}" for name, count in counts.items()) in html.read_text(encoding="utf-8")


def test_errors_in_3d_are_those_to_the_generators_truth(project: Path, trained: Path, html: Path) -> None:
    _, splits = recomputed(project, trained)
    truth = read(project / "points_3d.csv", 3)
    distance = np.linalg.norm(read(trained / "predictions_3d.csv", 8)[..., :3] - truth, axis=-1)
    page = Page(html.read_text(encoding="utf-8"))
    rows = {(row[0], row[1]): row[2:] for row in page.tables["errors-3d"][1:]}
    for split in ("train", "validation", "test"):
        known, predicted, *values, covered = rows[split, "true points"]
        assert 0 <= float(covered.split()[0]) <= 100
        assert int(known) == distance[splits == split].size
        assert float(predicted.split()[0]) == pytest.approx(
            100 * np.isfinite(distance[splits == split]).mean(), abs=0.051
        )
        assert [float(value) for value in values] == pytest.approx(statistics(distance[splits == split]), rel=1e-3)
    assert float(page.texts["card-error-3d"].split("test split")[1].split("median")[0]) == pytest.approx(
        np.nanmedian(distance[splits == "test"]), rel=1e-3
    )


def test_reprojection_errors_are_those_of_opencv(project: Path, trained: Path, html: Path) -> None:
    (calibration,) = (project / "calibrations").glob("*.toml")
    cameras = CameraGroup.load(calibration).select(VIEWS)
    points_3d = read(trained / "predictions_3d.csv", 8)[..., :3]
    _, splits = recomputed(project, trained)
    by_themselves = points_by_themselves(project, trained)
    rows = {(row[0], row[1]): row[2:] for row in Page(html.read_text("utf-8")).tables["reprojection-by-view"][1:]}
    for view, name in enumerate(VIEWS):
        rotation, _ = cv2.Rodrigues(cameras.rotation[view])
        flat, _ = cv2.projectPoints(
            np.nan_to_num(points_3d).reshape(-1, 1, 3),
            rotation,
            cameras.translation[view],
            cameras.matrix[view],
            cameras.distortion[view],
        )
        projected = np.where(np.isfinite(points_3d[..., :2]), flat.reshape(*points_3d.shape[:2], 2), np.nan)
        found = np.linalg.norm(by_themselves[:, view] - projected, axis=-1)
        known = found[splits == "train"]
        # Behind a camera OpenCV projects all the same; the median does not mind.
        assert float(rows["train", name][2]) == pytest.approx(np.nanmedian(known), rel=0.02, abs=0.02)


def at_rest(page: BrowserPage, expression: str) -> list[float]:
    """Return numbers once they no longer change: figures turn on after a drag, an animation can have a frame left."""
    before: list[float] = []
    for _ in range(40):
        now = page.evaluate(expression)
        if before and np.abs(np.subtract(now, before)).max() < 1e-3:
            return before
        before = now
        page.wait_for_timeout(250)
    raise AssertionError(f"{expression} does not come to rest: {before}")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_plays_and_turns_it(html: Path, width: int) -> None:
    with offline_page(html, width=width) as page:
        page.wait_for_function("document.querySelectorAll('.plotly-graph-div').length > 8")
        unfinished = (
            "Array.from(document.querySelectorAll('.plotly-graph-div')).filter(d => !d.querySelector('svg.main-svg'))"
        )
        page.wait_for_function(f"{unfinished}.length === 0")
        for anchor in (
            "error-heat-map",
            "error-heat-map-occluded",
            "pck",
            "reliability",
            "reprojection-labeled",
            "reprojection-video-0",
        ):
            assert page.locator(f"#plot-{anchor} svg.main-svg").first.bounding_box()["height"] > 200  # type: ignore[index]
        assert page.locator("#plot-curves-0 .scatterlayer .js-line").count() >= 2
        assert page.locator("#errors-by-keypoint tbody tr").count() == 17
        assert page.evaluate("document.documentElement.scrollWidth") <= width

        pose = page.locator("#plot-pose-1")  # the video; the labeled frames are fewer
        pose.scroll_into_view_if_needed()
        state = "document.querySelector('#plot-pose-1')"
        page.wait_for_function(f"{state}._transitionData._frames.length === {NUM_VIDEO_FRAMES}")
        nose = f"Array.from({state}._fullData[0].x)[0]"
        eye = f"Object.values({state}._fullLayout.scene._scene.getCamera().eye)"
        at_first, looked_from = page.evaluate(nose), page.evaluate(eye)

        box = pose.locator("canvas").first.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 90, y + 10, steps=30)
        page.mouse.up()
        page.wait_for_function(f"Math.hypot({eye}[0] - {looked_from[0]}, {eye}[1] - {looked_from[1]}) > 0.5")
        turned = at_rest(page, eye)

        pose.get_by_text("Play").click()
        page.wait_for_function(f"{nose} !== {at_first} && {state}._fullLayout.sliders[0].active > 1")
        pose.get_by_text("Pause").click()
        assert at_rest(page, f"[{state}._fullLayout.sliders[0].active]")[0] < NUM_VIDEO_FRAMES - 1
        # The end of the turn, a few px of the mouse, comes with the next drawn frame.
        assert page.evaluate(eye) == pytest.approx(turned, abs=0.1)

        pose.get_by_text("Subject").click()
        page.wait_for_function(f"Math.abs({eye}[0] - {turned[0]}) + Math.abs({eye}[1] - {turned[1]}) > 0.1")


def test_the_page_of_another_checkpoint_is_written_where_the_options_state(run: Path, html: Path, report) -> None:
    assert html.stat().st_size < 10e6
    assert "checkpoint best" in html.read_text(encoding="utf-8")
    other = report(run, "--output", run / "last.html", "--checkpoint", "last")
    assert other.status == 0
    assert "checkpoint last" in (run / "last.html").read_text(encoding="utf-8")
    assert [path.name for path in run.glob("*.html")] == ["last.html"]


def test_the_page_of_a_run_without_a_log_is_written_into_the_run_folder_and_states_so(run: Path, report) -> None:
    (run / "metrics.csv").unlink()
    (run / "run.yaml").unlink()
    outcome = report(run)
    assert outcome.status == 0, outcome.err
    assert f"wrote {run / 'report.html'}" in outcome.out
    assert f"{run} has no metrics.csv" in outcome.out
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "No curves: the run folder has no metrics.csv." in page
    assert "unknown: the run folder has no run.yaml" in page


def test_the_page_of_a_project_without_calibration_states_why_it_has_no_3d(
    run: Path, project: Path, tmp_path: Path, report
) -> None:
    moved = shutil.copytree(project, tmp_path / "moved")
    shutil.rmtree(moved / "calibrations")
    (moved / "points_3d.csv").unlink()
    point_at(run, moved)
    shutil.rmtree(run / "video_preds")
    outcome = report(run)
    assert outcome.status == 0, outcome.err
    content = (run / "report.html").read_text(encoding="utf-8")
    page = Page(content)
    assert "No 3D: the project has no calibration of two views or more" in content
    assert "plot-pose-0" not in content
    assert not {"errors-3d", "reprojection-by-view"} & set(page.tables)
    # Without a calibration the views are not fused, as they were when the run's tables were written.
    _, splits = recomputed(project, run)
    labels = np.stack([read(project / f"CollectedData_{view}.csv", 3) for view in VIEWS], axis=1)
    visible = np.where((labels[..., 2] == 2)[..., None], labels[..., :2], np.nan)
    errors = np.linalg.norm(points_by_themselves(project, run) - visible, axis=-1)
    assert f"{np.nanmedian(errors[splits == 'test']):.2f} px" in page.texts["card-error"]


def test_a_recording_without_its_calibration_is_named(run: Path, project: Path, tmp_path: Path, report) -> None:
    summary = next((run / "video_preds").glob("*_prediction.json"))
    (calibration,) = (project / "calibrations").glob("*.toml")
    summary.write_text(summary.read_text().replace(str(calibration), str(tmp_path / "gone.toml")))
    outcome = report(run)
    assert outcome.status == 0, outcome.err
    assert f"is not shown: its calibration {tmp_path / 'gone.toml'} is no longer there." in outcome.out
    content = (run / "report.html").read_text(encoding="utf-8")
    assert "plot-pose-0" in content
    assert "plot-pose-1" not in content
    assert "gone.toml is no longer there." in content


def test_mistakes_are_named_before_the_network_runs(run: Path, tmp_path: Path, report) -> None:
    def refused(*arguments: object) -> str:
        outcome = report(*arguments)
        assert outcome.status == 2
        assert "Traceback" not in outcome.err
        return outcome.err

    assert str(tmp_path / "nothing") in refused(tmp_path / "nothing")
    assert str(tmp_path / "no") in refused(run, "--output", tmp_path / "no" / "x")
    assert f"{tmp_path}: " in refused(run, "--output", tmp_path)
    metrics = (run / "metrics.csv").read_text()
    first = metrics.splitlines()[1]
    (run / "metrics.csv").write_text(metrics.replace(first, first.replace(",", ",x", 1)))
    assert f"{run / 'metrics.csv'}, line 2, column step: " in refused(run)
    (run / "metrics.csv").write_text(metrics)
    point_at(run, tmp_path / "elsewhere")
    message = refused(run)
    assert str(tmp_path / "elsewhere") in message
    assert f"{run / 'config.yaml'}: data.data_dir: " in message
    shutil.rmtree(run / "checkpoints")
    assert str(run) in refused(run)
    assert not list(run.glob("*.html"))
