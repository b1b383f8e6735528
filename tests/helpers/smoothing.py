"""Noise for tests of smoothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mvgeom import Noise


def make_noise(num_views: int, num_keypoints: int, **changes: object) -> Noise:
    """Noise of 2 px, independent between frames, but for the changes."""
    noise = Noise(
        scale=np.ones(num_views),
        floor=np.full(num_views, 2.0),
        keypoint=np.ones(num_keypoints),
        share=0.0,
        decay=0.0,
        motion=np.full(num_keypoints, 1e-6),
        outliers=0.01,
    )
    return replace(noise, **changes)
