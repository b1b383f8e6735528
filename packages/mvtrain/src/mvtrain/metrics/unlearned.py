"""Signs that a network has not learned: keypoints without a peak, errors no better than the mean pose's."""

from __future__ import annotations

import numpy as np

from mvtrain.model.decode import WINDOW_RADIUS

_FLAT, _PEAKED = 0.1, 0.3
"""Confidence above that of a flat heatmap, from 0 to 1: below the first a keypoint has no peak; the best quarter of the
keypoints must lie above the second, or the network as a whole has not trained long enough to single out a keypoint."""


def flat_confidence(heatmap_size: tuple[int, int]) -> float:
    """Return the confidence of a flat heatmap: the share of its pixels in the decoding window.

    Args:
        heatmap_size: Height and width in heatmap px.
    """
    side = 2 * WINDOW_RADIUS + 1
    height, width = heatmap_size
    return min(side, height) * min(side, width) / (height * width)


def starving_keypoints(confidence: np.ndarray, visible: np.ndarray, heatmap_size: tuple[int, int]) -> dict[int, float]:
    """Find the keypoints without a peak while others have one.

    Args:
        confidence: (N, V, K) in [0, 1], the network's own, NaN for views without an image.
        visible: (N, V, K) True where a label is visible; only these count.
        heatmap_size: Height and width in heatmap px.

    Returns:
        Median confidence by number of the keypoint, lowest first; empty if no keypoint starves.
    """
    flat = flat_confidence(heatmap_size)
    medians = {}
    for keypoint in range(confidence.shape[-1]):
        known = confidence[..., keypoint][visible[..., keypoint]]
        known = known[np.isfinite(known)]
        if len(known):
            medians[keypoint] = float(np.median(known))
    if not medians or flat >= 1:
        return {}
    above = {keypoint: (median - flat) / (1 - flat) for keypoint, median in medians.items()}
    if np.quantile(list(above.values()), 0.75) < _PEAKED:
        return {}
    return {keypoint: medians[keypoint] for keypoint in sorted(above, key=above.__getitem__) if above[keypoint] < _FLAT}


def describe_starving(starving: dict[int, float], keypoint_names: tuple[str, ...], heatmap_loss: str) -> str:
    """Name the starving keypoints and the remedies, in one line."""
    named = ", ".join(f"{keypoint_names[keypoint]} ({median:.2f})" for keypoint, median in starving.items())
    other_loss = "" if heatmap_loss == "kl" else "model.heatmap_loss_type=kl, "
    return (
        f"keypoints without a peak while others have one (median confidence): {named}. Try {other_loss}"
        "training.optimizer_params.learning_rate=1e-3 or more epochs, and check their labels (mvtrain check)."
    )
