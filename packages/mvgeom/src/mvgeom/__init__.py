"""Camera geometry for several calibrated cameras: projection, triangulation, bounding boxes, calibration."""

from mvgeom import affine, boxes
from mvgeom.cameras import CameraGroup
from mvgeom.projection import (
    distort,
    epipolar_distance,
    in_image,
    invertible_radius,
    project,
    rays,
    undistort,
    visible,
    world_to_camera,
)
from mvgeom.robust import RobustTriangulation, triangulate_robust
from mvgeom.triangulation import (
    covariance,
    pair_parallax,
    reprojection_error,
    triangulate,
    triangulate_pairs,
)

__all__ = [
    "CameraGroup",
    "RobustTriangulation",
    "affine",
    "boxes",
    "covariance",
    "distort",
    "epipolar_distance",
    "in_image",
    "invertible_radius",
    "pair_parallax",
    "project",
    "rays",
    "reprojection_error",
    "triangulate",
    "triangulate_pairs",
    "triangulate_robust",
    "undistort",
    "visible",
    "world_to_camera",
]
