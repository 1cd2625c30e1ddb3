"""Metrics of one set of units, by their definitions.

Labels are 0 or 1, calls are 0 or 1, scores are any finite numbers, probabilities lie in [0, 1].
A metric that is not defined is None with a reason, never NaN and never a warning.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn import metrics as sk

from wsi_specdec.metrics.measure import Point

ECE_BINS = 15
Labels = NDArray[np.int64]
Values = NDArray[np.float64]


def auroc(labels: ArrayLike, scores: ArrayLike) -> Point:
    """Area under the ROC curve: P(score of a positive > score of a negative), ties count half.

    Parameters
    ----------
    labels, scores
        Shape (n,).
    """
    return _of_ranks(labels, scores, _mann_whitney)


def average_precision(labels: ArrayLike, scores: ArrayLike) -> Point:
    """Average precision: sum over thresholds of (R_k - R_{k-1}) P_k, not interpolated.

    Undefined where there is one class only, although scikit-learn then gives 0 or 1.

    Parameters
    ----------
    labels, scores
        Shape (n,).
    """
    return _of_ranks(labels, scores, _precision_over_recall)


def sensitivity(labels: ArrayLike, calls: ArrayLike) -> Point:
    """Share of the positives that are called positive; labels and calls of shape (n,)."""
    truth, called = _checked(labels, calls)
    return _share(called[truth == 1] == 1, "no unit is positive")


def specificity(labels: ArrayLike, calls: ArrayLike) -> Point:
    """Share of the negatives that are called negative; labels and calls of shape (n,)."""
    truth, called = _checked(labels, calls)
    return _share(called[truth == 0] == 0, "no unit is negative")


def accuracy(labels: ArrayLike, calls: ArrayLike) -> Point:
    """Share of the units called rightly; labels and calls of shape (n,)."""
    truth, called = _checked(labels, calls)
    return _share(called == truth, "there are no units")


def balanced_accuracy(labels: ArrayLike, calls: ArrayLike) -> Point:
    """Mean of sensitivity and specificity; labels and calls of shape (n,)."""
    truth, called = _checked(labels, calls)
    reason = _missing_class(truth)
    if reason is not None:
        return Point(None, truth.size, reason)
    parts = (np.mean(called[truth == 1] == 1), np.mean(called[truth == 0] == 0))
    return Point(float(np.mean(parts)), truth.size)


def f1(labels: ArrayLike, calls: ArrayLike) -> Point:
    """F1 = 2 TP / (2 TP + FP + FN); labels and calls of shape (n,).

    Undefined where no unit is positive: there is nothing to find.
    """
    truth, called = _checked(labels, calls)
    if not truth.any():
        return Point(None, truth.size, _missing_class(truth))
    found = np.sum((truth == 1) & (called == 1))
    return Point(float(2 * found / (truth.sum() + called.sum())), truth.size)


def brier(labels: ArrayLike, probabilities: ArrayLike) -> Point:
    """Brier score: mean squared distance of probability from label, both of shape (n,)."""
    truth, scores = _checked(labels, probabilities)
    _check_probabilities(scores)
    if truth.size == 0:
        return Point(None, 0, "there are no units")
    return Point(float(np.mean((scores - truth) ** 2)), truth.size)


def ece(labels: ArrayLike, probabilities: ArrayLike) -> Point:
    """Calibration error, expected over 15 bins of equal width (Guo et al. 2017, eq. 3).

    ECE = sum_b n_b / n |mean label in b - mean probability in b|, with the probability of the
    positive class, so that both ends of the scale are checked.

    Parameters
    ----------
    labels, probabilities
        Shape (n,).
    """
    truth, scores = _checked(labels, probabilities)
    _check_probabilities(scores)
    if truth.size == 0:
        return Point(None, 0, "there are no units")
    gaps = np.bincount(calibration_bins(scores), weights=truth - scores, minlength=ECE_BINS)
    return Point(float(np.abs(gaps).sum() / truth.size), truth.size)


def quadratic_kappa(labels: ArrayLike, grades: ArrayLike) -> Point:
    """Agreement of grades beyond chance, disagreement weighted by its square (Cohen 1968).

    kappa = 1 - sum w O / sum w E with w = (k - l)^2, O the units of grade k called l and E what
    chance would give. Undefined where truth and calls are all of one and the same grade.

    Parameters
    ----------
    labels, grades
        Shape (n,), whole numbers from 0: the true grades and the called ones.
    """
    truth, called = np.asarray(labels), np.asarray(grades)
    if truth.ndim != 1 or truth.shape != called.shape:
        msg = f"labels {truth.shape} and grades {called.shape} must be (n,) both"
        raise ValueError(msg)
    for values in (truth, called):
        if values.size and not ((values >= 0) & (values == np.floor(values))).all():
            msg = f"grades must be whole numbers from 0, got {np.unique(values)[:5].tolist()}"
            raise ValueError(msg)
    if truth.size == 0:
        return Point(None, 0, "there are no units")
    if np.unique(np.concatenate([truth, called])).size == 1:
        return Point(None, truth.size, f"all {truth.size} units are of one grade and called so")
    whole = [values.astype(np.int64) for values in (truth, called)]
    # Grades that nobody has must be named, or scikit-learn closes the gap between the others.
    every = np.arange(max(values.max() for values in whole) + 1)
    value = sk.cohen_kappa_score(*whole, labels=every, weights="quadratic")
    return Point(float(value), truth.size)


def weighted_kappa(counts: Values) -> Values:
    """Quadratic weighted kappa of confusion matrices (..., K, K) as (...), NaN where undefined."""
    size = counts.shape[-1]
    weights = np.subtract.outer(np.arange(size), np.arange(size)) ** 2
    total = counts.sum(axis=(-2, -1))
    observed = (counts * weights).sum(axis=(-2, -1)) * total
    expected = np.einsum("...k,kl,...l->...", counts.sum(axis=-1), weights, counts.sum(axis=-2))
    out = np.full(total.shape, np.nan)
    np.divide(observed, expected, out=out, where=expected > 0)
    return np.asarray(1 - out, dtype=np.float64)


def calibration_bins(probabilities: Values) -> NDArray[np.int64]:
    """Return the ECE bin of each probability; bins are closed below, the last one also above."""
    return np.minimum((probabilities * ECE_BINS).astype(np.int64), ECE_BINS - 1)


@dataclass(frozen=True, slots=True)
class Metric:
    """What is known about a metric beside its value.

    Attributes
    ----------
    point
        The function of labels and `needs`.
    needs
        `scores` (any order-preserving score), `probabilities`, `calls`, or `grades` (calls of
        more than two classes).
    higher_is_better
        False for errors.
    lowest
        The least it can be; the most is 1.
    """

    point: Callable[[ArrayLike, ArrayLike], Point]
    needs: Literal["scores", "probabilities", "calls", "grades"]
    higher_is_better: bool = True
    lowest: float = 0.0

    @property
    def of_calls(self) -> bool:
        """Whether it is computed from calls and not from scores."""
        return self.needs in {"calls", "grades"}


METRICS: Mapping[str, Metric] = {
    "auroc": Metric(auroc, "scores"),
    "average_precision": Metric(average_precision, "scores"),
    "sensitivity": Metric(sensitivity, "calls"),
    "specificity": Metric(specificity, "calls"),
    "balanced_accuracy": Metric(balanced_accuracy, "calls"),
    "accuracy": Metric(accuracy, "calls"),
    "f1": Metric(f1, "calls"),
    "brier": Metric(brier, "probabilities", higher_is_better=False),
    "ece": Metric(ece, "probabilities", higher_is_better=False),
    "quadratic_kappa": Metric(quadratic_kappa, "grades", lowest=-1.0),
}


def _checked(labels: ArrayLike, values: ArrayLike) -> tuple[Labels, Values]:
    truth = np.asarray(labels)
    numbers = np.asarray(values, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != numbers.shape:
        msg = f"labels {truth.shape} and values {numbers.shape} must be (n,) both"
        raise ValueError(msg)
    if not np.isin(truth, (0, 1)).all():
        msg = f"labels must be 0 or 1, got {np.unique(truth)[:5].tolist()}"
        raise ValueError(msg)
    if not np.isfinite(numbers).all():
        msg = f"{int((~np.isfinite(numbers)).sum())} of {numbers.size} values are not finite"
        raise ValueError(msg)
    return truth.astype(np.int64), numbers


def _check_probabilities(values: Values) -> None:
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        msg = f"probabilities must lie in [0, 1], got {values.min()} to {values.max()}"
        raise ValueError(msg)


def _missing_class(truth: Labels) -> str | None:
    if truth.size == 0:
        return "there are no units"
    if truth.all():
        return f"all {truth.size} units are positive"
    if not truth.any():
        return f"all {truth.size} units are negative"
    return None


def _of_ranks(
    labels: ArrayLike, values: ArrayLike, function: Callable[[Labels, Values], float]
) -> Point:
    truth, numbers = _checked(labels, values)
    reason = _missing_class(truth)
    if reason is not None:
        return Point(None, truth.size, reason)
    # Sums of shares can exceed 1 by rounding.
    return Point(min(1.0, max(0.0, function(truth, numbers))), truth.size)


def _mann_whitney(truth: Labels, scores: Values) -> float:
    """Return the AUROC from the midranks of the positives, exact but for one division."""
    positives = int(truth.sum())
    above = rankdata(scores)[truth == 1].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (truth.size - positives)))


def _precision_over_recall(truth: Labels, scores: Values) -> float:
    """Return the sum over distinct scores, highest first, of gain in recall times precision."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    found = np.cumsum(truth[order])[ends]
    gained = np.diff(found, prepend=0)
    return float((gained * (found / (ends + 1))).sum() / found[-1])


def _share(right: NDArray[np.bool_], reason: str) -> Point:
    return Point(float(right.mean()), right.size) if right.size else Point(None, 0, reason)
