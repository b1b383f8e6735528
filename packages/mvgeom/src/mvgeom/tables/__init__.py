"""CSV tables: keypoints of one view, keypoints in 3D, bounding boxes."""

from mvgeom.tables.box_tables import (
    LabeledBoxes,
    read_labeled_boxes,
    read_video_boxes,
    write_labeled_boxes,
    write_video_boxes,
)
from mvgeom.tables.keypoint_tables import (
    COORDS_3D,
    KeypointTable,
    ViewStack,
    read_keypoints,
    stack_views,
    write_points_3d,
)

__all__ = [
    "COORDS_3D",
    "KeypointTable",
    "LabeledBoxes",
    "ViewStack",
    "read_keypoints",
    "read_labeled_boxes",
    "read_video_boxes",
    "stack_views",
    "write_labeled_boxes",
    "write_points_3d",
    "write_video_boxes",
]
