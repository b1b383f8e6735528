"""Geometry-consistent augmentation for several calibrated cameras.

`Augmentation` reads what a config asks for; `augment_sample` applies it to all views of one moment: the subject is
moved in 3D, each view follows by one affine map, each image is warped once, and every map is handed back.
"""

from mvaug.augment import Augmentation, AugmentedSample, augment_sample
from mvaug.fit import fit_affine, fit_residual, fit_similarity
from mvaug.move import Move, MoveOutcome, MoveRanges
from mvaug.warp import shrink_factors, warp_batch, warp_image

__all__ = [
    "Augmentation",
    "AugmentedSample",
    "Move",
    "MoveOutcome",
    "MoveRanges",
    "augment_sample",
    "fit_affine",
    "fit_residual",
    "fit_similarity",
    "shrink_factors",
    "warp_batch",
    "warp_image",
]
