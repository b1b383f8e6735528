"""Calibration of rigs from images of a board or from keypoints, and refinement from keypoints of the subject.

`detect_boards` finds board corners, `calibrate` computes a rig from them, `calibrate_from_keypoints` one without a
board, `refine` adjusts a calibration to keypoints, `check` finds cameras that disagree with the others, and
`synchronize` finds offsets in time between them. `place_by_points` determines poses from points of known position,
and `change_world` moves a rig to another world. Each result has `findings`: problems, described with text and numbers.
"""

from mvgeom.calibration.board_files import read_board
from mvgeom.calibration.board_world import world_of_board
from mvgeom.calibration.boards import Board, BoardSet, CharucoBoard, Chessboard, Face, TagGrid, two_sided
from mvgeom.calibration.calibrate import Options, calibrate
from mvgeom.calibration.detections import Detections, detect_boards, from_points
from mvgeom.calibration.diagnosis import Check, check
from mvgeom.calibration.film_calibration import calibrate_films
from mvgeom.calibration.film_search import FilmSearch
from mvgeom.calibration.findings import CalibrationError, Finding
from mvgeom.calibration.from_keypoints import KeypointCalibration, calibrate_from_keypoints
from mvgeom.calibration.keypoint_refinement import Refinement, refine
from mvgeom.calibration.known_lengths import KnownLength
from mvgeom.calibration.known_points import PlacedCameras, place_by_points
from mvgeom.calibration.lens_model import Lens
from mvgeom.calibration.lenses import LensCalibration, calibrate_lenses
from mvgeom.calibration.report import (
    write_calibration_report,
    write_keypoint_calibration_report,
    write_refinement_report,
)
from mvgeom.calibration.result import Calibration
from mvgeom.calibration.sources import Source, open_source
from mvgeom.calibration.synchronize import Synchronization, synchronize
from mvgeom.calibration.world_axes import (
    WorldChange,
    axes_from_points,
    change_world,
    floor_from_points,
    match_points,
)

__all__ = [
    "Board",
    "BoardSet",
    "Calibration",
    "CalibrationError",
    "CharucoBoard",
    "Check",
    "Chessboard",
    "Detections",
    "Face",
    "FilmSearch",
    "Finding",
    "KeypointCalibration",
    "KnownLength",
    "Lens",
    "LensCalibration",
    "Options",
    "PlacedCameras",
    "Refinement",
    "Source",
    "Synchronization",
    "TagGrid",
    "WorldChange",
    "axes_from_points",
    "calibrate",
    "calibrate_films",
    "calibrate_from_keypoints",
    "calibrate_lenses",
    "change_world",
    "check",
    "detect_boards",
    "floor_from_points",
    "from_points",
    "match_points",
    "open_source",
    "place_by_points",
    "read_board",
    "refine",
    "synchronize",
    "two_sided",
    "world_of_board",
    "write_calibration_report",
    "write_keypoint_calibration_report",
    "write_refinement_report",
]
