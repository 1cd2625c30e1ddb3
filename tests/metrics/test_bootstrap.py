"""Intervals and p-values from resamples, against scipy and closed forms."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import norm

from wsi_specdec.metrics import bootstrap_interval, bootstrap_p, draw_plan

Floats = NDArray[np.float64]


def mean_case(seed: int, n: int = 40) -> tuple[Floats, Floats]:
    values = np.random.default_rng(seed).exponential(size=n)
    return values, (values.sum() - values) / (n - 1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_bca_equals_scipy_on_the_same_resamples(seed: int, confidence: float) -> None:
    values, jackknife = mean_case(seed)
    expected = scipy_bootstrap(
        (values,),
        np.mean,
        n_resamples=999,
        confidence_level=confidence,
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    found = bootstrap_interval(
        float(values.mean()), expected.bootstrap_distribution, jackknife, confidence
    )
    assert found.reason is None
    assert found.low == pytest.approx(expected.confidence_interval.low)
    assert found.high == pytest.approx(expected.confidence_interval.high)


def test_degenerate_jackknife_gives_the_percentile_interval_and_says_so() -> None:
    replicates = np.random.default_rng(0).normal(0.7, 0.1, 501)
    for jackknife in (np.full(20, 0.7), np.array([0.7, np.nan, 0.6]), np.array([0.6, 0.7])):
        found = bootstrap_interval(0.75, replicates, jackknife, 0.95)
        expected = np.quantile(replicates, [0.025, 0.975])
        assert (found.low, found.high) == pytest.approx(tuple(expected))
        assert found.reason is not None
        assert found.reason.startswith("percentile interval: ")


def test_undefined_resamples_are_left_out_and_counted() -> None:
    _, jackknife = mean_case(1)
    replicates = np.random.default_rng(0).normal(1, 0.1, 400)
    with_gaps = np.concatenate([replicates, np.full(300, np.nan)])
    assert bootstrap_interval(1.0, with_gaps, jackknife, 0.95) == bootstrap_interval(
        1.0, replicates, jackknife, 0.95
    )
    mostly_gaps = np.concatenate([replicates, np.full(401, np.nan)])
    found = bootstrap_interval(1.0, mostly_gaps, jackknife, 0.95)
    assert (found.low, found.high) == (None, None)
    assert found.reason == "undefined in 401 of 801 resamples"
    assert bootstrap_p(1.0, mostly_gaps, jackknife) is None


def test_resamples_without_spread_give_no_interval() -> None:
    found = bootstrap_interval(0.5, np.full(100, 0.5), np.full(9, 0.5), 0.95)
    assert (found.low, found.high, found.reason) == (None, None, "every resample gives 0.5")


@pytest.mark.parametrize("seed", range(6))
def test_p_is_the_level_at_which_the_interval_reaches_zero(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, jackknife = mean_case(seed, 30)
    shift = values.mean() + 0.2 * rng.normal()
    replicates = values[rng.integers(0, 30, (20_000, 30))].mean(axis=1) - shift
    estimate = float(values.mean() - shift)
    p = bootstrap_p(estimate, replicates, jackknife - shift)
    assert p is not None
    found = bootstrap_interval(estimate, replicates, jackknife - shift, 1 - p)
    assert found.low is not None
    assert found.high is not None
    assert min(abs(found.low), abs(found.high)) < 2e-3


def test_p_of_normal_replicates_is_the_normal_one() -> None:
    quantiles = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    jackknife = np.array([-1.0, 0.0, 1.0])
    for z in (0.3, 1.0, 1.96, 3.0):
        p = bootstrap_p(z, quantiles + z, jackknife)
        assert p == pytest.approx(2 * norm.sf(z), rel=0.05)


@pytest.mark.parametrize("far", [9.0, -9.0])
def test_p_is_never_below_what_the_resamples_can_show(far: float) -> None:
    replicates = far + norm.ppf((np.arange(999) + 0.5) / 999)
    p = bootstrap_p(far, replicates, np.array([1.0, 2.0, 3.0]))
    assert p == pytest.approx(2 / 1000)


def test_plan_draws_whole_patients_and_seeds_apart() -> None:
    plan = draw_plan(7, 3, 500, seed=1)
    assert plan.patients.shape == (500, 7)
    assert (plan.patients.sum(axis=1) == 7).all()
    assert np.allclose(plan.seeds.sum(axis=1), 1)
    # Each patient is drawn once on average, with the variance 1 - 1/7 of a binomial.
    assert plan.patients.mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)
    assert plan.patients.var() == pytest.approx(6 / 7, abs=0.1)
    assert abs(np.corrcoef(plan.patients[:, 0], plan.seeds[:, 0])[0, 1]) < 0.15
    np.testing.assert_array_equal(draw_plan(7, 3, 500, seed=1).patients, plan.patients)
    assert not np.array_equal(draw_plan(7, 3, 500, seed=2).patients, plan.patients)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_drawing_one_seed_fewer_gives_the_mean_its_whole_variance(seeds: int) -> None:
    """As many draws as seeds would give (S - 1) / S of it."""
    values = np.random.default_rng(seeds).normal(size=seeds)
    means = draw_plan(2, seeds, 200_000, seed=1).seeds @ values
    assert means.var() == pytest.approx(values.var(ddof=1) / seeds, rel=0.02)


def test_cohorts_of_other_patients_draw_the_same_seeds() -> None:
    one, other = (draw_plan(count, 4, 100, seed=7).seeds for count in (5, 50))
    np.testing.assert_array_equal(one, other)


def test_one_seed_is_not_resampled() -> None:
    assert (draw_plan(4, 1, 50, seed=0).seeds == 1).all()


def test_skewed_jackknife_moves_the_interval() -> None:
    replicates = norm.ppf((np.arange(5000) + 0.5) / 5000)
    jackknife = np.array([0.0] * 9 + [-5.0])
    found = bootstrap_interval(0.0, replicates, jackknife, 0.95)
    # a from its definition; z0 is 0.
    distance = jackknife.mean() - jackknife
    a = (distance**3).sum() / (6 * (distance**2).sum() ** 1.5)
    z = ndtri(0.975)
    assert found.high == pytest.approx(z / (1 - a * z), abs=0.01)
    assert found.low == pytest.approx(-z / (1 + a * z), abs=0.01)
