"""`Lens`: the parameters of a camera's lens that a calibration estimates."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.bundle import NUM_POSE, Booleans
from mvgeom.calibration.lens_jacobian import NUM_INTRINSICS
from mvgeom.errors import InputError

__all__ = ["LENSES", "Lens", "free_parameters", "square_pixels"]

LENSES = (0, 1, 2, 4, 5, 8, 12, 14)
"""Allowed numbers of distortion coefficients; 1 and 2 are radial only."""

_MOST_CHOSEN = 5


@dataclass(frozen=True, kw_only=True)
class Lens:
    """Parameters of a lens that a calibration estimates.

    Attributes:
        num_coefficients: Number of distortion coefficients: 0, 1 or 2 (radial), 4, 5, 8, 12 or 14 of OpenCV's
            Brown-Conrady model; 0, 1, 2 or 4 (all radial) for fisheye. None chooses up to 5 (4 for fisheye) by boards
            that are left out of the fit; see `choose_lens`.
        fisheye: True for the Kannala-Brandt model.
        square_pixels: True for one focal length, fx = fy.
        fix_center: True to keep the principal point: at the center of the image, or as given.
        fix_intrinsics: True to keep focal lengths and principal point as given.
        fix_distortion: True to keep the distortion coefficients as given.

    Raises:
        InputError: `unknown-choice`, if no lens model has this number of coefficients.
    """

    num_coefficients: int | None = None
    fisheye: bool = False
    square_pixels: bool = False
    fix_center: bool = False
    fix_intrinsics: bool = False
    fix_distortion: bool = False

    def __post_init__(self) -> None:
        allowed = tuple(count for count in LENSES if not self.fisheye or count <= 4)
        if self.num_coefficients is not None and self.num_coefficients not in allowed:
            raise InputError(
                f"num_coefficients: found {self.num_coefficients}, expected one of {allowed}"
                f"{' for a fisheye lens' if self.fisheye else ''}",
                code="unknown-choice",
                argument="num_coefficients",
                found=self.num_coefficients,
            )

    @property
    def most_coefficients(self) -> int:
        """Number of coefficients, or the largest that may be chosen."""
        if self.num_coefficients is not None:
            return self.num_coefficients
        return 4 if self.fisheye else _MOST_CHOSEN

    @property
    def stored_coefficients(self) -> int:
        """Length of the stored distortion array: the next length that OpenCV supports."""
        return 4 if self.fisheye else {1: 4, 2: 4}.get(self.most_coefficients, self.most_coefficients)

    def with_coefficients(self, count: int) -> Lens:
        """Return the lens with another number of coefficients."""
        return dataclasses.replace(self, num_coefficients=count)

    def free(self, num_views: int, stored: int) -> Booleans:
        """Return booleans (V, 6 + 4 + stored), true for free parameters: pose and lens parameters to estimate."""
        free = np.ones((num_views, NUM_POSE + NUM_INTRINSICS + stored), dtype=bool)
        free[:, NUM_POSE : NUM_POSE + NUM_INTRINSICS] = not self.fix_intrinsics
        free[:, NUM_POSE + 2 : NUM_POSE + NUM_INTRINSICS] &= not self.fix_center
        free[:, NUM_POSE + NUM_INTRINSICS :] = not self.fix_distortion
        free[:, NUM_POSE + NUM_INTRINSICS + self.most_coefficients :] = False
        return free

    def square(self, num_views: int) -> Booleans:
        """Return booleans (V,), true if fx and fy change together."""
        return np.full(num_views, self.square_pixels)


def free_parameters(lenses: Sequence[Lens], stored: int) -> Booleans:
    """Return booleans (V, 6 + 4 + stored), true for the free parameters of V cameras with a lens each."""
    return np.concatenate([lens.free(1, stored) for lens in lenses])


def square_pixels(lenses: Sequence[Lens]) -> Booleans:
    """Return booleans (V,), true for cameras with one focal length."""
    return np.array([lens.square_pixels for lens in lenses])
