"""Cameras whose offsets in time are not determined, or uncertain, as findings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.findings import Finding, describe_shift, error, warning
from mvgeom.calibration.shift_curves import Offset
from mvgeom.wording import counted

__all__ = ["find_uncertain_clocks"]

_UNCERTAIN = 0.25
"""Standard deviation in frames above which an offset is uncertain."""

_UNKNOWN = 1.5
"""Standard deviation in frames above which an offset is unknown."""

_LARGE_DRIFT = 1.5e-3
"""Frames per frame that no pair of clocks gains; 29.97 beside 30 frames per second is 1e-3."""


def find_uncertain_clocks(
    names: tuple[str, ...],
    offsets: Floats,
    deviations: Floats,
    drifts: Floats,
    placed: Mapping[int, Offset],
    longest: int,
) -> list[Finding]:
    """Describe the cameras whose offsets are not determined, or uncertain; the reference only if it is the cause.

    Args:
        names: V camera names, the reference first.
        offsets: (V,) offsets in frames; NaN if undetermined.
        deviations: (V,) their standard deviations.
        drifts: (V,) frames gained per frame.
        placed: Offsets by whole frames, by camera index.
        longest: Largest offset that was tried.
    """
    unsolved = {view for view in range(len(names)) if view not in placed or placed[view].problem is not None}
    if len(unsolved) >= len(names) - 1:
        unsolved = set(range(1, len(names)))
    findings = []
    for view, name in enumerate(names):
        where = f"camera {name!r}: its offset in time"
        offset, deviation = float(offsets[view]), float(deviations[view])
        facts = {"offset": offset, "offset_std": deviation}
        if view in unsolved:
            found = placed.get(view, Offset((0.0, 0.0), 0.0, "few", (0.0, 0.0)))
            certainty = float(np.nan_to_num(found.certainty, posinf=0.0))
            text = f"{where} cannot be determined: {_reason(found, certainty, longest)}"
            findings.append(error("offset_undetermined", [name], text, certainty=certainty, rival=found.rival))
        elif deviation > _UNKNOWN:
            amount = f"{deviation:.1f}" if deviation < longest else f"more than {longest}"
            text = (
                f"{where} cannot be determined: it is {offset:+.1f} frames, uncertain by {amount}. There is too "
                "little motion, or the calibration is off. Record faster motion"
            )
            findings.append(error("offset_undetermined", [name], text, **facts))
        elif deviation > _UNCERTAIN:
            text = (
                f"{where}, {offset:+.2f} frames, is uncertain by {deviation:.2f} frames: too little motion, or the "
                "calibration is off"
            )
            findings.append(warning("uncertain_offset", [name], text, **facts))
        drift = float(drifts[view])
        if view not in unsolved and abs(drift) > _LARGE_DRIFT:
            text = (
                f"camera {name!r}: its clock would gain {1e6 * drift:+.0f} parts per million, those of cameras gain "
                "less than 100. Frames were lost in it, or its frame rate is another. Look where, and sync the parts"
            )
            findings.append(warning("large_drift", [name], text, drift=drift))
    return findings


def _reason(found: Offset, certainty: float, longest: int) -> str:
    """Return the reason why an offset is not determined, and what to do."""
    if found.problem == "ambiguous":
        return (
            f"an offset {describe_shift(found.rival, 'later', 'earlier')} fits about as well. The motion is periodic, "
            "or the calibration is off. Record irregular motion, or lower --longest"
        )
    if found.problem == "wandering":
        return (
            f"it is {counted(abs(found.rival), 'frame')} another at the start than at the end of the recording, but no "
            "drift of the clock explains it. Frames were lost, or there is too little motion. Look where, and sync the "
            "parts"
        )
    if found.problem == "limit":
        return f"the best one is the largest that was tried, {counted(longest, 'frame')}. Give a larger --longest"
    if found.problem == "few":
        return "it shares too few keypoints with the other cameras, in frames that follow each other"
    return (
        f"the motion in its image agrees with the others' no more than by chance ({certainty:.1f} standard deviations, "
        "5 are needed), or not at one offset. The subject is still, moves along the epipolar lines, or the calibration "
        "is of another rig. Record faster, irregular motion"
    )
