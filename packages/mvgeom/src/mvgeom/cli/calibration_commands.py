"""The commands `mvgeom calibrate`, `mvgeom refine` and `mvgeom check`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mvgeom.cli.board_input import (
    AprilgridOption,
    BoardFileOption,
    CharucoOption,
    ChessboardOption,
    DictionaryOption,
    FirstIdOption,
    InvertedOption,
    LegacyOption,
    MarkerGridOption,
    MarkerOption,
    Match,
    SpacingOption,
    SquareOption,
    TwoSidedOption,
    check_images,
    parse_board,
)
from mvgeom.cli.film_input import calibrate_sources
from mvgeom.cli.keypoint_calibration import KeypointRequest, calibrate_keypoints, check_mode
from mvgeom.cli.keypoint_options import (
    VIEW_FORM,
    BoxesOption,
    CropSizeOption,
    IgnoreSyncOption,
    IndividualOption,
    LikelihoodOption,
    ViewsArgument,
    check_keypoint_inputs,
    read_views,
    synchronized_views,
)
from mvgeom.cli.options import (
    CalibrationArgument,
    FormatOption,
    ReadOption,
    SizeOption,
    check_inputs,
    check_output,
    load_calibration,
    parse_pairs,
    parse_size,
    parse_view_files,
)
from mvgeom.cli.output import print_findings, print_output, print_problem
from mvgeom.cli.rig_output import check_output_name, check_rig_output, status, stop_at_errors
from mvgeom.errors import InputError

if TYPE_CHECKING:
    from mvgeom.calibration import Calibration, Detections, Lens, LensCalibration, Options
    from mvgeom.cameras import CameraGroup

__all__ = ["ForceOption", "LossName", "OutputOption", "ReportOption", "calibrate", "check", "refine"]


class LossName(StrEnum):
    """Losses of `mvgeom.calibration`."""

    linear = "linear"
    huber = "huber"
    soft_l1 = "soft_l1"
    cauchy = "cauchy"


ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="FOLDER", help="Write numbers, residuals and a figure per camera.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Write the calibration in spite of errors that were found.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Calibration to write; format by suffix.")]


def calibrate(
    context: typer.Context,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="CAMERA=PATH",
            help="A folder of images, a pattern in quotes ('left*.jpg'), a video; with --keypoints a keypoint table.",
        ),
    ],
    output: OutputOption,
    keypoints: Annotated[
        bool, typer.Option("--keypoints", help="Calibrate without a board, from keypoints of the same frames.")
    ] = False,
    length: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A B LENGTH", help="--keypoints: known distance of two keypoints; sets the unit (repeat)."
        ),
    ] = None,
    focal: Annotated[
        list[str] | None,
        typer.Option(metavar="PX", help="--keypoints: known focal length, or CAMERA=PX (repeat); found if left out."),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(metavar="WxH", help="--keypoints: image size, or CAMERA=WxH (repeat)."),
    ] = None,
    min_likelihood: LikelihoodOption = 0.5,
    individual: IndividualOption = None,
    boxes: BoxesOption = None,
    crop_size: CropSizeOption = None,
    chessboard: ChessboardOption = None,
    charuco: CharucoOption = None,
    aprilgrid: AprilgridOption = None,
    marker_grid: MarkerGridOption = None,
    square: SquareOption = None,
    marker: MarkerOption = None,
    spacing: SpacingOption = None,
    dictionary: DictionaryOption = None,
    first_id: FirstIdOption = 0,
    legacy: LegacyOption = False,
    inverted: InvertedOption = False,
    two_sided: TwoSidedOption = None,
    board: BoardFileOption = None,
    coefficients: Annotated[
        int | None,
        typer.Option(help="Distortion: 0, 1, 2, 4, 5, 8, 12 or 14 coefficients; chosen for each camera if left out."),
    ] = None,
    fisheye: Annotated[bool, typer.Option("--fisheye", help="Fisheye lenses (up to 4 coefficients).")] = False,
    lens: Annotated[
        list[str] | None,
        typer.Option(metavar="CAMERA=LENS", help="Lens of one camera: normal, fisheye, or a number (repeat)."),
    ] = None,
    square_pixels: Annotated[
        bool, typer.Option("--square-pixels", help="One focal length per camera, fx = fy.")
    ] = False,
    fix_center: Annotated[
        bool, typer.Option("--fix-center", help="Keep principal points at the center of the image, or as given.")
    ] = False,
    intrinsics: Annotated[
        Path | None, typer.Option(help="Calibration to take intrinsics from, for the same camera names.")
    ] = None,
    fix_intrinsics: Annotated[
        bool, typer.Option("--fix-intrinsics", help="Keep focal lengths and principal points of --intrinsics.")
    ] = False,
    fix_distortion: Annotated[
        bool, typer.Option("--fix-distortion", help="Keep the distortion of --intrinsics.")
    ] = False,
    lenses_only: Annotated[
        bool,
        typer.Option("--lenses-only", help="Only intrinsics, each camera on its own; no poses."),
    ] = False,
    reference: Annotated[str | None, typer.Option(help="Camera at the world's origin; the first if left out.")] = None,
    origin_frame: Annotated[
        str | None, typer.Option(help="Frame whose board is the world: x along rows, y along columns, z into it.")
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(help="Take every n-th frame of videos, or image; long videos are searched if it is left out."),
    ] = None,
    match: Annotated[
        Match,
        typer.Option(help="Images of one frame have the same name but for the camera's (videos: time), or place."),
    ] = Match.name,
    max_frames: Annotated[int, typer.Option(help="Adjust at most this many frames, chosen to cover all well.")] = 200,
    loss: Annotated[LossName, typer.Option(help="Of the residuals; all but linear bear outliers.")] = LossName.huber,
    report: ReportOption = None,
    force: ForceOption = False,
) -> None:
    """Calibrate a rig from images of a board, or (--keypoints) from keypoints of a subject.

    No board need be seen by all cameras: pairs of cameras that see a board together must connect all cameras. Images of
    one frame have the same time (videos), or the same name without the part that all names of a camera share.

    With --keypoints, each camera is given a keypoint table of the same frames (any format of mvgeom triangulate), of a
    subject or of one moving point. --length nose tail 0.12 sets the unit. The keypoints must fill the volume.

    Exit code 0: written. 1: errors were found, and nothing was written without --force. 2: wrong input.
    """
    check_mode(context, keypoints=keypoints)
    if keypoints:
        calibrate_keypoints(
            KeypointRequest(
                views=images,
                output=output,
                lengths=length,
                focal=focal,
                size=size,
                intrinsics=intrinsics,
                coefficients=coefficients,
                reference=reference,
                min_likelihood=min_likelihood,
                individual=individual,
                boxes=boxes,
                crop_size=crop_size,
                report=report,
                force=force,
            )
        )
        return
    files = parse_view_files(images, "CAMERA=PATH")
    check_inputs(*(path for path in files.values() if not any(character in path.name for character in "*?[")))
    if intrinsics is not None:
        check_inputs(intrinsics)
    check_output(output)
    from mvgeom.calibration import CalibrationError, Lens, Options

    check_images(files)
    described = parse_board(context.params)
    common = Lens(
        num_coefficients=coefficients,
        fisheye=fisheye,
        square_pixels=square_pixels,
        fix_center=fix_center,
        fix_intrinsics=fix_intrinsics,
        fix_distortion=fix_distortion,
    )
    lenses = _lenses(tuple(files), common, lens or [])
    known = load_calibration(intrinsics) if intrinsics is not None else None
    check_rig_output(
        output,
        {name: each.stored_coefficients for name, each in lenses.items()},
        tuple(each.fisheye for each in lenses.values()),
    )
    try:
        if lenses_only:
            lens_result = calibrate_sources(
                files, described, every, Match.order, lambda found: _fit_lenses(found, lenses)
            )
            _write_lenses(lens_result, output, force=force)
        else:
            options = Options(
                lens=lenses, loss=loss.value, reference=reference, origin_frame=origin_frame, max_frames=max_frames
            )
            result = calibrate_sources(
                files, described, every, match, lambda found: _fit_rig(found, options, known), always=origin_frame
            )
            _write_rig(result, output, report, force=force)
    except CalibrationError as error:
        *_, last = (each for each in error.findings if each.severity == "error")
        print_findings((each for each in error.findings if each is not last), failed=True)
        raise InputError(last.text, code="no-calibration", findings=error.findings) from error


def _lenses(names: tuple[str, ...], common: Lens, values: list[str]) -> dict[str, Lens]:
    """Return the lens of each camera: the common one, or that of a value CAMERA=normal, fisheye or a number."""
    import dataclasses

    lenses = dict.fromkeys(names, common)
    for name, kind in parse_pairs(values, "--lens CAMERA=LENS").items():
        if name not in lenses:
            raise InputError(
                f"--lens: unknown camera, found {name!r}, expected one of {list(names)}",
                code="missing-view",
                option="--lens",
                view=name,
            )
        if kind.isdecimal():
            lenses[name] = common.with_coefficients(int(kind))
        elif kind in ("normal", "fisheye"):
            lenses[name] = dataclasses.replace(common, num_coefficients=None, fisheye=kind == "fisheye")
        else:
            raise InputError(
                f"--lens {name}: unknown lens, found {kind!r}, expected normal, fisheye or a number of coefficients",
                code="bad-option",
                option="--lens",
                found=kind,
            )
    return lenses


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
    min_likelihood: LikelihoodOption = 0.5,
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
    check_keypoint_inputs(calibration, files, boxes)
    check_output(output)
    from mvgeom.calibration import Lens, write_refinement_report
    from mvgeom.calibration import refine as refine_cameras
    from mvgeom.calibration.result_tables import refinement_table
    from mvgeom.clock_files import copy_clocks

    check_output_name(output)
    cameras = _select(calibration, files, source_format, size, option)
    keypoints = read_views(files, boxes, crop_size, min_likelihood, individual)
    keypoints = synchronized_views(keypoints, cameras, calibration, ignore=ignore_sync)
    lens = Lens(num_coefficients=0, fix_intrinsics=not free_intrinsics, fix_distortion=True)
    with status("refining") as say:
        refined = refine_cameras(cameras, keypoints.points, lens=lens, loss=loss.value, hold=hold, progress=say)
    print_output(refinement_table(refined, f"{calibration} -> {output}"))
    print_output(
        f"median reprojection error {refined.errors.overall_before:.2f} -> {refined.errors.overall_after:.2f} px; "
        f"keypoint noise {refined.noise:.2f} px; {refined.iterations} steps"
    )
    if not refined.converged:
        print_problem("warning", "yellow", "the adjustment did not converge. Run it again from the saved calibration.")
    print_findings(refined.findings)
    if report is not None:
        write_refinement_report(refined, keypoints.points, keypoints.stack.rows, report)
        print_output(f"report: {report}")
    stop_at_errors(refined.findings, output, force=force)
    refined.cameras.save(output)
    copy_clocks(calibration, output)
    print_output(f"calibration: {output}; next: mvgeom check {output} {' '.join(views)}")


def check(
    calibration: CalibrationArgument,
    views: ViewsArgument,
    image_size: Annotated[
        list[str] | None, typer.Option(metavar="VIEW=WxH", help="True size of a view's images or video (repeat).")
    ] = None,
    min_likelihood: LikelihoodOption = 0.5,
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
    check_keypoint_inputs(calibration, files, boxes)
    from mvgeom.calibration import check as check_cameras
    from mvgeom.calibration.result_tables import check_table

    cameras = _select(calibration, files, source_format, size, option)
    keypoints = read_views(files, boxes, crop_size, min_likelihood, individual)
    keypoints = synchronized_views(keypoints, cameras, calibration, ignore=ignore_sync)
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


def _fit_lenses(detections: Detections, lenses: dict[str, Lens]) -> LensCalibration:
    from mvgeom.calibration import calibrate_lenses

    with status("intrinsics"):
        return calibrate_lenses(detections, lenses)


def _write_lenses(found: LensCalibration, output: Path, *, force: bool) -> None:
    from mvgeom.calibration.lens_findings import find_lens_ends
    from mvgeom.cli.rig_table import camera_table

    print_output(camera_table(found.cameras, str(output)))
    for name, rms, used in zip(found.cameras.names, found.rms, found.used, strict=True):
        print_output(f"{name}: rms {rms:.3f} px over {int(used.sum())} boards")
    findings = [*found.findings, *find_lens_ends(found.cameras)]
    print_findings(findings)
    stop_at_errors(findings, output, force=force)
    found.cameras.save(output)
    print_output(f"intrinsics: {output}; next: mvgeom calibrate ... --intrinsics {output}")


def _fit_rig(detections: Detections, options: Options, known: CameraGroup | None) -> Calibration:
    from mvgeom.calibration import calibrate as calibrate_cameras

    with status("calibrating") as say:
        return calibrate_cameras(detections, options, intrinsics=known, progress=say)


def _write_rig(found: Calibration, output: Path, report: Path | None, *, force: bool) -> None:
    from mvgeom.calibration import write_calibration_report
    from mvgeom.calibration.result_tables import calibration_table, pair_table

    print_output(calibration_table(found, str(output)))
    if found.relations:
        print_output(pair_table(found))
    boards = int(found.used.any(axis=0).sum())
    print_output(f"rms {found.rms:.3f} px over {boards} boards; corner noise {found.noise:.3f} px")
    print_findings(found.findings)
    if report is not None:
        write_calibration_report(found, report)
        print_output(f"report: {report}")
    stop_at_errors(found.findings, output, force=force)
    found.cameras.save(output)
    print_output(f"calibration: {output}; next: mvgeom show {output}")


def _select(
    calibration: Path,
    files: dict[str, Path],
    source_format: str | None,
    size: list[str] | None,
    option: list[str] | None,
) -> CameraGroup:
    return load_calibration(calibration, source_format, size, option).select(files)


def _image_sizes(cameras: CameraGroup, values: list[str] | None) -> list[tuple[float, float]] | None:
    """Return the image sizes of all cameras; the calibration's size where none was given."""
    if not values:
        return None
    given = {
        name: parse_size(text, "--image-size") for name, text in parse_pairs(values, "--image-size VIEW=WxH").items()
    }
    cameras.index(given)
    return [given.get(name, tuple(size)) for name, size in zip(cameras.names, cameras.sizes, strict=True)]
