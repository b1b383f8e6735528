"""The command `mvgeom calibrate --keypoints`: calibration without a board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mvgeom.cli.keypoint_input import read_views
from mvgeom.cli.keypoint_options import keypoint_options
from mvgeom.cli.length_options import parse_length
from mvgeom.cli.options import (
    check_inputs,
    load_calibration,
    parse_pairs,
    parse_sizes,
    parse_view_files,
)
from mvgeom.cli.output import print_findings, print_next, print_output, print_start
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
from mvgeom.wording import counted

if TYPE_CHECKING:
    from mvgeom.calibration import KeypointCalibration, KnownLength
    from mvgeom.cameras import CameraGroup

__all__ = ["KeypointRequest", "calibrate_keypoints", "check_mode"]

_LENGTH = "--length"

_BOTH = {"images", "output", "intrinsics", "coefficients", "reference", "report", "force", "keypoints"}
_ONLY_KEYPOINTS = {"length", "focal", "size", "min_likelihood", "individual", "boxes", "crop_size"}


@dataclass(frozen=True, kw_only=True)
class KeypointRequest:
    """Values of the options of `mvgeom calibrate --keypoints`.

    Attributes:
        views: Values CAMERA=PATH.
        output: Calibration to write.
        lengths: Values of `--length`, joined by `LengthCommand`.
        focal: Values of `--focal`.
        size: Values of `--size`.
        intrinsics: Calibration to take intrinsics from.
        coefficients: Number of distortion coefficients.
        reference: Camera at the world's origin.
        min_likelihood: Value of `LikelihoodOption`.
        individual: Value of `IndividualOption`.
        boxes: Values of `BoxesOption`.
        crop_size: Value of `CropSizeOption`.
        report: Folder of the report.
        force: True to write in spite of errors.
    """

    views: list[str]
    output: Path
    lengths: list[str] | None
    focal: list[str] | None
    size: list[str] | None
    intrinsics: Path | None
    coefficients: int | None
    reference: str | None
    min_likelihood: float
    individual: str | None
    boxes: list[str] | None
    crop_size: str | None
    report: Path | None
    force: bool


def check_mode(context: typer.Context, *, keypoints: bool) -> None:
    """Refuse options of the other kind of calibration.

    Args:
        context: Context of the command `calibrate`.
        keypoints: True for `--keypoints`.

    Raises:
        InputError: `excluded-options`, if an option is given that does not apply.
    """
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE" or name in _BOTH:
            continue
        option = parameter.opts[0]
        if keypoints and name not in _ONLY_KEYPOINTS:
            raise InputError(
                f"{option} is for images of a board, and --keypoints is given. Leave one of them out.",
                code="excluded-options",
                option=option,
            )
        if not keypoints and name in _ONLY_KEYPOINTS:
            raise InputError(
                f"{option} is for --keypoints, which is not given. Add --keypoints to calibrate without a board.",
                code="excluded-options",
                option=option,
            )


def calibrate_keypoints(request: KeypointRequest) -> None:
    """Calibrate a rig from keypoint tables, print what was found, and write it.

    Raises:
        InputError: `no-calibration`, if the keypoints do not determine the cameras; errors of options and files.
        typer.Exit: With status 1, if errors were found.
    """
    files = parse_view_files(request.views, "CAMERA=PATH")
    box_files = parse_view_files(request.boxes or [], "--boxes VIEW=CSV")
    check_inputs(*files.values(), *box_files.values(), *([request.intrinsics] if request.intrinsics else []))
    check_rig_files(
        request.output,
        [*files.values(), *box_files.values(), request.intrinsics],
        report_files(request.report, files),
    )
    from mvgeom.cli.roles import check_roles

    check_roles(files, box_files)
    print_start(*files.values(), *box_files.values(), *([request.intrinsics] if request.intrinsics else []))
    from mvgeom.calibration import CalibrationError, calibrate_from_keypoints
    from mvgeom.calibration.report import write_keypoint_calibration_report

    names = tuple(files)
    known = load_calibration(request.intrinsics, views=names) if request.intrinsics is not None else None
    sizes = _sizes(names, request.size, known)
    focal = _focal(names, request.focal)
    lengths = [_length(text) for text in request.lengths or []]
    longest = 4 if known is None else int(known.distortion.shape[-1])
    check_rig_output(request.output, dict.fromkeys(names, longest), known.fisheye if known is not None else ())
    keypoints = read_views(files, request.boxes, request.crop_size, request.min_likelihood, request.individual)
    try:
        with status("calibrating") as notify:
            found = calibrate_from_keypoints(
                keypoints.points,
                names,
                sizes,
                keypoint_names=keypoints.stack.keypoint_names,
                focal=focal,
                intrinsics=known,
                coefficients=request.coefficients,
                lengths=lengths,
                reference=request.reference,
                progress=notify,
            )
    except CalibrationError as error:
        *_, last = (each for each in error.findings if each.severity == "error")
        print_findings((each for each in error.findings if each is not last), failed=True)
        raise InputError(last.text, code="no-calibration", findings=error.findings) from error
    _print(found, request.output)
    if request.report is not None:
        write_keypoint_calibration_report(found, keypoints.points, keypoints.stack.rows, request.report)
        print_output(f"report: {request.report}")
    stop_at_errors(found.findings, request.output, force=request.force)
    save_rig(found.cameras, request.output)
    options = reading_options(request.output, found.cameras)
    options += keypoint_options(request.boxes, request.crop_size, request.min_likelihood, request.individual)
    written = f"calibration: {request.output}"
    print_next("mvgeom", "check", request.output, *request.views, *options, written=written)


def _print(found: KeypointCalibration, output: Path) -> None:
    from mvgeom.calibration.result_tables import keypoint_calibration_table, length_table, view_pair_table

    print_output(keypoint_calibration_table(found, str(output)))
    print_output(view_pair_table(found))
    if found.scale.lengths:
        print_output(length_table(found))
        print_output(f"scale ±{100 * found.scale.spread / found.scale.factor:.2f} %")
    points = int(found.used.any(axis=1).sum())
    print_output(f"keypoint noise {found.noise:.2f} px over {counted(points, 'point')}")
    print_findings(found.findings)


def _length(text: str) -> KnownLength:
    from mvgeom.calibration import KnownLength

    first, second, length = parse_length(text, _LENGTH)
    return KnownLength(first=first, second=second, length=length)


def _focal(names: tuple[str, ...], values: list[str] | None) -> list[float] | float | None:
    """Return one focal length, or one per camera; None if none was given."""
    if not values:
        return None
    if len(values) == 1 and "=" not in values[0]:
        return _number(values[0])
    pairs = parse_pairs(values, "--focal CAMERA=PX")
    _check_names("--focal", names, pairs)
    return [_number(pairs[name]) for name in names]


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 < number < float("inf"):
        raise InputError(
            f"--focal: must be a positive number of px, found {text!r}", code="bad-option", option="--focal", found=text
        )
    return number


def _sizes(names: tuple[str, ...], values: list[str] | None, known: CameraGroup | None) -> Any:
    """Return image sizes (V, 2): given ones, or those of the known intrinsics."""
    import numpy as np

    if not values:
        if known is not None:
            return known.sizes
        raise InputError(
            "--size is missing: keypoint tables do not tell how large the images are. Give --size WxH, or "
            "--size CAMERA=WxH for each camera.",
            code="missing-size",
            option="--size",
        )
    given = parse_sizes(values)
    if isinstance(given, tuple):
        return np.tile(np.asarray(given, dtype=np.float64), (len(names), 1))
    _check_names("--size", names, given)
    return np.array([given[name] for name in names], dtype=np.float64)


def _check_names(option: str, names: tuple[str, ...], given: Mapping[str, Any]) -> None:
    wrong = sorted(set(names) ^ set(given))
    if wrong:
        raise InputError(
            f"{option}: must be given for each camera, found {', '.join(given)}, expected {', '.join(names)}",
            code="missing-view",
            option=option,
            view=wrong[0],
        )
