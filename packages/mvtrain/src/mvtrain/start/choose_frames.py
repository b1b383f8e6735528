"""Candidate frames of a session's videos, and the choice of those that bring all others nearest to a chosen one."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import cv2
import numpy as np

from mvgeom.videos import Video, read_frames
from mvtrain.check.image_checks import FLOOR, NEAR, SIDE, image_distances, thumbnail, typical_distance
from mvtrain.runtime.prefetch import prefetch
from mvtrain.start.frame_measures import BackboneFeatures, ImageMeasures, measure_image, to_gray

TIME_WEIGHT = 1.0
"""Distance of two frames as far apart as the whole film, beside 1 for the appearance of two typical frames."""

_IMAGES_AHEAD = 16
"""Candidates of each video that are decoded ahead."""

_BATCH = 16
"""Frames whose images the backbone describes together."""


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
    appearance = _distances(features, readable, num_candidates, floor=1e-9)
    times = np.concatenate([candidates.times, existing.times])
    apart = np.abs(candidates.times[:, None] - times)
    squares = appearance**2 + (TIME_WEIGHT * np.where(np.isnan(apart), 1.0, apart)) ** 2
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


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredImage:
    """One view of a candidate.

    Attributes:
        measures: Measures of the image; None where it cannot be decoded.
        thumbnail: (P,) gray levels of the small image.
        prepared: (h, w, 3) input of the backbone; None without a backbone, or where the image cannot be decoded.
    """

    measures: ImageMeasures | None
    thumbnail: np.ndarray
    prepared: np.ndarray | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """Candidate frames of a session.

    Attributes:
        numbers: (M,) frame numbers, ascending.
        measures: M x V measures; None where an image cannot be decoded.
        appearance: Appearance of the frames.
    """

    numbers: np.ndarray
    measures: list[list[ImageMeasures | None]]
    appearance: Appearance


def sample_numbers(num_frames: int, most: int, seed: int, session: str, taken: Sequence[int]) -> np.ndarray:
    """Choose the frames of a film to look at: one at random in each of `most` equal parts of its time.

    Args:
        num_frames: Number of frames of the film.
        most: Number of frames to look at; a film with fewer is looked at as a whole.
        seed: Random seed.
        session: Name of the session; sessions have streams of their own.
        taken: Frames that are in the project already and are left out.
    """
    edges = np.linspace(0, num_frames, min(most, num_frames) + 1).astype(np.int64)
    # A film that has given frames is looked at elsewhere: what is rare and was missed would be missed forever.
    generator = np.random.default_rng([seed, zlib.crc32(session.encode()), *([len(taken)] if taken else [])])
    numbers = generator.integers(edges[:-1], edges[1:])
    return np.setdiff1d(numbers, np.asarray(taken, dtype=np.int64))


def film_times(numbers: np.ndarray, num_frames: int) -> np.ndarray:
    """Return the times of frames as a share of the film, from 0 to 1."""
    return np.asarray(numbers / max(1, num_frames - 1), dtype=np.float64)


def scan_candidates(
    videos: Sequence[Video],
    numbers: np.ndarray,
    num_frames: int,
    features: BackboneFeatures | None,
    advance: Callable[[int], object],
) -> Candidates:
    """Decode the videos of a session once, in threads; of each candidate only small arrays stay in memory.

    Args:
        videos: One video per view.
        numbers: (M,) frame numbers, ascending.
        num_frames: Number of frames of the film.
        features: Backbone that describes the images; None describes them by their thumbnails.
        advance: Function that is called with each candidate's frame number when it is done.
    """
    thumbnails: list[list[np.ndarray]] = []
    measures: list[list[ImageMeasures | None]] = []
    described: list[np.ndarray] = []
    with ExitStack() as stack:
        streams = [
            stack.enter_context(closing(prefetch(_measure_video(video, numbers, features), _IMAGES_AHEAD)))
            for video in videos
        ]
        waiting: list[tuple[MeasuredImage, ...]] = []
        for number, views in zip(numbers, zip(*streams, strict=True), strict=True):
            thumbnails.append([view.thumbnail for view in views])
            measures.append([view.measures for view in views])
            if features is not None:
                waiting.append(views)
                if len(waiting) == _BATCH or number == numbers[-1]:
                    described.append(_describe(waiting, features))
                    waiting = []  # inputs of the backbone are large
            advance(int(number))
    shape = (len(numbers), len(videos))
    pixels = np.array(thumbnails, dtype=np.uint8).reshape(*shape, SIDE**2)
    values: np.ndarray = pixels
    if features is not None:
        values = np.concatenate([np.zeros((0, len(videos), features.num_features), np.float32), *described])
    readable = np.array([[entry is not None for entry in row] for row in measures], dtype=bool).reshape(shape)
    return Candidates(
        numbers=numbers,
        measures=measures,
        appearance=Appearance(
            thumbnails=pixels,
            features=values,
            readable=readable,
            times=film_times(numbers, num_frames),
        ),
    )


def _measure_video(video: Video, numbers: np.ndarray, features: BackboneFeatures | None) -> Generator[MeasuredImage]:
    """Yield the measures of the wanted frames of one video; those after its end are not decodable."""
    wanted = set(numbers.tolist())
    near = {number - back for number in wanted for back in range(3)}
    grays: list[np.ndarray | None] = [None, None, None]
    done, last = 0, int(numbers[-1]) if len(numbers) else -1
    with closing(read_frames(video, is_wanted=near.__contains__)) as images:
        for number, image in enumerate(images):
            if number in near:
                grays = [*grays[1:], None if image is None else to_gray(image)]
            if number in wanted:
                yield _measure(image, grays, features)
                done += 1
            if number >= last:
                break
    for _ in range(done, len(numbers)):
        yield _measure(None, grays, features)


def _measure(
    image: np.ndarray | None, grays: list[np.ndarray | None], features: BackboneFeatures | None
) -> MeasuredImage:
    if image is None:
        return MeasuredImage(measures=None, thumbnail=np.zeros(SIDE**2, np.uint8), prepared=None)
    return MeasuredImage(
        measures=measure_image(grays),
        thumbnail=thumbnail(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).ravel(),
        prepared=None if features is None else features.prepare(image),
    )


def _describe(rows: Sequence[tuple[MeasuredImage, ...]], features: BackboneFeatures) -> np.ndarray:
    """Return (n, V, F) features of frames; a missing image is described as a black one."""
    black = np.zeros((*features.size, 3), np.uint8)
    images = [black if view.prepared is None else view.prepared for views in rows for view in views]
    return features.describe(np.stack(images)).reshape(len(rows), len(rows[0]), -1)
