"""Intervals of results without spread, against closed forms."""

import numpy as np
import pytest
from scipy.stats import beta

from wsi_specdec.metrics import clopper_pearson
from wsi_specdec.metrics.exact import interval_at_bound

# Six patients with two units each: 0 and 1 positive, 2 with both, 3 to 5 negative.
PATIENTS = np.repeat(np.arange(6), 2)
LABELS = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(("k", "n"), [(3, 10), (1, 7), (9, 10)])
def test_clopper_pearson_by_the_beta_distribution(k: int, n: int) -> None:
    low, high = clopper_pearson(k, n, 0.95)
    assert low == pytest.approx(beta.ppf(0.025, k, n - k + 1))
    assert high == pytest.approx(beta.ppf(0.975, k + 1, n - k))


def test_clopper_pearson_at_the_ends() -> None:
    assert clopper_pearson(8, 8, 0.95) == pytest.approx((0.025 ** (1 / 8), 1))
    assert clopper_pearson(0, 8, 0.9) == pytest.approx((0, 1 - 0.05 ** (1 / 8)))


@pytest.mark.parametrize(
    ("metric", "patients"), [("accuracy", 6), ("sensitivity", 3), ("specificity", 4)]
)
def test_proportions_count_patients_and_not_units(metric: str, patients: int) -> None:
    bound = 0.025 ** (1 / patients)
    found = interval_at_bound(metric, 1.0, LABELS, PATIENTS, 0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((bound, 1))
    none_right = interval_at_bound(metric, 0.0, LABELS, PATIENTS, 0.95)
    assert none_right is not None
    assert (none_right.low, none_right.high) == pytest.approx((0, 1 - bound))
    assert none_right.reason is not None


def test_balanced_accuracy_shares_the_error_between_its_parts() -> None:
    found = interval_at_bound("balanced_accuracy", 1.0, LABELS, PATIENTS, 0.95)
    assert found is not None
    assert found.low == pytest.approx((0.0125 ** (1 / 3) + 0.0125 ** (1 / 4)) / 2)


def test_auroc_counts_pairs_of_different_patients() -> None:
    found = interval_at_bound("auroc", 1.0, LABELS, PATIENTS, 0.95)
    assert found is not None
    # Three patients with positives can each be paired with one of 3, 4, 5.
    assert found.low == pytest.approx(0.025 ** (1 / 3))
    both = interval_at_bound("auroc", 1.0, np.tile([0, 1], 5), np.repeat(np.arange(5), 2), 0.95)
    assert both is not None
    # Five patients with both kinds make two pairs of patients.
    assert both.low == pytest.approx(0.025 ** (1 / 2))
    alone = interval_at_bound("auroc", 1.0, np.array([0, 1]), np.array([0, 0]), 0.95)
    assert alone is not None
    assert alone.low == 0


@pytest.mark.parametrize(
    ("metric", "value"), [("accuracy", 0.9), ("f1", 1.0), ("average_precision", 1.0), ("brier", 0)]
)
def test_others_have_none(metric: str, value: float) -> None:
    assert interval_at_bound(metric, value, LABELS, PATIENTS, 0.95) is None


def test_exact_auroc_interval_covers_when_overlap_is_rare() -> None:
    """Only samples with a perfect AUROC get this interval: it must hold the truth in those."""
    rng = np.random.default_rng(0)
    truth = 0.9  # P(positive > negative): with probability 0.1 a positive lies below all.
    perfect = covered = 0
    patients = np.arange(16)
    labels = (patients < 8).astype(np.int64)
    found = interval_at_bound("auroc", 1.0, labels, patients, 0.95)
    assert found is not None
    assert found.low is not None
    for _ in range(300):
        if (rng.random(8) < truth).all():
            perfect += 1
            covered += found.low <= truth
    assert perfect > 50
    assert covered == perfect
