"""`mvtrain init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvgeom.errors import InputError
from mvgeom.files import is_pattern
from mvtrain.cli.options import check_inputs, make_wide_console, print_start, split_names
from mvtrain.cli.path_roles import check_options, check_videos
from mvtrain.runtime.imports import quick_imports


def init(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="VIDEOS...", help="Folders, video files or patterns of them; the name has the view."),
    ] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Project folder to write; must not exist.")] = Path(
        "project"
    ),
    keypoints: Annotated[str | None, typer.Option(help="Names of the keypoints, as nose,left_ear,right_ear.")] = None,
    skeleton: Annotated[
        Path | None,
        typer.Option(help="YAML or JSON file with `keypoints` and `skeleton`, or a project's or DeepLabCut's config."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Calibration of any format that mvgeom reads, or folder of `<session>.toml`. Default: no 3D."
        ),
    ] = None,
    cameras: Annotated[
        str | None,
        typer.Option(metavar="VIEW=CAMERA,...", help="Cameras of the calibration that have other names than views."),
    ] = None,
    view: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="Videos that are this view; once for each view.")
    ] = None,
    views: Annotated[
        str | None, typer.Option(help="Names of the views in their order, as top,side. Default: the calibration's.")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help="How names tell session and view; / stands between folders. Default: `<session>_<view>`."),
    ] = None,
    copy_videos: Annotated[
        bool, typer.Option("--copy-videos", help="Copy the videos into the project instead of links.")
    ] = False,
    skip: Annotated[
        bool, typer.Option("--skip", help="Leave out videos whose names do not fit and sessions that lack a view.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show how the names are read; write nothing.")] = False,
) -> None:
    """Start a project from videos: config, calibration, empty label tables. The next command is `mvtrain frames`."""
    if (keypoints is None) == (skeleton is None):
        raise InputError(
            "give the keypoints, either with --keypoints nose,left_ear,... or with --skeleton FILE",
            code="missing-argument",
            argument="--keypoints",
        )
    named = [Path(text.partition("=")[2]) for text in view or () if text.partition("=")[2]]
    given = [*(videos or ()), *named]
    check_inputs(skeleton, *(path for path in given if not is_pattern(path)))
    check_videos(videos or ())
    check_options(calibration=calibration)
    print_start(*given)
    with quick_imports():
        from mvtrain.project.names import split_view_paths
        from mvtrain.start.init_project import InitOptions, init_project, parse_renaming
        from mvtrain.start.keypoint_list import Skeleton, check_keypoints, read_skeleton
        from mvtrain.start.session_plan import VideoInput

    if skeleton is not None:
        lines = read_skeleton(skeleton)
    else:
        lines = Skeleton(keypoint_names=check_keypoints(split_names(keypoints), "--keypoints"))
    sources = [VideoInput(path=path) for path in videos or ()]
    sources += [VideoInput(path=path, view=name) for name, path in split_view_paths(view or ())]
    if not sources:
        raise InputError(
            "there are no videos. Give a folder, or --view NAME=PATH for each view",
            code="missing-argument",
            argument="VIDEOS",
        )
    options = InitOptions(
        output=output,
        keypoint_names=lines.keypoint_names,
        skeleton=lines.pairs,
        calibration=calibration,
        cameras=parse_renaming(cameras),
        view_names=split_names(views),
        pattern=pattern,
        copy=copy_videos,
        skip=skip,
        dry_run=dry_run,
    )
    console = make_wide_console()
    for note in lines.notes:
        console.print(f"note: {note}", soft_wrap=True)
    init_project(sources, options, console)
