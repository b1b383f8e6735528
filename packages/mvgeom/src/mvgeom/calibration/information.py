"""Covariances from normal equations, also where these do not determine all parameters."""

from __future__ import annotations

import numpy as np
from scipy.linalg import null_space

from mvgeom.calibration.boards import Floats

__all__ = ["at_least_tiny", "invert_information"]

_LEAST = 1e-14
"""Information of a combination of parameters that counts as none, as a fraction of the largest: rounding errors."""


def invert_information(system: Floats, hidden: Floats | None = None) -> tuple[Floats, int]:
    """Invert normal equations (P, P); what they do not determine has a very large variance.

    A pseudo-inverse leaves out such directions, so that their variance is 0: the opposite of the truth. Here it is 1e14
    times the least variance of any direction: finite, so that it can be propagated.

    Args:
        system: Symmetric matrix, positive semidefinite but for rounding errors. Parameters may have any scale.
        hidden: (P, M) directions that have no variance by convention, such as motions of the world; None for none.

    Returns:
        The inverse, and the number of directions without information, hidden ones included.
    """
    if not len(system):
        return system, 0
    scale = 1 / np.sqrt(at_least_tiny(np.diag(system)))
    without = np.eye(len(system)) if hidden is None or not hidden.size else null_space((hidden / scale[:, None]).T)
    values, vectors = np.linalg.eigh(without.T @ (scale[:, None] * system * scale) @ without)
    least = _LEAST * values.max(initial=1.0)
    root = scale[:, None] * (without @ vectors) / np.sqrt(np.maximum(values, least))
    return root @ root.T, len(system) - int((values > least).sum())


def at_least_tiny(diagonal: Floats) -> Floats:
    """Return diagonals (..., n) of normal equations, with zeros replaced by a tiny fraction of the largest entry."""
    floor = 1e-12 * diagonal.max(axis=-1, keepdims=True)
    return np.maximum(diagonal, np.where(floor > 0, floor, 1.0))
