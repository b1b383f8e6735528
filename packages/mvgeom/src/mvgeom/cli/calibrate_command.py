"""The command `mvgeom calibrate`."""

from __future__ import annotations

import shlex
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
    LIKELIHOOD,
    BoxesOption,
    CropSizeOption,
    IndividualOption,
    LikelihoodOption,
)
from mvgeom.cli.options import (
    check_inputs,
    load_calibration,
    number_check,
    parse_pairs,
    parse_view_files,
)
from mvgeom.cli.output import print_findings, print_next, print_output, print_start
from mvgeom.cli.rig_options import ForceOption, LossName, OutputOption, ReportOption
from mvgeom.cli.rig_output import (
    check_rig_files,
    check_rig_output,
    reading_options,
    report_files,
    save_rig,
    status,
    stop_at_errors,
)
from mvgeom.errors import InputError
from mvgeom.files import is_pattern
from mvgeom.wording import counted

if TYPE_CHECKING:
    from mvgeom.calibration import Calibration, Detections, Lens, LensCalibration, Options
    from mvgeom.cameras import CameraGroup

__all__ = ["calibrate"]


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
    min_likelihood: LikelihoodOption = LIKELIHOOD,
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
        typer.Option(
            help="Distortion: 0, 1, 2, 4, 5, 8, 12 or 14 coefficients; chosen for each camera if left out.",
            callback=number_check("--coefficients", "0 or more", lambda value: value >= 0),
        ),
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
        typer.Option(
            help="Take every n-th frame of videos, or image; long videos are searched if it is left out.",
            callback=number_check("--every", "1 or more", lambda value: value >= 1),
        ),
    ] = None,
    match: Annotated[
        Match,
        typer.Option(help="Images of one frame have the same name but for the camera's (videos: time), or place."),
    ] = Match.name,
    max_frames: Annotated[
        int,
        typer.Option(
            help="Adjust at most this many frames, chosen to cover all well.",
            callback=number_check("--max-frames", "1 or more", lambda value: value >= 1),
        ),
    ] = 200,
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
    check_inputs(*(path for path in files.values() if not is_pattern(path)))
    if intrinsics is not None:
        check_inputs(intrinsics)
    check_rig_files(output, [*files.values(), intrinsics, board], report_files(report, files))
    _check_before_images(files, reference, fixed=fix_intrinsics or fix_distortion, intrinsics=intrinsics)
    check_images(files)
    print_start(*files.values(), *(each for each in (intrinsics, board) if each is not None))
    from mvgeom.calibration import CalibrationError, Lens, Options

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


def _check_before_images(
    files: dict[str, Path], reference: str | None, *, fixed: bool, intrinsics: Path | None
) -> None:
    """Refuse options that cannot be used, before boards are looked for, which takes long."""
    if reference is not None and reference not in files:
        raise InputError(
            f"--reference: unknown camera, found {reference!r}, expected one of {list(files)}",
            code="missing-view",
            option="--reference",
            view=reference,
        )
    if fixed and intrinsics is None:
        raise InputError(
            "--intrinsics is missing, but --fix-intrinsics or --fix-distortion is given. Give the calibration whose "
            "intrinsics are kept.",
            code="missing-argument",
            option="--intrinsics",
            argument="intrinsics",
        )


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


def _fit_lenses(detections: Detections, lenses: dict[str, Lens]) -> LensCalibration:
    from mvgeom.calibration import calibrate_lenses

    with status("intrinsics"):
        return calibrate_lenses(detections, lenses)


def _write_lenses(found: LensCalibration, output: Path, *, force: bool) -> None:
    from mvgeom.calibration.lens_findings import find_lens_ends
    from mvgeom.cli.rig_table import camera_table

    print_output(camera_table(found.cameras, str(output)))
    for name, rms, used in zip(found.cameras.names, found.rms, found.used, strict=True):
        print_output(f"{name}: rms {rms:.3f} px over {counted(int(used.sum()), 'board')}")
    findings = [*found.findings, *find_lens_ends(found.cameras)]
    print_findings(findings)
    stop_at_errors(findings, output, force=force)
    save_rig(found.cameras, output)
    options, written = reading_options(output, found.cameras), f"intrinsics: {output}"
    if options:  # --intrinsics takes none
        print_next("mvgeom", "convert", output, *options, "-o", output.with_suffix(".json"), written=written)
    else:
        print_output(f"{written}; next: mvgeom calibrate ... --intrinsics {shlex.quote(str(output))}")


def _fit_rig(detections: Detections, options: Options, known: CameraGroup | None) -> Calibration:
    from mvgeom.calibration import calibrate as calibrate_cameras

    with status("calibrating") as notify:
        return calibrate_cameras(detections, options, intrinsics=known, progress=notify)


def _write_rig(found: Calibration, output: Path, report: Path | None, *, force: bool) -> None:
    from mvgeom.calibration import write_calibration_report
    from mvgeom.calibration.result_tables import calibration_table, pair_table

    print_output(calibration_table(found, str(output)))
    if found.relations:
        print_output(pair_table(found))
    boards = int(found.used.any(axis=0).sum())
    print_output(f"rms {found.rms:.3f} px over {counted(boards, 'board')}; corner noise {found.noise:.3f} px")
    print_findings(found.findings)
    if report is not None:
        write_calibration_report(found, report)
        print_output(f"report: {report}")
    stop_at_errors(found.findings, output, force=force)
    save_rig(found.cameras, output)
    print_next("mvgeom", "show", output, *reading_options(output, found.cameras), written=f"calibration: {output}")
