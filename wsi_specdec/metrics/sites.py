"""Means over sites that share no patient, from the figures of each site."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from wsi_specdec.metrics.measure import Difference

MEAN_OF_SITES = "mean over sites, MOVER of their intervals"
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval, None where either is not known; `n_sites` went into it."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_sites: int = 1


def mean_of_sites(sites: Sequence[Estimate]) -> Estimate:
    """Return the plain mean of the sites that have a value; a site counts once, small or large.

    The distances of the intervals' ends add as independent errors do (MOVER for a linear function:
    Zou & Donner 2008, section 2), so that the interval rests on those of the sites; there is none
    if a site has none. It is for these sites: how much sites differ is no part of it. Models of
    different folds share training slides, and that their errors hang together is no part either.

    Parameters
    ----------
    sites
        Of one metric, each of patients of its own.

    Examples
    --------
    >>> mean_of_sites([Estimate(0.8, 0.7, 0.9), Estimate(0.6, 0.5, 0.7)]).value
    0.7
    """
    known = [(s.value, s.ci_low, s.ci_high) for s in sites if s.value is not None]
    if not known:
        return Estimate(None, None, None, 0)
    mean = float(np.mean([value for value, _, _ in known]))
    if any(low is None or high is None for _, low, high in known):
        return Estimate(mean, None, None, len(known))
    value, low, high = np.array(known, dtype=np.float64).T
    below, above = (
        float(np.linalg.norm(each)) / len(known) for each in (value - low, high - value)
    )
    return Estimate(mean, mean - below, mean + above, len(known))


def mean_difference(sites: Sequence[Estimate], confidence: float) -> Difference:
    """Return the mean over sites of the difference between two arms, with its interval and test.

    The p-value is that which the interval implies (Altman & Bland 2011): normal, with the error on
    the side of zero.

    Parameters
    ----------
    sites
        Differences of the same two arms.
    confidence
        Of the sites' intervals; for one 0.95.
    """
    mean = mean_of_sites(sites)
    found = Difference(mean.value, mean.ci_low, mean.ci_high, None, MEAN_OF_SITES)
    if mean.value is None:
        return replace(found, reason="no site has a value")
    if mean.ci_low is None or mean.ci_high is None:
        return replace(found, reason="no interval: a site has none")
    reach = mean.value - mean.ci_low if mean.value > 0 else mean.ci_high - mean.value
    if abs(mean.value) < _ROUNDING:
        return replace(found, p=1.0)
    if reach < _ROUNDING:
        return replace(found, reason="no p-value: the interval has no width")
    error = reach / float(ndtri((1 + confidence) / 2))
    return replace(found, p=float(2 * ndtr(-abs(mean.value) / error)))
