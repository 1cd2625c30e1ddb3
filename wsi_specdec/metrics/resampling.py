"""From labelled units of one arm to measures with intervals, and to differences between arms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from wsi_specdec.metrics.bootstrap import (
    Interval,
    Plan,
    bootstrap_interval,
    bootstrap_p,
    draw_plan,
)
from wsi_specdec.metrics.exact import interval_at_bound
from wsi_specdec.metrics.intervals import analytic_interval
from wsi_specdec.metrics.linear import Linear, linear_auroc
from wsi_specdec.metrics.measure import Difference, Measure, Point
from wsi_specdec.metrics.point import METRICS
from wsi_specdec.metrics.sample import Sample
from wsi_specdec.metrics.tables import (
    Table,
    calibration_table,
    count_table,
    grade_table,
    rank_table,
)

Floats = NDArray[np.float64]
BOOTSTRAP = "bootstrap over patients"
BOOTSTRAP_SEEDS = "bootstrap over seeds and patients"
EXACT = "exact over patients (Clopper-Pearson)"
MOVER = "MOVER of both cohorts' intervals"
_ROUNDING = 1e-12
# Student's t of one degree of freedom asks for a level that rounds to 1; resamples show no more.
_HIGHEST_LEVEL = 1 - 1e-6


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
    linear
        What each patient adds, of an AUROC that is defined.
    """

    sample: Sample
    metric: str
    points: tuple[Point, ...]
    estimate: float
    replicates: Floats
    jackknife: Floats
    linear: Linear | None = None

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
    found = {
        name: _without_resamples(sample, name, points[name])
        for name in metrics
        if any(point.value is None for point in points[name])
    }
    for kind in dict.fromkeys(METRICS[name].needs for name in metrics if name not in found):
        names = [n for n in metrics if METRICS[n].needs == kind and n not in found]
        found |= resample_tables(sample, {n: points[n] for n in names}, plan, _tables(sample, kind))
    return {name: found[name] for name in metrics}


def resample_tables(
    sample: Sample, points: dict[str, tuple[Point, ...]], plan: Plan, tables: Sequence[Table]
) -> dict[str, Resampled]:
    """Resample metrics that are defined, given a table for each seed.

    Parameters
    ----------
    sample
        What the tables are of.
    points
        Of each metric, its value for each seed.
    plan
        The resamples.
    tables
        One for each seed.
    """
    names = list(points)
    whole = np.ones((1, sample.n_patients))
    estimates = [table.replicate(names, whole) for table in tables]
    replicates = [table.replicate(names, plan.patients) for table in tables]
    jackknives = [table.leave_one_out(names) for table in tables]
    found = {}
    for name in names:
        drawn = np.stack([each[name] for each in replicates])  # (S, R)
        found[name] = Resampled(
            sample,
            name,
            points[name],
            float(np.mean([each[name] for each in estimates])),
            np.einsum("sr,rs->r", drawn, plan.seeds),
            np.mean([each[name] for each in jackknives], axis=0),
            linear_auroc(sample.labels, sample.scores, sample.patients)
            if name == "auroc"
            else None,
        )
    return found


def measure(resampled: Resampled, confidence: float) -> Measure:
    """Value and interval of a metric; an interval over fewer than two patients is None.

    The interval is, of these, the first that there is: the exact one where the value is 0 or 1;
    that of `intervals.analytic_interval`; BCa over the resamples, expanded for few patients. Where
    there are several seeds, it speaks about training again as well as about other patients.
    """
    per_seed = tuple(point.value for point in resampled.points)
    n = resampled.points[0].n
    value = resampled.value
    if value is None:
        return Measure(None, None, None, n, per_seed, resampled.undefined)
    if resampled.sample.n_patients < 2:
        return Measure(value, None, None, n, per_seed, "no interval: there is one patient")
    interval, method = _interval(resampled, value, confidence)
    # Sums of shares can leave the metric's range by rounding.
    lowest = METRICS[resampled.metric].lowest if resampled.metric in METRICS else 0.0
    low, high = (
        None if end is None else min(1.0, max(lowest, end)) for end in (interval.low, interval.high)
    )
    shown = None if low is None else method
    return Measure(value, low, high, n, per_seed, interval.reason, shown)


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


def gap(external: Measure, internal: Measure) -> Difference:
    """Difference of a metric of one arm between two cohorts that share no patient.

    The distances of the two intervals' ends add as the sides of a right angle (MOVER: Newcombe
    1998, Zou & Donner 2008), so that it rests on the intervals shown. Seeds that do well in one
    cohort tend to do well in the other: where there are several, the interval is too wide rather
    than too narrow.
    """
    if external.value is None or internal.value is None:
        reason = external.reason if external.value is None else internal.reason
        return Difference(None, None, None, None, MOVER, reason)
    delta = external.value - internal.value
    ends = (external.ci_low, external.ci_high, internal.ci_low, internal.ci_high)
    if any(end is None for end in ends):
        reason = external.reason if external.ci_low is None else internal.reason
        return Difference(delta, None, None, None, MOVER, reason)
    low, high, other_low, other_high = np.array(ends, dtype=np.float64)
    below = np.hypot(external.value - low, other_high - internal.value)
    above = np.hypot(high - external.value, internal.value - other_low)
    # Wider than these by rounding alone.
    lowest = float(max(low - other_high, delta - below))
    highest = float(min(high - other_low, delta + above))
    return Difference(delta, lowest, highest, None, MOVER)


def measure_all(
    sample: Sample, metrics: Sequence[str], *, resamples: int, confidence: float, seed: int
) -> dict[str, Measure]:
    """Measure several metrics of one sample: `plan_for`, `resample` and `measure` in one.

    Only the metrics whose interval takes resamples are resampled, which changes no number.
    """
    bare = {name: _without_resamples(sample, name, _points(sample, name)) for name in metrics}
    found = {name: measure(each, confidence) for name, each in bare.items()}
    defined = [n for n, each in found.items() if each.value is not None and sample.n_patients > 1]
    if drawn := [name for name in defined if found[name].ci_low is None]:
        resampled = resample(sample, drawn, plan_for(sample, resamples, seed))
        found |= {name: measure(each, confidence) for name, each in resampled.items()}
    return found


def _without_resamples(sample: Sample, name: str, points: tuple[Point, ...]) -> Resampled:
    return Resampled(sample, name, points, np.nan, np.empty(0), np.empty(0))


def _interval(resampled: Resampled, value: float, confidence: float) -> tuple[Interval, str]:
    sample, metric = resampled.sample, resampled.metric
    exact = interval_at_bound(metric, value, sample.labels, sample.patients, confidence)
    if exact is not None:
        return exact, EXACT
    analytic = analytic_interval(metric, sample, confidence, resampled.linear)
    if analytic is not None:
        return analytic
    found = bootstrap_interval(
        resampled.estimate, resampled.replicates, resampled.jackknife, _expanded(sample, confidence)
    )
    return found, f"BCa, expanded, {BOOTSTRAP if len(resampled.points) == 1 else BOOTSTRAP_SEEDS}"


def _expanded(sample: Sample, confidence: float) -> float:
    """Return the level at which normal quantiles are Student's at `confidence`.

    A bootstrap is too narrow by about the factor between the two (Hesterberg 2015, section 4.2);
    there is one degree of freedom less than patients of the rarer class.
    """
    present = [np.unique(sample.patients[sample.labels == k]).size for k in (0, 1)]
    freedom = min([count for count in present if count] or [sample.n_patients]) - 1
    if freedom < 1:
        return confidence
    level = float(2 * ndtr(stdtrit(freedom, (1 + confidence) / 2)) - 1)
    return min(level, _HIGHEST_LEVEL)


def _points(sample: Sample, name: str) -> tuple[Point, ...]:
    rows = sample.calls if METRICS[name].of_calls else sample.scores
    return tuple(METRICS[name].point(sample.labels, row) for row in rows)


def _tables(sample: Sample, kind: str) -> list[Table]:
    """Tabulate what a kind of metric needs: a table per seed."""
    truth, patients, count = sample.labels, sample.patients, sample.n_patients
    makers: dict[str, Callable[[], list[Table]]] = {
        "scores": lambda: [rank_table(truth, row, patients, count) for row in sample.scores],
        "calls": lambda: [count_table(truth, row, patients, count) for row in sample.calls],
        "grades": lambda: [grade_table(truth, row, patients, count) for row in sample.calls],
        "probabilities": lambda: [
            calibration_table(truth, row, patients, count) for row in sample.scores
        ],
    }
    return makers[kind]()


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
