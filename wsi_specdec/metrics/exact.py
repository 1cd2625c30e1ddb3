"""Intervals for results without spread, where a bootstrap can only repeat the same value.

The independent unit is the patient, so patients are counted, not slides or tiles.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from wsi_specdec.metrics.bootstrap import Interval

Ints = NDArray[np.int64]
_ROUNDING = 1e-12


def clopper_pearson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper & Pearson 1934)."""
    found = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return float(found.low), float(found.high)


def interval_at_bound(
    metric: str, value: float, labels: Ints, patients: Ints, confidence: float
) -> Interval | None:
    """Interval of a metric whose value is 0 or 1, or None where there is no exact one.

    - `sensitivity`, `specificity`, `accuracy`: Clopper-Pearson over the patients that have a unit
      in question.
    - `balanced_accuracy`: mean of the Clopper-Pearson bounds of its two parts, each at half the
      error (Bonferroni), hence conservative.
    - `auroc`: an AUROC is the chance that a positive outranks a negative. Positives and negatives
      of different patients can be paired off into m independent trials, all with one outcome:
      Clopper-Pearson over m. Conservative, since all other pairs go unused.

    Parameters
    ----------
    metric, value
        The metric's name, and its value.
    labels, patients
        (n,) labels 0 or 1, and patient codes.
    confidence
        For one 0.95.
    """
    if _ROUNDING < value < 1 - _ROUNDING or metric not in _BOUNDS:
        return None
    low = _BOUNDS[metric](labels, patients, confidence)
    reason = f"exact interval over patients: the value is {round(value)} everywhere"
    return Interval(low, 1.0, reason) if value > 0.5 else Interval(0.0, 1 - low, reason)


def _lower(trials: int, confidence: float) -> float:
    return clopper_pearson(trials, trials, confidence)[0]


def _accuracy(_labels: Ints, patients: Ints, confidence: float) -> float:
    return _lower(np.unique(patients).size, confidence)


def _sensitivity(labels: Ints, patients: Ints, confidence: float) -> float:
    return _lower(np.unique(patients[labels == 1]).size, confidence)


def _specificity(labels: Ints, patients: Ints, confidence: float) -> float:
    return _lower(np.unique(patients[labels == 0]).size, confidence)


def _balanced_accuracy(labels: Ints, patients: Ints, confidence: float) -> float:
    stricter = (1 + confidence) / 2
    parts = (_sensitivity, _specificity)
    return sum(part(labels, patients, stricter) for part in parts) / 2


def _auroc(labels: Ints, patients: Ints, confidence: float) -> float:
    positive, negative = np.unique(patients[labels == 1]), np.unique(patients[labels == 0])
    everyone = np.union1d(positive, negative).size
    trials = min(positive.size, negative.size, everyone // 2)
    return _lower(trials, confidence) if trials else 0.0


_BOUNDS: Mapping[str, Callable[[Ints, Ints, float], float]] = {
    "accuracy": _accuracy,
    "sensitivity": _sensitivity,
    "specificity": _specificity,
    "balanced_accuracy": _balanced_accuracy,
    "auroc": _auroc,
}
