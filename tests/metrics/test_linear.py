"""Variances of AUROCs: published values, all pairs, and Obuchowski's and Hillis's formulas."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from wsi_specdec.metrics import delong, linear_auroc, linear_share, spread
from wsi_specdec.metrics.linear import shared_variance

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# The example of DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44: 837, as printed in the
# documentation of SAS/STAT, PROC LOGISTIC, "Comparing Receiver Operating Characteristic Curves":
# albumin, total protein, K-G score, and whether the patient benefits from surgery.
OVARIAN = """
3.0 5.8 10 0   3.2 6.3  5 1   3.9 6.8  3 1   2.8 4.8  6 0   3.2 5.8  3 1   0.9 4.0  5 0
2.5 5.7  8 0   1.6 5.6  5 1   3.8 5.7  5 1   3.7 6.7  6 1   3.2 5.4  4 1   3.8 6.6  6 1
4.1 6.6  5 1   3.6 5.7  5 1   4.3 7.0  4 1   3.6 6.7  4 0   2.3 4.4  6 1   4.2 7.6  4 0
4.0 6.6  6 0   3.5 5.8  6 1   3.8 6.8  7 1   3.0 4.7  8 0   4.5 7.4  5 1   3.7 7.4  5 1
3.1 6.6  6 1   4.1 8.2  6 1   4.3 7.0  5 1   4.3 6.5  4 1   3.2 5.1  5 1   2.6 4.7  6 1
3.3 6.8  6 0   1.7 4.0  7 0   3.7 6.1  5 1   3.3 6.3  7 1   4.2 7.7  6 1   3.5 6.2  5 1
2.9 5.7  9 0   2.1 4.8  7 1   2.8 6.2  8 0   4.0 7.0  7 1   3.3 5.7  6 1   3.7 6.9  5 1
3.6 6.6  5 1
"""
ALBUMIN, PROTEIN, KG, BENEFIT = np.array(OVARIAN.split(), dtype=np.float64).reshape(-1, 4).T
KG = 10 - KG
OUTCOME = BENEFIT.astype(np.int64)


@pytest.mark.parametrize(
    ("scores", "area", "error"),
    [(ALBUMIN, 0.7366, 0.0927), (KG, 0.7258, 0.1028), (PROTEIN, 0.6478, 0.1000)],
    ids=["albumin", "K-G score", "total protein"],
)
def test_auroc_and_error_are_those_that_sas_prints(
    scores: Floats, area: float, error: float
) -> None:
    found = linear_auroc(OUTCOME, scores[None], np.arange(OUTCOME.size))
    assert found.values[0] == pytest.approx(area, abs=5e-5)
    assert spread(found, 0.95).error == pytest.approx(error, abs=5e-5)


@pytest.mark.parametrize(
    ("scores", "delta", "low", "high", "p"),
    [
        (ALBUMIN, 0.0108, -0.1761, 0.1976, 0.9102),
        (PROTEIN, -0.0780, -0.2830, 0.1271, 0.4561),
    ],
    ids=["albumin", "total protein"],
)
def test_contrasts_with_the_kg_score_are_those_that_sas_prints(
    scores: Floats, delta: float, low: float, high: float, p: float
) -> None:
    found = delong(OUTCOME, scores, KG, 0.95)
    assert found.delta == pytest.approx(delta, abs=5e-5)
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high), abs=5e-5)
    assert found.p == pytest.approx(p, abs=5e-5)


def test_auroc_and_variance_are_those_that_proc_states() -> None:
    """WFNS grades and outcomes of Turck et al. (2010), as counts; AUC and variance as in pROC."""
    good, poor = (37, 20, 3, 8, 4), (2, 12, 1, 8, 18)
    grades = np.repeat(np.tile(np.arange(5.0), 2), (*good, *poor))
    labels = np.repeat([0, 1], [sum(good), sum(poor)])
    found = linear_auroc(labels, grades[None], np.arange(labels.size))
    assert labels.size == 113
    assert found.values[0] == pytest.approx(0.823678861788618, rel=1e-12)
    assert found.covariance()[0, 0] == pytest.approx(0.00146991470882363, rel=1e-10)


def clustered(seed: int, seeds: int = 1, patients: int = 14) -> tuple[Ints, Floats, Ints]:
    """Patients of 1 to 4 units, often of either class, whose scores go together."""
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    labels = rng.integers(0, 2, owners.size)
    shared = rng.normal(size=patients)[owners]
    noise = rng.normal(0, 0.6, (seeds, owners.size))
    return labels, np.round(labels + shared + noise, 1), owners


def obuchowski(labels: Ints, a: Floats, b: Floats, owners: Ints) -> float:
    """Covariance of two AUROCs straight from Obuchowski (1997), eq. 5 to 8, by all pairs."""
    m, n = int((labels == 1).sum()), int((labels == 0).sum())

    def psi(x: float, y: float) -> float:
        return 1.0 if x > y else 0.5 if x == y else 0.0

    sums = []
    for scores in (a, b):
        positive, negative = scores[labels == 1], scores[labels == 0]
        area = sum(psi(x, y) for x in positive for y in negative) / (m * n)
        v10, v01 = [], []
        for patient in range(owners.max() + 1):
            xs = scores[(owners == patient) & (labels == 1)]
            ys = scores[(owners == patient) & (labels == 0)]
            v10.append(sum(sum(psi(x, y) for y in negative) / n for x in xs) - len(xs) * area)
            v01.append(sum(sum(psi(x, y) for x in positive) / m for y in ys) - len(ys) * area)
        sums.append((np.array(v10), np.array(v01)))
    (a10, a01), (b10, b01) = sums
    everyone = owners.max() + 1
    with_positive, with_negative = (np.unique(owners[labels == k]).size for k in (1, 0))
    s10 = with_positive / ((with_positive - 1) * m) * (a10 @ b10)
    s01 = with_negative / ((with_negative - 1) * n) * (a01 @ b01)
    s11 = everyone / (everyone - 1) * (a10 @ b01 + a01 @ b10) / 2
    return float(s10 / m + s01 / n + 2 * s11 / (m * n))


@pytest.mark.parametrize("seed", range(4))
def test_clustered_covariance_is_obuchowskis(seed: int) -> None:
    labels, scores, owners = clustered(seed, seeds=3)
    found = linear_auroc(labels, scores, owners).covariance()
    for row in range(3):
        for column in range(3):
            expected = obuchowski(labels, scores[row], scores[column], owners)
            assert found[row, column] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_clustered_difference_is_obuchowskis(seed: int) -> None:
    labels, scores, owners = clustered(seed, seeds=2)
    a, b = scores
    variance = obuchowski(labels, a, a, owners) + obuchowski(labels, b, b, owners)
    variance -= 2 * obuchowski(labels, a, b, owners)
    found = delong(labels, a, b, 0.95, owners)
    assert found.delta is not None
    reach = stats.norm.ppf(0.975) * variance**0.5
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (found.delta - reach, found.delta + reach)
    )
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.delta) / variance**0.5))
    assert found.test == "DeLong, clustered by patient (Obuchowski)"


def test_copies_of_every_unit_leave_the_error_as_it_was() -> None:
    labels, scores, _ = clustered(5)
    copies = np.repeat(np.arange(labels.size), 7)
    once = linear_auroc(labels, scores, np.arange(labels.size))
    often = linear_auroc(labels[copies], scores[:, copies], copies)
    assert spread(often, 0.95).error == pytest.approx(spread(once, 0.95).error)


def test_error_is_that_of_many_cohorts() -> None:
    """The mean estimated variance over cohorts is the variance of the estimates."""
    found = [linear_auroc(*clustered(seed, patients=40)) for seed in range(500)]
    estimates = np.array([each.values[0] for each in found])
    variances = np.array([each.covariance()[0, 0] for each in found])
    assert variances.mean() == pytest.approx(estimates.var(), rel=0.2)


def test_seeds_are_readers_as_hillis_has_them() -> None:
    labels, scores, owners = clustered(8, seeds=4, patients=60)
    scores = scores + labels * np.array([0.0, 0.4, 0.9, 2.5])[:, None]
    statistic = linear_auroc(labels, scores, owners)
    values, covariance = statistic.values, statistic.covariance()
    ms = sum((value - values.mean()) ** 2 for value in values) / 3
    pairs = [covariance[i, j] for i in range(4) for j in range(4) if i != j]
    cov2 = max(0.0, sum(pairs) / 12)
    found = spread(statistic, 0.95)
    assert found.error**2 == pytest.approx((ms + 4 * cov2) / 4)
    assert found.freedom == pytest.approx((ms + 4 * cov2) ** 2 / (ms**2 / 3))
    assert found.quantile(0.95) == pytest.approx(stats.t.ppf(0.975, found.freedom))
    assert found.p(0.1) == pytest.approx(2 * stats.t.sf(0.1 / found.error, found.freedom))


def test_equal_seeds_are_one_seed() -> None:
    labels, scores, owners = clustered(3)
    one, three = (linear_auroc(labels, np.tile(scores, (k, 1)), owners) for k in (1, 3))
    assert spread(three, 0.95).error == pytest.approx(spread(one, 0.95).error)
    assert spread(three, 0.95).quantile(0.95) == pytest.approx(stats.norm.ppf(0.975))


def test_seeds_that_agree_by_chance_do_not_shrink_the_interval() -> None:
    """Two very different models of one AUROC: their mean is known no better than the seeds say."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    first = labels + rng.normal(size=40)
    # The same placements, given to other patients.
    order = np.concatenate([np.flatnonzero(labels == k)[::-1] for k in (0, 1)])
    second = np.empty(40)
    second[np.concatenate([np.flatnonzero(labels == k) for k in (0, 1)])] = first[order]
    statistic = linear_auroc(labels, np.stack([first, second]), np.arange(40))
    assert statistic.values[0] == pytest.approx(statistic.values[1])
    fixed = statistic.covariance().mean() ** 0.5
    assert spread(statistic, 0.95).error >= fixed * (1 - 1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_share_and_its_error_by_hand(seed: int) -> None:
    labels, scores, owners = clustered(seed)
    right = (scores > 0.5) == labels
    of = labels == 1
    found = linear_share(right, of, owners)
    share = right[0][of].mean()
    away = [(right[0][of & (owners == p)] - share).sum() for p in range(owners.max() + 1)]
    count = np.unique(owners[of]).size
    variance = count / (count - 1) * sum(a * a for a in away) / of.sum() ** 2
    assert found.values[0] == pytest.approx(share)
    assert spread(found, 0.95).error ** 2 == pytest.approx(variance)


def test_covariance_of_two_shares_is_that_of_their_sum() -> None:
    labels, scores, owners = clustered(4, seeds=3, patients=50)
    right = (scores > 0.7) == labels
    one, other = (linear_share(right, labels == k, owners) for k in (1, 0))
    everyone = owners.max() + 1
    crossed = everyone / (everyone - 1) * one.parts[0] @ other.parts[0].T
    off = (crossed.sum() - np.trace(crossed)) / 6
    between = np.cov(one.values, other.values, ddof=1)[0, 1] / 3
    assert shared_variance(one, other) == pytest.approx(between + off)
