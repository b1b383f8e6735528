"""Cameras for images that are turned by quarters: other pixels of the same rays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_numpy_array

from mvgeom._arrays import Array
from mvgeom.errors import InputError

__all__ = ["quarter_turn"]

_VECTORS = ((3, 2), (8, 10), (9, 11))
"""Indices of coefficients that are x and y of a vector in the image: p2 p1, s1 s3, s2 s4.

The tangential terms are 2 (p . x) x + r^2 p with p = (p2, p1), the thin-prism terms r^2 (s1, s3) + r^4 (s2, s4).
"""
_TILT = slice(12, 14)


def quarter_turn(
    names: Sequence[str],
    clockwise: Sequence[int],
    *,
    sizes: Array,
    matrix: Array,
    distortion: Array,
    rotation: Array,
    translation: Array,
    fisheye: Sequence[bool],
) -> dict[str, Array]:
    """Return the fields of cameras whose images are turned clockwise by the given number of quarters, 0 to 3.

    Args:
        names: V names, for messages.
        clockwise: Number of quarters by view.
        sizes: Field of `CameraGroup`, as the following are.
        matrix: Matrices.
        distortion: Coefficients.
        rotation: Rotations.
        translation: Translations.
        fisheye: True for fisheye lenses, whose coefficients are those of a radius, the same in turned images.
    """
    xp = array_namespace(matrix)
    odd = np.array([quarters % 2 == 1 for quarters in clockwise])
    _check(names, matrix, distortion, odd)

    def like(values: Any) -> Array:
        return xp.asarray(values, dtype=matrix.dtype, device=matrix.device)

    turns = np.array([[[0, 1], [1, 0], [0, -1], [-1, 0]][quarters] for quarters in clockwise], dtype=np.float64)
    sine, cosine = (like(turns[:, column]) for column in (0, 1))
    zero, one = xp.zeros_like(sine), xp.ones_like(sine)
    turn = xp.stack(
        [
            xp.stack([cosine, -sine, zero], axis=-1),
            xp.stack([sine, cosine, zero], axis=-1),
            xp.stack([zero, zero, one], axis=-1),
        ],
        axis=-2,
    )
    # A turned image begins at another corner, at (0, 0) again.
    last = sizes - 1
    start = xp.stack(
        [cosine * last[..., 0] - sine * last[..., 1], sine * last[..., 0] + cosine * last[..., 1]], axis=-1
    )
    shift = xp.maximum(-start, xp.zeros_like(start))
    moved = turn @ matrix @ xp.permute_dims(turn, (0, 2, 1))
    corner = xp.concat([shift, xp.zeros_like(shift[..., :1])], axis=-1)[..., None] * like([[0.0, 0.0, 1.0]])
    brown = like([not each for each in fisheye])
    swap = like(odd.astype(np.float64))[:, None]
    return {
        "sizes": sizes * (1 - swap) + xp.flip(sizes, axis=-1) * swap,
        "matrix": moved + corner,
        "distortion": _turn_coefficients(distortion, brown * sine, 1 - brown + brown * cosine),
        "rotation": turn @ rotation,
        "translation": (turn @ translation[..., None])[..., 0],
    }


def _turn_coefficients(distortion: Array, sine: Array, cosine: Array) -> Array:
    xp = array_namespace(distortion)
    columns = [distortion[..., column] for column in range(distortion.shape[-1])]
    for x, y in _VECTORS:
        if y < len(columns) and x < len(columns):
            columns[x], columns[y] = cosine * columns[x] - sine * columns[y], sine * columns[x] + cosine * columns[y]
    for column in range(*_TILT.indices(len(columns))):
        columns[column] = cosine * columns[column]  # refused for odd quarters
    return xp.stack(columns, axis=-1) if columns else distortion


def _check(names: Sequence[str], matrix: Array, distortion: Array, odd: np.ndarray) -> None:
    """Refuse what has no turned counterpart in the model; only NumPy arrays, values on a device are not read."""
    if not is_numpy_array(matrix):
        return
    skewed = odd & (matrix[..., 0, 1] != 0).reshape(-1, len(names)).any(axis=0)
    tilted = odd & (distortion[..., _TILT] != 0).any(-1).reshape(-1, len(names)).any(axis=0)
    for view in np.flatnonzero(skewed | tilted).tolist():
        what = "skew" if skewed[view] else "a tilted sensor (coefficients 13 and 14)"
        raise InputError(
            f"camera {names[view]!r} has {what}, which no lens model has for images turned by 90 degrees. Calibrate it "
            "from the turned images",
            code="unsupported-camera",
            view=names[view],
        )
