"""`mvtrain smooth`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvgeom.errors import InputError
from mvtrain.cli.options import make_console, print_start, split_names
from mvtrain.cli.path_roles import check_options, check_sources


def smooth(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Folders that mvtrain predict wrote; several are an ensemble."),
    ],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; must not exist.")],
    views: Annotated[
        str | None, typer.Option(help="Names of the views, for tables without `<session>_prediction.json`.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Calibration file. Default: the one that was used, if still there.")
    ] = None,
    max_gap: Annotated[
        int | None, typer.Option(min=0, help="Longest gap in frames that is bridged. Default: all.")
    ] = None,
    min_likelihood: Annotated[
        float, typer.Option(min=0, max=1, help="Keypoints below this likelihood do not count.")
    ] = 0.05,
) -> None:
    """Smooth predicted recordings over time, of one network or of several together, with standard deviations."""
    check_options(calibration=calibration)
    for source in sources:
        print_start(source)

    from mvtrain.predict.smooth_predictions import SmoothOptions, smooth_predictions

    options = SmoothOptions(
        output=output,
        view_names=split_names(views),
        calibration=calibration,
        max_gap=max_gap,
        min_likelihood=min_likelihood,
    )
    try:
        smooth_predictions(sources, options, make_console())
    except InputError as error:
        if error.code == "missing-file":
            check_sources("smooth", sources)  # what a source without predictions is
        raise
