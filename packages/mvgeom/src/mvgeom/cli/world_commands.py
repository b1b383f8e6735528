"""The commands `mvgeom place` (poses from known points) and `mvgeom world` (another frame of the world)."""

from __future__ import annotations

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
    board_is_given,
    check_images,
    detect,
    parse_board,
)
from mvgeom.cli.keypoint_clocks import read_synchronized_views
from mvgeom.cli.keypoint_input import CommandKeypoints
from mvgeom.cli.keypoint_options import LIKELIHOOD, IgnoreSyncOption, IndividualOption, LikelihoodOption
from mvgeom.cli.options import (
    CalibrationArgument,
    FormatOption,
    ReadOption,
    SizeOption,
    check_inputs,
    files_beside,
    load_calibration,
    parse_view_files,
)
from mvgeom.cli.output import print_findings, print_next, print_output, print_start
from mvgeom.cli.rig_output import check_output_name, check_rig_files, reading_options, save_rig, stop_at_errors
from mvgeom.errors import InputError
from mvgeom.files import is_pattern

if TYPE_CHECKING:
    import numpy as np

    from mvgeom.calibration.world_axes import WorldChange
    from mvgeom.cameras import CameraGroup

__all__ = ["place", "world"]

PositionsOption = Annotated[
    Path | None, typer.Option("--points", metavar="CSV", help="Known positions: a table with columns name, x, y, z.")
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Calibration to write; format by suffix.")]


def place(
    calibration: CalibrationArgument,
    clicks: Annotated[
        list[str],
        typer.Argument(
            metavar="CAMERA=PATH", help="Keypoint table of a camera's clicks; several rows are averaged (median)."
        ),
    ],
    output: OutputOption,
    points: PositionsOption = None,
    min_likelihood: LikelihoodOption = LIKELIHOOD,
    individual: IndividualOption = None,
    force: Annotated[bool, typer.Option("--force", help="Write the calibration in spite of errors.")] = False,
    source_format: FormatOption = None,
    size: SizeOption = None,
    option: ReadOption = None,
) -> None:
    """Place cameras by points of known positions in the room, which were clicked in the images of each camera.

    Intrinsics are those of the calibration, its poses are replaced. Four points in a plane are enough for a camera, or
    six in general position; the keypoints' names are those of the points. The unit and axes are those of the points.

    Exit code 0: written. 1: errors were found, and nothing was written without --force. 2: wrong input.
    """
    files = parse_view_files(clicks, "CAMERA=PATH")
    positions_file = _required(points)
    check_inputs(calibration, positions_file, *files.values())
    inputs = [calibration, positions_file, *files.values(), *files_beside(calibration, option)]
    check_rig_files(output, inputs, source=calibration)
    check_output_name(output)
    from mvgeom.cli.roles import check_positions, check_roles, next_step

    check_roles(files, {})
    check_positions(positions_file)
    print_start(calibration, *files.values(), positions_file)
    import numpy as np

    from mvgeom.calibration import CalibrationError
    from mvgeom.calibration.known_points import place_by_points
    from mvgeom.calibration.result_tables import placement_table
    from mvgeom.tables import read_keypoints

    cameras = load_calibration(calibration, source_format, size, option, views=files)
    positions = _read_positions(positions_file)
    seen = {}
    for name, path in files.items():
        with next_step("mvgeom triangulate --help lists what is read."):
            table = read_keypoints(path, individual)
        pixels = table.points
        if table.likelihood is not None:
            pixels = np.where((table.likelihood >= min_likelihood)[..., None], pixels, np.nan)
        seen[name] = _medians(pixels, table.keypoint_names, positions, path)
    try:
        found = place_by_points(cameras, positions, seen)
    except CalibrationError as error:
        *_, last = error.findings
        print_findings(error.findings[:-1], failed=True)
        raise InputError(last.text, code="no-calibration", findings=error.findings) from error
    print_output(placement_table(found, f"{calibration} -> {output}"))
    print_findings(found.findings)
    stop_at_errors(found.findings, output, force=force)
    save_rig(found.cameras, output, calibration)
    print_next("mvgeom", "show", output, *reading_options(output, found.cameras), written=f"calibration: {output}")


def world(
    context: typer.Context,
    calibration: CalibrationArgument,
    views: Annotated[
        list[str],
        typer.Argument(metavar="CAMERA=PATH", help="Keypoint table of each camera; with a board, images or a video."),
    ],
    output: OutputOption,
    points: PositionsOption = None,
    axes: Annotated[
        tuple[str, str, str] | None,
        typer.Option(metavar="O X Y", help="Keypoints: the origin, one on the x axis, one on the side of y."),
    ] = None,
    floor: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Keypoint that is mostly on the floor (repeat): xy is the floor, z is up."),
    ] = None,
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
    origin_frame: Annotated[
        str | None, typer.Option(help="Frame whose board is the world; the one that most cameras see if left out.")
    ] = None,
    old_frame: Annotated[str | None, typer.Option("--frame", hidden=True)] = None,
    match: Annotated[Match, typer.Option(help="Board: as for mvgeom calibrate.")] = Match.name,
    keep_scale: Annotated[bool, typer.Option("--keep-scale", help="Points or board: keep the unit.")] = False,
    min_likelihood: LikelihoodOption = LIKELIHOOD,
    individual: IndividualOption = None,
    ignore_sync: IgnoreSyncOption = False,
    source_format: FormatOption = None,
    size: SizeOption = None,
    option: ReadOption = None,
) -> None:
    """Give a calibration another world: by known points, an origin and axes, the floor, or a board.

    Images stay as they are; only the frame of the world changes, and with points or a board its unit. Give one of
    --points, --axes, --floor, or a board such as --chessboard. Keypoints that rest are medians over the frames.
    """
    board_given = board_is_given(context.params)
    ways = {
        "--points": points is not None,
        "--axes": axes is not None,
        "--floor": bool(floor),
        "a board (--chessboard, --charuco, ...)": board_given,
    }
    if sum(ways.values()) != 1:
        given = ", ".join(way for way, used in ways.items() if used) or "none"
        raise InputError(
            f"world: found {given}, expected one of {', '.join(ways)}", code="excluded-options", option=given
        )
    files = parse_view_files(views, "CAMERA=PATH")
    check_inputs(calibration, *([points] if points else []))
    check_inputs(*(path for path in files.values() if not (board_given and is_pattern(path))))
    inputs = [calibration, points, board, *files.values(), *files_beside(calibration, option)]
    check_rig_files(output, inputs, source=calibration)
    check_output_name(output)
    from mvgeom.cli.roles import check_positions, check_roles

    if board_given:
        check_images(files)
    else:
        check_roles(files, {})
        if points is not None:
            check_positions(points)
    print_start(calibration, *files.values(), *(each for each in (points, board) if each is not None))
    from mvgeom.calibration.world_axes import change_world
    from mvgeom.cli.rig_table import camera_table

    cameras = load_calibration(calibration, source_format, size, option)
    cameras.index(files)
    if board_given:
        from mvgeom.calibration import CalibrationError
        from mvgeom.calibration.board_world import world_of_board

        described = parse_board(context.params)
        try:
            detections = detect(files, described, 1, match)
        except CalibrationError as error:
            raise InputError(str(error), code="no-calibration", findings=error.findings) from error
        change, used = world_of_board(cameras, detections, frame=origin_frame or old_frame, keep_scale=keep_scale)
        print_output(f"board of frame {used}")
    else:
        seen = cameras.select(files)
        keypoints = read_synchronized_views(
            files, None, None, min_likelihood, individual, cameras=seen, calibration=calibration, ignore=ignore_sync
        )
        change = _from_keypoints(keypoints, seen, points, axes, floor, keep_scale)
    moved = change_world(cameras, change)
    print_output(camera_table(moved, str(output)))
    print_output(f"lengths times {change.scale:.6g}; points miss by {change.error:.3g} (root mean square, new unit)")
    save_rig(moved, output, calibration, keep_metadata=True)
    print_next("mvgeom", "show", output, *reading_options(output, moved), written=f"calibration: {output}")


def _from_keypoints(
    keypoints: CommandKeypoints,
    cameras: CameraGroup,
    points: Path | None,
    axes: tuple[str, str, str] | None,
    floor: list[str] | None,
    keep_scale: bool,
) -> WorldChange:
    """Return the change of the world that keypoints of two views or more define."""
    import numpy as np

    from mvgeom.calibration.world_axes import axes_from_points, floor_from_points, match_points
    from mvgeom.reconstruction import reconstruct

    names = keypoints.stack.keypoint_names
    found = reconstruct(keypoints.points, cameras).points
    if floor:
        return floor_from_points(found[:, _places(names, floor, "--floor")].reshape(-1, 3), cameras)
    resting = np.array([_median(found[:, place]) for place in range(len(names))])
    if axes:
        return axes_from_points(*resting[_places(names, list(axes), "--axes")])
    positions = _read_positions(_required(points))
    shared = [name for name in names if name in positions]
    rows = _places(names, shared, "--points")
    targets = np.array([positions[name] for name in shared]).reshape(-1, 3)
    return match_points(resting[rows].reshape(-1, 3), targets, keep_scale=keep_scale)


def _read_positions(path: Path) -> dict[str, np.ndarray]:
    from mvgeom.cli.roles import next_step
    from mvgeom.tables import read_positions

    with next_step("mvgeom place --help describes --points."):
        return read_positions(path)


def _medians(pixels: np.ndarray, names: tuple[str, ...], positions: dict[str, np.ndarray], path: Path) -> np.ndarray:
    """Return the median place (K, 2) over the rows of each known point; NaN where it was not clicked."""
    import numpy as np

    known = [name for name in names if name in positions]
    if not known:
        raise InputError(
            f"{path}: none of its keypoints is a known point, found {list(names)}, expected {list(positions)}",
            code="keypoints-differ",
            path=path,
        )
    result = np.full((len(positions), 2), np.nan)
    for row, name in enumerate(positions):
        if name in names:
            result[row] = _median(pixels[:, names.index(name)])
    return result


def _median(rows: np.ndarray) -> np.ndarray:
    """Return the median (n,) of the rows without NaN; NaN if there is none."""
    import numpy as np

    known = rows[np.isfinite(rows).all(axis=1)]
    return np.asarray(np.median(known, axis=0)) if len(known) else np.full(rows.shape[1], np.nan)


def _places(names: tuple[str, ...], wanted: list[str], option: str) -> list[int]:
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise InputError(
            f"{option}: unknown keypoint, found {unknown[0]!r}, expected one of {list(names)}",
            code="keypoints-differ",
            option=option,
            found=unknown[0],
        )
    return [names.index(name) for name in wanted]


def _required(points: Path | None) -> Path:
    if points is None:
        raise InputError(
            "--points is missing. Give a table of known positions with the columns name, x, y, z.",
            code="missing-argument",
            option="--points",
        )
    return points
