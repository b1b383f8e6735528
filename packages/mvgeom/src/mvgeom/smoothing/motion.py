"""The prior: a velocity that is a Brownian motion, and errors of the views that decay exponentially (AR(1)).

Integrated Brownian motion (constant velocity, disturbed by white acceleration) has one parameter, no preferred place,
speed or direction, and is exact for any spacing of frames. A stationary prior such as a Matérn process would pull
towards a place, and needs a time scale that still and running animals do not share.

The state is [position (D), errors of the views (E), velocity (D)]: what is observed comes first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mvgeom.smoothing.state_space import Prior

__all__ = ["make_prior"]

Floats = npt.NDArray[np.float64]

FIRST_POSITION = 1e4
"""Prior standard deviation of the first position in units of the noise of positions: no information."""

FIRST_SPEED = 1e3
"""The same of the first velocity, per unit of time."""

LONGEST_STEP = 1e4
"""Unit of time; a longer pause is one of this length, which forgets the motion before it as well, and whose variances
can still be told from those of a frame in double precision."""


def make_prior(first: Floats, times: Floats, intensity: Floats, num_errors: int, decay: float) -> Prior:
    """Return the prior of B trajectories.

    Args:
        first: (B, D) rough first positions, in units of the noise of positions.
        times: (T,) times, increasing; steps above `LONGEST_STEP` count as that.
        intensity: (T-1, B) intensities of the white acceleration.
        num_errors: Number E of correlated errors, each with variance 1 and independent of the others.
        decay: Correlation of an error with itself one unit of time later.
    """
    batch, dims = first.shape
    size = 2 * dims + num_errors
    position, errors, velocity = np.split(np.arange(size), [dims, dims + num_errors])
    duration = np.minimum(np.diff(times), LONGEST_STEP)[:, None]
    transition = np.zeros((len(duration), size, size))
    transition[:, position, position] = transition[:, velocity, velocity] = 1.0
    transition[:, position, velocity] = duration
    transition[:, errors, errors] = decay**duration
    disturbance = np.zeros_like(transition)
    disturbance[:, position, position] = duration**3 / 3
    disturbance[:, position, velocity] = disturbance[:, velocity, position] = duration**2 / 2
    disturbance[:, velocity, velocity] = duration
    innovation = np.zeros_like(transition)
    innovation[:, errors, errors] = 1 - decay ** (2 * duration)
    spread = np.repeat([FIRST_POSITION, 1.0, FIRST_SPEED], [dims, num_errors, dims])
    return Prior(
        mean=np.concatenate([first, np.zeros((batch, size - dims))], axis=-1),
        covariance=np.diag(spread**2),
        transition=transition,
        disturbance=disturbance,
        intensity=intensity,
        innovation=innovation,
        moving=np.concatenate([position, velocity]),
    )
