"""What writers are told beside the predictions."""

from __future__ import annotations

from dataclasses import dataclass

from mvgeom import CameraGroup

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
"""Units that a calibration can be in."""


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """Options of one recording.

    Attributes:
        frame_rate: frames per second; None where it is not known.
        cameras: in the order of the views; None where there are none.
        unit: of the calibration, a key of `METRES`; None where the user did not say.
        up: axis of the world that points up, "y" or "z".
    """

    frame_rate: float | None
    cameras: CameraGroup | None
    unit: str | None
    up: str
