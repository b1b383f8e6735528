"""Smooth trajectories with uncertainty: a prior of motion, calibrated projections, and noise learned by left-out views.

- `smoother`: the functions; `arguments`: their checks; `passes`: one pass after another, outliers and activity.
- `learning`: the noise of views, keypoints and motion; `noise`: what it is; `stretches`: the frames it is learned from;
  `cross_validation`: left-out views, which test it; `interval_factor`: what their residuals show beside it.
- `bones`: lengths that couple the keypoints of a frame.
- `shared_error`: what no left-out view can show, and labels can.
- `trajectories`: one pass, linearized; `motion`: the prior; `state_space`: filter and smoother.
"""

from mvgeom.smoothing.bones import Bone, named_bones
from mvgeom.smoothing.noise import Noise, covariance_from_likelihood
from mvgeom.smoothing.shared_error import SharedError
from mvgeom.smoothing.smoother import Smoothed, learn_noise, smooth
from mvgeom.smoothing.stretches import FEW_FRAMES, is_determined, learning_rows

__all__ = [
    "FEW_FRAMES",
    "Bone",
    "Noise",
    "SharedError",
    "Smoothed",
    "covariance_from_likelihood",
    "is_determined",
    "learn_noise",
    "learning_rows",
    "named_bones",
    "smooth",
]
