"""Tables of a recording by one network or several, of which any part can be read, and their combination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np

from mvgeom.errors import InputError
from mvgeom.smoothing import covariance_from_likelihood
from mvgeom.stated_covariance import mean_precision
from mvgeom.tables import KeypointTable, read_keypoint_blocks
from mvgeom.wording import counted
from mvtrain.model.reconstruction import sample_rows
from mvtrain.predict.ensemble import combine, comparable_weights, typical_weights
from mvtrain.predict.records import from_entries, to_entries
from mvtrain.predict.saved_predictions import PredictionFiles, check_frames

_ROWS = 4096
"""Rows of a table that are read at a time."""

_NUMBERS = 7
"""Numbers that are copied of a keypoint."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Observed:
    """Keypoints of N frames as they are smoothed.

    Attributes:
        points: (N, V, K, 2) keypoints in full-image px; NaN is missing.
        likelihood: (N, V, K) likelihoods of the predicted keypoints; NaN is missing.
        covariance: (N, V, K, 2, 2) stated covariances in px^2.
    """

    points: np.ndarray
    likelihood: np.ndarray
    covariance: np.ndarray


def observe(
    points: np.ndarray, likelihood: np.ndarray, weights: np.ndarray, stated: np.ndarray | None = None
) -> Observed:
    """Combine the predictions of S networks, and state their covariances.

    Args:
        points: (S, N, V, K, 2) keypoints in full-image px; NaN is missing.
        likelihood: (S, N, V, K) likelihoods.
        weights: (S, N, V, K) precisions, see `ensemble.comparable_weights`.
        stated: (S, N, V, K, 2, 2) covariances that the networks state, if all do.

    Returns:
        Means with their covariance by the spread between the networks, and what the networks state, or else their
        likelihood.
    """
    found = combine(points, likelihood, weights, stated)
    covariance = found.spread + (covariance_from_likelihood(found.likelihood) if stated is None else found.stated)
    return Observed(points=found.points, likelihood=found.likelihood, covariance=covariance)


class RecordingTables:
    """Tables of a recording, copied to files of fixed size per frame: memory does not depend on the length.

    Where the views were fused, the tables of evidence are smoothed: the errors of fused keypoints are not independent.

    Args:
        networks: Files of the recording, one per network.
        folder: Existing folder for the copies.
        min_likelihood: Likelihood below which a keypoint does not count.

    Attributes:
        keypoint_names: K names of the keypoints.
        ever: (K,) True for keypoints that count in any view and frame.

    Raises:
        InputError: A table cannot be read, or is not one of consecutive frames with likelihoods; the networks have
            other views (`views-differ`), keypoints (`keypoints-differ`) or frames (`frames-differ`).
    """

    def __init__(self, networks: Sequence[PredictionFiles], folder: Path, min_likelihood: float) -> None:
        self._min_likelihood = min_likelihood
        networks = [_arranged(files, networks[0]) for files in networks]
        self._copies = [
            _Copy(files, folder, f"network{number}", min_likelihood) for number, files in enumerate(networks)
        ]
        first = self._copies[0]
        for files, copy in zip(networks[1:], self._copies[1:], strict=True):
            _check_alike(networks[0], first, files, copy)
        self.keypoint_names = first.keypoint_names
        self.ever = np.any([copy.ever for copy in self._copies], axis=0)
        self._are_calibrated = [files.calibrated and not files.evidence for files in networks]
        rows = sample_rows(len(self), len(self.keypoint_names))
        samples = [np.concatenate([copy.read(row, row + 1)[..., 2] for row in rows]) for copy in self._copies]
        self._typical = typical_weights(samples, self._are_calibrated)

    def __len__(self) -> int:
        return len(self._copies[0])

    def read(self, start: int, stop: int) -> Observed:
        """Read these frames; keypoints below the least likelihood are missing."""
        keypoints = np.stack([copy.read(start, stop) for copy in self._copies])
        points, likelihood = keypoints[..., :2], keypoints[..., 2]
        weights = comparable_weights(list(likelihood), self._are_calibrated, self._typical)
        stated = None
        if all(copy.states_covariance for copy in self._copies):
            stated = from_entries(keypoints[..., 4:])
            weights = mean_precision(stated)
        found = observe(points, likelihood, weights, stated)
        counted = found.likelihood >= self._min_likelihood
        predicted = keypoints[..., 3]
        return replace(
            found,
            points=np.where(counted[..., None], found.points, np.nan),
            likelihood=np.where(np.isfinite(predicted).any(0), np.nan_to_num(predicted).mean(0), np.nan),
        )


class _Copy:
    """Numbers of the tables of one network."""

    def __init__(self, files: PredictionFiles, folder: Path, name: str, min_likelihood: float) -> None:
        self.keypoint_names: tuple[str, ...] = ()
        self.ever = np.zeros(0, dtype=bool)
        self.states_covariance = bool(files.evidence)
        self._paths: list[Path] = []
        self._lengths: list[int] = []
        first: Path | None = None
        for number, (view, path) in enumerate(files.tables.items()):
            copied, length = folder / f"{name}-{number}", 0
            with copied.open("wb") as file:
                observed = read_keypoint_blocks(files.evidence[view], _ROWS) if files.evidence else repeat(None)
                for table, evidence in zip(read_keypoint_blocks(path, _ROWS), observed, strict=False):
                    if first is None:
                        first, self.keypoint_names = path, table.keypoint_names
                        self.ever = np.zeros(len(table.keypoint_names), dtype=bool)
                    if table.keypoint_names != self.keypoint_names:
                        raise InputError(
                            f"{path}: other keypoints than in {first}, found {', '.join(table.keypoint_names)}, "
                            f"expected {', '.join(self.keypoint_names)}",
                            code="keypoints-differ",
                            path=path,
                            found=table.keypoint_names,
                            expected=self.keypoint_names,
                        )
                    likelihood = check_frames(table, length)
                    points, certainty, covariance = table.points, likelihood, None
                    if evidence is not None:
                        points, certainty = evidence.points, _check_evidence(evidence, table, length)
                        covariance = evidence.covariance
                    if covariance is None:
                        self.states_covariance, covariance = False, np.full((*points.shape, 2), np.nan)
                    self.ever |= (np.isfinite(points).all(-1) & (certainty >= min_likelihood)).any(0)
                    columns = [points, certainty[..., None], likelihood[..., None], to_entries(covariance)]
                    np.concatenate(columns, axis=-1).tofile(file)
                    length += len(table.rows)
            self._paths.append(copied)
            self._lengths.append(length)

    def __len__(self) -> int:
        return max(self._lengths)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read (N, V, K, 7): x, y and likelihood of what is smoothed, predicted likelihood, entries of the covariance.

        All are NaN after a view's end.
        """
        number, width = len(self.keypoint_names), _NUMBERS * len(self.keypoint_names)
        stop = max(start, min(stop, len(self)))
        values = np.full((stop - start, len(self._paths), number, _NUMBERS), np.nan)
        for view, (path, length) in enumerate(zip(self._paths, self._lengths, strict=True)):
            count = max(0, min(stop, length) - start)
            found = np.fromfile(path, dtype=np.float64, count=count * width, offset=8 * width * min(start, length))
            values[:count, view] = found.reshape(count, number, _NUMBERS)
        return values


def _check_evidence(evidence: KeypointTable, table: KeypointTable, first: int) -> np.ndarray:
    """Check that a part of a table of evidence fits that of predictions; return its likelihoods (N, K)."""
    likelihood = check_frames(evidence, first)
    if evidence.keypoint_names != table.keypoint_names or len(evidence.rows) != len(table.rows):
        raise InputError(
            f"{evidence.path}: does not fit {table.path}, found {counted(len(evidence.rows), 'row')} of "
            f"{', '.join(evidence.keypoint_names)}, expected {counted(len(table.rows), 'row')} of "
            f"{', '.join(table.keypoint_names)}. Predict the recording again.",
            code="tables-differ",
            path=evidence.path,
        )
    if evidence.covariance is not None:
        wrong = np.isfinite(evidence.points).all(-1) & ~(mean_precision(evidence.covariance) > 0)
        if wrong.any():
            row, keypoint = np.argwhere(wrong)[0]
            raise InputError(
                f"{evidence.path}: row {evidence.rows[row]}: x_std, y_std and xy_correlation of "
                f"{evidence.keypoint_names[keypoint]!r} are not those of a covariance, expected standard "
                "deviations above 0 and a correlation between -1 and 1. Predict the recording again.",
                code="out-of-range",
                path=evidence.path,
                row=evidence.rows[row],
                keypoint=evidence.keypoint_names[keypoint],
            )
    return likelihood


def _arranged(files: PredictionFiles, first: PredictionFiles) -> PredictionFiles:
    """Return files with their tables in the order of the first network's views, if they are of the same views."""
    if set(files.tables) != set(first.tables):
        return files
    evidence = {view: files.evidence[view] for view in first.tables} if files.evidence else files.evidence
    return replace(files, tables={view: files.tables[view] for view in first.tables}, evidence=evidence)


def _check_alike(first: PredictionFiles, ours: _Copy, other: PredictionFiles, theirs: _Copy) -> None:
    """Check that two networks predicted the same keypoints in the same images."""
    where = f"session {first.session!r}: the networks have other"
    views, expected = tuple(other.tables), tuple(first.tables)
    if views != expected:
        raise InputError(
            f"{where} views, found {', '.join(views)}, expected {', '.join(expected)}",
            code="views-differ",
            session=first.session,
            found=views,
            expected=expected,
        )
    if theirs.keypoint_names != ours.keypoint_names:
        raise InputError(
            f"{where} keypoints, found {', '.join(theirs.keypoint_names)}, expected {', '.join(ours.keypoint_names)}",
            code="keypoints-differ",
            session=first.session,
            found=theirs.keypoint_names,
            expected=ours.keypoint_names,
        )
    if len(theirs) != len(ours):
        raise InputError(
            f"session {first.session!r}: the networks predicted other frames, found {len(theirs)}, expected "
            f"{len(ours)}",
            code="frames-differ",
            session=first.session,
            found=len(theirs),
            expected=len(ours),
        )
