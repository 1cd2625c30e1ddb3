"""Means over sites against simulation and by hand."""

import numpy as np
import pytest

from wsi_specdec.metrics import Estimate, mean_difference, mean_of_sites

Z = 1.959963984540054


def normal(value: float, error: float) -> Estimate:
    return Estimate(value, value - Z * error, value + Z * error)


def test_symmetric_intervals_give_the_interval_of_independent_means() -> None:
    errors = np.array([0.01, 0.02, 0.05])
    found = mean_of_sites([normal(v, e) for v, e in zip((0.7, 0.8, 0.9), errors, strict=True)])
    expected = Z * np.sqrt((errors**2).sum()) / 3
    assert found.value == pytest.approx(0.8)
    assert found.ci_low == pytest.approx(0.8 - expected)
    assert found.ci_high == pytest.approx(0.8 + expected)
    assert found.n_sites == 3


def test_each_side_has_its_own_width() -> None:
    found = mean_of_sites([Estimate(0.9, 0.6, 0.95), Estimate(0.9, 0.5, 0.95)])
    assert found.ci_low == pytest.approx(0.9 - 0.25)
    assert found.ci_high == pytest.approx(0.9 + np.hypot(0.05, 0.05) / 2)


def test_sites_without_a_value_are_left_out_and_counted() -> None:
    missing = Estimate(None, None, None)
    found = mean_of_sites([normal(0.6, 0.1), missing, normal(0.8, 0.1)])
    assert found.value == pytest.approx(0.7)
    assert found.n_sites == 2
    assert mean_of_sites([missing]) == Estimate(None, None, None, 0)
    bare = mean_of_sites([normal(0.6, 0.1), Estimate(0.8, None, None)])
    assert bare.value == pytest.approx(0.7)
    assert (bare.ci_low, bare.ci_high, bare.n_sites) == (None, None, 2)


def test_the_interval_of_a_difference_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    errors, truth = np.array([0.02, 0.05, 0.1]), np.array([0.03, 0.0, 0.06])
    drawn = rng.normal(truth, errors, (4000, 3))
    covered, rejected = 0, 0
    for row in drawn:
        found = mean_difference([normal(v, e) for v, e in zip(row, errors, strict=True)], 0.95)
        assert found.ci_low is not None
        assert found.ci_high is not None
        assert found.p is not None
        covered += found.ci_low <= truth.mean() <= found.ci_high
        # The test and the interval say the same.
        assert (found.p < 0.05) == (found.ci_low > 0 or found.ci_high < 0)
        null = mean_difference(
            [normal(v - t, e) for v, t, e in zip(row, truth, errors, strict=True)], 0.95
        )
        assert null.p is not None
        rejected += null.p < 0.05
    assert covered / 4000 == pytest.approx(0.95, abs=0.012)
    assert rejected / 4000 == pytest.approx(0.05, abs=0.012)


def test_differences_without_width_or_interval_say_so() -> None:
    same = mean_difference([Estimate(0.0, 0.0, 0.0)] * 2, 0.95)
    assert (same.delta, same.p) == (0.0, 1.0)
    sure = mean_difference([Estimate(0.1, 0.1, 0.1)] * 2, 0.95)
    assert sure.p is None
    assert "no width" in str(sure.reason)
    bare = mean_difference([Estimate(0.1, None, None), Estimate(0.1, 0.0, 0.2)], 0.95)
    assert bare.delta == pytest.approx(0.1)
    assert (bare.ci_low, bare.p) == (None, None)
    assert bare.reason == "no interval: a site has none"
    none = mean_difference([Estimate(None, None, None)], 0.95)
    assert (none.delta, none.reason) == (None, "no site has a value")
