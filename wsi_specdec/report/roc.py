"""ROC and precision-recall curves averaged over seeds, with a band from resampled patients.

Pure functions of arrays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

GRID: Final = np.linspace(0, 1, 201)
_REPLICATES: Final = 400

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Labels (N,), scores (N,) and weights (B, N) to the curve's values on the grid, (B, 201).
_OnGrid = Callable[[Ints, Floats, Floats], Floats]


@dataclass(frozen=True)
class Curve:
    """One arm's curve on one cohort.

    Attributes
    ----------
    values
        (201,) over `GRID`, mean over seeds: of a ROC curve the sensitivity at each false positive
        rate, of a precision-recall curve the precision at each recall.
    low, high
        (201,) pointwise bounds of the bootstrap band.
    area
        AUROC, or average precision; mean over seeds.
    seeds
        Number of seeds averaged.
    """

    values: Floats
    low: Floats
    high: Floats
    area: float
    seeds: int


def roc_points(labels: Ints, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
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
    true, false = _counts(labels, scores, weights)
    rates = [np.pad(n / n[:, -1:], ((0, 0), (1, 0))) for n in (false, true)]
    return rates[0], rates[1]


def pr_points(labels: Ints, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Find recall and precision at each distinct threshold, the highest first.

    Parameters
    ----------
    labels, scores, weights
        As in `roc_points`.

    Returns
    -------
    tuple of NDArray[float64]
        (B, K) each; precision is NaN where nothing is called yet.
    """
    true, false = _counts(labels, scores, weights)
    called = true + false
    precision = np.divide(true, called, out=np.full_like(true, np.nan), where=called > 0)
    return true / true[:, -1:], precision


def roc_curve(
    labels: Ints,
    scores: Sequence[Floats],
    patients: Sequence[str],
    confidence: float = 0.95,
    seed: int = 0,
) -> Curve | None:
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
    return _curve(labels, scores, patients, confidence, seed, (_roc_on_grid, _auroc))


def pr_curve(
    labels: Ints,
    scores: Sequence[Floats],
    patients: Sequence[str],
    confidence: float = 0.95,
    seed: int = 0,
) -> Curve | None:
    """Do for precision over recall what `roc_curve` does for ROC curves.

    Between thresholds the precision is that of the next recall reached, never interpolated, so
    that the area is the average precision (Davis and Goadrich 2006).
    """
    return _curve(labels, scores, patients, confidence, seed, (_pr_on_grid, _average_precision))


def draw_patients(patients: Ints, n_patients: int, seed: int) -> Floats:
    """Draw patients with replacement: how often each unit counts, (B, N).

    Parameters
    ----------
    patients
        (N,) patient of each unit, 0 … `n_patients` − 1.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=_REPLICATES)
    return drawn[:, patients].astype(np.float64)


def _curve(
    labels: Ints,
    scores: Sequence[Floats],
    patients: Sequence[str],
    confidence: float,
    seed: int,
    kind: tuple[_OnGrid, Callable[[Ints, Floats], float]],
) -> Curve | None:
    if len(np.unique(labels)) < 2:
        return None
    on_grid, area = kind
    once = np.ones((1, len(labels)))
    names, member = np.unique(np.asarray(patients), return_inverse=True)
    weights = _with_both(labels, draw_patients(member, len(names), seed))
    means = np.mean([on_grid(labels, s, once) for s in scores], axis=0)[0]
    draws = np.mean([on_grid(labels, s, weights) for s in scores], axis=0)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(draws, [tail, 100 - tail], axis=0)
    areas = [area(labels, s) for s in scores]
    return Curve(means, low, high, float(np.mean(areas)), len(scores))


def _counts(labels: Ints, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of the positives and negatives at or above each distinct score, (B, K) each."""
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    sorted_weights = weights[:, order]
    true = np.cumsum(sorted_weights * labels[order], axis=1)[:, last_of_tie]
    false = np.cumsum(sorted_weights * (1 - labels[order]), axis=1)[:, last_of_tie]
    return true, false


def _roc_on_grid(labels: Ints, scores: Floats, weights: Floats) -> Floats:
    """Read the true positive rate on the grid, (B, 201); at a vertical step its upper end."""
    fpr, tpr = roc_points(labels, scores, weights)
    return np.stack([np.interp(GRID, x, y) for x, y in zip(fpr, tpr, strict=True)])


def _pr_on_grid(labels: Ints, scores: Floats, weights: Floats) -> Floats:
    """Read the precision on the grid, (B, 201): where that recall is first reached."""
    recall, precision = pr_points(labels, scores, weights)
    # No recall is nothing called; a grid point that rounding puts above its recall still is it.
    wanted = np.maximum(GRID - 1e-9, 1e-9)
    return np.stack([p[np.searchsorted(r, wanted)] for r, p in zip(recall, precision, strict=True)])


def _auroc(labels: Ints, scores: Floats) -> float:
    fpr, tpr = roc_points(labels, scores, np.ones((1, len(labels))))
    return float(np.trapezoid(tpr[0], fpr[0]))


def _average_precision(labels: Ints, scores: Floats) -> float:
    recall, precision = pr_points(labels, scores, np.ones((1, len(labels))))
    return float((np.diff(recall[0], prepend=0.0) * precision[0]).sum())


def _with_both(labels: Ints, weights: Floats) -> Floats:
    """Keep the replicates that hold both classes; the whole sample if none does."""
    both = ((weights * labels).sum(axis=1) > 0) & ((weights * (1 - labels)).sum(axis=1) > 0)
    return weights[both] if both.any() else np.ones((1, len(labels)))
