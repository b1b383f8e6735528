"""Boards in images or films given to `mvgeom calibrate`, and a calibration from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mvgeom.cli.board_input import Match, detect
from mvgeom.cli.output import print_output
from mvgeom.cli.search_progress import SearchProgress
from mvgeom.wording import counted

if TYPE_CHECKING:
    from mvgeom.calibration import Board, Calibration, Detections, LensCalibration

__all__ = ["calibrate_sources"]

_LONG = 200
"""Frames; shorter films are read whole."""

_PART = "places searched for boards"

Result = TypeVar("Result", "Calibration", "LensCalibration")


def calibrate_sources(
    files: dict[str, Path],
    board: Board,
    every: int | None,
    match: Match,
    fit: Callable[[Detections], Result],
    *,
    always: str | None = None,
) -> Result:
    """Calibrate from images or videos by camera name: from all of them, or in long films from what a search finds.

    Args:
        files: Folders, patterns or videos by camera name.
        board: Board to detect.
        every: Interval of the frames or images to use; None: every image, and a search in films of over 200 frames.
        match: Method of matching images of different cameras.
        fit: Function that calibrates from boards.
        always: Name of a frame that is needed; None if there is none.
    """
    from mvgeom.path_kinds import VIDEO_SUFFIXES

    if every is None and all(path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() for path in files.values()):
        result = _search(files, board, match, fit, always)
        if result is not None:
            return result
    return fit(detect(files, board, every or 1, match))


def _search(
    files: dict[str, Path], board: Board, match: Match, fit: Callable[[Detections], Result], always: str | None
) -> Result | None:
    """Search films in rounds, and show the progress; None if none is long."""
    from mvgeom.calibration import FilmSearch, calibrate_films, open_source
    from mvgeom.cli.roles import IMAGES_STEP, next_step

    with next_step(IMAGES_STEP):
        films = {name: open_source(name, path) for name, path in files.items()}
    with SearchProgress([_PART]) as shown:
        search = FilmSearch(
            films,
            board,
            match=match.value,
            progress=lambda done, total: shown.update(_PART, done, total),
        )
        if search.num_frames <= _LONG:
            return None
        with shown.paused():  # rich would print it on standard error, above the bar
            frames, of_films = counted(search.num_frames, "frame"), counted(len(films), "film")
            print_output(f"searching {frames} of {of_films} for boards ...")
        if always is not None and always.isdecimal():
            search.search_frames([int(always)])

        def fit_without_bars(found: Detections) -> Result:
            with shown.paused():  # the calibration shows its own changing line
                return fit(found)

        result = calibrate_films(search, fit_without_bars)
    searched = f"searched {search.num_searched} of {search.num_frames} frames; boards in {search.num_found}"
    print_output(f"{searched} (--every 1 searches all)")
    return result
