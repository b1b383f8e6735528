"""Boards given to a command: the options that describe one, and its detection in images."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mvgeom.cli.options import parse_size
from mvgeom.cli.rig_output import stderr_console
from mvgeom.errors import InputError

if TYPE_CHECKING:
    from mvgeom.calibration import Board, Detections

__all__ = [
    "CharucoOption",
    "ChessboardOption",
    "DictionaryOption",
    "LegacyOption",
    "MarkerOption",
    "Match",
    "SquareOption",
    "check_images",
    "detect",
    "parse_board",
]

ChessboardOption = Annotated[
    str | None, typer.Option(metavar="COLUMNSxROWS", help="INNER CORNERS of a chessboard: one less than squares.")
]
CharucoOption = Annotated[str | None, typer.Option(metavar="COLUMNSxROWS", help="SQUARES of a ChArUco board.")]
SquareOption = Annotated[float | None, typer.Option(help="Side of a square. Its unit becomes the calibration's unit.")]
MarkerOption = Annotated[float | None, typer.Option(help="ChArUco: side of a marker, same unit.")]
DictionaryOption = Annotated[str, typer.Option(help="ChArUco: OpenCV's name of the dictionary.")]
LegacyOption = Annotated[bool, typer.Option("--legacy", help="ChArUco: pattern of OpenCV before 4.6.")]


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


def parse_board(
    chessboard: str | None,
    charuco: str | None,
    square: float | None,
    marker: float | None,
    dictionary: str,
    *,
    legacy: bool,
) -> Board:
    """Return the board that the options describe.

    Raises:
        InputError: `bad-option` or `missing-argument`, if no board or no size is given; `out-of-range` or
            `unknown-choice`, if there is no such board.
    """
    from mvgeom.calibration import CharucoBoard, Chessboard

    if (chessboard is None) == (charuco is None):
        raise InputError(
            "no board was given, expected either --chessboard COLUMNSxROWS or --charuco COLUMNSxROWS",
            code="bad-option",
            option="--chessboard",
        )
    if square is None:
        raise InputError(
            "--square is missing. Give the side length of a square, in the unit of the calibration.",
            code="missing-argument",
            option="--square",
        )
    if chessboard is not None:
        columns, rows = parse_size(chessboard, "--chessboard")
        return Chessboard(columns=columns, rows=rows, square_size=square)
    if marker is None:
        raise InputError(
            "--marker is missing. Give the side length of the ChArUco board's markers, in the unit of --square.",
            code="missing-argument",
            option="--marker",
        )
    columns, rows = parse_size(charuco or "", "--charuco")
    return CharucoBoard(
        columns=columns, rows=rows, square_size=square, marker_size=marker, dictionary=dictionary, legacy=legacy
    )


def detect(files: dict[str, Path], board: Board, every: int, match: Match) -> Detections:
    """Detect the board in images or videos, by camera name, with a progress bar on a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from mvgeom.calibration import detect_boards, open_source
    from mvgeom.cli.roles import IMAGES_STEP, next_step

    with next_step(IMAGES_STEP):
        sources = {name: open_source(name, path, step=every) for name, path in files.items()}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = stderr_console()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks = {name: bar.add_task(f"boards of {name}", total=None) for name in sources}
        return detect_boards(
            sources,
            board,
            match=match.value,
            progress=lambda name, done, total: bar.update(tasks[name], completed=done, total=total),
        )
