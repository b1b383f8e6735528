"""SLEAP's analysis files (HDF5): `tracks`, `point_scores`, `node_names`, `track_names`.

SLEAP and sleap-io store arrays in MATLAB's order, `tracks` as (tracks, 2, nodes, frames); sleap-io can also store
(frames, tracks, nodes, 2) or any other order, which the attribute `dims` then tells. Coordinates are px from the center
of the top-left pixel. Frames are counted from 0. Scores of instances that were labeled by hand are NaN; their
likelihood is 1.
"""

from __future__ import annotations

import warnings
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mvgeom.documents import parse_json
from mvgeom.errors import InputError
from mvgeom.tables.keypoint_tables import Floats, KeypointTable
from mvgeom.tables.readers.columns import choose_individual
from mvgeom.tables.readers.hdf5 import H5_ERRORS, check_structure, has_dataset, import_optional, is_hdf5

__all__ = ["DESCRIPTION", "NAME", "load", "matches"]

NAME = "sleap_analysis"
DESCRIPTION = "SLEAP's analysis HDF5 (.analysis.h5)"

_MATLAB = ("track", "xy", "node", "frame")


def matches(path: Path) -> bool:
    """Return True for an HDF5 file with the dataset `tracks`."""
    return is_hdf5(path) and has_dataset(path, "tracks")


def load(path: Path, individual: str | None = None) -> KeypointTable:
    """Read the tracks of one individual.

    Tracks that are never in the same frame are those of one animal that was lost and found again, and are joined.
    Otherwise `individual` must name a track.

    Raises:
        InputError: As in `mvgeom.tables.read_keypoints`.
    """
    h5py = import_optional("h5py", path)
    check_structure(path)
    try:
        with h5py.File(path, "r") as file:
            points = _in_order(file["tracks"], _MATLAB, ("frame", "track", "node", "xy"))
            scores = _in_order(file["point_scores"], ("track", "node", "frame"), ("frame", "track", "node"))
            nodes, tracks = _texts(file["node_names"]), _texts(file["track_names"]) if "track_names" in file else []
            video = _texts(file["video_path"]) if "video_path" in file else []
    except H5_ERRORS as error:
        raise InputError(
            f"{path}: a damaged or incomplete analysis file of SLEAP: {error}", code="damaged-file", path=path
        ) from error
    if points.shape[2:] != (len(nodes), 2) or scores.shape != points.shape[:3]:
        raise InputError(
            f"{path}: datasets of different shape, found tracks {points.shape}, point_scores {scores.shape} and "
            f"{len(nodes)} node_names",
            code="damaged-file",
            path=path,
        )
    tracks = tracks if len(tracks) == points.shape[1] else [f"track_{number}" for number in range(points.shape[1])]
    seen = np.asarray(np.isfinite(points).all(axis=-1).any(axis=-1))  # (frames, tracks)
    found = [number for number in range(len(tracks)) if seen[:, number].any()]
    if individual is None and len(found) > 1 and seen.sum(axis=1).max() == 1:
        warnings.warn(f"{path}: {len(found)} tracks, never two in one frame, are joined as one animal", stacklevel=2)
        chosen = np.argmax(seen, axis=1)
    else:
        name = choose_individual(path, tuple(tracks[number] for number in found), individual)
        chosen = np.full(len(points), tracks.index(name) if name is not None else 0)
    if not points.shape[1]:
        points, scores = np.full((len(points), 1, len(nodes), 2), np.nan), np.full((len(points), 1, len(nodes)), np.nan)
    each = np.arange(len(points))
    points, scores = points[each, chosen], scores[each, chosen]
    return KeypointTable(
        path=path,
        rows=tuple(map(str, range(len(points)))),
        keypoint_names=tuple(nodes),
        points=points,
        likelihood=np.where(np.isnan(scores) & np.isfinite(points).all(axis=-1), 1.0, scores),
        sparse=True,  # frames after the last labeled one are left out
        recording=PurePosixPath(video[0].replace("\\", "/")).stem if video else "",
    )


def _in_order(dataset: Any, usual: tuple[str, ...], wanted: tuple[str, ...]) -> Floats:
    """Return a dataset with its dimensions in the wanted order."""
    stored = (
        tuple(parse_json(str(dataset.attrs["dims"]), Path(str(dataset.name)))) if "dims" in dataset.attrs else usual
    )
    return np.asarray(np.transpose(dataset[()], [stored.index(name) for name in wanted]), dtype=np.float64)


def _texts(dataset: Any) -> list[str]:
    return [each.decode("utf-8") if isinstance(each, bytes) else str(each) for each in np.atleast_1d(dataset[()])]
