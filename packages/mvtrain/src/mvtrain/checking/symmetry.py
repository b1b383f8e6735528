"""Whether keypoints named left and right mirror each other: names over wrong columns show in the proportions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mvaug import mirrored_order
from mvgeom.calibration.findings import Finding, warning

_ENOUGH_FRAMES = 5
_ENOUGH_DISTANCES = 3
_UNEQUAL = 1.25
"""Median ratio of distances on one side to those on the other. 1.07 on generated projects, and on human4 once its names
are put right; 1.35 on human4 as it comes."""


@dataclass(frozen=True, kw_only=True)
class Distances:
    """The same two parts of the body on both sides.

    Attributes:
        one: two keypoints of one side.
        other: their counterparts.
        lengths: median distances of the two on either side, in world units.
    """

    one: tuple[int, int]
    other: tuple[int, int]
    lengths: tuple[float, float]

    @property
    def ratio(self) -> float:
        """The longer over the shorter."""
        return max(self.lengths) / min(self.lengths)


def sides(keypoint_names: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of keypoints that are each other's mirror image, told by their names.

    Raises:
        ValueError: a left or right keypoint without its counterpart.
    """
    return [(one, other) for one, other in enumerate(mirrored_order(keypoint_names)) if one < other]


def compare_sides(points_3d: np.ndarray, pairs: Sequence[tuple[int, int]]) -> list[Distances]:
    """Distances between keypoints of one side, and those between their counterparts.

    Args:
        points_3d: (N, K, 3) world, NaN where missing.
        pairs: of keypoints that are each other's mirror image.

    Returns:
        One entry for every two pairs whose distances are known in a few frames; the most unequal first.
    """
    found = []
    for (first, first_mirrored), (second, second_mirrored) in combinations(pairs, 2):
        one, other = (first, second), (first_mirrored, second_mirrored)
        lengths = []
        for start, end in (one, other):
            apart = np.linalg.norm(points_3d[:, start] - points_3d[:, end], axis=-1)
            apart = apart[np.isfinite(apart) & (apart > 0)]
            if len(apart) >= _ENOUGH_FRAMES:
                lengths.append(float(np.median(apart)))
        if len(lengths) == 2:
            found.append(Distances(one=one, other=other, lengths=(lengths[0], lengths[1])))
    return sorted(found, key=lambda each: -each.ratio)


def symmetry_findings(
    keypoint_names: Sequence[str], points_3d: np.ndarray, pairs: Sequence[tuple[int, int]]
) -> list[Finding]:
    """A warning where the two sides of the body have different proportions.

    Args:
        keypoint_names: K names.
        points_3d: (N, K, 3) triangulated labels, NaN where missing.
        pairs: of keypoints that are each other's mirror image.
    """
    found = compare_sides(points_3d, pairs)
    if len(found) < _ENOUGH_DISTANCES:
        return []
    typical = float(np.median([each.ratio for each in found]))
    if typical < _UNEQUAL:
        return []

    def told(keypoints: tuple[int, int], length: float) -> str:
        return f"{' to '.join(keypoint_names[k] for k in keypoints)} {length:.3g}"

    shown = "; ".join(" but ".join(map(told, (each.one, each.other), each.lengths)) for each in found[:3])
    text = (
        f"left and right do not mirror each other ({shown}; the median ratio of such distances is {typical:.2f}): are "
        "the keypoint names over the right columns? labels.png shows it. Flips (training.imgaug_hflip) go by the names"
    )
    return [warning("unequal_sides", (), text, ratio=typical, distances=len(found))]
