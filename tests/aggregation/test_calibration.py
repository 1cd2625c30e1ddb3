"""Slide score to probability, against scipy's optimiser and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from wsi_specdec.aggregation import Calibration, fit_calibration
from wsi_specdec.aggregation.calibration import fit_platt, fit_temperature
from wsi_specdec.config import AggregateConfig
from wsi_specdec.errors import NotEnoughDataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

slides = st.lists(
    st.tuples(st.integers(0, 1), st.floats(0.01, 0.99)), min_size=2, max_size=30
).filter(lambda rows: len({label for label, _ in rows}) == 2)


def loss(slope: float, intercept: float, labels: Ints, scores: Floats) -> float:
    """Cross-entropy to Platt's targets, written out."""
    n_positive = int(labels.sum())
    high, low = (n_positive + 1) / (n_positive + 2), 1 / (len(labels) - n_positive + 2)
    total = 0.0
    for label, score in zip(labels, scores, strict=True):
        z = slope * logit(score) + intercept
        target = high if label else low
        total -= target * -np.logaddexp(0, -z) + (1 - target) * -np.logaddexp(0, z)
    return total


@given(slides)
def test_platt_is_as_likely_as_what_scipy_finds(rows: list[tuple[int, float]]) -> None:
    labels, scores = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    found = fit_platt(labels, scores)
    best = optimize.minimize(
        lambda p: loss(p[0], p[1], labels, scores),
        [1.0, 0.0],
        method="L-BFGS-B",
        bounds=[(0, None), (None, None)],
    )
    assert loss(found.slope, found.intercept, labels, scores) <= best.fun + 1e-6
    assert found.slope >= 0


@given(slides)
def test_temperature_is_as_likely_as_what_scipy_finds(rows: list[tuple[int, float]]) -> None:
    labels, scores = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    found = fit_temperature(labels, scores)
    best = optimize.minimize_scalar(
        lambda slope: loss(slope, 0, labels, scores), bounds=(0, 200), method="bounded"
    )
    assert found.intercept == 0
    assert loss(found.slope, 0, labels, scores) <= best.fun + 1e-6


def test_platt_of_many_slides_is_an_unpenalised_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=20_000)
    labels = (rng.random(20_000) < expit(2 * z - 1)).astype(np.int64)
    found = fit_platt(labels, expit(z))
    model = LogisticRegression(C=1e9, tol=1e-10).fit(z[:, None], labels)
    # The targets of Platt differ by 1 / N.
    assert found.slope == pytest.approx(model.coef_[0, 0], rel=2e-3)
    assert found.intercept == pytest.approx(model.intercept_[0], rel=4e-3)
    assert (found.slope, found.intercept) == pytest.approx((2, -1), rel=0.05)


def test_confidence_of_calibrated_calls_is_how_often_they_are_right() -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(size=40_000)
    labels = (rng.random(40_000) < expit(3 * z + 0.5)).astype(np.int64)
    # Scores that are far too timid, as those of a mean over tiles.
    scores = expit(0.2 * z)
    found = fit_platt(labels[:20_000], scores[:20_000])
    tested = range(20_000, 40_000)
    calls = (scores >= 0.5).astype(int)
    stated = np.array([found.confidence(scores[i], calls[i]) for i in tested])
    right = calls[20_000:] == labels[20_000:]
    for low in (0.5, 0.6, 0.7, 0.8, 0.9):
        inside = (stated >= low) & (stated < low + 0.1)
        assert right[inside].mean() == pytest.approx(stated[inside].mean(), abs=0.03)


def test_separate_classes_keep_a_finite_slope() -> None:
    found = fit_platt(np.array([0, 0, 1, 1]), np.array([0.0, 0.1, 0.9, 1.0]))
    assert np.isfinite(found.slope)
    assert 0 < found.probability(0.0) < 0.5 < found.probability(1.0) < 1


def test_scores_that_order_slides_the_wrong_way_say_nothing() -> None:
    labels, scores = np.array([1, 1, 0, 0, 0]), np.array([0.1, 0.2, 0.8, 0.9, 0.7])
    found = fit_platt(labels, scores)
    # The mean of the targets: (2 · 3/4 + 3 · 1/5) / 5.
    assert found.slope == 0
    assert found.probability(0.1) == found.probability(0.9) == pytest.approx(0.42)


def test_probability_and_confidence_by_hand() -> None:
    found = Calibration(method="platt", slope=2, intercept=np.log(3))
    assert found.probability(0.5) == pytest.approx(0.75)
    # Odds of 1/4, squared, by 3.
    assert found.probability(0.2) == pytest.approx((3 / 16) / (1 + 3 / 16))
    assert found.confidence(0.5, 1) == pytest.approx(0.75)
    assert found.confidence(0.5, 0) == pytest.approx(0.25)


@pytest.mark.parametrize(("positive", "negative"), [(9, 20), (20, 9), (10, 10)])
def test_auto_needs_ten_of_each(positive: int, negative: int) -> None:
    labels = [1] * positive + [0] * negative
    scores = [0.6] * positive + [0.4] * negative
    found = fit_calibration(labels, scores, AggregateConfig(), "x")
    assert (found is not None) == (min(positive, negative) >= 10)


def test_a_method_by_its_name_needs_both_classes() -> None:
    for name in ("platt", "temperature"):
        config = AggregateConfig(calibration=name)
        found = fit_calibration([0, 1], [0.2, 0.7], config, "x")
        assert found is not None
        assert found.method == name
        with pytest.raises(NotEnoughDataError, match=f"x has .* calibration '{name}' needs both"):
            fit_calibration([1, 1], [0.2, 0.7], config, "x")
    assert fit_calibration([], [], AggregateConfig(calibration="none"), "x") is None
