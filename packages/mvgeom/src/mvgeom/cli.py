"""The command `mvgeom`. A command is a function with `@app.command()`; what it needs it imports itself.

That keeps `mvgeom --help` fast. Mistakes of the user are ValueErrors from below: one line without traceback, exit code
2.
"""

from __future__ import annotations

import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from mvgeom.calibration_commands import calibrate, check, refine
from mvgeom.command_keypoints import BoxesOption, CropSizeOption, LikelihoodOption, ViewsArgument, read_views
from mvgeom.command_options import (
    CalibrationArgument,
    FormatOption,
    ReadOption,
    SizeOption,
    load_calibration,
    parse_view_files,
)
from mvgeom.command_output import print_output, print_problem

if TYPE_CHECKING:
    import numpy as np

    from mvgeom.keypoint_tables import ViewStack
    from mvgeom.reconstruction import Reconstruction


class _Commands(typer.core.TyperGroup):
    """Prints a user's mistake, and warnings, as one line each."""

    def invoke(self, ctx: Any) -> Any:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: print_problem("warning", "yellow", message)
            try:
                return super().invoke(ctx)
            except ValueError as error:
                print_problem("error", "bold red", error)
                raise typer.Exit(2) from error


app = typer.Typer(
    cls=_Commands,
    help="Camera geometry for rigs of several calibrated cameras.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


class Method(StrEnum):
    """How `mvgeom triangulate` combines the views."""

    robust = "robust"
    refined = "refined"
    linear = "linear"


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Calibration file or folder.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File or folder to write.")],
    source_format: FormatOption = None,
    target_format: Annotated[
        str | None, typer.Option("--to", metavar="FORMAT", help="Format to write; found by the suffix if left out.")
    ] = None,
    scale: Annotated[float, typer.Option(help="Multiply translations: 0.001 for millimetres to metres.")] = 1.0,
    size: SizeOption = None,
    option: ReadOption = None,
) -> None:
    """Convert a calibration from one format to another.

    Formats: anipose, pose2sim, qualisys, opencv, jarvis, easymocap, colmap, dlt, dannce, json. What the target cannot
    hold (fisheye lenses, more distortion coefficients, skew) is an error.
    """
    from mvgeom import formats

    if not scale > 0:
        raise ValueError(f"--scale must be positive, got {scale:g}")
    cameras = load_calibration(source, source_format, size, option)
    scaled = cameras.replace(translation=cameras.translation * scale)
    formats.save(scaled, target, file_format=target_format)
    written = formats.identify(target)
    print_output(f"{len(cameras)} cameras ({', '.join(cameras.names)}) -> {target} ({written.DESCRIPTION})")


@app.command()
def show(
    calibration: CalibrationArgument,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Draw the rig: .png, .pdf or .svg.")] = None,
    source_format: FormatOption = None,
    size: SizeOption = None,
    option: ReadOption = None,
) -> None:
    """Show what a calibration says: a table of the cameras, and a picture of the rig."""
    from mvgeom.rig_table import camera_table, rig_summary

    cameras = load_calibration(calibration, source_format, size, option)
    print_output(camera_table(cameras, str(calibration)))
    for line in rig_summary(cameras):
        print_output(line)
    if output is not None:
        from mvgeom.rig_figure import save_rig_figure

        save_rig_figure(cameras, output, title=str(calibration))
        print_output(f"picture: {output}")


@app.command()
def triangulate(
    calibration: CalibrationArgument,
    views: ViewsArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="3D table to write (.csv).")],
    method: Annotated[
        Method, typer.Option(help="robust leaves out views that disagree, refined uses all, linear is not refined.")
    ] = Method.robust,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="robust: px of reprojection error that make an outlier; from the keypoints' noise if left out."
        ),
    ] = None,
    min_likelihood: LikelihoodOption = 0.5,
    noise: Annotated[
        float | None, typer.Option(help="Keypoint noise in px for the standard deviations; estimated if left out.")
    ] = None,
    boxes: BoxesOption = None,
    crop_size: CropSizeOption = None,
    source_format: FormatOption = None,
    size: SizeOption = None,
    option: ReadOption = None,
) -> None:
    """Triangulate keypoint tables of several views.

    The tables have three header rows (scorer, bodyparts, coords) and x, y(, likelihood) per keypoint; rows of all
    views are the same moments. The 3D table has x, y, z, their standard deviations, the mean reprojection error in px
    and the number of views per keypoint.
    """
    from mvgeom.keypoint_tables import write_points_3d
    from mvgeom.reconstruction import reconstruct

    files = parse_view_files(views, "VIEW=CSV")
    cameras = load_calibration(calibration, source_format, size, option).select(files)
    keypoints = read_views(files, boxes, crop_size, min_likelihood)
    stack, points = keypoints.stack, keypoints.points
    found = reconstruct(points, cameras, method=method.value, threshold=threshold, noise=noise)
    write_points_3d(output, stack.keypoint_names, [(stack.rows, found)])
    _print_reconstruction(found, stack, points, tuple(files), output)


def _print_reconstruction(
    found: Reconstruction, stack: ViewStack, points: np.ndarray, views: tuple[str, ...], output: Path
) -> None:
    import numpy as np

    solved = ~np.isnan(found.points).any(-1)
    observed = ~np.isnan(points).any(-1)
    given = int((~np.isnan(stack.points).any(-1)).sum())
    print_output(
        f"{solved.sum()} of {solved.size} points triangulated from {int(found.num_views.sum())} of {given} keypoints "
        f"({given - int(observed.sum())} below the likelihood) -> {output}"
    )
    if solved.any():
        errors, deviations = found.error[solved], np.linalg.norm(found.std[solved], axis=-1)
        print_output(
            f"reprojection error: median {np.median(errors):.2f} px, 95 % below {np.percentile(errors, 95):.2f} px; "
            f"keypoint noise {found.noise:.2f} px; standard deviation: median {np.median(deviations):.3g} (world units)"
        )
        if np.isfinite(found.threshold):
            print_output(f"views more than {found.threshold:.1f} px off were left out")
    else:
        print_problem("warning", "yellow", f"no point is seen by two of {', '.join(views)}; the table is empty")


for command in (calibrate, refine, check):
    app.command()(command)
