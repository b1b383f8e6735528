"""The command `smooth`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mvgeom.cli.bone_options import describe_bones, parse_pairs
from mvgeom.cli.keypoint_clocks import read_synchronized_views
from mvgeom.cli.keypoint_input import check_keypoint_inputs, frame_numbers
from mvgeom.cli.keypoint_options import (
    VIEW_FORM,
    BoxesOption,
    CropSizeOption,
    IgnoreSyncOption,
    IndividualOption,
    ViewsArgument,
    check_likelihood,
)
from mvgeom.cli.length_options import parse_length
from mvgeom.cli.options import (
    CalibrationArgument,
    FormatOption,
    ReadOption,
    SizeOption,
    check_output,
    check_table_name,
    files_beside,
    load_calibration,
    number_check,
    parse_view_files,
)
from mvgeom.cli.output import print_output, print_problem, print_start
from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvgeom.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from mvgeom.cameras import CameraGroup
    from mvgeom.smoothing import Smoothed

__all__ = ["smooth"]


def smooth(
    calibration: CalibrationArgument,
    views: ViewsArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="3D table to write (.csv).")],
    view_tables: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also write the smoothed keypoints of every view, `VIEW.csv`."),
    ] = None,
    old_view_tables: Annotated[Path | None, typer.Option("--views", metavar="FOLDER", hidden=True)] = None,
    max_gap: Annotated[
        int | None,
        typer.Option(
            help="Longest gap, in frames, that is bridged; rows of longer ones stay empty. All if left out.",
            callback=number_check("--max-gap", "0 or more", lambda value: value >= 0),
        ),
    ] = None,
    min_likelihood: Annotated[
        float,
        typer.Option(
            help="Keypoints below this likelihood do not count; the others weigh by it.", callback=check_likelihood
        ),
    ] = 0.05,
    bones: Annotated[
        str | None,
        typer.Option(
            metavar="A:B,...",
            help="Pairs of keypoints whose distance varies little: it is measured in the recording, and held.",
        ),
    ] = None,
    bone: Annotated[
        list[str] | None,
        typer.Option(metavar="A B LENGTH", help="A distance that is known, in the calibration's unit; repeatable."),
    ] = None,
    individual: IndividualOption = None,
    boxes: BoxesOption = None,
    crop_size: CropSizeOption = None,
    ignore_sync: IgnoreSyncOption = False,
    source_format: FormatOption = None,
    size: SizeOption = None,
    option: ReadOption = None,
) -> None:
    """Smooth the keypoints of a recording in 3D over time, with standard deviations.

    The noise of views and keypoints and the agility of motion are learned from the recording: every view is predicted
    from the others. Outliers are found by all views and times. The 3D table is that of `mvgeom triangulate`; error and
    num_views are of the keypoints that are no outliers. The tables of --view-tables have x, y, likelihood, their
    standard deviations and correlation, and the probability that the given keypoint is an inlier.

    --bones and --bone couple keypoints: where one is seen badly, its distance from another one tells of it.
    """
    files = parse_view_files(views, VIEW_FORM)
    view_tables = view_tables or old_view_tables
    read = check_keypoint_inputs(calibration, files, boxes)
    if view_tables is not None and view_tables.exists() and not view_tables.is_dir():
        raise InputError(
            f"--view-tables: not a folder, found {view_tables}",
            code="not-a-folder",
            option="--view-tables",
            path=view_tables,
        )
    tables = {} if view_tables is None else {view: view_tables / file_name(f"{view}.csv") for view in files}
    check_output(output, [calibration, *read, *files_beside(calibration, option)], tables.values())
    check_table_name(output)
    pairs = parse_pairs(bones, "--bones")
    lengths = [parse_length(text, "--bone") for text in bone or []]
    print_start(calibration, *read)
    import numpy as np

    from mvgeom.smoothing import named_bones
    from mvgeom.smoothing import smooth as smooth_keypoints
    from mvgeom.tables import write_points_3d, write_view_points

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
    if not len(points):
        path = next(iter(files.values()))
        raise InputError(f"{path}: no rows. Give the keypoints of a recording.", code="empty-file", path=path)
    times = frame_numbers(keypoints)
    held = named_bones(stack.keypoint_names, pairs, lengths)
    given = f"{counted(len(points), 'frame')}, {counted(len(stack.keypoint_names), 'keypoint')}"
    print_output(f"{given}, {counted(len(files), 'view')}: learning the noise")
    found = smooth_keypoints(
        points,
        cameras,
        likelihood=stack.likelihood,
        times=times,
        max_gap=max_gap,
        bones=held,
    )
    projected, covariance = found.project(cameras)
    write_points_3d(output, stack.keypoint_names, [(stack.rows, found.to_reconstruction(points, cameras))])
    _print_smoothed(found, points, cameras)
    if held:
        print_output(f"bones: {describe_bones(found.bones, stack.keypoint_names)}")
    print_output(f"3D keypoints: {output}")
    if view_tables is not None:
        view_tables.mkdir(parents=True, exist_ok=True)
        for number, view in enumerate(cameras.names):
            likelihood = np.full(points.shape[:3], np.nan) if stack.likelihood is None else stack.likelihood
            write_view_points(
                tables[view],
                stack.rows,
                stack.keypoint_names,
                projected[:, number],
                covariance[:, number],
                likelihood[:, number],
                found.inlier[:, number],
            )
            print_output(f"keypoints of {view}: {tables[view]}")


def _print_smoothed(found: Smoothed, points: np.ndarray, cameras: CameraGroup) -> None:
    import numpy as np

    from mvgeom.smoothing import FEW_FRAMES

    solved, given = np.isfinite(found.points).all(-1), np.isfinite(points).all(-1)
    left_out = given & (np.nan_to_num(found.inlier) <= 0.5)
    print_output(
        f"{solved.sum()} of {solved.size} points from {counted(given.sum(), 'keypoint')}; outliers: {left_out.sum()} "
        f"({', '.join(f'{name} {left_out[:, view].sum()}' for view, name in enumerate(cameras.names))})"
    )
    noise = found.noise
    floors = ", ".join(f"{name} {floor:.2f}" for name, floor in zip(cameras.names, noise.floor, strict=True))
    print_output(f"noise of certain keypoints in px: {floors}; {100 * noise.share:.0f} % of it lasts over frames")
    if solved.any():
        deviation = np.sqrt(np.trace(found.covariance[solved], axis1=-2, axis2=-1))
        print_output(
            f"standard deviation: median {np.median(deviation):.3g}, 95 % below {np.percentile(deviation, 95):.3g} "
            "(world units)"
        )
        frames = int(given.any(axis=(1, 2)).sum())
        if frames < FEW_FRAMES:
            print_problem(
                "warning",
                "yellow",
                f"the noise was learned from {counted(frames, 'frame')}, too few to tell it: the standard deviations "
                f"are too small, in single frames several times. Give {counted(FEW_FRAMES, 'frame')} or more, or take "
                "those of mvgeom triangulate",
            )
    else:
        print_problem("warning", "yellow", f"no keypoint is seen by two of {', '.join(cameras.names)}")
