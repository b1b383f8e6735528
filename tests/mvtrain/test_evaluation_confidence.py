"""Likelihoods that are probabilities: the map, its fit, how reliability is measured, and where the map is kept."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.errors import raises_input
from mvtrain.evaluation.fits_to_labels import NUM_BINS, calibration_error, fit_confidence, reliability
from mvtrain.model.likelihood import ConfidenceMap, load_confidence, save_confidence

POWERS = st.floats(0, 5)
CONFIDENCES = st.floats(0, 1)
CHECKSUM = "0123456789abcdef"


def make_map(**changes: float) -> ConfidenceMap:
    fields = {"low_power": 1.0, "high_power": 1.0, "offset": 0.0, "lowest": 0.0, "highest": 1.0, "num_points": 10**9}
    return ConfidenceMap(share=0.1, **(fields | changes))


def drawn(predicted: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draw outcomes with the given probabilities."""
    return (np.random.default_rng(seed).uniform(size=predicted.shape) < predicted).astype(float)


@settings(max_examples=50, deadline=None)
@given(POWERS, POWERS, st.floats(-5, 5), st.lists(CONFIDENCES, min_size=2, max_size=20), st.integers(1, 10**6))
def test_the_map_is_monotone_and_never_certain(
    low: float, high: float, offset: float, confidences: list[float], num_points: int
) -> None:
    confidence_map = make_map(low_power=low, high_power=high, offset=offset, num_points=num_points)
    likelihoods = confidence_map(np.sort(confidences))
    assert (np.diff(likelihoods) >= -1e-12).all()
    assert (likelihoods >= 1 / (num_points + 2)).all()
    assert (likelihoods <= 1 - 1 / (num_points + 2)).all()


def test_the_neutral_map_is_the_identity() -> None:
    confidence = np.linspace(1e-4, 1 - 1e-4, 101)
    np.testing.assert_allclose(make_map()(confidence), confidence, atol=1e-9)


def test_the_map_is_the_published_formula() -> None:
    confidence_map = make_map(low_power=0.5, high_power=2.0, offset=-0.3)
    odds = np.exp(0.5 * np.log(0.6) - 2.0 * np.log(0.4) - 0.3)
    assert confidence_map(np.array(0.6)) == pytest.approx(odds / (1 + odds))


def test_the_map_keeps_missing_values_and_does_not_extrapolate() -> None:
    confidence_map = make_map(lowest=0.2, highest=0.7)
    found = confidence_map(np.array([np.nan, 0.0, 0.2, 0.7, 1.0]))
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], [0.2, 0.2, 0.7, 0.7], atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_calibrated_confidence_stays_as_it_is(seed: int) -> None:
    predicted = np.random.default_rng(seed).uniform(0.02, 0.98, size=20_000)
    confidence_map = fit_confidence(predicted, drawn(predicted, seed + 1), 0.1)
    between = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(confidence_map(between), between, atol=0.04)


@settings(max_examples=10, deadline=None)
@given(st.floats(0.2, 3), st.floats(0.2, 3), st.floats(-2, 2))
@example(0.5, 1.0, 2.0)
def test_a_distortion_of_the_family_is_undone(low: float, high: float, offset: float) -> None:
    distortion = make_map(low_power=low, high_power=high, offset=offset)
    predicted = np.random.default_rng(1).uniform(0.02, 0.98, size=20_000)
    fitted = fit_confidence(predicted, drawn(distortion(predicted)), 0.1)
    # At the ends of steep maps few points say little: a fit from 20,000 draws may be off by more there.
    difference = np.abs(fitted(predicted) - distortion(predicted))
    assert difference.mean() < 0.02
    assert np.percentile(difference, 98) < 0.05


def test_overconfidence_outside_the_family_becomes_reliable_on_other_points() -> None:
    predicted = np.random.default_rng(2).uniform(size=(2, 20_000))
    true = 0.1 + 0.5 * predicted**2  # never above 0.6
    found = np.stack([drawn(true[0], 3), drawn(true[1], 4)])
    confidence_map = fit_confidence(predicted[0], found[0], 0.1)
    before = calibration_error(reliability(predicted[1], found[1]))
    after = calibration_error(reliability(confidence_map(predicted[1]), found[1]))
    assert before > 0.2
    assert after < 0.03


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(CONFIDENCES, st.booleans()), min_size=1, max_size=6))
def test_few_points_give_no_extremes(points: list[tuple[float, bool]]) -> None:
    confidence, found = np.array(points, dtype=float).T
    likelihoods = fit_confidence(confidence, found, 0.1)(np.linspace(0, 1, 50))
    assert np.isfinite(likelihoods).all()
    assert (np.diff(likelihoods) >= -1e-12).all()
    assert likelihoods.min() >= 1 / (len(points) + 2)
    assert likelihoods.max() <= 1 - 1 / (len(points) + 2)


def test_ten_found_of_ten_are_not_certain() -> None:
    confidence = np.linspace(0.5, 0.99, 10)
    likelihoods = fit_confidence(confidence, np.ones(10), 0.1)(confidence)
    assert 0.5 < likelihoods.min() < likelihoods.max() < 0.95


def test_points_whose_place_is_unknown_do_not_count() -> None:
    predicted = np.random.default_rng(5).uniform(size=500)
    found = drawn(predicted)
    more_predicted = np.concatenate([predicted, predicted, [np.nan]])
    more_found = np.concatenate([found, np.full(500, np.nan), [1.0]])
    assert fit_confidence(more_predicted, more_found, 0.1) == fit_confidence(predicted, found, 0.1)


def test_fitting_without_known_places_is_an_error() -> None:
    with raises_input("no-labels"):
        fit_confidence(np.array([0.3, np.nan]), np.array([np.nan, 1.0]), 0.1)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(CONFIDENCES, st.sampled_from([0.0, 1.0, np.nan])), min_size=1, max_size=40))
def test_reliability_is_that_of_a_slow_count(points: list[tuple[float, float]]) -> None:
    confidence, found = np.array(points).T
    bins: dict[int, list[tuple[float, float]]] = {}
    for predicted, success in points:
        if success == success:
            bins.setdefault(min(int(predicted * NUM_BINS), NUM_BINS - 1), []).append((predicted, success))
    table = reliability(confidence, found)
    assert list(table["lower"]) == pytest.approx([number / NUM_BINS for number in sorted(bins)])
    assert list(table["count"]) == [len(bins[number]) for number in sorted(bins)]
    for row, number in zip(table.to_dict("records"), sorted(bins), strict=True):
        assert row["predicted"] == pytest.approx(sum(predicted for predicted, _ in bins[number]) / len(bins[number]))
        assert row["observed"] == pytest.approx(sum(success for _, success in bins[number]) / len(bins[number]))
    total = sum(map(len, bins.values()))
    slow = sum(abs(sum(predicted - success for predicted, success in part)) / total for part in bins.values())
    assert calibration_error(table) == pytest.approx(slow if total else np.nan, nan_ok=True)


def test_a_kept_map_comes_back_for_the_same_weights_only(tmp_path: Path) -> None:
    confidence_map = make_map(low_power=0.123456789, offset=-1 / 3, lowest=0.1, num_points=77)
    save_confidence(tmp_path, "feedfeedfeedfeed", make_map())
    path = save_confidence(tmp_path, CHECKSUM, confidence_map)
    assert load_confidence(tmp_path, CHECKSUM) == confidence_map
    assert load_confidence(tmp_path, "another-checksum") is None
    assert sorted(tmp_path.iterdir()) == [path]  # that of the older weights has gone


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("share: 0.1\n", "missing"),
        ("[1, 2]\n", "mapping"),
        ("share: {", "expected"),
        ("{share: 0.1, low_power: -1, high_power: 1, offset: 0, lowest: 0, highest: 1, num_points: 5}", "powers >= 0"),
        ("{share: 0.1, low_power: .nan, high_power: 1, offset: 0, lowest: 0, highest: 1, num_points: 5}", "finite"),
        ("{share: 0.1, low_power: 1, high_power: 1, offset: 0, lowest: 0.9, highest: 0.1, num_points: 5}", "lowest"),
    ],
)
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, content: str, problem: str) -> None:
    path = save_confidence(tmp_path, CHECKSUM, make_map())
    path.write_text(content)
    with raises_input("damaged-file", path=path) as raised:
        load_confidence(tmp_path, CHECKSUM)
    assert problem in str(raised.value)
    assert "--fit-confidence" in str(raised.value)
