"""The page itself: one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs
from rich.console import Console

from mvgeom.files import read_text, write_text
from mvtrain.drawing.keypoints import style_of
from mvtrain.evaluate.error_tables import error_3d_table, error_table, pck_table
from mvtrain.evaluate.evaluation import evaluate, held_out_first
from mvtrain.evaluate.likelihood_fit import DEFAULT_SHARE, calibration_table
from mvtrain.model.run_folder import Run, load_run
from mvtrain.predict.predictor import choose_device
from mvtrain.predict.run_predict import say, warn
from mvtrain.project.project import Project, read_project
from mvtrain.report.html import Section, escape, folded
from mvtrain.report.keypoint_errors import errors_section
from mvtrain.report.learning_curves import learning_curves_section, read_metrics, read_run_info
from mvtrain.report.overview import overview_html
from mvtrain.report.pose_3d import pose_section
from mvtrain.report.predicted_videos import read_recordings
from mvtrain.report.reliability import reliability_section
from mvtrain.report.reprojection_section import reprojection_section
from mvtrain.report.scenes import scenes_of
from mvtrain.report.worst_frames import worst_frames_section

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
$style
</style>
<script>
$plotly
</script>
<script>
// Plotly ends an animation for another one, such as Pause, by a rejection without reason that nobody catches.
window.addEventListener("unhandledrejection", event => { if (event.reason === undefined) event.preventDefault(); });
</script>
</head>
<body>
<header>
<p class="kind">mvtrain report</p>
$overview
<nav>$links</nav>
</header>
<main>
$sections
</main>
<footer>Written by mvtrain $version on $date.</footer>
</body>
</html>
""")


def page_html(title: str, overview_html: str, sections: Sequence[Section], *, version: str, date: str) -> str:
    """The whole page.

    Args:
        title: of the window, plain text.
        overview_html: what stands before the sections.
        sections: in their order.
        version: of mvtrain.
        date: of the report.
    """
    return _PAGE.substitute(
        title=escape(title),
        style=resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
        overview=overview_html,
        links="".join(f'<a href="#{escape(each.anchor)}">{escape(each.title)}</a>' for each in sections),
        sections="\n".join(_section_html(each) for each in sections),
        version=escape(version),
        date=escape(date),
    )


def _section_html(section: Section) -> str:
    return (
        f'<section id="{escape(section.anchor)}">\n<h2>{escape(section.title)}</h2>\n'
        f'<p class="how">{escape(section.how_to_read)}</p>\n{section.body_html}\n</section>'
    )


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """How to report.

    Attributes:
        out: the HTML file; None: `report.html` in the run folder.
        checkpoint: `best` or `last`.
        batch_size: moments per batch; None: `training.test_batch_size` of the run.
        device: where to compute; None: a GPU if there is one.
    """

    out: Path | None = None
    checkpoint: str = "best"
    batch_size: int | None = None
    device: str | None = None


def report_command(run_dir: Path, options: ReportOptions, console: Console) -> None:
    """Evaluate a run on its project and write the page.

    Raises:
        ValueError: no run folder or checkpoint, a damaged file in it, the project is gone, no place for the page.
    """
    run = load_run(run_dir, options.checkpoint)
    out = options.out or run_dir / "report.html"
    _check_writable(out)
    # Before the network runs, which takes longest.
    metrics, info, recordings = read_metrics(run_dir), read_run_info(run_dir), read_recordings(run)
    project = _project_of(run)
    edges = style_of(run.config, project.keypoint_names, min_confidence=0).edges
    evaluation = evaluate(run, project, device=choose_device(options.device), batch_size=options.batch_size)
    if metrics is None:
        warn(console, f"{run_dir} has no metrics.csv: no learning curves")
    for sentence in recordings.omitted:
        warn(console, sentence)

    share = DEFAULT_SHARE if run.confidence_map is None else run.confidence_map.share
    errors, errors_3d, pck, calibration = map(
        held_out_first,
        (
            error_table(evaluation),
            error_3d_table(evaluation),
            pck_table(evaluation),
            calibration_table(evaluation, share, run.confidence_map),
        ),
    )
    tables = {"pck": pck, "calibration": calibration}
    overview = overview_html(run, project, evaluation, tables, info=info, metrics=metrics, share=share)
    sections = [
        learning_curves_section(metrics),
        errors_section(evaluation, errors, errors_3d),
        worst_frames_section(evaluation, project),
        pose_section(
            scenes_of(evaluation, project, recordings.complete), project.keypoint_names, edges, recordings.omitted
        ),
        reprojection_section(evaluation, errors, recordings),
        reliability_section(pck, calibration, share, run.confidence_map),
        _config_section(run_dir),
    ]
    title = f"{run_dir.resolve().name}: mvtrain report"
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    write_text(out, page_html(title, overview, sections, version=version("mvtrain"), date=now))
    say(console, f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB): open it in a browser, it needs no network")


def _check_writable(out: Path) -> None:
    if out.is_dir() or not out.parent.is_dir():
        problem = "it is a folder" if out.is_dir() else f"the folder {out.parent} does not exist"
        raise ValueError(f"the report cannot be written to {out}: {problem}; name an HTML file with --out")


def _project_of(run: Run) -> Project:
    folder = run.config.data.data_dir
    if folder is None or not folder.is_dir():
        raise ValueError(
            f"the project {folder} that {run.folder} was trained on is not there; put it back, or set data.data_dir in "
            f"{run.folder / 'config.yaml'} to where it is now"
        )
    return read_project(run.config)


def _config_section(run_dir: Path) -> Section:
    config = read_text(run_dir / "config.yaml")
    return Section(
        anchor="config",
        title="Config",
        how_to_read="The config of the run with every value, as in its config.yaml.",
        body_html=folded("Show config.yaml", f"<pre>{escape(config)}</pre>"),
    )
