"""The bootstrap over patients and seeds: what is drawn, and the intervals and p-values from it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]

# Fewer defined resamples than this share of them give no interval.
MIN_DEFINED = 0.5
# Replicates that differ by rounding alone are equal.
_SAME = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The resamples: how often each patient and each seed is drawn.

    One plan used for several arms resamples them jointly, which pairs them.

    Attributes
    ----------
    patients
        (R, C) draws of each of C patients, each row summing to C.
    seeds
        (R, S) share of each of S seeds, each row summing to 1. S - 1 of the S are drawn.
    """

    patients: Floats
    seeds: Floats


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds, both None where there are none, and a remark on how they were come by."""

    low: float | None
    high: float | None
    reason: str | None = None


def draw_plan(n_patients: int, n_seeds: int, resamples: int, seed: int) -> Plan:
    """Draw patients and seeds with replacement, independently of each other (Owen 2007).

    All C patients are drawn anew, but S - 1 of the S seeds: the mean of n draws with replacement
    has (n - 1) / n of the variance of a mean of n trainings, which at 3 seeds would be a third
    too little; with n - 1 draws it has all of it (Rao & Wu 1988). The draws of the seeds depend on
    S, R and `seed` alone, so that cohorts of other patients resample the same trainings.

    Parameters
    ----------
    n_patients, n_seeds
        How many there are; at least one of each. A single seed is not resampled.
    resamples
        Number of rows R.
    seed
        Seed of the generator.
    """
    of_patients, of_seeds = (np.random.default_rng([seed, stream]) for stream in (0, 1))
    equal = np.full(n_patients, 1 / n_patients)
    patients = of_patients.multinomial(n_patients, equal, size=resamples)
    draws = max(1, n_seeds - 1)
    seeds = of_seeds.multinomial(draws, np.full(n_seeds, 1 / n_seeds), size=resamples)
    return Plan(patients.astype(np.float64), seeds / draws)


def bootstrap_interval(
    estimate: float, replicates: Floats, jackknife: Floats, confidence: float
) -> Interval:
    """Bias-corrected and accelerated interval (Efron 1987; Efron & Tibshirani 1993, eq. 14.10).

    The endpoints are the quantiles of the replicates at
    Phi(z0 + (z0 + z) / (1 - a (z0 + z))), z = Phi^-1(alpha / 2) and Phi^-1(1 - alpha / 2), where
    z0 is Phi^-1 of the share of replicates below the estimate, ties counting half, and a the
    acceleration from the leave-one-patient-out values. Where a is not defined the interval is
    the plain percentile one, and says so.

    Parameters
    ----------
    estimate
        The statistic on the patients as they are.
    replicates
        (R,), NaN where a resample leaves the statistic undefined; those are left out.
    jackknife
        (C,) the statistic without each patient in turn, NaN where undefined.
    confidence
        For one 0.95.
    """
    defined = replicates[~np.isnan(replicates)]
    if defined.size < MIN_DEFINED * replicates.size or defined.size == 0:
        missing = replicates.size - defined.size
        return Interval(None, None, f"undefined in {missing} of {replicates.size} resamples")
    if np.ptp(defined) < _SAME:
        return Interval(None, None, f"every resample gives {float(defined[0]):.4g}")
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    levels, reason = tails, "percentile interval: "
    acceleration = _acceleration(jackknife)
    if acceleration is None:
        reason += "leave-one-patient-out values are degenerate"
    else:
        shifted = _bias(estimate, defined) + ndtri(tails)
        scale = 1 - acceleration * shifted
        if (scale > 0).all():
            levels = ndtr(_bias(estimate, defined) + shifted / scale)
            reason = ""
        else:
            reason += f"acceleration {acceleration:.2g} is too large"
    low, high = np.quantile(defined, levels)
    return Interval(float(low), float(high), reason or None)


def bootstrap_p(estimate: float, replicates: Floats, jackknife: Floats) -> float | None:
    """Two-sided p-value of the statistic being 0, by inverting the BCa interval.

    The level at which one end of the interval reaches 0. With G the share of replicates below 0
    (ties half) and w = Phi^-1(G) - z0, that end lies at z = w / (1 + a w) - z0, and
    p = 2 min(Phi(z), 1 - Phi(z)). It can not fall below 2 / (R + 1). None where there are no
    replicates to go by.
    """
    defined = replicates[~np.isnan(replicates)]
    if defined.size < MIN_DEFINED * replicates.size or defined.size == 0:
        return None
    floor = 1 / (defined.size + 1)
    bias = _bias(estimate, defined)
    share = np.clip(_share_below(defined, 0.0), floor, 1 - floor)
    acceleration = _acceleration(jackknife)
    shift = float(ndtri(share)) - bias
    if acceleration is None or 1 + acceleration * shift <= 0:
        tail = share
    else:
        tail = ndtr(shift / (1 + acceleration * shift) - bias)
    return float(min(1.0, max(2 * min(tail, 1 - tail), 2 * floor)))


def _share_below(replicates: Floats, value: float) -> float:
    below = np.count_nonzero(replicates < value - _SAME)
    not_above = np.count_nonzero(replicates <= value + _SAME)
    return float(below + not_above) / (2 * replicates.size)


def _bias(estimate: float, replicates: Floats) -> float:
    floor = 1 / (2 * replicates.size)
    return float(ndtri(np.clip(_share_below(replicates, estimate), floor, 1 - floor)))


def _acceleration(jackknife: Floats) -> float | None:
    """Skewness of the leave-one-out values over 6; None where they are undefined or all equal."""
    if jackknife.size < 3 or np.isnan(jackknife).any() or np.ptp(jackknife) < _SAME:
        return None
    distance = jackknife.mean() - jackknife
    return float((distance**3).sum() / (6 * (distance**2).sum() ** 1.5))
