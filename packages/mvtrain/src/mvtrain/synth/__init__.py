"""Synthetic projects: a textured quadruped, walking among calibrated cameras, with exact 2D and 3D truth.

For quickstarts, tests and ablations: same spec, same bytes. The world's unit is mm, its floor is z = 0, z points up.
"""

from mvtrain.synth.generate import generate_project
from mvtrain.synth.skeleton import KEYPOINT_NAMES
from mvtrain.synth.spec import SyntheticSpec

__all__ = ["KEYPOINT_NAMES", "SyntheticSpec", "generate_project"]
