"""`mvtrain import`: a foreign project into a project folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from mvtrain.exchange import from_anipose as anipose
from mvtrain.exchange import from_coco as coco
from mvtrain.exchange import from_deeplabcut as deeplabcut
from mvtrain.exchange import from_sleap as sleap
from mvtrain.exchange.alignment import AlignedFrames, align
from mvtrain.exchange.foreign_labels import ForeignLabels, ReadOptions, Source, merge
from mvtrain.exchange.media import find_calibrations
from mvtrain.exchange.project_folder import ImportedProject, write_project
from mvtrain.project.names import DEFAULT_PATTERN, pattern_rule

READERS: dict[str, Callable[[Sequence[Source], ReadOptions], list[ForeignLabels]]] = {
    "anipose": anipose.read,
    "coco": coco.read,
    "deeplabcut": deeplabcut.read,
    "sleap": sleap.read,
}


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Options of the command.

    Attributes:
        out: project folder to write; must not exist.
        views: `NAME=PATH`, sources that are one view each.
        view_names: the views, in their order; empty: those there are.
        pattern: how foreign names tell session and view; None: `DEFAULT_PATTERN`.
        individual: which animal to take where there are several.
        calibration: file, or folder of `<session>.toml`; None: what lies in the sources.
        media: folder with videos and images that are not where the foreign project says.
        allow_absent: whether a view may have no image of a moment.
        copy_videos: whether the videos are copied too.
    """

    out: Path
    views: tuple[str, ...] = ()
    view_names: tuple[str, ...] = ()
    pattern: str | None = None
    individual: str | None = None
    calibration: Path | None = None
    media: Path | None = None
    allow_absent: bool = False
    copy_videos: bool = False


def import_project(file_format: str, paths: Sequence[Path], options: ImportOptions, console: Console) -> None:
    """Read foreign labels, match their views, write a project folder, and say what was carried over.

    Args:
        file_format: a key of `READERS`.
        paths: sources whose names tell the view.
        options: of the command.
        console: where to write.

    Raises:
        ValueError: an unknown format, a source that does not exist, and everything that is wrong with the sources.
    """
    if file_format not in READERS:
        raise ValueError(f"unknown format {file_format!r}; formats that can be imported are {', '.join(READERS)}")
    if options.out.exists():
        raise ValueError(f"{options.out} already exists; remove it or choose another folder")
    if options.media is not None and not options.media.is_dir():
        raise ValueError(f"--media {options.media} is no folder")
    sources = _sources(paths, options.views)
    if options.pattern is not None and file_format == "anipose":
        raise ValueError("--pattern is not for anipose, whose config.toml says by cam_regex how names are made")
    rule = pattern_rule(options.pattern or DEFAULT_PATTERN, options.view_names)
    read_options = ReadOptions(rule=rule, individual=options.individual, media=options.media)
    labels = merge(READERS[file_format](sources, read_options))
    calibrations = find_calibrations([source.path for source in sources], options.calibration)
    if options.calibration is None:
        calibrations |= labels.calibrations
    said = tuple(dict.fromkeys(source.view for source in sources if source.view is not None))
    order = options.view_names or (said if all(source.view is not None for source in sources) else ())
    moments = align(labels, order, allow_absent=options.allow_absent)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("images")
        written = write_project(
            options.out,
            moments,
            labels,
            calibrations,
            copy_videos=options.copy_videos,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _report(options.out, moments, labels, written, console)


def _sources(paths: Sequence[Path], views: Sequence[str]) -> list[Source]:
    sources = [Source(path=path) for path in paths]
    for text in views:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise ValueError(f"--view {text!r} must look like top=path/to/source")
        sources.append(Source(path=Path(path), view=name))
    if not sources:
        raise ValueError("nothing to import: give a SOURCE, or --view NAME=PATH for each view")
    for source in sources:
        if not source.path.exists():
            raise ValueError(f"source {source.path} does not exist")
    return sources


def _report(
    out: Path, moments: AlignedFrames, labels: ForeignLabels, written: ImportedProject, console: Console
) -> None:
    lines = [f"note: {note}" for note in labels.notes]
    if moments.num_empty:
        lines.append(f"note: {moments.num_empty} moments without any label are left out")
    lines += [f"warning: {warning}" for warning in written.warnings]
    if written.num_calibrated == 0:
        lines.append("note: no calibration found, so 3D is off in config.yaml; --calibration names one")
    lines.append(
        f"wrote {out}: {len(moments.view_names)} views ({', '.join(moments.view_names)}), "
        f"{len(written.sessions)} sessions ({written.num_calibrated} calibrated), {written.num_frames} moments, "
        f"{len(moments.keypoint_names)} keypoints, {written.num_labels} labels, {written.num_from_video} images from "
        "videos"
    )
    lines.append(f"next: mvtrain check {out / 'config.yaml'}")
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
