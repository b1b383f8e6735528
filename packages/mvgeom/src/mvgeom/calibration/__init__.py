"""Calibration of rigs from images of a board, and refinement from keypoints of the subject.

`detect_boards` finds board corners, `calibrate` computes a rig from them, `refine` adjusts a calibration to keypoints,
and `check` finds cameras that disagree with the others. Each result has `findings`: problems, described with text and
numbers.
"""

from mvgeom.calibration.boards import Board, CharucoBoard, Chessboard
from mvgeom.calibration.calibrate import Options, calibrate
from mvgeom.calibration.detections import Detections, detect_boards, from_points
from mvgeom.calibration.diagnosis import Check, check
from mvgeom.calibration.findings import CalibrationError, Finding
from mvgeom.calibration.from_keypoints import KeypointCalibration, calibrate_from_keypoints
from mvgeom.calibration.keypoint_refinement import Refinement, refine
from mvgeom.calibration.known_lengths import KnownLength
from mvgeom.calibration.lens_model import Lens
from mvgeom.calibration.lenses import LensCalibration, calibrate_lenses
from mvgeom.calibration.report import write_calibration_report, write_refinement_report
from mvgeom.calibration.result import Calibration
from mvgeom.calibration.sources import Source, open_source

__all__ = [
    "Board",
    "Calibration",
    "CalibrationError",
    "CharucoBoard",
    "Check",
    "Chessboard",
    "Detections",
    "Finding",
    "KeypointCalibration",
    "KnownLength",
    "Lens",
    "LensCalibration",
    "Options",
    "Refinement",
    "Source",
    "calibrate",
    "calibrate_from_keypoints",
    "calibrate_lenses",
    "check",
    "detect_boards",
    "from_points",
    "open_source",
    "refine",
    "write_calibration_report",
    "write_refinement_report",
]
