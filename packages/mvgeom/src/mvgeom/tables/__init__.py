"""Tables: keypoints of one view in many formats, keypoints in 3D, bounding boxes."""

from mvgeom.tables.box_tables import (
    LabeledBoxes,
    read_labeled_boxes,
    read_video_boxes,
    write_labeled_boxes,
    write_video_boxes,
)
from mvgeom.tables.cells import MISSING_CELLS, find_delimiter, find_number_format, has_decimal_commas, to_decimal_point
from mvgeom.tables.covariance_columns import COORDS_COVARIANCE, covariance_from_columns, covariance_to_columns
from mvgeom.tables.keypoint_tables import KeypointTable
from mvgeom.tables.kinematics_table import (
    COORDS_KINEMATICS,
    KinematicsTable,
    read_kinematics,
    write_kinematics,
)
from mvgeom.tables.known_positions import read_positions
from mvgeom.tables.points_3d import COORDS_3D, write_points_3d
from mvgeom.tables.readers import READERS, KeypointReader, find_keypoints, read_keypoint_blocks, read_keypoints
from mvgeom.tables.readers.hdf5 import H5_ERRORS, check_structure, read_pandas_table
from mvgeom.tables.view_points import COORDS_VIEW, ViewPoints, write_view_blocks, write_view_points
from mvgeom.tables.view_stack import ViewStack, stack_views

__all__ = [
    "COORDS_3D",
    "COORDS_COVARIANCE",
    "COORDS_KINEMATICS",
    "COORDS_VIEW",
    "H5_ERRORS",
    "MISSING_CELLS",
    "READERS",
    "KeypointReader",
    "KeypointTable",
    "KinematicsTable",
    "LabeledBoxes",
    "ViewPoints",
    "ViewStack",
    "check_structure",
    "covariance_from_columns",
    "covariance_to_columns",
    "find_delimiter",
    "find_keypoints",
    "find_number_format",
    "has_decimal_commas",
    "read_keypoint_blocks",
    "read_keypoints",
    "read_kinematics",
    "read_labeled_boxes",
    "read_pandas_table",
    "read_positions",
    "read_video_boxes",
    "stack_views",
    "to_decimal_point",
    "write_kinematics",
    "write_labeled_boxes",
    "write_points_3d",
    "write_video_boxes",
    "write_view_blocks",
    "write_view_points",
]
