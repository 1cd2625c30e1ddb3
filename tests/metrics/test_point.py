"""Metrics of one set of units, against scikit-learn, hand-made values and invariances."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import ArrayLike, NDArray
from scipy.stats import mannwhitneyu
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from wsi_specdec import metrics
from wsi_specdec.metrics import METRICS, Point

Metric = Callable[[ArrayLike, ArrayLike], Point]

TRUTH = [0, 0, 1, 1, 1]
CALLS = [0, 1, 1, 1, 0]


def random_case(seed: int, n: int = 300) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    # Rounded, so that ties are many.
    return labels, np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1).round(2).astype(np.float64)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        (metrics.auroc, sk.roc_auc_score),
        (metrics.average_precision, sk.average_precision_score),
        (metrics.brier, sk.brier_score_loss),
    ],
)
def test_score_metrics_agree_with_scikit_learn(
    metric: Metric, reference: Callable[..., float], seed: int
) -> None:
    labels, scores = random_case(seed)
    assert metric(labels, scores).value == pytest.approx(reference(labels, scores), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        (metrics.sensitivity, sk.recall_score),
        (metrics.specificity, lambda t, c: sk.recall_score(t, c, pos_label=0)),
        (metrics.balanced_accuracy, sk.balanced_accuracy_score),
        (metrics.accuracy, sk.accuracy_score),
        (metrics.f1, sk.f1_score),
    ],
)
def test_call_metrics_agree_with_scikit_learn(
    metric: Metric, reference: Callable[..., float], seed: int
) -> None:
    labels, scores = random_case(seed)
    calls = (scores >= 0.5).astype(int)
    assert metric(labels, calls).value == pytest.approx(reference(labels, calls), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_auroc_agrees_with_scipys_mann_whitney(seed: int) -> None:
    labels, scores = random_case(seed)
    positive, negative = scores[labels == 1], scores[labels == 0]
    statistic = mannwhitneyu(positive, negative).statistic
    expected = statistic / (positive.size * negative.size)
    assert metrics.auroc(labels, scores).value == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_its_definition(seed: int) -> None:
    labels, scores = random_case(seed)
    recall, total = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        called = scores >= threshold
        total += (labels[called].sum() / labels.sum() - recall) * labels[called].mean()
        recall = labels[called].sum() / labels.sum()
    assert metrics.average_precision(labels, scores).value == pytest.approx(total)


@pytest.mark.parametrize("seed", range(3))
def test_ece_agrees_with_scikit_learns_calibration_curve(seed: int) -> None:
    labels = random_case(seed)[0]
    # No value on an edge, which scikit-learn gives to the lower bin.
    scores = np.random.default_rng(seed).random(labels.size)
    share, mean = calibration_curve(labels, scores, n_bins=15)
    counts = np.histogram(scores, bins=15, range=(0, 1))[0]
    expected = (counts[counts > 0] * np.abs(share - mean)).sum() / labels.size
    assert metrics.ece(labels, scores).value == pytest.approx(expected)


def graded(seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, 80)
    return truth, np.clip(truth + rng.integers(-2, 3, 80), 0, 4)


@pytest.mark.parametrize("seed", range(3))
def test_kappa_is_its_definition(seed: int) -> None:
    """Cohen (1968): mean squared disagreement of the pairs over that of all pairings."""
    truth, called = graded(seed)
    chance = np.mean([(a - b) ** 2 for a in truth for b in called])
    expected = 1 - np.mean((truth - called) ** 2) / chance
    assert metrics.quadratic_kappa(truth, called).value == pytest.approx(expected)


def test_kappa_by_hand_where_a_grade_is_missing() -> None:
    # One unit of four disagrees, by 2: weight 4.
    truth, called = np.array([0, 0, 2, 2]), np.array([0, 2, 2, 2])
    # Chance: truth 0 (2 of 4) called 2 (3 of 4), truth 2 (2 of 4) called 0 (1 of 4), weight 4 each.
    chance = 4 * (2 * 3 + 2 * 1) / 4
    assert metrics.quadratic_kappa(truth, called).value == pytest.approx(1 - 4 / chance)
    # Only distances count, so that 0 and 2 are as far apart as 1 and 3.
    assert metrics.quadratic_kappa(truth + 1, called + 1).value == pytest.approx(1 - 4 / chance)
    far = metrics.quadratic_kappa([0, 0, 2, 2, 3], [0, 2, 2, 2, 2]).value
    near = metrics.quadratic_kappa([0, 0, 1, 1, 2], [0, 1, 1, 1, 1]).value
    assert far is not None
    assert near is not None
    assert far != pytest.approx(near)


@pytest.mark.parametrize("wrong", [[0.5, 1], [-1, 0]])
def test_kappa_refuses_what_is_no_grade(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="whole numbers from 0"):
        metrics.quadratic_kappa(wrong, [0, 1])
    with pytest.raises(ValueError, match="must be"):
        metrics.quadratic_kappa([0, 1], [0])


@pytest.mark.parametrize(
    ("metric", "value", "n"),
    [
        (metrics.sensitivity, 2 / 3, 3),
        (metrics.specificity, 1 / 2, 2),
        (metrics.balanced_accuracy, 7 / 12, 5),
        (metrics.accuracy, 3 / 5, 5),
        (metrics.f1, 2 / 3, 5),
    ],
)
def test_hand_made_calls(metric: Metric, value: float, n: int) -> None:
    found = metric(TRUTH, CALLS)
    assert found.value == pytest.approx(value)
    assert (found.n, found.reason) == (n, None)


def test_rounding_never_leaves_the_unit_interval() -> None:
    # scikit-learn sums shares of recall, which exceeds 1 by a float for some counts.
    for positives in range(1, 60):
        labels = [0] * 8 + [1] * positives
        value = metrics.average_precision(labels, np.arange(len(labels))).value
        assert value is not None
        assert 1 - 1e-12 < value <= 1


def test_ece_by_hand() -> None:
    # Two bins in use: mean probability 0.5 against mean label 0, and 0.9 against 1.
    assert metrics.ece([0, 0, 1, 1], [0.5, 0.5, 0.9, 0.9]).value == pytest.approx(0.3)


def test_ece_agrees_with_its_definition_on_calibrated_and_random_data() -> None:
    labels, scores = random_case(7, 500)
    total = 0.0
    for low in range(15):
        inside = (scores >= low / 15) & ((scores < (low + 1) / 15) | (low == 14))
        if inside.any():
            gap = abs(labels[inside].mean() - scores[inside].mean())
            total += inside.mean() * gap
    assert metrics.ece(labels, scores).value == pytest.approx(total)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("labels", [[], [0, 0], [1, 1]], ids=["none", "negative", "positive"])
def test_undefined_is_none_with_a_reason_and_never_warns(name: str, labels: list[int]) -> None:
    values = [1.0, 0.0][: len(labels)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = METRICS[name].point(labels, values)
    assert (found.value is None) == (found.reason is not None)
    if found.value is not None:
        assert np.isfinite(found.value)


@pytest.mark.parametrize(
    ("metric", "labels", "reason"),
    [
        (metrics.auroc, [1, 1], "all 2 units are positive"),
        (metrics.average_precision, [0, 0, 0], "all 3 units are negative"),
        (metrics.balanced_accuracy, [1], "all 1 units are positive"),
        (metrics.sensitivity, [0], "no unit is positive"),
        (metrics.specificity, [1], "no unit is negative"),
        (metrics.f1, [0], "all 1 units are negative"),
        (metrics.accuracy, [], "there are no units"),
        (metrics.brier, [], "there are no units"),
        (metrics.ece, [], "there are no units"),
    ],
)
def test_reasons_say_what_is_missing(metric: Metric, labels: list[int], reason: str) -> None:
    found = metric(labels, [1.0] * len(labels))
    assert found.value is None
    assert found.reason == reason


def test_f1_is_zero_where_positives_are_there_but_none_is_found() -> None:
    assert metrics.f1([1, 0], [0, 0]).value == 0


@pytest.mark.parametrize(
    ("labels", "values", "message"),
    [
        ([0, 1], [0.5], "must be"),
        ([[0, 1]], [[0.5, 0.5]], "must be"),
        ([0, 2], [0.5, 0.5], "labels must be 0 or 1"),
        ([0, 1], [0.5, np.nan], "1 of 2 values are not finite"),
    ],
)
def test_wrong_input_is_refused(labels: ArrayLike, values: ArrayLike, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.auroc(labels, values)


def test_calibration_refuses_what_is_no_probability() -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        metrics.brier([0, 1], [0.5, 1.5])
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        metrics.ece([0, 1], [-0.5, 0.5])


LEVELS = hnp.arrays(np.int64, st.integers(4, 40), elements=st.integers(-8, 8))


@given(LEVELS)
def test_ranking_ignores_monotone_changes_of_score(levels: NDArray[np.int64]) -> None:
    labels = (np.arange(levels.size) % 2).astype(np.int64)
    for metric in (metrics.auroc, metrics.average_precision):
        plain = metric(labels, levels).value
        assert metric(labels, np.exp(levels / 4)).value == pytest.approx(plain, abs=1e-12)


@given(LEVELS)
def test_auroc_of_reversed_scores_is_the_complement(levels: NDArray[np.int64]) -> None:
    labels = (np.arange(levels.size) % 2).astype(np.int64)
    forward, backward = metrics.auroc(labels, levels), metrics.auroc(labels, -levels)
    assert forward.value is not None
    assert backward.value == pytest.approx(1 - forward.value)


@given(LEVELS)
def test_auroc_is_the_share_of_pairs_in_order(levels: NDArray[np.int64]) -> None:
    labels = (np.arange(levels.size) % 2).astype(np.int64)
    gaps = levels[labels == 1][:, None] - levels[labels == 0][None, :]
    assert metrics.auroc(labels, levels).value == pytest.approx(((np.sign(gaps) + 1) / 2).mean())
