"""Paired tests of two arms on the same units, and adjustment for making several of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom

from wsi_specdec.metrics.intervals import method_name
from wsi_specdec.metrics.linear import Linear, linear_auroc, spread
from wsi_specdec.metrics.measure import Difference
from wsi_specdec.metrics.sample import Sample

MCNEMAR = "McNemar, exact"
MCNEMAR_CLUSTERED = "McNemar, exact, clustered by patient"
_NO_VARIANCE = 1e-18
_ROUNDING = 1e-12


def delong(
    labels: ArrayLike,
    scores: ArrayLike,
    baseline: ArrayLike,
    confidence: float,
    patients: ArrayLike | None = None,
) -> Difference:
    """Difference of two correlated AUROCs with interval and test.

    DeLong et al. (1988) where every patient has one unit, Obuchowski's (1997) clustered form of
    it where some have several; seeds as readers where there are several (see `linear.spread`).

    Parameters
    ----------
    labels
        Shape (n,).
    scores, baseline
        Shape (n,) or (S, n): the scores of the arm and of the baseline on the same units, a row
        per seed.
    confidence
        For one 0.95.
    patients
        Codes (n,), 0 … C - 1; each unit a patient of its own if None.
    """
    truth = np.asarray(labels).astype(np.int64)
    owners = np.arange(truth.size) if patients is None else np.asarray(patients, dtype=np.int64)
    rows = [np.atleast_2d(np.asarray(each, dtype=np.float64)) for each in (scores, baseline)]
    name = method_name(Sample(truth, owners, rows[0], np.empty((0, truth.size), dtype=np.int64)))
    if truth.size == 0 or truth.min() == truth.max():
        return Difference(None, None, None, None, name, "one class only: AUROC is undefined")
    arm, base = (linear_auroc(truth, each, owners) for each in rows)
    return delong_difference(arm, base, confidence, name)


def delong_difference(arm: Linear, baseline: Linear, confidence: float, name: str) -> Difference:
    """Difference of two linearised AUROCs of the same units; `name` is the test's."""
    difference = arm - baseline
    delta = float(difference.values.mean())
    if not difference.known:
        positives, negatives = difference.sizes
        reason = f"no variance from {positives} positive and {negatives} negative patients"
        return Difference(delta, None, None, None, name, reason)
    found = spread(difference, confidence)
    if found.error**2 < _NO_VARIANCE:
        p = 1.0 if abs(delta) < _ROUNDING else None
        reason = "no interval: the difference is the same for every unit"
        return Difference(delta, None, None, p, name, reason)
    reach = found.quantile(confidence) * found.error
    low, high = max(-1.0, delta - reach), min(1.0, delta + reach)
    return Difference(delta, low, high, min(1.0, found.p(delta)), name)


def mcnemar(
    labels: ArrayLike, calls: ArrayLike, baseline: ArrayLike, patients: ArrayLike | None = None
) -> float:
    """Two-sided exact p-value of equal accuracy, patients being independent and units not.

    With d_k how many more units of patient k the arm calls rightly than the baseline, and the
    arms alike, d_k and -d_k are equally likely: p is the chance of |sum ± d_k| reaching
    |sum d_k| over all signs. Where every patient has one unit that is McNemar's test (1947) in
    its exact binomial form, else the exact form of (sum d_k)² / sum d_k² (Yang, Sun & Hardin
    2010).

    Parameters
    ----------
    labels, calls, baseline
        Shape (n,): truth, and the calls of the arm and of the baseline on the same units.
    patients
        Codes (n,), 0 … C - 1; each unit a patient of its own if None.
    """
    truth = np.asarray(labels)
    owners = np.arange(truth.size) if patients is None else np.asarray(patients, dtype=np.int64)
    right, base_right = np.asarray(calls) == truth, np.asarray(baseline) == truth
    gains = np.bincount(owners, weights=right.astype(np.int64) - base_right.astype(np.int64))
    sizes, counts = np.unique(np.abs(gains[gains != 0]).astype(np.int64), return_counts=True)
    # Chance of each sum of the d_k > 0 over all signs: of equal |d_k|, a binomial spread out.
    chances = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        spread_out = np.zeros(size * count + 1)
        spread_out[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, spread_out)
    total = chances.size - 1
    sums = 2 * np.arange(chances.size) - total
    return min(1.0, float(chances[np.abs(sums) >= abs(int(gains.sum()))].sum()))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values so that the chance of any false rejection is kept (Holm 1979).

    The k-th smallest of m becomes max over j <= k of (m - j + 1) p_j, at most 1. None stays None
    and does not count.
    """
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[index] = highest
    return adjusted
