"""Noise learned from a recording: each view is predicted from the others, and the noise makes its keypoints likely.

A smoother that learns its noise from its own residuals states too little of it. A view that is left out of the whole
recording is an independent test: its residuals hold its own error, the uncertainty of the others, and the motion. A
single view has no such test but its own left-out frames, and errors that are correlated in time pass for motion. Two
views determine each other's noise, and left-out frames the motion (`cross_validation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mvgeom._subset import spread_subset
from mvgeom.smoothing.cross_validation import cross_validate_all, seen_by, split_unknown
from mvgeom.smoothing.interval_factor import interval_factor
from mvgeom.smoothing.noise import FLOORS, OUTLIER_AREA, Noise, log_density
from mvgeom.smoothing.passes import Estimate, SingleFrames, first_estimate, improve, reconstruct_frames
from mvgeom.smoothing.trajectories import Observations

__all__ = ["estimate_correlation", "learn"]

Floats = npt.NDArray[np.float64]

MAX_ROUNDS = 10
TOLERANCE = 0.05
"""Relative change of the noise of views and keypoints at which learning ends."""

CORRELATION_ROUNDS = 2
"""Rounds that estimate the correlation in time anew, with the outliers that the noise learned so far makes."""

FACTOR = 4.0
"""Largest step of the intensity of motion in a round, up or down."""

LEAST_MOTION = 1e-5
"""Least intensity of motion per step, in the square of a single frame's deviation.

A subject that rests in all frames that are learned from would else be taken for one that cannot move. From there the
activity of a jump is not found in a few passes, and it would be smeared over a hundred frames.
"""

MAX_LAG = 100
NUM_LAGS = 12
LONGEST_LAG = 1.5
"""Longest time between two frames that are compared, in units of the typical one of as many rows."""

WINDOWS = (2, 4, 8, 16, 32)
"""Rows before and after one over which stated covariances are averaged, tried one after the other."""

SETTLING_PASSES = 4
"""Passes after which trajectories no longer depend on where they began."""

MIN_PAIRS = 50
MAX_SHARE = 0.98
MAX_DECAY = 0.998
MIN_CORRELATION = 0.05
"""Correlation from frame to frame that is taken for none."""

SCALES = (0.01, 1000.0)
LEAST_FLOOR = 0.05
"""Least floor of a view as a share of the views' typical noise.

No detector is so much better in one view. Where the views contradict each other, as with a wrong pose of a camera, the
left-out views would else be most likely if trajectories went through one view's keypoints exactly.
"""

OUTLIER_SHARES = (0.005, 0.3)
MAX_SAMPLES = 5000
"""Keypoints of a view that its noise is fitted to; of more, as many that are spread over them."""


def learn(stretches: Sequence[Observations], dense: Sequence[Observations] | None = None) -> Noise:
    """Learn the noise from some stretches of a recording.

    Args:
        stretches: Stretches with the same views and keypoints.
        dense: Stretches of frames that follow each other, if the others leave out frames: only they tell by what factor
            intervals must grow, because time averages the errors of neighboring frames. None for the same.
    """
    frames = [reconstruct_frames(stretch) for stretch in stretches]
    estimates = [first_estimate(stretch, alone) for stretch, alone in zip(stretches, frames, strict=True)]
    noise = _first_noise(stretches, frames, estimates)
    if not any(estimate.known.any() for estimate in estimates):
        return noise
    given = stretches
    for round_number in range(MAX_ROUNDS):
        before = noise
        if round_number == 1:
            noise = _with_window(noise, given, estimates)
            stretches = [stretch.averaged(noise.window) for stretch in given]
        if 0 < round_number <= CORRELATION_ROUNDS:
            noise = _with_correlation(noise, stretches, [reconstruct_frames(part, noise) for part in stretches])
        estimates = [
            improve(stretch, noise, estimate)[1] for stretch, estimate in zip(stretches, estimates, strict=True)
        ]
        noise = _with_outliers(noise, stretches, estimates)
        validated = cross_validate_all(stretches, noise, estimates)
        noise = _with_views(noise, stretches, validated)
        if _is_pair(validated[-1]):
            noise = _with_frames(noise, stretches, cross_validate_all(stretches, noise, estimates, by_frames=True))
        noise = _with_motion(noise, stretches, estimates)
        if _difference(before, noise) < TOLERANCE:
            break
    noise = _with_usual_motion(noise, np.asarray(validated[-1].any((0, 1))))
    if dense is not None:
        stretches = [stretch.averaged(noise.window) for stretch in dense]
        estimates = [_settled(stretch, noise) for stretch in stretches]
    return replace(noise, factor=interval_factor(stretches, noise, estimates))


def estimate_correlation(residuals: Sequence[Floats], times: Sequence[Floats]) -> tuple[float, float]:
    """Estimate which share of the errors is correlated in time, and how fast it decays.

    The residuals of a single frame's triangulation are combinations of its keypoints' errors, fixed as long as the
    geometry and the views in use stay. They have the autocorrelation of the errors, which `share * decay ** lag` is
    fitted to. Frames are compared only where they use the same views, and not across pauses.

    Args:
        residuals: Per stretch (T, V, K, 2) residuals of single frames; NaN is missing.
        times: Per stretch (T,) times in typical steps.

    Returns:
        Share of the variance that is correlated, and its correlation one unit of time later; zeros if there is none,
        or too little to tell.
    """
    longest = max(len(part) for part in residuals)
    lags = np.unique(np.geomspace(1, max(1, min(MAX_LAG, longest // 4)), NUM_LAGS).astype(int))
    known = [np.asarray(np.isfinite(part).all(-1)) for part in residuals]
    filled = [np.where(there[..., None], part, 0.0) for part, there in zip(residuals, known, strict=True)]
    correlations, distances, pairs = [], [], []
    for lag in lags[lags < longest]:
        product = square = number = 0.0
        apart = [time[lag:] - time[:-lag] for time in times]
        typical = float(np.median(np.concatenate(apart)))
        for part, there, elapsed in zip(filled, known, apart, strict=True):
            near = elapsed <= LONGEST_LAG * typical
            alike = (there[lag:] == there[:-lag]).all(1, keepdims=True) & there[lag:] & near[:, None, None]
            later, earlier = part[lag:][alike], part[:-lag][alike]
            product += float((later * earlier).sum())
            square += float((later**2 + earlier**2).sum()) / 2
            number += len(later)
        if number < MIN_PAIRS or square == 0:
            continue
        correlations.append(product / square)
        distances.append(typical)
        pairs.append(number)
    if len(correlations) < 2:
        return 0.0, 0.0
    target, distance, weight = np.array(correlations), np.array(distances), np.array(pairs) / max(pairs)

    def misfit(values: Floats) -> float:
        return float((weight * (values[0] * values[1] ** distance - target) ** 2).sum())

    from scipy.optimize import minimize

    first = float(np.clip(target[0], 0.01, MAX_SHARE))
    fits = [minimize(misfit, (first, decay), bounds=[(0, MAX_SHARE), (0, MAX_DECAY)]) for decay in (0.3, 0.8, 0.97)]
    share, decay = min(fits, key=lambda fit: float(fit.fun)).x
    return (float(share), float(decay)) if share * decay >= MIN_CORRELATION else (0.0, 0.0)


def _settled(stretch: Observations, noise: Noise) -> Estimate:
    """Return the trajectories of a stretch for a noise that is known."""
    estimate = first_estimate(stretch, reconstruct_frames(stretch, noise))
    for _ in range(SETTLING_PASSES):
        estimate = improve(stretch, noise, estimate)[1]
    return estimate


def _first_noise(
    stretches: Sequence[Observations], frames: Sequence[SingleFrames], estimates: Sequence[Estimate]
) -> Noise:
    """Return noise from single frames: stated covariances as they are, motion from second differences."""
    num_views, num_keypoints = stretches[0].points.shape[1:3]
    sigma = (
        float(np.nanmedian([alone.noise for alone in frames]))
        if any(np.isfinite(alone.noise) for alone in frames)
        else 1.0
    )
    unit = float(np.median([estimate.unit for estimate in estimates]))
    second = np.concatenate([np.diff(alone.points, n=2, axis=0) for alone in frames])
    square = np.square(second).mean(-1).T  # (K, N); the median of a mean of three squares is 0.79
    typical = np.array([np.nanmedian(row) if np.isfinite(row).any() else 0.0 for row in square]) / 0.79
    # A second difference over steps of h has the variance 2/3 q h^3 of motion, and 6 sigma^2 of noise.
    motion = np.maximum(1.5 * (typical - 6 * unit**2), 0.01 * unit**2) / _spacing(stretches) ** 3
    noise = Noise(
        scale=np.ones(num_views),
        floor=np.full(num_views, np.clip(sigma, *FLOORS)),
        keypoint=np.ones(num_keypoints),
        share=0.0,
        decay=0.0,
        motion=motion,
        outliers=0.02,
    )
    return _with_correlation(noise, stretches, frames)


def _with_correlation(noise: Noise, stretches: Sequence[Observations], frames: Sequence[SingleFrames]) -> Noise:
    """Estimate the share and decay of errors that are correlated in time; a single view shows none."""
    if stretches[0].points.shape[1] == 1:
        return noise
    share, decay = estimate_correlation([part.residual for part in frames], [part.times for part in stretches])
    return replace(noise, share=share, decay=decay)


def _with_motion(noise: Noise, stretches: Sequence[Observations], estimates: Sequence[Estimate]) -> Noise:
    """Move the intensity of every keypoint's motion towards the one that makes the judged keypoints most likely.

    A parabola through three log likelihoods over the logarithm of the intensity, and at most one step of `FACTOR`. Each
    has the activity that follows from its intensity: the product of the two alone would leave both undetermined.
    """
    scores = []
    for factor in (1 / FACTOR, 1.0, FACTOR):
        varied = replace(noise, motion=noise.motion * factor)
        adapted = [improve(part, varied, estimate)[1] for part, estimate in zip(stretches, estimates, strict=True)]
        scores.append(_scores(varied, stretches, adapted))
    lower, present, upper = scores
    slope, bend = (upper - lower) / 2, lower + upper - 2 * present
    step = np.where(bend < 0, -slope / np.where(bend < 0, bend, -1.0), np.sign(slope))
    least = LEAST_MOTION * float(np.median([estimate.unit for estimate in estimates])) ** 2
    return replace(noise, motion=np.maximum(noise.motion * FACTOR ** np.clip(step, -1.0, 1.0), least))


def _with_window(noise: Noise, stretches: Sequence[Observations], estimates: Sequence[Estimate]) -> Noise:
    """Average stated covariances over as many frames as make the judged keypoints most likely, with noise to match.

    Args:
        noise: Noise so far.
        stretches: Stretches with the covariances of single frames.
        estimates: Trajectories of each stretch.
    """
    if not any(np.ptp(stretch.covariance, axis=0).any() for stretch in stretches):
        return noise
    best, most = noise, -np.inf
    for window in _spacing(stretches) * np.array([0, *WINDOWS]):
        averaged = [stretch.averaged(window) for stretch in stretches]
        fitted = _with_views(
            replace(noise, window=float(window)), averaged, cross_validate_all(averaged, noise, estimates)
        )
        adapted = [improve(part, fitted, estimate)[1] for part, estimate in zip(averaged, estimates, strict=True)]
        score = float(_scores(fitted, averaged, adapted).sum())
        if score <= most:
            break
        best, most = fitted, score
    return best


def _spacing(stretches: Sequence[Observations]) -> float:
    """Return the typical time between the frames of the stretches."""
    apart = np.concatenate([np.diff(stretch.times) for stretch in stretches])
    return float(np.median(apart)) if len(apart) else 1.0


def _with_usual_motion(noise: Noise, validated: npt.NDArray[np.bool_]) -> Noise:
    """Give keypoints without left-out residuals the typical motion of the others; the first guess is rest."""
    if validated.all() or not validated.any():
        return noise
    typical = float(np.exp(np.log(noise.motion[validated]).mean()))
    return replace(noise, motion=np.where(validated, noise.motion, typical))


def _scores(noise: Noise, stretches: Sequence[Observations], estimates: Sequence[Estimate]) -> Floats:
    """Return the log likelihood (K,) of the judged keypoints, by frames that are left out where two views see one."""
    few = seen_by(np.concatenate([estimate.weights for estimate in estimates])).sum(0) <= 2
    residual, predicted, counted = cross_validate_all(stretches, noise, estimates, by_frames=bool(few.all()))
    if few.any() and not few.all():
        validated = cross_validate_all(stretches, noise, estimates, by_frames=True)
        residual[:, :, few], predicted[:, :, few], counted[:, :, few] = (values[:, :, few] for values in validated)
    own = noise.covariance(np.concatenate([stretch.covariance for stretch in stretches]))
    scores = []
    for number in range(len(noise.motion)):
        chosen = counted[..., number]
        parts = residual[:, :, number][chosen], predicted[:, :, number][chosen], own[:, :, number][chosen]
        scores.append(-_negative_log_likelihood(*parts, noise.outliers))
    return np.array(scores)


def _with_outliers(noise: Noise, stretches: Sequence[Observations], estimates: Sequence[Estimate]) -> Noise:
    """Update the share of outliers."""
    present = np.concatenate([stretch.present for stretch in stretches])
    weights = np.concatenate([estimate.weights for estimate in estimates])
    share = 1 - weights[present].mean() if present.any() else 0.0
    return replace(noise, outliers=float(np.clip(share, *OUTLIER_SHARES)))


def _with_views(
    noise: Noise,
    stretches: Sequence[Observations],
    validated: tuple[Floats, Floats, npt.NDArray[np.bool_]],
) -> Noise:
    """Fit the scale and floor of every view, then the factor of every keypoint.

    Of two views, residuals tell the noise of both together, and each is predicted from the other's present noise: what
    one explains would be taken from both. So only half of the change of the variances is made.
    """
    residual, predicted, counted = validated
    stated = np.concatenate([stretch.covariance for stretch in stretches])
    scale, floor = noise.scale.copy(), noise.floor.copy()
    pair = _is_pair(counted)
    factors = np.broadcast_to(noise.keypoint, counted.shape[::2])
    for view in range(len(scale)):
        chosen = _thinned(counted[:, view])
        if len(chosen[0]):
            factor = factors[chosen]
            scale[view], floor[view] = _fit_view(
                residual[:, view][chosen] / factor[:, None],
                predicted[:, view][chosen] / factor[:, None, None] ** 2,
                stated[:, view][chosen],
                (scale[view], floor[view]),
                noise.outliers,
            )
    if pair:
        scale, floor = (np.sqrt((new**2 + old**2) / 2) for new, old in ((scale, noise.scale), (floor, noise.floor)))
    noise = replace(noise, scale=scale, floor=floor)
    own = noise.covariance(stated)
    keypoint = noise.keypoint.copy()
    for number in range(len(keypoint)):
        chosen = _thinned(counted[..., number])
        if len(chosen[0]):
            parts = residual[:, :, number][chosen], predicted[:, :, number][chosen], own[:, :, number][chosen]
            keypoint[number] = _fit_factor(*parts, keypoint[number], noise.outliers)
    common = float(np.exp(np.log(keypoint).mean()))
    least = LEAST_FLOOR * float(np.median(_typical(scale, floor, stated))) * common
    return replace(noise, scale=scale * common, floor=np.maximum(floor * common, least), keypoint=keypoint / common)


def _is_pair(counted: npt.NDArray[np.bool_]) -> bool:
    """Return True if two views of what was judged (T, V, K) are all that see anything."""
    return int(counted.any(axis=(0, 2)).sum()) == 2


def _with_frames(
    noise: Noise,
    stretches: Sequence[Observations],
    validated: tuple[Floats, Floats, npt.NDArray[np.bool_]],
) -> Noise:
    """Raise the floors of two views to what their frames tell that are left out.

    What two views miss each other by is the noise of both. Where one counts for little in the other's px, as that of
    the nearer camera or the larger image, any small noise explains it. Then trajectories follow this view alone, whose
    noise passes for motion, and standard deviations are those of a noise of next to nothing. Frames that are left out
    tell each view's noise, but for errors that last over frames: never more than it is.
    """
    residual, predicted, counted = validated
    stated = np.concatenate([stretch.covariance for stretch in stretches])
    floor = noise.floor.copy()
    factors = np.broadcast_to(noise.keypoint, counted.shape[::2])
    for view in range(len(floor)):
        chosen = _thinned(counted[:, view])
        if len(chosen[0]):
            factor = factors[chosen]
            _, alone = _fit_view(
                residual[:, view][chosen] / factor[:, None],
                predicted[:, view][chosen] / factor[:, None, None] ** 2,
                stated[:, view][chosen],
                (noise.scale[view], floor[view]),
                noise.outliers,
            )
            floor[view] = max(floor[view], alone)
    return replace(noise, floor=floor)


def _typical(scale: Floats, floor: Floats, stated: Floats) -> Floats:
    """Return the typical standard deviations (V,) in px of each view's keypoints."""
    variance = np.median(np.trace(stated, axis1=-2, axis2=-1), axis=(0, 2)) / 2
    return np.asarray(np.sqrt(scale**2 * variance + floor**2))


def _fit_view(
    residual: Floats, predicted: Floats, stated: Floats, start: tuple[float, float], outliers: float
) -> tuple[float, float]:
    """Fit scale and floor to residuals (N, 2), given covariances (N, 2, 2) of the prediction and those stated."""

    def loss(logarithms: Floats) -> float:
        scale, floor = np.exp(logarithms)
        own = scale**2 * stated + floor**2 * np.eye(2)
        # Without doubtful keypoints nothing determines the scale but this weak pull towards 1.
        return _negative_log_likelihood(residual, predicted, own, outliers) + 0.5 * float(logarithms[0]) ** 2

    from scipy.optimize import minimize  # heavy; `import mvgeom` is fast without it

    limits = np.log([SCALES, FLOORS])
    first = np.clip(np.log(start), limits[:, 0], limits[:, 1])
    scale, floor = np.exp(minimize(loss, first, bounds=[(float(low), float(high)) for low, high in limits]).x)
    return float(scale), float(floor)


def _fit_factor(residual: Floats, predicted: Floats, own: Floats, start: float, outliers: float) -> float:
    """Fit the factor of a keypoint's standard deviations, own (N, 2, 2) and predicted, which are of the factor `start`.

    A keypoint is predicted from other views with the uncertainty that it has there. If that were held, a factor that is
    too small would be followed by one that is too large, without an end where a view tells less than the others leave
    open.
    """
    known, unknown = split_unknown(predicted)

    def loss(logarithm: float) -> float:
        scaled = np.exp(2 * logarithm) / start**2 * (own + known)
        return _negative_log_likelihood(residual, unknown, scaled, outliers) + 0.5 * logarithm**2

    from scipy.optimize import minimize_scalar

    return float(np.exp(minimize_scalar(loss, bounds=(-2.5, 2.5), method="bounded").x))


def _negative_log_likelihood(residual: Floats, predicted: Floats, own: Floats, outliers: float) -> float:
    """Return the negative log likelihood of residuals (N, 2), of which a share are outliers."""
    inlier = np.log1p(-outliers) + log_density(residual, predicted + own)
    return -float(np.logaddexp(inlier, np.log(outliers / OUTLIER_AREA)).sum())


def _thinned(counted: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], ...]:
    """Return the indices of what counts, at most `MAX_SAMPLES` of them, spread over all."""
    indices = np.nonzero(counted)
    chosen = spread_subset(len(indices[0]), MAX_SAMPLES)
    return tuple(index[chosen] for index in indices)


def _difference(before: Noise, after: Noise) -> float:
    """Return the largest relative change of noise; the intensity of motion acts by its sixth root or less."""
    pairs = [(before.floor, after.floor), (before.keypoint, after.keypoint), (before.motion**0.17, after.motion**0.17)]
    return max(float(np.abs(np.log(new / old)).max()) for old, new in pairs)
