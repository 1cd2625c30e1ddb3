"""Metrics as functions of how often each patient was drawn.

A bootstrap over patients only ever asks for a metric under integer weights of patients. Each
table here holds what the metric needs of every patient, so that all resamples are computed at
once from a matrix of weights (R, C), R resamples of C patients, without touching the units again.
A resample in which the metric is not defined gives NaN, which never leaves this package.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from wsi_specdec.metrics.point import ECE_BINS, calibration_bins

# Above so many distinct scores, neighbouring ones are tied while resampling. With bins of equal
# mass an AUROC moves by no more than about 1 / (2 * MAX_DISTINCT), far below its standard error.
MAX_DISTINCT = 4096
_BLOCK_ELEMENTS = 1 << 20

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Table(Protocol):
    """Something that gives named metrics under weights of patients."""

    def replicate(self, metric: str, weights: Floats) -> Floats:
        """Return `metric` under each row of `weights` (R, C) as (R,), NaN where undefined."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class RankTable:
    """Positives and negatives of each patient at each distinct score, scores ascending.

    Attributes
    ----------
    positives, negatives
        Sparse (B, C): B distinct scores (or bins of them), C patients.
    """

    positives: Any
    negatives: Any

    def replicate(self, metric: str, weights: Floats) -> Floats:
        """Return AUROC or average precision under each row of `weights` (R, C) as (R,)."""
        function = _RANK_METRICS[metric]
        parts = [
            function(self.positives @ block, self.negatives @ block)
            for block in _blocks(weights, self.positives.shape[0])
        ]
        return np.concatenate(parts) if parts else np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class CountTable:
    """True positives, false negatives, true negatives and false positives of each patient.

    Attributes
    ----------
    counts
        (C, 4), columns in that order.
    """

    counts: Floats

    def replicate(self, metric: str, weights: Floats) -> Floats:
        """Return a metric of calls under each row of `weights` (R, C) as (R,)."""
        tp, fn, tn, fp = (weights @ self.counts).T
        return _COUNT_METRICS[metric](tp, fn, tn, fp)


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationTable:
    """Squared errors and calibration gaps of each patient.

    Attributes
    ----------
    sizes, squared_errors
        (C,): units, and their summed squared error.
    gaps
        (C, ECE_BINS): sum of label minus probability within each bin.
    """

    sizes: Floats
    squared_errors: Floats
    gaps: Floats

    def replicate(self, metric: str, weights: Floats) -> Floats:
        """Return the Brier score or the ECE under each row of `weights` (R, C) as (R,)."""
        sizes = weights @ self.sizes
        if metric == "brier":
            return ratio(weights @ self.squared_errors, sizes)
        return ratio(np.abs(weights @ self.gaps).sum(axis=1), sizes)


def rank_table(labels: Ints, scores: Floats, patients: Ints, n_patients: int) -> RankTable:
    """Tabulate scores; labels, scores and patients (0 … C - 1) are (n,)."""
    bins, n_bins = _distinct(scores)

    def tabulate(mask: NDArray[np.bool_]) -> Any:  # noqa: ANN401 - scipy.sparse is untyped
        cells = (np.ones(int(mask.sum())), (bins[mask], patients[mask]))
        return sparse.coo_array(cells, shape=(n_bins, n_patients)).tocsr()

    return RankTable(tabulate(labels == 1), tabulate(labels == 0))


def count_table(labels: Ints, calls: Ints, patients: Ints, n_patients: int) -> CountTable:
    """Tabulate calls; labels, calls and patients (0 … C - 1) are (n,)."""
    kinds = (
        (labels == 1) & (calls == 1),
        (labels == 1) & (calls == 0),
        (labels == 0) & (calls == 0),
        (labels == 0) & (calls == 1),
    )
    columns = [np.bincount(patients[kind], minlength=n_patients) for kind in kinds]
    return CountTable(np.stack(columns, axis=1).astype(np.float64))


def calibration_table(
    labels: Ints, probabilities: Floats, patients: Ints, n_patients: int
) -> CalibrationTable:
    """Tabulate probabilities; labels, probabilities and patients (0 … C - 1) are (n,)."""
    gaps = (labels - probabilities).astype(np.float64)
    cells = patients * ECE_BINS + calibration_bins(probabilities)
    binned = np.bincount(cells, weights=gaps, minlength=n_patients * ECE_BINS)
    squared = np.bincount(patients, weights=gaps**2, minlength=n_patients)
    return CalibrationTable(
        sizes=np.bincount(patients, minlength=n_patients).astype(np.float64),
        squared_errors=squared.astype(np.float64),
        gaps=binned.astype(np.float64).reshape(n_patients, ECE_BINS),
    )


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide, with NaN where the denominator is 0."""
    out: Floats = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def _distinct(scores: Floats) -> tuple[Ints, int]:
    values, bins, counts = np.unique(scores, return_inverse=True, return_counts=True)
    if values.size <= MAX_DISTINCT:
        return bins, values.size
    middle = np.cumsum(counts) - counts / 2
    coarse = (middle * (MAX_DISTINCT / scores.size)).astype(np.int64)
    return coarse[bins], MAX_DISTINCT


def _blocks(weights: Floats, n_bins: int) -> Iterator[Floats]:
    """Yield (C, r) blocks of resamples, so that (B, r) arrays stay small enough for the cache."""
    rows = max(1, _BLOCK_ELEMENTS // max(1, n_bins))
    for start in range(0, weights.shape[0], rows):
        yield np.ascontiguousarray(weights[start : start + rows].T)


def _auroc(positives: Floats, negatives: Floats) -> Floats:
    """Weighted Mann-Whitney statistic of counts (B, r), lowest score first."""
    below = np.cumsum(negatives, axis=0)
    total = below[-1].copy()
    below -= negatives / 2
    return ratio(np.einsum("br,br->r", positives, below), positives.sum(axis=0) * total)


def _average_precision(positives: Floats, negatives: Floats) -> Floats:
    """Sum over scores, highest first, of the gain in recall times the precision there."""
    gained = positives[::-1]
    found = np.cumsum(gained, axis=0)
    called = found + np.cumsum(negatives[::-1], axis=0)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    area = ratio(np.einsum("br,br->r", gained, precision), found[-1])
    area[called[-1] == found[-1]] = np.nan
    return area


def _balanced_accuracy(tp: Floats, fn: Floats, tn: Floats, fp: Floats) -> Floats:
    return (ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2


def _f1(tp: Floats, fn: Floats, _tn: Floats, fp: Floats) -> Floats:
    return np.where(tp + fn > 0, ratio(2 * tp, 2 * tp + fp + fn), np.nan)


_RANK_METRICS: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "auroc": _auroc,
    "average_precision": _average_precision,
}
_COUNT_METRICS: Mapping[str, Callable[[Floats, Floats, Floats, Floats], Floats]] = {
    "sensitivity": lambda tp, fn, _tn, _fp: ratio(tp, tp + fn),
    "specificity": lambda _tp, _fn, tn, fp: ratio(tn, tn + fp),
    "accuracy": lambda tp, fn, tn, fp: ratio(tp + tn, tp + fn + tn + fp),
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
}
