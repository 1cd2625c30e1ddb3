"""DeLong, McNemar and Holm, against brute force and closed forms."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from wsi_specdec.metrics import delong, delong_components, holm, mcnemar

Floats = NDArray[np.float64]


def psi(positive: Floats, negative: Floats) -> Floats:
    """Kernel of the AUROC: 1 where a positive outranks a negative, 1/2 where they tie."""
    return (np.sign(positive[:, None] - negative[None, :]) + 1) / 2


def brute_force(labels: NDArray[np.int64], a: Floats, b: Floats) -> tuple[float, float]:
    """Difference and its variance, straight from DeLong et al. 1988, eq. 6, all pairs."""
    kernels = [psi(s[labels == 1], s[labels == 0]) for s in (a, b)]
    s10, s01 = np.zeros((2, 2)), np.zeros((2, 2))
    for r in range(2):
        for s in range(2):
            u, v = kernels[r], kernels[s]
            m, n = u.shape
            s10[r, s] = sum((u[i].mean() - u.mean()) * (v[i].mean() - v.mean()) for i in range(m))
            s10[r, s] /= m - 1
            columns = range(n)
            s01[r, s] = sum(
                (u[:, j].mean() - u.mean()) * (v[:, j].mean() - v.mean()) for j in columns
            )
            s01[r, s] /= n - 1
    covariance = s10 / m + s01 / n
    contrast = np.array([1.0, -1.0])
    delta = kernels[0].mean() - kernels[1].mean()
    return float(delta), float(contrast @ covariance @ contrast)


def paired_case(seed: int, n: int = 60) -> tuple[NDArray[np.int64], Floats, Floats]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.4).astype(np.int64)
    shared = rng.normal(labels)
    a, b = (np.round(shared + rng.normal(0, 0.8, n), 1) for _ in range(2))
    return labels, a, b


@pytest.mark.parametrize("seed", range(5))
def test_delong_agrees_with_all_pairs(seed: int) -> None:
    labels, a, b = paired_case(seed)
    delta, variance = brute_force(labels, a, b)
    found = delong(labels, a, b, 0.95)
    error = variance**0.5
    assert found.delta == pytest.approx(delta)
    assert found.ci_low == pytest.approx(delta - norm.ppf(0.975) * error)
    assert found.ci_high == pytest.approx(delta + norm.ppf(0.975) * error)
    assert found.p == pytest.approx(2 * norm.sf(abs(delta) / error))
    assert (found.test, found.reason) == ("DeLong", None)


def test_components_average_to_the_auroc() -> None:
    labels, a, _ = paired_case(9)
    v10, v01 = delong_components(labels, a)
    kernel = psi(a[labels == 1], a[labels == 0])
    np.testing.assert_allclose(v10, kernel.mean(axis=1))
    np.testing.assert_allclose(v01, kernel.mean(axis=0))
    assert v10.mean() == pytest.approx(roc_auc_score(labels, a))


def test_delong_keeps_its_level_without_a_difference() -> None:
    p_values = []
    for seed in range(400):
        found = delong(*paired_case(10_000 + seed, 80), 0.95)
        assert found.p is not None
        p_values.append(found.p)
    # 400 draws at 5 %: 99.9 % of the time between 2.3 and 9 %.
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09


def test_swapping_arms_swaps_the_sign() -> None:
    labels, a, b = paired_case(2)
    one, other = delong(labels, a, b, 0.95), delong(labels, b, a, 0.95)
    assert one.delta is not None
    assert other.delta == pytest.approx(-one.delta)
    assert other.p == pytest.approx(one.p)


@pytest.mark.parametrize(
    ("labels", "a", "b", "p", "reason"),
    [
        ([0, 0, 1, 1], [1, 2, 3, 4], [1, 2, 3, 4], 1.0, "same for every unit"),
        ([0, 0, 1, 1], [1, 2, 3, 4], [4, 3, 2, 1], None, "same for every unit"),
        ([1, 1, 1], [1, 2, 3], [1, 3, 2], None, "one class only"),
        ([0, 0, 1], [1, 2, 3], [1, 3, 2], None, "no variance from 1 positive"),
    ],
)
def test_delong_without_variance_says_why(
    labels: list[int], a: list[float], b: list[float], p: float | None, reason: str
) -> None:
    found = delong(labels, a, b, 0.95)
    assert (found.ci_low, found.ci_high, found.p) == (None, None, p)
    assert found.reason is not None
    assert reason in found.reason


def test_mcnemar_by_hand() -> None:
    # 5 units right for the arm alone, 1 for the baseline alone: 2 * (6 + 1) / 2^6.
    truth = np.ones(10, dtype=np.int64)
    arm = np.array([1, 1, 1, 1, 1, 0, 1, 1, 0, 0])
    base = np.array([0, 0, 0, 0, 0, 1, 1, 1, 0, 0])
    assert mcnemar(truth, arm, base) == pytest.approx(14 / 64)
    assert mcnemar(truth, base, arm) == pytest.approx(14 / 64)
    assert mcnemar(truth, arm, arm) == 1


def test_mcnemar_counts_right_calls_of_either_class() -> None:
    truth, arm, base = np.array([0, 0, 0, 0, 1]), np.zeros(5), np.ones(5)
    # 4 to 1 in favour of the arm: 2 * (1 + 5) / 2^5.
    assert mcnemar(truth, arm, base) == pytest.approx(12 / 32)


def test_mcnemar_of_one_unit_each_is_the_binomial_test() -> None:
    rng = np.random.default_rng(4)
    for units in (1, 7, 40):
        truth, arm, base = (rng.integers(0, 2, units) for _ in range(3))
        gained = int(((arm == truth) & (base != truth)).sum())
        apart = int((arm != base).sum())
        expected = binomtest(gained, apart).pvalue if apart else 1.0
        assert mcnemar(truth, arm, base) == pytest.approx(expected)


def test_mcnemar_of_clusters_counts_every_swap_of_a_patients_calls() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        patients = np.sort(rng.integers(0, 8, 24))
        truth, arm, base = (rng.integers(0, 2, 24) for _ in range(3))
        gains = np.zeros(8)
        np.add.at(gains, patients, (arm == truth).astype(int) - (base == truth).astype(int))
        sums = np.array(list(product((-1, 1), repeat=8))) @ gains
        expected = np.mean(np.abs(sums) >= abs(gains.sum()))
        assert mcnemar(truth, arm, base, patients) == pytest.approx(expected)


def test_mcnemar_of_clusters_keeps_its_level_and_that_of_units_does_not() -> None:
    """Five slides each of 40 patients, on which two arms of equal accuracy mostly err alike."""
    rng = np.random.default_rng(6)
    patients = np.repeat(np.arange(40), 5)
    truth = np.zeros(200)
    rejected = np.zeros(2)
    for _ in range(400):
        arm, base = ((rng.random(40)[patients] < 0.3) ^ (rng.random(200) < 0.1) for _ in range(2))
        p_values = mcnemar(truth, arm, base, patients), mcnemar(truth, arm, base)
        rejected += np.array(p_values) < 0.05
    # 400 draws at 5 %: 99.9 % of the time below 9 %.
    assert rejected[0] / 400 < 0.09
    assert rejected[1] / 400 > 0.15


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, None]) == pytest.approx([0.03, 0.06, 0.06, None])
    assert holm([]) == []
    assert holm([None]) == [None]
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_monotone_and_between_p_and_bonferroni(p_values: list[float]) -> None:
    adjusted = np.array(holm(p_values), dtype=float)
    raw = np.array(p_values)
    assert (adjusted >= raw).all()
    assert (adjusted <= np.minimum(1, raw * raw.size) + 1e-12).all()
    order = np.argsort(raw, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 0.2))
def test_holm_rejects_what_the_step_down_procedure_rejects(
    p_values: list[float], level: float
) -> None:
    rejected = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, index in enumerate(order):
        if (len(p_values) - rank) * p_values[index] > level:
            break
        rejected[index] = True
    found = [p is not None and p <= level for p in holm(p_values)]
    assert found == rejected
