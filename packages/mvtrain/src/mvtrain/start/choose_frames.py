"""Choice of frames that cover a film: each next frame brings the film's frames nearest to the chosen ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvtrain.check.duplicates import FLOOR, NEAR, image_distances, typical_distance

TIME_WEIGHT = 1.0
"""Distance of two frames as far apart as the whole film, beside 1 for the appearance of two typical frames."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Appearance:
    """Descriptions of the images of N frames.

    Attributes:
        thumbnails: (N, V, P) gray levels of small images, which decide what a near-duplicate is.
        features: (N, V, F) values whose differences say how different two frames look; may be the thumbnails.
        readable: (N, V) False where there is no image.
        times: (N,) times as a share of the film, from 0 to 1; NaN for frames of other films.
    """

    thumbnails: np.ndarray
    features: np.ndarray
    readable: np.ndarray
    times: np.ndarray

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """Chosen frames.

    Attributes:
        rows: (n,) rows of the candidates, in the order in which they were chosen.
        novelty: (n,) distance of each to the nearest frame that was there before it, 1 for two typical frames of the
            film; infinite for the first.
        num_twins: Number of candidates that are left out as near-duplicates of chosen or existing frames.
    """

    rows: np.ndarray
    novelty: np.ndarray
    num_twins: int


def choose_frames(candidates: Appearance, existing: Appearance, num_frames: int) -> Choice:
    """Choose frames of a film.

    The next frame is always the one after which the sum of the distances from all candidates to their nearest chosen
    or existing frame is smallest. So the first n of more frames are the choice of n, frames that the project has count,
    and the order of the views changes nothing. A candidate whose thumbnails are as near to a chosen or existing frame
    as near-duplicates are (`mvtrain check`) is never chosen.

    Args:
        candidates: Usable frames of the film, with images of all views.
        existing: Frames of the project, of this film and of others; may be none.
        num_frames: Number of frames to choose; fewer where only near-duplicates are left.
    """
    # One order of the views for any input, because sums of rounded numbers depend on it.
    order = sorted(range(candidates.thumbnails.shape[1]), key=lambda view: candidates.thumbnails[:, view].tobytes())
    thumbnails = np.concatenate([candidates.thumbnails[:, order], existing.thumbnails[:, order]])
    features = np.concatenate([candidates.features[:, order], existing.features[:, order]])
    readable = np.concatenate([candidates.readable[:, order], existing.readable[:, order]])
    num_candidates = len(candidates)
    twins = _distances(thumbnails, readable, num_candidates, floor=FLOOR / NEAR) <= NEAR
    looks = _distances(features, readable, num_candidates, floor=1e-9)
    times = np.concatenate([candidates.times, existing.times])
    apart = np.abs(candidates.times[:, None] - times)
    squares = looks**2 + (TIME_WEIGHT * np.where(np.isnan(apart), 1.0, apart)) ** 2
    distances = np.sqrt(squares)
    nearest = distances[:, num_candidates:].min(axis=1, initial=np.inf)
    free = ~twins[:, num_candidates:].any(axis=1)
    within = distances[:, :num_candidates]
    rows: list[int] = []
    novelty: list[float] = []
    while len(rows) < num_frames and free.any():
        left = np.minimum(nearest[:, None], within).sum(axis=0)
        row = int(np.argmin(np.where(free, left, np.inf)))
        rows.append(row)
        novelty.append(float(nearest[row]))
        nearest = np.minimum(nearest, within[:, row])
        free &= ~twins[:, row]
        free[row] = False
    return Choice(
        rows=np.array(rows, dtype=np.int64),
        novelty=np.array(novelty),
        num_twins=int((~free).sum()) - len(rows),
    )


def _distances(values: np.ndarray, readable: np.ndarray, num_candidates: int, *, floor: float) -> np.ndarray:
    """Return (M, M + E) distances of the first M frames from all, 1 for two typical ones of the first M.

    Args:
        values: (M + E, V, P) descriptions of the images.
        readable: (M + E, V) False where there is no image.
        num_candidates: M.
        floor: Smallest unit of the distances.
    """
    pixels = values.astype(np.float64)
    typical = [max(typical_distance(pixels[:num_candidates, view]), floor) for view in range(pixels.shape[1])]
    units = np.tile(typical, (len(pixels), 1))
    return image_distances(pixels, units, readable, np.arange(num_candidates), np.arange(len(pixels)))
