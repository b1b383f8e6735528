"""Predictions of several networks, combined by precision, with the covariance that their spread shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom import CameraGroup
from mvgeom.errors import InputError
from mvgeom.stated_covariance import mean_precision
from mvtrain.model.error_bars import ErrorBars, combined_error_bars, ensemble_checksum, load_error_bars
from mvtrain.model.inference import BeforeFusion, FramePredictions
from mvtrain.model.likelihood import ConfidenceMap, calibrated, weights_from_likelihood
from mvtrain.model.reconstruction import Observations, estimate_noise, sample_rows
from mvtrain.model.run_folder import Run
from mvtrain.predict.records import Records, from_entries, to_entries


@dataclass(frozen=True, kw_only=True, eq=False)
class Combined:
    """Keypoints of N frames in V views from several networks.

    Attributes:
        points: (N, V, K, 2) keypoints in full-image px: means of the networks', weighted by their precisions; NaN where
            no network has one.
        likelihood: (N, V, K) mean likelihoods; a network without the keypoint counts as 0. NaN where no network has
            one.
        weights: (N, V, K) mean precisions up to a common factor, likewise.
        spread: (N, V, K, 2, 2) covariances in px^2 of the means, by the spread between the networks; 0 where fewer than
            two have the keypoint.
        stated: (N, V, K, 2, 2) means of the covariances that the networks state, which share their errors; NaN where no
            network has the keypoint. None where they state none.
    """

    points: np.ndarray
    likelihood: np.ndarray
    weights: np.ndarray
    spread: np.ndarray
    stated: np.ndarray | None = None


def combine(
    points: np.ndarray, likelihood: np.ndarray, weights: np.ndarray, stated: np.ndarray | None = None
) -> Combined:
    """Combine the predictions of S networks.

    With weights w_s of sum 1 and deviations d_s from the mean, the covariance of the mean is sum(w_s d_s d_s') / (n-1)
    over the n networks that have the keypoint: the inverse of the total precision, scaled until the deviations are as
    large as expected (Birge ratio). For equal weights it is the sample covariance divided by n.

    Args:
        points: (S, N, V, K, 2) keypoints in full-image px; NaN is missing.
        likelihood: (S, N, V, K) likelihoods; NaN where missing.
        weights: (S, N, V, K) precisions, see `comparable_weights`; NaN counts as 0.
        stated: (S, N, V, K, 2, 2) covariances that the networks state, if all do.
    """
    present = np.isfinite(points).all(-1)
    found, count = present.any(0), present.sum(0)
    known = np.where(present, np.nan_to_num(weights), 0.0)
    # Networks that are sure of nothing at all count alike.
    shares = np.where(known.sum(0) > 0, known, present)
    shares = shares / np.maximum(shares.sum(0), np.finfo(np.float64).tiny)
    filled = np.where(present[..., None], points, 0.0)
    mean = (shares[..., None] * filled).sum(0)
    deviation = np.where(present[..., None], filled - mean, 0.0)
    spread = np.einsum("snvk,snvki,snvkj->nvkij", shares, deviation, deviation)
    return Combined(
        points=np.where(found[..., None], mean, np.nan),
        likelihood=np.where(found, np.where(present, np.nan_to_num(likelihood), 0.0).mean(0), np.nan),
        weights=np.where(found, known.mean(0), np.nan),
        spread=spread / np.maximum(count - 1, 1)[..., None, None],
        stated=None if stated is None else _mean_stated(stated, shares, found),
    )


def _mean_stated(stated: np.ndarray, shares: np.ndarray, found: np.ndarray) -> np.ndarray:
    shares = shares[..., None, None]
    return np.where(found[..., None, None], np.where(shares > 0, shares * stated, 0.0).sum(0), np.nan)


def typical_weights(likelihoods: Sequence[np.ndarray], are_calibrated: Sequence[bool]) -> tuple[float, ...]:
    """Return what the weights of each network are divided by, so that those of several can be compared.

    Calibrated likelihoods are probabilities of the same event: their weights are comparable as they are. The confidence
    of a network depends on its heatmaps: relative to its own median it tells which keypoints are better than others.

    Args:
        likelihoods: Per network an even sample of its likelihoods; NaN is missing.
        are_calibrated: Per network True for calibrated likelihoods.
    """
    if all(are_calibrated):
        return (1.0,) * len(likelihoods)
    typical = []
    for likelihood, is_calibrated in zip(likelihoods, are_calibrated, strict=True):
        weights = weights_from_likelihood(likelihood, is_calibrated=is_calibrated)
        known = weights[weights > 0]
        typical.append(float(np.median(known)) if len(known) else 1.0)
    return tuple(typical)


def comparable_weights(
    likelihoods: Sequence[np.ndarray], are_calibrated: Sequence[bool], typical: Sequence[float]
) -> np.ndarray:
    """Return the weights (S, ...) of the networks' likelihoods (...), divided by the typical ones."""
    return np.stack(
        [
            weights_from_likelihood(likelihood, is_calibrated=is_calibrated) / common
            for likelihood, is_calibrated, common in zip(likelihoods, are_calibrated, typical, strict=True)
        ]
    )


def combine_records(
    networks: Sequence[Records],
    maps: Sequence[ConfidenceMap | None],
    combined: Records,
    identity: dict[str, Any],
    cameras: CameraGroup | None,
) -> None:
    """Combine the records of several networks, block by block.

    Args:
        networks: Records of the networks, of the same frames.
        maps: Calibration of each network's confidence, if there is one.
        combined: Records to write, made with the field of `weight_field` or, where the networks fuse views, those of
            `FUSED`, with that of `STATED` if all networks state covariances, and `windows` if the subject was tracked;
            their confidence is the likelihood. Weights are inverse variances, and with the covariances, of which the
            spread between the networks is a part.
        identity: Plain values that determine every byte of the records.
        cameras: V cameras; None for weights without the spread, which has a scale only beside the noise of 3D.
    """
    combined.folder.mkdir(exist_ok=True)
    combined.resume(identity, batch_size=1)
    combined.truncate(0)
    are_calibrated = [each is not None for each in maps]
    rows = sample_rows(len(networks[0]), networks[0].dtype["keypoints"].shape[1])
    sample = [np.concatenate([records.read(row, row + 1) for row in rows]) for records in networks]
    _, likelihood = _stack(sample, maps)
    typical = typical_weights(list(likelihood), are_calibrated)

    names = combined.dtype.names or ()

    def stated(blocks: Sequence[np.ndarray]) -> np.ndarray | None:
        """Return the covariances that the networks state, if all do: only then the combined records have the field."""
        return np.stack([from_entries(block["covariance"]) for block in blocks]) if "covariance" in names else None

    def combine_blocks(blocks: Sequence[np.ndarray]) -> Combined:
        points, likelihood = _stack(blocks, maps)
        weights = comparable_weights(list(likelihood), are_calibrated, typical)
        return combine(points, likelihood, weights, stated(blocks))

    def combine_observed(blocks: Sequence[np.ndarray]) -> Combined:
        """Combine what the points in 3D come from."""
        if "evidence" not in names:
            return combine_blocks(blocks)
        evidence = np.stack([block["evidence"].astype(np.float64) for block in blocks])
        return _combine_weighted(evidence, stated(blocks))

    scale = variance_scale(combine_observed(sample), cameras)
    with combined.appending() as file:
        for blocks in zip(*(records.blocks() for records in networks), strict=True):
            found, observed = combine_blocks(blocks), observe_combined(combine_observed(blocks), scale)
            weights, covariances = observed.weights, observed.covariances
            fields = {} if covariances is None else {"covariance": to_entries(covariances)}
            fields |= {
                "keypoints": np.concatenate([found.points, found.likelihood[..., None]], axis=-1),
                "status": blocks[0]["status"],
                "weights": weights,
                "evidence": np.concatenate([observed.points, np.nan_to_num(weights)[..., None]], axis=-1),
            }
            if "own" in names:
                own = _combine_weighted(np.stack([block["own"].astype(np.float64) for block in blocks]))
                fields["own"] = np.concatenate([own.points, own.likelihood[..., None]], axis=-1)
            if "windows" in names:
                fields["windows"] = blocks[0]["windows"]
            combined.append(file, int(blocks[0]["count"][0]) - 1, fields)


def weight_field(num_views: int, num_keypoints: int) -> list[tuple[str, Any, tuple[int, ...]]]:
    """Return the further field of combined records."""
    return [("weights", np.float64, (num_views, num_keypoints))]


def combine_frames(
    networks: Sequence[FramePredictions],
    maps: Sequence[ConfidenceMap | None],
    cameras: Sequence[CameraGroup | None],
) -> FramePredictions:
    """Combine the predictions of labeled frames; the confidence of the result is its likelihood.

    Args:
        networks: Predictions of the same N frames in the same order, one per network.
        maps: Calibration of each network's confidence, if there is one.
        cameras: N groups of V cameras, one per frame; None where a frame is not calibrated.
    """
    are_calibrated = [each is not None for each in maps]
    likelihoods = [calibrated(each.confidence, map_) for each, map_ in zip(networks, maps, strict=True)]
    weights = comparable_weights(likelihoods, are_calibrated, typical_weights(likelihoods, are_calibrated))
    known = [each.own_covariance for each in networks if each.own_covariance is not None]
    stated = np.stack(known) if len(known) == len(networks) else None
    found = combine(np.stack([each.points for each in networks]), np.stack(likelihoods), weights, stated)
    parts = [each.before_fusion for each in networks if each.before_fusion is not None]
    are_fused = len(parts) == len(networks)
    shown = _combine_weighted(np.stack([part.evidence for part in parts]), stated) if are_fused else found
    scale = np.full((len(cameras), 1, 1), np.nan)
    for group in {id(group): group for group in cameras if group is not None}.values():
        rows = [row for row, each in enumerate(cameras) if each is group]
        scale[rows] = variance_scale(shown, group, rows)
    observed = observe_combined(shown, scale)
    return FramePredictions(
        index=networks[0].index,
        points=found.points,
        confidence=found.likelihood,
        before_fusion=_combine_before_fusion(parts, observed) if are_fused else None,
        own_covariance=observed.covariances,
        weights=None if are_fused else observed.weights,
    )


def _combine_before_fusion(parts: Sequence[BeforeFusion], observed: Observations) -> BeforeFusion:
    """Combine what the views show by themselves, beside the combined evidence."""
    own = _combine_weighted(np.stack([np.concatenate([part.points, part.confidence[..., None]], -1) for part in parts]))
    evidence = np.concatenate([observed.points, np.nan_to_num(observed.weights)[..., None]], axis=-1)
    return BeforeFusion(points=own.points, confidence=own.likelihood, evidence=evidence)


def variance_scale(found: Combined, cameras: CameraGroup | None, rows: Any = slice(None)) -> float:
    """Estimate the variance in px^2 of a keypoint of weight 1, by the agreement of the views.

    Args:
        found: Combined keypoints, of an even sample of frames at least.
        cameras: V cameras of the frames, if they are calibrated.
        rows: Frames to estimate from.

    Returns:
        The variance; NaN where the views do not tell, or where the networks state covariances, which need none.
    """
    if cameras is None or found.stated is not None:
        return np.nan
    noise = estimate_noise(Observations(points=found.points, weights=found.weights)[rows], cameras)
    variance = noise.sigma**2 * noise.typical_weight
    return variance if variance > 0 else np.nan


def observe_combined(found: Combined, scale: float | np.ndarray) -> Observations:
    """Return the observations in 3D of combined keypoints, whose variance grows by the spread between the networks.

    Args:
        found: Combined keypoints.
        scale: Variance in px^2 of a weight of 1 (`variance_scale`), of all frames or (N, 1, 1); where it is NaN the
            weights stay as they are, because the spread has a scale only beside the noise of 3D.
    """
    if found.stated is not None:
        return Observations(points=found.points, weights=found.weights, covariances=found.stated + found.spread)
    known = (found.weights > 0) & np.isfinite(scale)
    variance = scale / np.where(known, found.weights, 1.0) + np.trace(found.spread, axis1=-2, axis2=-1) / 2
    return Observations(points=found.points, weights=np.where(known, 1 / np.where(known, variance, 1.0), found.weights))


def _combine_weighted(values: np.ndarray, stated: np.ndarray | None = None) -> Combined:
    """Combine x, y and weight (S, N, V, K, 3) of S networks; nothing is seen where the weight is 0."""
    points, weights = values[..., :2], values[..., 2]
    shown = weights > 0
    if stated is not None:
        weights = np.where(shown, mean_precision(stated), 0.0)
    return combine(np.where(shown[..., None], points, np.nan), weights, weights, stated)


def find_error_bars(folders: Sequence[Path], runs: Sequence[Run]) -> ErrorBars | None:
    """Return the error bars in 3D of one network, or of several together.

    Those of several are what `mvtrain evaluate ENSEMBLE --fit-confidence` fitted to their combined predictions; without
    them, the mean square of each network's own.

    Args:
        folders: Folders of runs and ensembles as they were given.
        runs: All their runs.

    Raises:
        InputError: `damaged-file`.
    """
    if len(runs) == 1:
        return runs[0].error_bars
    checksum, num_keypoints = ensemble_checksum([run.checksum for run in runs]), len(runs[0].spec.keypoint_names)
    fitted = (load_error_bars(folder, checksum, num_keypoints) for folder in folders)
    together = next((found for found in fitted if found is not None), None)
    return together or combined_error_bars([run.error_bars for run in runs])


def arrange_alike(runs: Sequence[Run]) -> list[Run]:
    """Return runs with the views in the order of the first; backbones and sizes of input may differ.

    Raises:
        InputError: Other views (`views-differ`), or other keypoints or their order (`keypoints-differ`).
    """
    first = runs[0]
    for run in runs[1:]:
        found, expected = run.spec.view_names, first.spec.view_names
        if set(found) != set(expected):
            text = _describe_other("views", run.folder, first.folder, found, expected)
            raise InputError(text, code="views-differ", path=run.folder, found=found, expected=expected)
        found, expected = run.spec.keypoint_names, first.spec.keypoint_names
        if found != expected:
            text = _describe_other("keypoints", run.folder, first.folder, found, expected)
            raise InputError(text, code="keypoints-differ", path=run.folder, found=found, expected=expected)
    return [run.arranged(first.spec.view_names) for run in runs]


def _describe_other(what: str, name: object, first: object, found: Sequence[str], expected: Sequence[str]) -> str:
    return (
        f"{name}: other {what} than {first}, found {', '.join(found)}, expected {', '.join(expected)}. Predict with "
        "runs of the same project."
    )


def _stack(blocks: Sequence[np.ndarray], maps: Sequence[ConfidenceMap | None]) -> tuple[np.ndarray, np.ndarray]:
    """Return the keypoints (S, N, V, K, 2) and likelihoods (S, N, V, K) of one block of records per network."""
    keypoints = [block["keypoints"].astype(np.float64) for block in blocks]
    likelihood = [calibrated(each[..., 2], map_) for each, map_ in zip(keypoints, maps, strict=True)]
    return np.stack([each[..., :2] for each in keypoints]), np.stack(likelihood)
