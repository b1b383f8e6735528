"""What is said about a session once it has been predicted."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from mvtrain.prediction.calibration import size_warnings
from mvtrain.prediction.session import Job, Outcome


def report(job: Job, outcome: Outcome, console: Console) -> None:
    """How long it took, what 3D was made with, and everything that is not as it should be."""
    summary, work = outcome.summary, outcome.work
    number = summary.num_frames - outcome.num_before
    before = f" ({outcome.num_before} of them before)" if outcome.num_before else ""
    in_3d = ""
    if job.calibration is not None and summary.noise is not None:
        in_3d = f"; 3D with {job.calibration.path}, keypoint noise {summary.noise.sigma:.2g} px"
    say(
        console,
        f"predicted {job.session.name}: {summary.num_frames} frames of {len(summary.views)} views{before} in "
        f"{outcome.seconds:.1f} s ({number / outcome.seconds:.1f} frames/s){in_3d}",
    )
    names = {"model": "model", "waiting": "waiting for frames", "writing": "writing"}
    shares = ", ".join(f"{name} {work[key] / outcome.seconds:.0%}" for key, name in names.items())
    say(console, f"  time: {shares}")
    for view, video in zip(summary.views, outcome.videos, strict=True):
        if view.not_decodable:
            first = view.first_not_decodable
            problem = f"{view.not_decodable} frames could not be decoded, the first is number {first}: empty rows"
            warn(console, f"{video.path}: {problem}")
        if view.num_frames < video.num_frames:
            warn(console, f"{video.path} announces {video.num_frames} frames but ends after {view.num_frames}")
        if view.num_frames < summary.num_frames:
            warn(
                console,
                f"{video.path} ends after {view.num_frames} of {summary.num_frames} frames: absent from then on",
            )
        if view.without_box:
            say(console, f"  {video.path.name}: {view.without_box} frames without a bounding box: empty rows")
    not_found = max(view.not_found for view in summary.views)
    if not_found:
        share = not_found / summary.num_frames
        warn(console, f"{job.session.name}: the subject was not found in {not_found} frames ({share:.1%}): empty rows")
    if job.calibration is not None and all(boxes is None for boxes in job.boxes):
        for warning in size_warnings(job.calibration, outcome.videos):
            warn(console, warning)


def say(console: Console, line: str) -> None:
    """A line as it is: not wrapped, brackets in paths are no markup."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def warn(console: Console, problem: str) -> None:
    """A line that something may be wrong."""
    console.print(Text.assemble(("warning:", "yellow"), f" {problem}"), soft_wrap=True)
