"""From labelled units of one arm to measures with intervals, and to differences between arms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.metrics.bootstrap import Plan, bootstrap_interval, bootstrap_p, draw_plan
from wsi_specdec.metrics.exact import interval_at_bound
from wsi_specdec.metrics.measure import Difference, Measure, Point
from wsi_specdec.metrics.point import METRICS
from wsi_specdec.metrics.tables import Table, calibration_table, count_table, rank_table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
BOOTSTRAP = "bootstrap over patients"
BOOTSTRAP_SEEDS = "bootstrap over seeds and patients"
_JACKKNIFE_BLOCK = 512
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Units with a known truth, and what one arm made of them.

    Attributes
    ----------
    labels
        (n,) 0 or 1.
    patients
        (n,) codes 0 … C - 1 of the patients, each used.
    scores
        (S, n), a row per seed; probabilities where a metric needs them.
    calls
        (S, n) 0 or 1.
    """

    labels: Ints
    patients: Ints
    scores: Floats
    calls: Ints

    @property
    def n_patients(self) -> int:
        """Number of patients C."""
        return int(self.patients.max()) + 1 if self.patients.size else 0


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """One metric of one arm, with its bootstrap and jackknife values.

    Attributes
    ----------
    sample
        What it was computed on.
    metric
        Name of the metric.
    points
        The metric of each seed.
    estimate
        The value that the replicates scatter around: the mean over seeds.
    replicates
        (R,) of resampled seeds and patients; empty where the metric is undefined.
    jackknife
        (C,) without each patient in turn, mean over seeds; empty where undefined.
    """

    sample: Sample
    metric: str
    points: tuple[Point, ...]
    estimate: float
    replicates: Floats
    jackknife: Floats

    @property
    def undefined(self) -> str | None:
        """Why the metric has no value, or None."""
        return next((point.reason for point in self.points if point.reason), None)

    @property
    def value(self) -> float | None:
        """Mean over the seeds, or None where undefined."""
        values = [point.value for point in self.points if point.value is not None]
        return None if self.undefined or not values else float(np.mean(values))


def plan_for(sample: Sample, resamples: int, seed: int) -> Plan:
    """Draw the resamples of a sample's patients and seeds.

    Samples of other arms on the same units take the same plan, so that they are paired.
    """
    return draw_plan(max(1, sample.n_patients), sample.scores.shape[0], resamples, seed)


def resample(sample: Sample, metrics: Sequence[str], plan: Plan) -> dict[str, Resampled]:
    """Compute each metric on the sample, on every resample, and without each patient.

    Parameters
    ----------
    sample
        Labels, patients, scores and calls.
    metrics
        Names in `METRICS`.
    plan
        The resamples, from `plan_for`.
    """
    points = {name: _points(sample, name) for name in metrics}
    defined = [name for name in metrics if all(p.value is not None for p in points[name])]
    tables = _tables(sample, {METRICS[name].needs for name in defined})
    found = {}
    for name in metrics:
        if name in defined:
            seeds = tables[METRICS[name].needs]
            found[name] = _resample(sample, name, points[name], plan, seeds)
        else:
            nothing = np.empty(0)
            found[name] = Resampled(sample, name, points[name], np.nan, nothing, nothing)
    return found


def measure(resampled: Resampled, confidence: float) -> Measure:
    """Value and interval of a metric; an interval over fewer than two patients is None.

    Seeds are resampled beside patients where there are several, so that the interval speaks
    about training again as well as about other patients; the acceleration is the patients'.
    """
    per_seed = tuple(point.value for point in resampled.points)
    n = resampled.points[0].n
    value = resampled.value
    if value is None:
        return Measure(None, None, None, n, per_seed, resampled.undefined)
    sample = resampled.sample
    if sample.n_patients < 2:
        return Measure(value, None, None, n, per_seed, "no interval: there is one patient")
    interval = interval_at_bound(
        resampled.metric, value, sample.labels, sample.patients, confidence
    ) or bootstrap_interval(
        resampled.estimate, resampled.replicates, resampled.jackknife, confidence
    )
    # Every metric here lies in [0, 1]; sums of shares can leave it by rounding.
    low, high = (
        None if end is None else min(1.0, max(0.0, end)) for end in (interval.low, interval.high)
    )
    return Measure(value, low, high, n, per_seed, interval.reason)


def compare(arm: Resampled, baseline: Resampled, confidence: float) -> Difference:
    """Difference of a metric between two arms resampled by one plan, on the same units.

    Raises
    ------
    ValueError
        If the two differ in metric, units or plan.
    """
    _check_paired(arm, baseline)
    test = BOOTSTRAP if len(arm.points) == 1 else BOOTSTRAP_SEEDS
    undefined = arm.undefined or baseline.undefined
    if undefined or arm.value is None or baseline.value is None:
        return Difference(None, None, None, None, test, undefined)
    delta = arm.value - baseline.value
    replicates = arm.replicates - baseline.replicates
    jackknife = arm.jackknife - baseline.jackknife
    estimate = arm.estimate - baseline.estimate
    if arm.sample.n_patients < 2:
        return Difference(delta, None, None, None, test, "no interval: there is one patient")
    interval = bootstrap_interval(estimate, replicates, jackknife, confidence)
    if interval.low is not None:
        p = bootstrap_p(estimate, replicates, jackknife)
    else:
        # Without any spread there is evidence of nothing if the arms agree, else no scale for it.
        p = 1.0 if abs(delta) < _ROUNDING else None
    return Difference(delta, interval.low, interval.high, p, test, interval.reason)


def measure_all(
    sample: Sample, metrics: Sequence[str], *, resamples: int, confidence: float, seed: int
) -> dict[str, Measure]:
    """Measure several metrics of one sample: `plan_for`, `resample` and `measure` in one."""
    found = resample(sample, metrics, plan_for(sample, resamples, seed))
    return {name: measure(each, confidence) for name, each in found.items()}


def _points(sample: Sample, name: str) -> tuple[Point, ...]:
    rows = sample.calls if METRICS[name].needs == "calls" else sample.scores
    return tuple(METRICS[name].point(sample.labels, row) for row in rows)


def _tables(sample: Sample, needs: set[str]) -> dict[str, list[Table]]:
    """Tabulate what the metrics need: a table per seed."""
    truth, patients, count = sample.labels, sample.patients, sample.n_patients
    makers: dict[str, Callable[[], list[Table]]] = {
        "scores": lambda: [rank_table(truth, row, patients, count) for row in sample.scores],
        "calls": lambda: [count_table(truth, row, patients, count) for row in sample.calls],
        "probabilities": lambda: [
            calibration_table(truth, row, patients, count) for row in sample.scores
        ],
    }
    return {kind: makers[kind]() for kind in needs}


def _resample(
    sample: Sample, name: str, points: tuple[Point, ...], plan: Plan, tables: Sequence[Table]
) -> Resampled:
    whole = np.ones((1, sample.n_patients))
    estimate = float(np.mean([table.replicate(name, whole) for table in tables]))
    replicates = np.stack([table.replicate(name, plan.patients) for table in tables])  # (S, R)
    jackknife = np.mean([_leave_one_out(table, name, sample.n_patients) for table in tables], 0)
    mixed = np.einsum("sr,rs->r", replicates, plan.seeds)
    return Resampled(sample, name, points, estimate, mixed, jackknife)


def _leave_one_out(table: Table, name: str, count: int) -> Floats:
    parts = []
    for start in range(0, count, _JACKKNIFE_BLOCK):
        left_out = np.arange(start, min(start + _JACKKNIFE_BLOCK, count))
        weights = np.ones((left_out.size, count))
        weights[np.arange(left_out.size), left_out] = 0
        parts.append(table.replicate(name, weights))
    return np.concatenate(parts)


def _check_paired(arm: Resampled, baseline: Resampled) -> None:
    one, other = arm.sample, baseline.sample
    same = (
        arm.metric == baseline.metric
        and np.array_equal(one.labels, other.labels)
        and np.array_equal(one.patients, other.patients)
        and arm.replicates.shape == baseline.replicates.shape
        and len(arm.points) == len(baseline.points)
    )
    if not same and not (arm.undefined or baseline.undefined):
        msg = "only one metric, on the same units, resamples and seeds, can be compared"
        raise ValueError(msg)
