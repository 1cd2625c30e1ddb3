"""Paired tests on units that are independent, and adjustment for making several of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from scipy.stats import binomtest, norm, rankdata

from wsi_specdec.metrics.measure import Difference

Floats = NDArray[np.float64]
DELONG = "DeLong"
MCNEMAR = "McNemar, exact"
_NO_VARIANCE = 1e-18
_ROUNDING = 1e-12


def delong_components(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Placement values behind an AUROC (DeLong et al. 1988, eq. 4 and 5), from midranks.

    V10 of a positive is the share of negatives that it outranks, V01 of a negative the share of
    positives that outrank it, ties counting half; the mean of either is the AUROC. Midranks give
    both in O(n log n) (Sun & Xu 2014).

    Parameters
    ----------
    labels, scores
        Shape (n,), both classes present.

    Returns
    -------
    V10 (positives,) and V01 (negatives,), each in the order of the input.
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    positive, negative = values[truth == 1], values[truth == 0]
    ranks = rankdata(values)
    v10 = (ranks[truth == 1] - rankdata(positive)) / negative.size
    v01 = 1 - (ranks[truth == 0] - rankdata(negative)) / positive.size
    return v10, v01


def delong(
    labels: ArrayLike, scores: ArrayLike, baseline: ArrayLike, confidence: float
) -> Difference:
    """Difference of two correlated AUROCs with interval and test (DeLong et al. 1988).

    Holds only where the units are independent: one slide of each patient.

    Parameters
    ----------
    labels, scores, baseline
        Shape (n,): truth, and the scores of the arm and of the baseline on the same units.
    confidence
        For one 0.95.
    """
    truth = np.asarray(labels)
    positives, negatives = int((truth == 1).sum()), int((truth == 0).sum())
    if min(positives, negatives) == 0:
        return Difference(None, None, None, None, DELONG, "one class only: AUROC is undefined")
    v10_arm, v01_arm = delong_components(truth, scores)
    v10_base, v01_base = delong_components(truth, baseline)
    delta = float(v10_arm.mean() - v10_base.mean())
    if min(positives, negatives) == 1:
        reason = f"no variance from {positives} positive and {negatives} negative units"
        return Difference(delta, None, None, None, DELONG, reason)
    variance = (v10_arm - v10_base).var(ddof=1) / positives
    variance += (v01_arm - v01_base).var(ddof=1) / negatives
    if variance < _NO_VARIANCE:
        p = 1.0 if abs(delta) < _ROUNDING else None
        reason = "no interval: the difference is the same for every unit"
        return Difference(delta, None, None, p, DELONG, reason)
    error = float(np.sqrt(variance))
    reach = float(ndtri((1 + confidence) / 2)) * error
    p = float(2 * norm.sf(abs(delta) / error))
    return Difference(delta, max(-1.0, delta - reach), min(1.0, delta + reach), p, DELONG)


def mcnemar(labels: ArrayLike, calls: ArrayLike, baseline: ArrayLike) -> float:
    """Two-sided exact p-value of equal accuracy, from the units on which the arms disagree.

    Under no difference each of these is right for either arm with equal chance (McNemar 1947, in
    its exact binomial form). Holds only where the units are independent.

    Parameters
    ----------
    labels, calls, baseline
        Shape (n,): truth, and the calls of the arm and of the baseline on the same units.
    """
    truth = np.asarray(labels)
    right, base_right = np.asarray(calls) == truth, np.asarray(baseline) == truth
    gained = int((right & ~base_right).sum())
    lost = int((~right & base_right).sum())
    return 1.0 if gained + lost == 0 else float(binomtest(gained, gained + lost).pvalue)


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
