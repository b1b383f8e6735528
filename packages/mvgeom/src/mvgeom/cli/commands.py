"""The commands `convert`, `show` and `triangulate`, and the program `mvgeom` with all commands.

A command imports its dependencies itself, after it has checked the paths, so that `mvgeom --help` is fast.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mvgeom.cli.calibrate_command import calibrate
from mvgeom.cli.entry import create_app, run_program
from mvgeom.cli.keypoint_clocks import read_synchronized_views
from mvgeom.cli.keypoint_input import CommandKeypoints, check_keypoint_inputs
from mvgeom.cli.keypoint_options import (
    LIKELIHOOD,
    VIEW_FORM,
    BoxesOption,
    CropSizeOption,
    IgnoreSyncOption,
    IndividualOption,
    LikelihoodOption,
    ViewsArgument,
    keypoint_options,
)
from mvgeom.cli.length_options import LengthCommand
from mvgeom.cli.options import (
    CalibrationArgument,
    FormatOption,
    ReadOption,
    SizeOption,
    check_inputs,
    check_output,
    check_table_name,
    files_beside,
    load_calibration,
    parse_pairs,
    parse_view_files,
    positive,
    same_reading,
)
from mvgeom.cli.output import print_findings, print_next, print_output, print_problem, print_start
from mvgeom.cli.refinement_commands import check, refine
from mvgeom.cli.rig_output import check_rig_files, reading_options, save_rig
from mvgeom.cli.smoothing_command import smooth
from mvgeom.cli.sync_command import sync
from mvgeom.cli.world_commands import place, world
from mvgeom.errors import InputError
from mvgeom.wording import counted

if TYPE_CHECKING:
    from mvgeom.reconstruction import Reconstruction

__all__ = ["app", "main"]

app = create_app("mvgeom", "Camera geometry for rigs of several calibrated cameras.")


def main() -> NoReturn:
    """Run the program `mvgeom` with the arguments of the process."""
    run_program(app, "mvgeom", short_warnings=True)


class Method(StrEnum):
    """Methods of `mvgeom triangulate` to combine the views."""

    robust = "robust"
    refined = "refined"
    linear = "linear"


@app.command()
def convert(
    calibration: CalibrationArgument,
    target: Annotated[Path | None, typer.Argument(metavar="OUT", hidden=True)] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Calibration file or folder to write; format by suffix.")
    ] = None,
    source_format: FormatOption = None,
    target_format: Annotated[
        str | None, typer.Option("--to", metavar="FORMAT", help="Format to write; found by the suffix if left out.")
    ] = None,
    scale: Annotated[
        float,
        typer.Option(help="Multiply translations: 0.001 for millimeters to meters.", callback=positive("--scale")),
    ] = 1.0,
    turn: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VIEW=DEGREES", help="The view's images were turned clockwise, by 90, 180 or 270 (repeat)."
        ),
    ] = None,
    size: SizeOption = None,
    option: ReadOption = None,
) -> None:
    """Convert a calibration from one format to another.

    Formats: anipose, pose2sim, qualisys, opencv, jarvis, easymocap, colmap, dlt, dannce, json. Only read: caliscope,
    freemocap, panoptic, multical, acinoset, openpose. What the target cannot hold (fisheye lenses, more distortion
    coefficients, skew) is an error.
    """
    if (output is None) == (target is None):
        raise InputError("--output is missing. Give the file to write.", code="missing-argument", option="--output")
    written = output or target
    assert written is not None
    check_inputs(calibration)
    # The calibration itself may be converted in place.
    check_rig_files(written, files_beside(calibration, option), source=calibration)
    print_start(calibration)
    from mvgeom import formats

    cameras = load_calibration(calibration, source_format, size, option)
    unit = getattr(formats.FORMATS[source_format] if source_format else formats.identify(calibration), "UNIT", None)
    cameras = cameras.turn(_degrees(turn or [])).replace(translation=cameras.translation * scale)
    save_rig(cameras, written, calibration, file_format=target_format, keep_metadata=True)
    target_module = formats.FORMATS[target_format] if target_format else formats.identify(written)
    print_output(
        f"{counted(len(cameras), 'camera')} ({', '.join(cameras.names)}) -> {written} ({target_module.DESCRIPTION})"
    )
    expected = getattr(target_module, "UNIT", None)
    if unit is not None and expected is not None and unit != expected and scale == 1:
        factor = formats.METERS_PER_UNIT[unit] / formats.METERS_PER_UNIT[expected]
        print_problem(
            "warning",
            "yellow",
            f"{written}: translations are in {unit}, as {calibration} has them, and programs read this format in "
            f"{expected}. Give --scale {factor:g}, unless the file is in another unit than its format",
        )
    print_next("mvgeom", "show", written, *reading_options(written, cameras))


def _degrees(values: list[str]) -> dict[str, int]:
    """Return the turn of each view in degrees from values VIEW=DEGREES."""
    degrees = parse_pairs(values, "--turn VIEW=DEGREES")
    for name, text in degrees.items():
        if not text.removeprefix("-").isdecimal():
            raise InputError(
                f"--turn {name}: not a whole number, found {text!r}, expected 90, 180 or 270",
                code="bad-option",
                option="--turn",
                found=text,
            )
    return {name: int(text) for name, text in degrees.items()}


@app.command()
def show(
    calibration: CalibrationArgument,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Draw the rig: .png, .pdf or .svg.")] = None,
    source_format: FormatOption = None,
    size: SizeOption = None,
    option: ReadOption = None,
) -> None:
    """Show a calibration: a table of the cameras, and a drawing of the rig."""
    check_inputs(calibration)
    check_output(output, [calibration, *files_beside(calibration, option)])
    print_start(calibration)
    from mvgeom.calibration.lens_findings import find_lens_ends
    from mvgeom.cli.rig_table import camera_table, rig_summary
    from mvgeom.clock_files import clocks_file, find_clocks

    cameras = load_calibration(calibration, source_format, size, option)
    print_output(camera_table(cameras, str(calibration)))
    for line in rig_summary(cameras):
        print_output(line)
    clocks = find_clocks(calibration)
    if clocks is not None:
        print_output(f"offsets in time ({clocks_file(calibration)}): {clocks.describe()}")
    print_findings(find_lens_ends(cameras))
    if output is not None:
        from mvgeom.rig_figure import save_rig_figure

        save_rig_figure(cameras, output, title=str(calibration))
    written = "" if output is None else f"figure: {output}"
    print_next("mvgeom", "check", calibration, "VIEW=PATH", *same_reading(source_format, size, option), written=written)


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
            help="robust: px of reprojection error that make an outlier; from the keypoints' noise if left out.",
            callback=positive("--threshold"),
        ),
    ] = None,
    min_likelihood: LikelihoodOption = LIKELIHOOD,
    noise: Annotated[
        float | None,
        typer.Option(
            help="Keypoint noise in px for the standard deviations; estimated if left out.",
            callback=positive("--noise"),
        ),
    ] = None,
    individual: IndividualOption = None,
    boxes: BoxesOption = None,
    crop_size: CropSizeOption = None,
    ignore_sync: IgnoreSyncOption = False,
    source_format: FormatOption = None,
    size: SizeOption = None,
    option: ReadOption = None,
) -> None:
    """Triangulate keypoints of several views.

    Tables have three header rows (scorer, bodyparts, coords) and x, y(, likelihood) per keypoint; the rows of all views
    are the same frames. Files of SLEAP, MMPose and OpenPose are read as well; of several people in a frame without
    names, the one with the largest sum of confidences counts. The 3D table has x, y, z, their standard deviations, the
    mean reprojection error in px and the number of views per keypoint.

    Exit code 1: the table was written, but the lens of a camera has no viewing ray for more than 3 % of its keypoints.
    """
    files = parse_view_files(views, VIEW_FORM)
    if threshold is not None and method is not Method.robust:
        raise InputError(
            f"--threshold is for --method robust, found --method {method.value}, which leaves no view out. Leave one "
            "of them out.",
            code="excluded-options",
            option="--threshold",
        )
    read = check_keypoint_inputs(calibration, files, boxes)
    check_output(output, [calibration, *read, *files_beside(calibration, option)])
    check_table_name(output)
    print_start(calibration, *read)
    from mvgeom.calibration.lens_findings import LARGE_SHARE, find_lens_ends
    from mvgeom.reconstruction import reconstruct
    from mvgeom.tables import write_points_3d

    cameras = load_calibration(calibration, source_format, size, option, views=files)
    keypoints = read_synchronized_views(
        files,
        boxes,
        crop_size,
        min_likelihood,
        individual,
        cameras=cameras,
        calibration=calibration,
        ignore=ignore_sync,
    )
    stack, points = keypoints.stack, keypoints.points
    found = reconstruct(points, cameras, method=method.value, threshold=threshold, noise=noise)
    write_points_3d(output, stack.keypoint_names, [(stack.rows, found)])
    _print_reconstruction(found, keypoints, tuple(files))
    smoothed = output.with_name(f"{output.stem}_smoothed.csv")
    options = [
        *keypoint_options(boxes, crop_size, min_likelihood, individual, ignore_sync=ignore_sync),
        *same_reading(source_format, size, option),
    ]
    print_next("mvgeom", "smooth", calibration, *views, *options, "-o", smoothed, written=f"3D keypoints: {output}")
    findings = find_lens_ends(cameras, points)
    print_findings(findings)
    if any(each.evidence["keypoint_share"] > LARGE_SHARE for each in findings):
        raise typer.Exit(1)


def _print_reconstruction(found: Reconstruction, keypoints: CommandKeypoints, views: tuple[str, ...]) -> None:
    import numpy as np

    solved = ~np.isnan(found.points).any(-1)
    lost = f", {keypoints.lost} without a frame at the offsets" if keypoints.lost else ""
    print_output(
        f"{solved.sum()} of {solved.size} points triangulated from {int(found.num_views.sum())} of {keypoints.given} "
        f"keypoints ({keypoints.unlikely} below the likelihood{lost})"
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


app.command(cls=LengthCommand)(smooth)
app.command(cls=LengthCommand)(calibrate)
for command in (refine, check, sync, place, world):
    app.command()(command)
