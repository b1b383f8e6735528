"""Geometry-consistent augmentation for several calibrated cameras.

`Augmentation` holds what to do, `augment_sample` does it to all views of one frame: the subject is moved in 3D, each
view follows by one affine map, each image is warped once, and every map is returned. `register_photometric` and
`register_geometric` add transforms of your own.
"""

import mvgeom  # noqa: F401 - limits OpenCV's decoders, and so must come before OpenCV
from mvaug.augment import Augmentation, AugmentedSample, augment_sample
from mvaug.fit import fit_affine, fit_residual, fit_similarity
from mvaug.mirror import mirrored_order
from mvaug.move import Move, MoveOutcome, MoveRanges
from mvaug.parameters import Draws, Parameter
from mvaug.register import register_geometric, register_photometric
from mvaug.warp import shrink_factors, warp_image

__version__ = "0.1.0"

__all__ = [
    "Augmentation",
    "AugmentedSample",
    "Draws",
    "Move",
    "MoveOutcome",
    "MoveRanges",
    "Parameter",
    "augment_sample",
    "fit_affine",
    "fit_residual",
    "fit_similarity",
    "mirrored_order",
    "register_geometric",
    "register_photometric",
    "shrink_factors",
    "warp_image",
]


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
