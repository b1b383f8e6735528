"""The commands `mvgeom refine` and `mvgeom check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mvgeom.cli.keypoint_clocks import read_synchronized_views
from mvgeom.cli.keypoint_input import check_keypoint_inputs
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
from mvgeom.cli.options import (
    CalibrationArgument,
    FormatOption,
    ReadOption,
    SizeOption,
    check_output,
    files_beside,
    load_calibration,
    parse_pairs,
    parse_size,
    parse_view_files,
    same_reading,
)
from mvgeom.cli.output import print_findings, print_next, print_output, print_problem, print_start
from mvgeom.cli.rig_options import ForceOption, LossName, OutputOption, ReportOption
from mvgeom.cli.rig_output import (
    check_output_name,
    check_rig_files,
    reading_options,
    report_files,
    save_rig,
    status,
    stop_at_errors,
)
from mvgeom.wording import counted

if TYPE_CHECKING:
    from mvgeom.cameras import CameraGroup

__all__ = ["check", "refine"]


def refine(
    calibration: CalibrationArgument,
    views: ViewsArgument,
    output: OutputOption,
    hold: Annotated[
        str | None, typer.Option(help="Camera that stays as it is; otherwise the cameras together move least.")
    ] = None,
    free_intrinsics: Annotated[
        bool,
        typer.Option(
            "--free-intrinsics", help="Adjust focal lengths and principal points, too; needs spread keypoints."
        ),
    ] = False,
    loss: Annotated[LossName, typer.Option(help="Of the errors; all but linear bear outliers.")] = LossName.cauchy,
    min_likelihood: LikelihoodOption = LIKELIHOOD,
    individual: IndividualOption = None,
    boxes: BoxesOption = None,
    crop_size: CropSizeOption = None,
    ignore_sync: IgnoreSyncOption = False,
    report: ReportOption = None,
    force: ForceOption = False,
    source_format: FormatOption = None,
    size: SizeOption = None,
    option: ReadOption = None,
) -> None:
    """Refine the poses of a calibration by keypoints: labels or predictions of the subject in all views.

    The world's frame and scale are kept. Errors are medians over linearly triangulated points, in px. Turns beyond 10
    degrees, rows of other frames and residuals far above the noise end with exit code 1, and nothing is written without
    --force.
    """
    files = parse_view_files(views, VIEW_FORM)
    read = check_keypoint_inputs(calibration, files, boxes)
    further = report_files(report, files)
    # The calibration itself may be refined in place.
    check_rig_files(output, [*read, *files_beside(calibration, option)], further, source=calibration)
    check_output(None, [calibration], further)
    check_output_name(output)
    print_start(calibration, *read)
    from mvgeom.calibration import Lens, write_refinement_report
    from mvgeom.calibration import refine as refine_cameras
    from mvgeom.calibration.result_tables import refinement_table

    cameras = _select(calibration, files, source_format, size, option)
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
    lens = Lens(num_coefficients=0, fix_intrinsics=not free_intrinsics, fix_distortion=True)
    with status("refining") as notify:
        refined = refine_cameras(cameras, keypoints.points, lens=lens, loss=loss.value, hold=hold, progress=notify)
    print_output(refinement_table(refined, f"{calibration} -> {output}"))
    print_output(
        f"median reprojection error {refined.errors.overall_before:.2f} -> {refined.errors.overall_after:.2f} px; "
        f"keypoint noise {refined.noise:.2f} px; {counted(refined.iterations, 'step')}"
    )
    if not refined.converged:
        print_problem("warning", "yellow", "the adjustment did not converge. Run it again from the saved calibration.")
    print_findings(refined.findings)
    if report is not None:
        write_refinement_report(refined, keypoints.points, keypoints.stack.rows, report)
        print_output(f"report: {report}")
    stop_at_errors(refined.findings, output, force=force)
    save_rig(refined.cameras, output, calibration)
    options = reading_options(output, refined.cameras)
    options += keypoint_options(boxes, crop_size, min_likelihood, individual, ignore_sync=ignore_sync)
    print_next("mvgeom", "check", output, *views, *options, written=f"calibration: {output}")


def check(
    calibration: CalibrationArgument,
    views: ViewsArgument,
    image_size: Annotated[
        list[str] | None, typer.Option(metavar="VIEW=WxH", help="True size of a view's images or video (repeat).")
    ] = None,
    min_likelihood: LikelihoodOption = LIKELIHOOD,
    individual: IndividualOption = None,
    boxes: BoxesOption = None,
    crop_size: CropSizeOption = None,
    ignore_sync: IgnoreSyncOption = False,
    source_format: FormatOption = None,
    size: SizeOption = None,
    option: ReadOption = None,
) -> None:
    """Check a calibration by keypoints for cameras that disagree, exchanged views and images of another size.

    Exit code 0: no error was found. 1: a camera disagrees, or another error was found. 2: wrong input.
    """
    files = parse_view_files(views, VIEW_FORM)
    read = check_keypoint_inputs(calibration, files, boxes)
    print_start(calibration, *read)
    from mvgeom.calibration import check as check_cameras
    from mvgeom.calibration.result_tables import check_table

    cameras = _select(calibration, files, source_format, size, option)
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
    found = check_cameras(cameras, keypoints.points, image_sizes=_image_sizes(cameras, image_size))
    print_output(check_table(found, str(calibration)))
    print_findings(found.findings)
    if not found.passed:
        raise typer.Exit(1)
    if not any(each.severity != "note" for each in found.findings):
        compared = [name for name in found.names if name not in found.undecided]
        if len(compared) == len(found.names):
            print_output("no camera disagrees with the others")
        elif compared:
            print_output(f"no camera of {', '.join(compared)} disagrees with the others")
    options = [
        *keypoint_options(boxes, crop_size, min_likelihood, individual, ignore_sync=ignore_sync),
        *same_reading(source_format, size, option),
    ]
    print_next("mvgeom", "triangulate", calibration, *views, *options, "-o", "points_3d.csv")


def _select(
    calibration: Path,
    files: dict[str, Path],
    source_format: str | None,
    size: list[str] | None,
    option: list[str] | None,
) -> CameraGroup:
    return load_calibration(calibration, source_format, size, option, views=files)


def _image_sizes(cameras: CameraGroup, values: list[str] | None) -> list[tuple[float, float]] | None:
    """Return the image sizes of all cameras; the calibration's size where none was given."""
    if not values:
        return None
    given = {
        name: parse_size(text, "--image-size") for name, text in parse_pairs(values, "--image-size VIEW=WxH").items()
    }
    cameras.index(given)
    return [given.get(name, tuple(size)) for name, size in zip(cameras.names, cameras.sizes, strict=True)]
