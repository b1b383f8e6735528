"""The command `mvgeom sync`."""

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
    detect,
    parse_board,
)
from mvgeom.cli.keypoint_input import CommandKeypoints, check_keypoint_inputs, frame_numbers, read_views
from mvgeom.cli.keypoint_options import (
    LIKELIHOOD,
    BoxesOption,
    CropSizeOption,
    IndividualOption,
    LikelihoodOption,
    keypoint_options,
)
from mvgeom.cli.options import (
    CalibrationArgument,
    FormatOption,
    ReadOption,
    SizeOption,
    check_inputs,
    check_output,
    files_beside,
    load_calibration,
    number_check,
    parse_view_files,
    positive,
    same_reading,
)
from mvgeom.cli.output import print_findings, print_next, print_output, print_start
from mvgeom.errors import InputError
from mvgeom.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from mvgeom.calibration import Synchronization

__all__ = ["sync"]

_ONLY_KEYPOINTS = {"min_likelihood", "individual", "boxes", "crop_size"}
_MOST_FRAMES_PER_ROW = 100
_SHORT = 10_000
"""Frames; memory for them is no matter, however few have rows."""


def sync(
    context: typer.Context,
    calibration: CalibrationArgument,
    views: Annotated[
        list[str],
        typer.Argument(
            metavar="VIEW=PATH",
            help="Keypoints of each view, of consecutive frames, in any format that is read; with a board such as "
            "--chessboard a video of it.",
        ),
    ],
    fps: Annotated[
        float | None,
        typer.Option(
            "--fps", help="Frames per second of the recording; videos state it themselves.", callback=positive("--fps")
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="JSON", help="File to write; beside the calibration if left out."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Camera whose frames are those of the recording; the first if left out.")
    ] = None,
    longest: Annotated[
        int,
        typer.Option(
            help="Largest offset to try, in frames.",
            callback=number_check("--longest", "1 or more", lambda value: value >= 1),
        ),
    ] = 60,
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
    min_likelihood: LikelihoodOption = LIKELIHOOD,
    individual: IndividualOption = None,
    boxes: BoxesOption = None,
    crop_size: CropSizeOption = None,
    source_format: FormatOption = None,
    size: SizeOption = None,
    option: ReadOption = None,
) -> None:
    """Find the offset in time and the drift of each camera, in parts of a frame, from keypoints or a moving board.

    The file is written beside the calibration, as `<name>.sync.json`. All commands that take the calibration then use
    it; removing the file undoes it. Offsets are those of one recording, unless the cameras always start alike.

    Exit code 0: written. 1: an offset cannot be determined, and nothing was written. 2: wrong input.
    """
    files = parse_view_files(views, "VIEW=PATH")
    board_given = board_is_given(context.params)
    if board_given:
        _check_board_options(context)
        check_inputs(calibration, *files.values())
        read = [*files.values(), *([] if board is None else [board])]
    else:
        read = check_keypoint_inputs(calibration, files, boxes)
        if fps is None:
            raise InputError(
                "--fps is missing. Give the frames per second of the recording: offsets are stored in seconds.",
                code="missing-argument",
                option="--fps",
            )
    from mvgeom.clock_files import clocks_file, save_clocks

    path = output if output is not None else clocks_file(calibration)
    check_output(path, [calibration, *read, *files_beside(calibration, option, clocks=False)])
    print_start(calibration, *read)
    from mvgeom.calibration import synchronize
    from mvgeom.calibration.board_tracks import board_tracks

    described = parse_board(context.params) if board_given else None
    cameras = load_calibration(calibration, source_format, size, option, views=files)
    if reference is not None:
        cameras.index([reference])  # before boards are looked for, which takes long
    if described is None:
        keypoints = read_views(files, boxes, crop_size, min_likelihood, individual, own_frames=True)
        points, first = _consecutive(keypoints, frame_numbers(keypoints))
    else:
        fps = _frame_rate(files, fps)
        points, first = board_tracks(detect(files, described, 1, Match.name)), 0
    assert fps is not None
    found = synchronize(cameras, points, frame_rate=fps, reference=reference, longest=longest)
    _print_clocks(found, fps, str(calibration))
    print_findings(found.findings)
    if found.clocks is None:
        print_output("no offsets were written")
        raise typer.Exit(1)
    save_clocks(found.clocks.from_frame(first), path)
    print_output(f"offsets: {path}; used by mvgeom and mvtrain where they lie beside the calibration")
    reading = same_reading(source_format, size, option)
    if described is None:
        options = [*keypoint_options(boxes, crop_size, min_likelihood, individual), *reading]
        print_next("mvgeom", "triangulate", calibration, *views, *options, "-o", "points_3d.csv")
    else:
        print_next("mvgeom", "show", calibration, *reading)


def _consecutive(keypoints: CommandKeypoints, numbers: np.ndarray) -> tuple[np.ndarray, int]:
    """Return keypoints of all frames from the first row on, and its number; frames without a row are missing.

    Raises:
        InputError: `out-of-range`, if most frames between the first and the last row have none.
    """
    import numpy as np

    points, path = keypoints.points, keypoints.table.path
    if not len(points):
        return points, 0
    rows = numbers.astype(np.int64)
    first, count = int(rows[0]), int(rows[-1] - rows[0]) + 1
    if count > max(_MOST_FRAMES_PER_ROW * len(rows), _SHORT):
        raise InputError(
            f"{path}: the rows are not consecutive frames, found {counted(len(rows), 'row')} for the {count} frames "
            f"from {first} to {rows[-1]}, expected most frames to have one. Give the keypoints of one recording.",
            code="out-of-range",
            path=path,
            found=count,
            expected=len(rows),
        )
    result = np.full((count, *points.shape[1:]), np.nan)
    result[rows - first] = points
    return result, first


def _check_board_options(context: typer.Context) -> None:
    """Refuse options of keypoints, which do not apply to a board.

    Raises:
        InputError: `excluded-options`.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if source is not None and source.name == "COMMANDLINE" and parameter.name in _ONLY_KEYPOINTS:
            raise InputError(
                f"{parameter.opts[0]} is for keypoints, and a board is given. Leave one of them out.",
                code="excluded-options",
                option=parameter.opts[0],
            )


def _frame_rate(files: dict[str, Path], given: float | None) -> float:
    """Return the frame rate of videos of a board: the given one, or the highest that a video states.

    Frames are those of the highest rate; see `match_sources`.

    Raises:
        InputError: `unsupported-file`, if a file is not a video; `missing-argument`, if no rate is known.
    """
    from mvgeom.calibration.sources import VIDEO_SUFFIXES
    from mvgeom.videos import frame_rate, open_video

    wrong = next((view for view, path in files.items() if path.suffix.lower() not in VIDEO_SUFFIXES), None)
    if wrong is not None:
        raise InputError(
            f"view {wrong}: {files[wrong]} is not a video, expected {', '.join(VIDEO_SUFFIXES)}. Single images of a "
            "board tell nothing about time",
            code="unsupported-file",
            view=wrong,
            path=files[wrong],
        )
    if given is not None:
        return given
    rate = max(frame_rate(open_video(path)) for path in files.values())
    if rate <= 0:
        raise InputError(
            "--fps is missing, and the videos state none. Give the frames per second of the recording.",
            code="missing-argument",
            option="--fps",
        )
    return rate


def _print_clocks(found: Synchronization, fps: float, title: str) -> None:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("camera", "late frames", "±", "late ms", "drift ppm", "±", "epipolar px", "was px"):
        table.add_column(heading, justify="left" if heading == "camera" else "right")

    def shown(value: float, form: str) -> str:
        return "?" if value != value else format(value, form)

    for row, name in enumerate(found.names):
        table.add_row(
            name,
            shown(found.offset[row], "+.2f"),
            shown(found.offset_std[row], ".2f"),
            shown(1000 * found.offset[row] / fps, "+.1f"),
            shown(1e6 * found.drift[row], "+.0f"),
            shown(1e6 * found.drift_std[row], ".0f"),
            shown(found.distance[row], ".2f"),
            shown(found.distance_before[row], ".2f"),
        )
    print_output(table)
