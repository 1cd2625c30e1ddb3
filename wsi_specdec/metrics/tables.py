"""Metrics as functions of how often each patient was drawn.

A bootstrap over patients only ever asks for a metric under integer weights of patients. Each
table here holds what the metric needs of every patient, so that all resamples are computed at
once from a matrix of weights (R, C), R resamples of C patients, without touching the units again.
A resample in which the metric is not defined gives NaN, which never leaves this package.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from wsi_specdec.metrics.point import ECE_BINS, calibration_bins, weighted_kappa

# Above so many distinct scores, neighbouring ones are tied while resampling. With bins of equal
# mass an AUROC moves by no more than about 1 / (2 * MAX_DISTINCT), far below its standard error.
MAX_DISTINCT = 2048
# Half a megabyte of float64, which stays in the cache of a core.
_BLOCK_ELEMENTS = 1 << 16
# Tables with more of their cells filled are multiplied as dense ones, which is then faster.
_DENSE = 0.05
# Products of counts up to here are exact in float32, and twice as fast.
_EXACT = 1 << 23

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Values = dict[str, Floats]


class Table(Protocol):
    """Something that gives named metrics under weights of patients."""

    def replicate(self, metrics: Sequence[str], weights: Floats) -> Values:
        """Return each metric under each row of `weights` (R, C) as (R,), NaN where undefined."""
        ...

    def leave_one_out(self, metrics: Sequence[str]) -> Values:
        """Return each metric without each patient in turn as (C,), NaN where undefined."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class RankTable:
    """Positives and negatives of each patient at each distinct score, scores ascending.

    Attributes
    ----------
    positives, negatives
        (B, C), sparse or dense: B distinct scores (or bins of them), C patients.
    """

    positives: Any
    negatives: Any

    def replicate(self, metrics: Sequence[str], weights: Floats) -> Values:
        """Return AUROC or average precision under each row of `weights` (R, C) as (R,)."""
        blocks = blocks_of(weights, self.positives.shape[0])
        parts = ((weighted(self.positives, b), weighted(self.negatives, b)) for b in blocks)
        return _by_block(metrics, parts)

    def leave_one_out(self, metrics: Sequence[str]) -> Values:
        """Return AUROC or average precision without each patient in turn as (C,)."""
        pairs = zip(without_each(self.positives), without_each(self.negatives), strict=True)
        return _by_block(metrics, pairs)


@dataclass(frozen=True, slots=True, eq=False)
class CountTable:
    """True positives, false negatives, true negatives and false positives of each patient.

    Attributes
    ----------
    counts
        (C, 4), columns in that order.
    """

    counts: Floats

    def replicate(self, metrics: Sequence[str], weights: Floats) -> Values:
        """Return metrics of calls under each row of `weights` (R, C) as (R,)."""
        return self._metrics(metrics, weights @ self.counts)

    def leave_one_out(self, metrics: Sequence[str]) -> Values:
        """Return metrics of calls without each patient in turn as (C,)."""
        return self._metrics(metrics, self.counts.sum(axis=0) - self.counts)

    @staticmethod
    def _metrics(metrics: Sequence[str], counts: Floats) -> Values:
        tp, fn, tn, fp = counts.T
        return {name: _COUNT_METRICS[name](tp, fn, tn, fp) for name in metrics}


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

    def replicate(self, metrics: Sequence[str], weights: Floats) -> Values:
        """Return the Brier score or the ECE under each row of `weights` (R, C) as (R,)."""
        sums = (weights @ self.sizes, weights @ self.squared_errors, weights @ self.gaps)
        return self._metrics(metrics, *sums)

    def leave_one_out(self, metrics: Sequence[str]) -> Values:
        """Return the Brier score or the ECE without each patient in turn as (C,)."""
        columns = (self.sizes, self.squared_errors, self.gaps)
        return self._metrics(metrics, *(column.sum(axis=0) - column for column in columns))

    @staticmethod
    def _metrics(metrics: Sequence[str], sizes: Floats, squared: Floats, gaps: Floats) -> Values:
        found = {"brier": squared, "ece": np.abs(gaps).sum(axis=1)}
        return {name: ratio(found[name], sizes) for name in metrics}


@dataclass(frozen=True, slots=True, eq=False)
class GradeTable:
    """How often each patient's units of one grade are called another.

    Attributes
    ----------
    counts
        (C, K, K): units of true grade k called grade l.
    """

    counts: Floats

    def replicate(self, metrics: Sequence[str], weights: Floats) -> Values:
        """Return the weighted kappa under each row of `weights` (R, C) as (R,)."""
        found = weighted_kappa(np.tensordot(weights, self.counts, axes=1))
        return dict.fromkeys(metrics, found)

    def leave_one_out(self, metrics: Sequence[str]) -> Values:
        """Return the weighted kappa without each patient in turn as (C,)."""
        return dict.fromkeys(metrics, weighted_kappa(self.counts.sum(axis=0) - self.counts))


def rank_table(labels: Ints, scores: Floats, patients: Ints, n_patients: int) -> RankTable:
    """Tabulate scores; labels, scores and patients (0 … C - 1) are (n,)."""
    bins, n_bins = distinct(scores)
    cells = [
        tabulate(bins[mask], patients[mask], (n_bins, n_patients))
        for mask in (labels == 1, labels == 0)
    ]
    return RankTable(*cells)


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


def grade_table(labels: Ints, grades: Ints, patients: Ints, n_patients: int) -> GradeTable:
    """Tabulate grades; labels, grades (0 … K - 1) and patients (0 … C - 1) are (n,)."""
    size = int(max(labels.max(initial=0), grades.max(initial=0))) + 1
    cells = (patients * size + labels) * size + grades
    counts = np.bincount(cells, minlength=n_patients * size * size)
    return GradeTable(counts.astype(np.float64).reshape(n_patients, size, size))


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide, with NaN where the denominator is 0."""
    out: Floats = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def distinct(scores: Floats) -> tuple[Ints, int]:
    """Give distinct scores (n,) ascending numbers, of which neighbours share one if too many."""
    values, bins, counts = np.unique(scores, return_inverse=True, return_counts=True)
    if values.size <= MAX_DISTINCT:
        return bins, values.size
    middle = np.cumsum(counts) - counts / 2
    coarse = (middle * (MAX_DISTINCT / scores.size)).astype(np.int64)
    return coarse[bins], MAX_DISTINCT


def tabulate(bins: Ints, patients: Ints, shape: tuple[int, int]) -> Any:  # noqa: ANN401 - scipy.sparse is untyped
    """Count units by bin and patient: float32 (B, C) where many cells are filled, else sparse."""
    cells = (np.ones(bins.size), (bins, patients))
    table = sparse.coo_array(cells, shape=shape).tocsr()
    table.sum_duplicates()
    if table.nnz < _DENSE * shape[0] * shape[1] or bins.size * shape[1] > _EXACT * shape[0]:
        return table
    return table.toarray().astype(np.float32)


def weighted(table: Any, block: Floats) -> Floats:  # noqa: ANN401 - scipy.sparse is untyped
    """Multiply a table (B, C) of `tabulate` by weights (C, r): (B, r) float64."""
    if isinstance(table, np.ndarray):
        block = block.astype(np.float32)
    return np.asarray(table @ block, dtype=np.float64)


def without_each(table: Any) -> Iterator[Floats]:  # noqa: ANN401 - scipy.sparse is untyped
    """Yield a table's row sums (B, r) without each patient in turn, r patients at a time."""
    total = np.asarray(table.sum(axis=1), dtype=np.float64)[:, None]
    columns = table if isinstance(table, np.ndarray) else table.tocsc()
    step = _rows(table.shape[0])
    for start in range(0, table.shape[1], step):
        part = columns[:, start : start + step]
        yield total - (part if isinstance(part, np.ndarray) else part.toarray())


def blocks_of(weights: Floats, n_bins: int) -> Iterator[Floats]:
    """Yield (C, r) blocks of resamples, so that (B, r) arrays stay small enough for the cache."""
    step = _rows(n_bins)
    for start in range(0, weights.shape[0], step):
        yield np.ascontiguousarray(weights[start : start + step].T)


def _rows(n_bins: int) -> int:
    return max(1, _BLOCK_ELEMENTS // max(1, n_bins))


def _by_block(metrics: Sequence[str], blocks: Iterator[tuple[Floats, Floats]]) -> Values:
    found: dict[str, list[Floats]] = {name: [] for name in metrics}
    for positives, negatives in blocks:
        for name, parts in found.items():
            parts.append(_RANK_METRICS[name](positives, negatives))
    return {name: np.concatenate([np.empty(0), *parts]) for name, parts in found.items()}


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
    called = np.cumsum(negatives[::-1], axis=0)
    called += found
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
