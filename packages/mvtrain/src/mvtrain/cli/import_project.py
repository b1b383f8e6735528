"""`mvtrain import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvtrain.cli.options import check_inputs, make_console, print_start, split_names
from mvtrain.runtime.imports import quick_imports


def import_project(
    file_format: Annotated[
        str, typer.Argument(metavar="FORMAT", help="deeplabcut, sleap, anipose, coco, mmpose or openpose.")
    ],
    sources: Annotated[
        list[Path] | None, typer.Argument(metavar="SOURCE...", help="Foreign projects or label files.")
    ] = None,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Project folder to write; must not exist.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(help="Project, or its config file, to add the labels to, in place of --output."),
    ] = None,
    view: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="A source that is this view; once for each view.")
    ] = None,
    views: Annotated[str | None, typer.Option(help="Names of the views in their order, as top,left,right.")] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="How foreign names tell session and view, possibly `<frame>`, with `*` for anything and `/` between "
            "folders. Default: `<session>_<view>`."
        ),
    ] = None,
    individual: Annotated[str | None, typer.Option(help="Which animal to take where several are labeled.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Calibration file, or folder of `<session>.toml`. Default: what lies in the sources."),
    ] = None,
    media: Annotated[
        Path | None, typer.Option(help="Folder with videos or images that are not where the foreign project says.")
    ] = None,
    allow_absent: Annotated[
        bool, typer.Option("--allow-absent", help="Leave a view empty where there is no image of a frame.")
    ] = False,
    copy_videos: Annotated[bool, typer.Option("--copy-videos", help="Copy the videos into the project, too.")] = False,
    min_likelihood: Annotated[
        float | None,
        typer.Option(help="Also take predictions as labels; those below this likelihood do not count."),
    ] = None,
    every: Annotated[int, typer.Option(help="Of the predictions, take every so many-th frame.")] = 1,
    ignore_frame_rates: Annotated[
        bool, typer.Option("--ignore-frame-rates", help="Match images by number, not by their times in the videos.")
    ] = False,
) -> None:
    """Turn labels of DeepLabCut, SLEAP, anipose or COCO, or predictions to correct, into a project folder."""
    from mvtrain.cli.path_roles import check_options, check_sources, find_project_config

    named = [Path(text.partition("=")[2]) for text in view or () if text.partition("=")[2]]
    given = [*(sources or ()), *named]
    check_inputs(media, into, *given)
    check_options(calibration=calibration)
    check_sources("import", given, file_format)
    print_start(*given)

    with quick_imports():
        from mvtrain.exchange.run_import import ImportOptions
        from mvtrain.exchange.run_import import import_project as run_import

    options = ImportOptions(
        out=output,
        into=None if into is None else find_project_config(into, "import --into"),
        views=tuple(view or ()),
        view_names=split_names(views),
        pattern=pattern,
        individual=individual,
        calibration=calibration,
        media=media,
        allow_absent=allow_absent,
        copy_videos=copy_videos,
        predictions=min_likelihood,
        every=every,
        by_time=not ignore_frame_rates,
    )
    run_import(file_format, sources or (), options, make_console())
