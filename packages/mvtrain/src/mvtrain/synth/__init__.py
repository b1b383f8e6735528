"""Synthetic projects: a textured quadruped that walks among calibrated cameras, with exact 2D and 3D labels.

For quickstarts, tests and ablations: the same spec gives the same bytes. The world's unit is mm, its floor is z = 0, z
points up.
"""

from mvtrain.synth.animal import KEYPOINT_NAMES
from mvtrain.synth.generate import generate_project
from mvtrain.synth.spec import SyntheticSpec

__all__ = ["KEYPOINT_NAMES", "SyntheticSpec", "generate_project"]
