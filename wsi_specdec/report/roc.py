"""ROC curves averaged over seeds, with a band from resampled patients: pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

GRID: Final = np.linspace(0, 1, 201)
_REPLICATES: Final = 400


@dataclass(frozen=True)
class RocCurve:
    """One arm's ROC curve on one cohort.

    Attributes
    ----------
    tpr
        (201,) sensitivity at the false positive rates of `GRID`, mean over seeds.
    low, high
        (201,) pointwise bounds of the bootstrap band.
    auroc
        Area under the curve, mean over seeds.
    seeds
        Number of seeds averaged.
    """

    tpr: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    auroc: float
    seeds: int


def roc_points(
    labels: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the false and true positive rates at each distinct threshold, from (0, 0) to (1, 1).

    Parameters
    ----------
    labels, scores
        (N,) 0 or 1, and the score that is high for 1.
    weights
        (B, N), one row per replicate; each must leave weight on both classes.

    Returns
    -------
    tuple of NDArray[float64]
        (B, K) each.
    """
    order = np.argsort(-scores, kind="stable")
    positive = weights[:, order] * labels[order]
    negative = weights[:, order] * (1 - labels[order])
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    rates = []
    for weight in (negative, positive):
        summed = np.cumsum(weight, axis=1)[:, last_of_tie]
        rates.append(np.pad(summed / summed[:, -1:], ((0, 0), (1, 0))))
    return rates[0], rates[1]


def roc_curve(
    labels: NDArray[np.int64],
    scores: Sequence[NDArray[np.float64]],
    patients: Sequence[str],
    confidence: float = 0.95,
    seed: int = 0,
) -> RocCurve | None:
    """Average the seeds' curves over a grid, and put a percentile bootstrap band around it.

    Patients are drawn with replacement, all of a patient's slides together and the same draw for
    every seed's model. None if only one class is there.

    Parameters
    ----------
    labels
        (N,) 0 or 1.
    scores
        One (N,) array per seed.
    patients
        (N,) patient of each slide.
    """
    if len(np.unique(labels)) < 2:
        return None
    once = np.ones((1, len(labels)))
    weights = _draw_patients(labels, patients, seed)
    means = np.mean([_on_grid(labels, s, once) for s in scores], axis=0)[0]
    draws = np.mean([_on_grid(labels, s, weights) for s in scores], axis=0)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(draws, [tail, 100 - tail], axis=0)
    areas = [
        float(np.trapezoid(t[0], f[0])) for f, t in (roc_points(labels, s, once) for s in scores)
    ]
    return RocCurve(means, low, high, float(np.mean(areas)), len(scores))


def _on_grid(
    labels: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Read the true positive rate on the grid, (B, 201); at a vertical step its upper end."""
    fpr, tpr = roc_points(labels, scores, weights)
    return np.stack([np.interp(GRID, x, y) for x, y in zip(fpr, tpr, strict=True)])


def _draw_patients(
    labels: NDArray[np.int64], patients: Sequence[str], seed: int
) -> NDArray[np.float64]:
    """Weights (B, N) of the slides in each replicate that holds both classes."""
    rng = np.random.default_rng(seed)
    names, member = np.unique(np.asarray(patients), return_inverse=True)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=_REPLICATES)
    weights = drawn[:, member].astype(np.float64)
    both = ((weights * labels).sum(axis=1) > 0) & ((weights * (1 - labels)).sum(axis=1) > 0)
    return weights[both] if both.any() else np.ones((1, len(labels)))
