"""Intervals from variances, against scipy, closed forms and published examples."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from scipy.stats import t as student

from wsi_specdec.metrics import Sample, analytic_interval, logit_interval, wilson_interval
from wsi_specdec.metrics.linear import linear_auroc, spread

Ints = NDArray[np.int64]
Z = float(norm.ppf(0.975))


def of_calls(labels: Ints, calls: Ints, patients: Ints | None = None) -> Sample:
    owners = np.arange(labels.size) if patients is None else patients
    rows = np.atleast_2d(calls)
    return Sample(labels, owners, rows + 0.1 * np.linspace(0, 1, labels.size), rows)


def bounds(metric: str, sample: Sample) -> tuple[float, float]:
    found = analytic_interval(metric, sample, 0.95)
    assert found is not None
    assert found[0].low is not None
    assert found[0].high is not None
    return found[0].low, found[0].high


@pytest.mark.parametrize(("k", "n"), [(3, 10), (28, 30), (81, 263)])
def test_wilson_is_scipys(k: int, n: int) -> None:
    expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
    found = wilson_interval(k / n, n, Z)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_independent_units_get_wilsons_interval() -> None:
    labels = np.repeat([1, 0], [30, 50])
    calls = np.concatenate([np.repeat([1, 0], [27, 3]), np.repeat([1, 0], [9, 41])])
    sample = of_calls(labels, calls)
    for metric, k, n in (("sensitivity", 27, 30), ("specificity", 41, 50), ("accuracy", 68, 80)):
        expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
        assert bounds(metric, sample) == pytest.approx((expected.low, expected.high))
        assert analytic_interval(metric, sample, 0.95)[1] == "Wilson"  # type: ignore[index]


def test_patients_whose_slides_agree_count_once() -> None:
    labels, calls = np.ones(20, dtype=np.int64), np.repeat([1, 0], [15, 5])
    copies = np.repeat(np.arange(20), 6)
    often = of_calls(labels[copies], calls[copies], copies)
    expected = wilson_interval(0.75, 20, student.ppf(0.975, 19))
    assert bounds("sensitivity", often) == pytest.approx((expected.low, expected.high))
    name = analytic_interval("sensitivity", often, 0.95)[1]  # type: ignore[index]
    assert name == "Wilson, effective size of the patients"


def test_patients_whose_slides_differ_count_as_their_slides_at_most() -> None:
    """Each patient has one right and one wrong slide: no variance, and yet no certainty."""
    labels, patients = np.ones(40, dtype=np.int64), np.repeat(np.arange(20), 2)
    sample = of_calls(labels, np.tile([1, 0], 20), patients)
    expected = wilson_interval(0.5, 40, student.ppf(0.975, 19))
    assert bounds("sensitivity", sample) == pytest.approx((expected.low, expected.high))


def test_a_little_variance_is_no_more_certain_than_none() -> None:
    labels, patients = np.ones(40, dtype=np.int64), np.repeat(np.arange(20), 2)
    calls = np.tile([1, 0], 20)
    calls[1] = 1
    expected = wilson_interval(21 / 40, 40, student.ppf(0.975, 19))
    found = bounds("sensitivity", of_calls(labels, calls, patients))
    assert found == pytest.approx((expected.low, expected.high))


def test_balanced_accuracy_adds_its_parts_at_a_right_angle() -> None:
    labels = np.repeat([1, 0], [30, 50])
    calls = np.concatenate([np.repeat([1, 0], [27, 3]), np.repeat([1, 0], [9, 41])])
    parts = [binomtest(k, n).proportion_ci(0.95, method="wilson") for k, n in ((27, 30), (41, 50))]
    below = np.hypot(0.9 - parts[0].low, 0.82 - parts[1].low) / 2
    above = np.hypot(parts[0].high - 0.9, parts[1].high - 0.82) / 2
    assert bounds("balanced_accuracy", of_calls(labels, calls)) == pytest.approx(
        (0.86 - below, 0.86 + above)
    )


def test_balanced_accuracy_with_one_perfect_part_still_has_an_interval() -> None:
    labels = np.repeat([1, 0], [10, 50])
    calls = np.concatenate([np.ones(10, dtype=np.int64), np.repeat([1, 0], [9, 41])])
    low, high = bounds("balanced_accuracy", of_calls(labels, calls))
    exact = 0.025 ** (1 / 10)
    part = binomtest(41, 50).proportion_ci(0.95, method="wilson")
    assert low == pytest.approx(0.91 - np.hypot(1 - exact, 0.82 - part.low) / 2)
    assert high == pytest.approx(0.91 + (part.high - 0.82) / 2)


def test_seeds_that_trade_sensitivity_for_specificity_are_known_better_by_their_mean() -> None:
    """Thresholds that move by luck: what one part loses the other gains."""
    labels = np.repeat([1, 0], 200)
    rows = []
    for more in (-30, -10, 10, 30):
        right = np.concatenate([np.arange(200) < 150 + more, np.arange(200) < 150 - more])
        rows.append(np.where(right, labels, 1 - labels))
    sample = Sample(labels, np.arange(400), np.stack(rows) * 1.0, np.stack(rows))
    low, high = bounds("balanced_accuracy", sample)
    widths = [np.ptp(bounds(name, sample)) for name in ("sensitivity", "specificity")]
    apart = np.hypot(widths[0], widths[1]) / 2
    assert high - low < 0.7 * apart


def test_auroc_is_symmetric_in_its_odds() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    scores = (labels + rng.normal(size=60))[None]
    sample = Sample(labels, np.arange(60), scores, (scores > 0.5).astype(np.int64))
    statistic = linear_auroc(labels, scores, np.arange(60))
    value, error = float(statistic.values[0]), spread(statistic, 0.95).error
    low, high = bounds("auroc", sample)
    reach = np.exp(student.ppf(0.975, 29) * error / (value * (1 - value)))
    assert high / (1 - high) == pytest.approx(value / (1 - value) * reach)
    assert low / (1 - low) == pytest.approx(value / (1 - value) / reach)
    found = logit_interval(value, error, student.ppf(0.975, 29))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_metrics_without_a_variance_have_none() -> None:
    sample = of_calls(np.array([0, 1, 0, 1]), np.array([0, 1, 1, 1]))
    for metric in ("f1", "average_precision", "ece", "quadratic_kappa"):
        assert analytic_interval(metric, sample, 0.95) is None
    # One positive patient.
    single = of_calls(np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]))
    assert analytic_interval("auroc", single, 0.95) is None
