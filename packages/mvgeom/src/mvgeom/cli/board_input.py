"""Boards given to a command: the options that describe one, and its detection in images."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mvgeom.cli.options import check_inputs, number_check, parse_two, positive
from mvgeom.cli.search_progress import SearchProgress
from mvgeom.errors import InputError

if TYPE_CHECKING:
    from mvgeom.calibration import Board, Detections

__all__ = [
    "AprilgridOption",
    "BoardFileOption",
    "CharucoOption",
    "ChessboardOption",
    "DictionaryOption",
    "FirstIdOption",
    "InvertedOption",
    "LegacyOption",
    "MarkerGridOption",
    "MarkerOption",
    "Match",
    "SpacingOption",
    "SquareOption",
    "TwoSidedOption",
    "board_is_given",
    "check_images",
    "detect",
    "parse_board",
]

_KINDS = ("chessboard", "charuco", "aprilgrid", "marker_grid", "board")
_SHEETS = _KINDS[:-1]
_COUNTED = {
    "chessboard": "inner corners, one less than squares",
    "charuco": "squares",
    **dict.fromkeys(("aprilgrid", "marker_grid"), "markers"),
}
"""Things that the two numbers of a board's option count."""

_BELONGING = {
    "spacing": ("aprilgrid", "marker_grid"),
    "first_id": ("charuco", "aprilgrid", "marker_grid"),
    **dict.fromkeys(("square", "marker", "dictionary", "legacy", "inverted"), _SHEETS),
}
"""Kinds of boards that an option is for; those of `_SHEETS` may be given with each of them."""

ChessboardOption = Annotated[
    str | None, typer.Option(metavar="COLUMNSxROWS", help="INNER CORNERS of a chessboard: one less than squares.")
]
CharucoOption = Annotated[str | None, typer.Option(metavar="COLUMNSxROWS", help="SQUARES of a ChArUco board.")]
AprilgridOption = Annotated[
    str | None, typer.Option(metavar="COLUMNSxROWS", help="MARKERS of an AprilGrid, as Kalibr makes them.")
]
MarkerGridOption = Annotated[
    str | None, typer.Option(metavar="COLUMNSxROWS", help="MARKERS of a plain grid, as OpenCV's GridBoard makes them.")
]
SquareOption = Annotated[
    float | None,
    typer.Option(help="Side of a square. Its unit becomes the calibration's unit.", callback=positive("--square")),
]
MarkerOption = Annotated[
    float | None,
    typer.Option(help="Boards with markers: side of a marker, same unit.", callback=positive("--marker")),
]
SpacingOption = Annotated[
    float | None,
    typer.Option(
        metavar="RATIO",
        help="Grids of markers: gap between two, divided by their side.",
        callback=positive("--spacing"),
    ),
]
DictionaryOption = Annotated[
    str | None,
    typer.Option(help="OpenCV's name of the dictionary; DICT_4X4_50, of AprilGrids DICT_APRILTAG_36h11, if left out."),
]
FirstIdOption = Annotated[
    int,
    typer.Option(
        help="Boards with markers: number of the first one.",
        callback=number_check("--first-id", "0 or more", lambda value: value >= 0),
    ),
]
LegacyOption = Annotated[bool, typer.Option("--legacy", help="ChArUco: pattern of OpenCV before 4.6.")]
TwoSidedOption = Annotated[
    float | None,
    typer.Option(
        metavar="THICKNESS",
        help="The same board on the back, its markers counting on, turned about its vertical axis.",
        callback=number_check("--two-sided", "0 or a positive number", lambda value: value >= 0),
    ),
]
BoardFileOption = Annotated[
    Path | None,
    typer.Option("--board", metavar="TOML", help="File that describes a board, or several on a rigid body."),
]
InvertedOption = Annotated[bool, typer.Option("--inverted", help="Board with black and white exchanged.")]


class Match(StrEnum):
    """Methods of matching images of different cameras to frames."""

    name = "name"
    order = "order"


def check_images(files: dict[str, Path]) -> None:
    """Refuse paths, by camera name, that are certainly something else than images or a video of a board.

    Raises:
        InputError: `unsupported-file`; see `mvgeom.path_kinds.check_role`.
    """
    from mvgeom.cli.roles import IMAGES
    from mvgeom.path_kinds import IMAGE_SUFFIXES, check_role, has_files

    for name, path in files.items():
        if path.exists() and not has_files(path, IMAGE_SUFFIXES):
            check_role(path, IMAGES, f"camera {name}")


def board_is_given(options: Mapping[str, Any]) -> bool:
    """Return True if the options of a command (its context's `params`) describe a board."""
    return any(options.get(kind) is not None for kind in _KINDS)


def parse_board(options: Mapping[str, Any]) -> Board:
    """Return the board that the options of a command (its context's `params`) describe.

    Raises:
        InputError: `bad-option` or `missing-argument`, if no board or no size is given; `excluded-options`, if options
            do not belong together; `out-of-range` or `unknown-choice`, if there is no such board; errors of
            `read_board`.
    """
    from mvgeom.calibration import CharucoBoard, TagGrid, two_sided

    given = [kind for kind in _KINDS if options.get(kind) is not None]
    if len(given) != 1:
        expected = ", ".join(f"{_option(kind)} {'TOML' if kind == 'board' else 'COLUMNSxROWS'}" for kind in _KINDS)
        raise InputError(
            f"{'no board was' if not given else 'several boards were'} given, expected one of {expected}",
            code="bad-option",
            option=_option(given[0] if given else _KINDS[0]),
        )
    (kind,) = given
    _check_belonging(kind, options)
    board = _read_board(options["board"]) if kind == "board" else _parse_kind(kind, options)
    thickness = options["two_sided"]
    if thickness is None:
        return board
    if not isinstance(board, CharucoBoard | TagGrid):
        raise InputError(
            "--two-sided needs a board with markers (--charuco, --aprilgrid, --marker-grid): other boards do not tell "
            "which side is seen",
            code="bad-option",
            option="--two-sided",
        )
    return two_sided(board, thickness)


def _read_board(path: Path) -> Board:
    """Read the file of `--board`."""
    from mvgeom.calibration import read_board
    from mvgeom.cli.roles import BOARD_FILE, BOARD_STEP
    from mvgeom.path_kinds import check_role

    check_inputs(path)
    check_role(path, BOARD_FILE, "--board")
    try:
        return read_board(path)
    except InputError as error:
        if error.code not in ("invalid-syntax", "not-text") and error.facts.get("key") != "face":
            raise
        raise error.advised(BOARD_STEP) from error


def _check_belonging(kind: str, options: Mapping[str, Any]) -> None:
    """Refuse options that do not apply to this kind of board."""
    wrong = [name for name, kinds in _BELONGING.items() if options[name] and kind not in kinds]
    if wrong:
        step = "Put it into the file." if kind == "board" else "Leave it out."
        raise InputError(
            f"{_option(wrong[0])} does not belong to {_option(kind)}. {step}",
            code="excluded-options",
            option=_option(wrong[0]),
        )


def _parse_kind(kind: str, options: Mapping[str, Any]) -> Board:
    """Return the board of one of the options that give a size."""
    from mvgeom.calibration import CharucoBoard, Chessboard, TagGrid

    columns, rows = parse_two(options[kind], _option(kind), f"COLUMNSxROWS of {_COUNTED[kind]}, such as 9x6")
    common: dict[str, Any] = {"columns": columns, "rows": rows, "inverted": options["inverted"]}
    if kind == "chessboard":
        return Chessboard(square_size=_length(options, "square", "side length of a square"), **common)
    dictionary = options["dictionary"] or ("DICT_APRILTAG_36h11" if kind == "aprilgrid" else "DICT_4X4_50")
    common |= {"dictionary": dictionary, "first_id": options["first_id"]}
    if kind == "charuco":
        return CharucoBoard(
            square_size=_length(options, "square", "side length of a square"),
            marker_size=_length(options, "marker", "side length of the ChArUco board's markers"),
            legacy=options["legacy"],
            **common,
        )
    return TagGrid(
        marker_size=_length(options, "marker", "side length of the grid's markers"),
        spacing=_length(options, "spacing", "gap between two markers, divided by their side length"),
        from_bottom=kind == "aprilgrid",
        corner_squares=kind == "aprilgrid",
        **common,
    )


def _length(options: Mapping[str, Any], name: str, meaning: str) -> float:
    if options[name] is None:
        unit = "" if name == "spacing" else ", in the unit of the calibration"
        raise InputError(
            f"{_option(name)} is missing. Give the {meaning}{unit}.", code="missing-argument", option=_option(name)
        )
    return float(options[name])


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def detect(files: dict[str, Path], board: Board, every: int, match: Match) -> Detections:
    """Detect the board in images or videos, by camera name, and show the progress."""
    from mvgeom.calibration import detect_boards, open_source
    from mvgeom.cli.roles import IMAGES_STEP, next_step

    with next_step(IMAGES_STEP):
        sources = {name: open_source(name, path, step=every) for name, path in files.items()}
    parts = {name: f"boards of {name}" for name in sources}
    with SearchProgress(parts.values()) as shown:
        return detect_boards(
            sources,
            board,
            match=match.value,
            progress=lambda name, done, total: shown.update(parts[name], done, total),
        )
