"""Animals of a SLEAP frame: labels made by hand before predictions, and their points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mvgeom.errors import InputError
from mvtrain.exchange.foreign_labels import ReadOptions
from mvtrain.exchange.sleap_sessions import video_path


def choose_instance(frame: Any, path: Path, options: ReadOptions) -> Any | None:
    """Choose the animal of a frame that a person labeled, else the predicted one; None if there is none.

    Animals without any point do not count, and copies of one animal count once.

    Args:
        frame: Labeled frame of sleap-io.
        path: Path of the file, for messages.
        options: Options with the name of the animal, and the lowest likelihood of predictions if they are wanted.

    Raises:
        InputError: Several animals are labeled, or predicted, and none is chosen (`several-individuals`).
    """
    kinds = [frame.user_instances]
    if options.min_likelihood is not None and int(frame.frame_idx) % options.every == 0:
        kinds.append(frame.predicted_instances)
    for kind in kinds:
        instances: list[Any] = []
        for each in kind:
            points = located_points(each, options.min_likelihood)
            named = options.individual is None or (each.track is not None and each.track.name == options.individual)
            twice = any(
                np.array_equal(points, located_points(other, options.min_likelihood), equal_nan=True)
                for other in instances
            )
            if named and not twice and np.isfinite(points).any():
                instances.append(each)
        if len(instances) > 1:
            tracks = ", ".join("none" if each.track is None else repr(each.track.name) for each in instances)
            raise InputError(
                f"{path}, {video_path(frame.video).name}, frame {frame.frame_idx}: labels of several animals, found "
                f"{len(instances)} (tracks: {tracks}), expected one. Choose it with --individual TRACK",
                code="several-individuals",
                path=path,
                frame=int(frame.frame_idx),
            )
        if instances:
            return instances[0]
    return None


def located_points(instance: Any, min_likelihood: float | None) -> np.ndarray:
    """Return (K, 2) points of an animal; NaN where missing, or where a prediction has too low a likelihood."""
    points = np.asarray(instance.points["xy"], dtype=np.float64)
    located = np.asarray(np.isfinite(points).all(axis=-1))
    if is_predicted(instance) and min_likelihood is not None:
        located &= np.asarray(instance.points["score"]) >= min_likelihood
    return np.where(located[:, None], points, np.nan)


def is_predicted(instance: Any) -> bool:
    """Return True for a prediction of SLEAP, which has likelihoods."""
    return "score" in (instance.points.dtype.names or ())
