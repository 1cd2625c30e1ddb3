"""Intervals from a variance over patients and seeds, on scales that keep them within [0, 1].

A bootstrap over patients is too short for a proportion near 1 or of few patients; these are not.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from wsi_specdec.metrics.bootstrap import Interval
from wsi_specdec.metrics.exact import clopper_pearson
from wsi_specdec.metrics.linear import (
    Linear,
    Spread,
    linear_auroc,
    linear_share,
    shared_variance,
    spread,
)
from wsi_specdec.metrics.sample import Sample

Bools = NDArray[np.bool_]
DELONG = "DeLong"
CLUSTERED = "DeLong, clustered by patient (Obuchowski)"
WILSON = "Wilson"
WILSON_CLUSTERED = "Wilson, effective size of the patients"
_ROUNDING = 1e-12
_NO_VARIANCE = 1e-18


def analytic_interval(
    metric: str, sample: Sample, confidence: float, linear: Linear | None = None
) -> tuple[Interval, str] | None:
    """Return the interval of a metric and the name of its method; None where there is none.

    - `auroc`: DeLong's variance, in Obuchowski's (1997) form where a patient has several units,
      on the logit scale (Pepe 2003, eq. 5.7; Qin & Hotilovac 2008), which holds its level at
      AUROCs near 1 where the symmetric interval does not, with quantiles of Student's t of one
      less than the patients of the rarer class.
    - `sensitivity`, `specificity`, `accuracy`: Wilson's score interval (1927) at the effective
      number of units, that is the number over the design effect of the patients (Rao & Scott
      1992; Saha et al. 2016), and t of one less than the patients where some have several units.
    - `balanced_accuracy`: the distances of the intervals of its two parts added as the hypotenuse
      of a triangle (MOVER: Newcombe 1998, Zou & Donner 2008), with their correlation.

    Over several seeds the variance is that of `linear.spread`.

    Parameters
    ----------
    metric
        Its name.
    sample
        The units.
    confidence
        For one 0.95.
    linear
        `linear_auroc` of the sample, where it is known already.
    """
    if metric == "auroc":
        known = linear or linear_auroc(sample.labels, sample.scores, sample.patients)
        found = auroc_interval(known, confidence)
    elif metric in _INTERVALS:
        found = _INTERVALS[metric](sample, confidence)
    else:
        return None
    return None if found is None else (found, method_name(sample, auroc=metric == "auroc"))


def method_name(sample: Sample, *, auroc: bool = True) -> str:
    """Name the method that suits the sample: clustered or not, of several seeds or one."""
    clustered = sample.n_patients < sample.patients.size
    plain, grouped = (DELONG, CLUSTERED) if auroc else (WILSON, WILSON_CLUSTERED)
    name = grouped if clustered else plain
    return name if len(sample.scores) == 1 else f"{name}; seeds as readers"


def auroc_interval(statistic: Linear, confidence: float) -> Interval | None:
    """Interval of a mean AUROC over seeds, None where it is 0 or 1 or has no variance."""
    value = float(statistic.values.mean())
    if not statistic.known or not _ROUNDING < value < 1 - _ROUNDING:
        return None
    found = spread(statistic, confidence, min(statistic.sizes) - 1.0)
    if found.error**2 < _NO_VARIANCE:
        return None
    return logit_interval(value, found.error, found.quantile(confidence))


def logit_interval(value: float, error: float, quantile: float) -> Interval:
    """Return the interval of a share in (0, 1), symmetric on the logit scale."""
    reach = quantile * error / (value * (1 - value))
    low, high = expit(logit(value) + np.array([-reach, reach]))
    return Interval(float(low), float(high))


def wilson_interval(share: float, size: float, quantile: float) -> Interval:
    """Wilson's score interval (1927) of a share of `size` units, which need be no whole number."""
    square = quantile**2 / size
    middle = (share + square / 2) / (1 + square)
    reach = np.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    return Interval(float(middle - reach), float(middle + reach))


def share_interval(statistic: Linear, n_units: int, confidence: float) -> Interval | None:
    """Interval of the mean share over seeds; exact where all are right, or none is."""
    share = float(statistic.values.mean())
    if not _ROUNDING < share < 1 - _ROUNDING:
        low, high = clopper_pearson(
            round(share) * statistic.sizes[0], statistic.sizes[0], confidence
        )
        return Interval(low, high)
    if not statistic.known:
        return None
    clustered = n_units > statistic.sizes[0]
    found = spread(statistic, confidence, statistic.sizes[0] - 1.0 if clustered else np.inf)
    most = n_units * len(statistic.values)
    size = _effective(share, found, statistic.sizes[0], most)
    return wilson_interval(share, size, found.quantile(confidence))


def _effective(share: float, found: Spread, n_patients: int, most: int) -> float:
    """Return the number of independent units that would leave a share as uncertain.

    It is the number of patients itself where each has one unit.
    """
    if found.error**2 < _NO_VARIANCE:
        return float(most)
    return min(most, share * (1 - share) / found.error**2 * n_patients / (n_patients - 1))


def _share_of(sample: Sample, of: Bools) -> Linear:
    return linear_share(sample.calls == sample.labels, of, sample.patients)


def _sensitivity(sample: Sample, confidence: float) -> Interval | None:
    of = sample.labels == 1
    return share_interval(_share_of(sample, of), int(of.sum()), confidence)


def _specificity(sample: Sample, confidence: float) -> Interval | None:
    of = sample.labels == 0
    return share_interval(_share_of(sample, of), int(of.sum()), confidence)


def _accuracy(sample: Sample, confidence: float) -> Interval | None:
    of = np.ones(sample.labels.size, dtype=np.bool_)
    return share_interval(_share_of(sample, of), of.size, confidence)


def _balanced_accuracy(sample: Sample, confidence: float) -> Interval | None:
    ends = (_sensitivity(sample, confidence), _specificity(sample, confidence))
    parts = [_share_of(sample, sample.labels == label) for label in (1, 0)]
    values = [float(part.values.mean()) for part in parts]
    below, above = [], []
    for value, end in zip(values, ends, strict=True):
        if end is None or end.low is None or end.high is None:
            return None
        below.append(value - end.low)
        above.append(end.high - value)
    together = _correlation(parts[0], parts[1], confidence)
    middle = sum(values) / 2
    reach = [np.sqrt(a * a + b * b + 2 * together * a * b) / 2 for a, b in (below, above)]
    return Interval(float(middle - reach[0]), float(middle + reach[1]))


def _correlation(one: Linear, other: Linear, confidence: float) -> float:
    if not (one.known and other.known):
        return 0.0
    errors = spread(one, confidence).error * spread(other, confidence).error
    if errors < _NO_VARIANCE:
        return 0.0
    return float(np.clip(shared_variance(one, other) / errors, -1, 1))


_INTERVALS: Mapping[str, Callable[[Sample, float], Interval | None]] = {
    "sensitivity": _sensitivity,
    "specificity": _specificity,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
}
