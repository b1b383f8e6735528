"""Camera geometry for several calibrated cameras: projection, triangulation, bounding boxes, calibration."""

from typing import Any

from mvgeom import _image_limit as _image_limit  # first: it must come before OpenCV
from mvgeom import affine, boxes
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.kinematics import Kinematics, compute_kinematics, joints_of_bones
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
from mvgeom.reconstruction import Reconstruction, reconstruct
from mvgeom.robust import RobustTriangulation, triangulate_robust
from mvgeom.smoothing import Bone, Noise, SharedError, Smoothed, learn_noise, smooth
from mvgeom.triangulation import (
    covariance,
    pair_parallax,
    projected_covariance,
    projection_jacobian,
    reprojection_error,
    triangulate,
    triangulate_pairs,
)

__all__ = [
    "Bone",
    "CameraGroup",
    "InputError",
    "Kinematics",
    "Noise",
    "Reconstruction",
    "RobustTriangulation",
    "SharedError",
    "Smoothed",
    "affine",
    "boxes",
    "compute_kinematics",
    "covariance",
    "distort",
    "epipolar_distance",
    "in_image",
    "invertible_radius",
    "joints_of_bones",
    "learn_noise",
    "pair_parallax",
    "project",
    "projected_covariance",
    "projection_jacobian",
    "rays",
    "reconstruct",
    "reprojection_error",
    "smooth",
    "triangulate",
    "triangulate_pairs",
    "triangulate_robust",
    "undistort",
    "visible",
    "world_to_camera",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # reading the package's metadata takes longer than the rest of the import
        from importlib.metadata import version

        return version("mvgeom")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
