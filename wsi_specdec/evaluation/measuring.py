"""What is measured of any unit: its metrics with intervals, its groups, and the worst of these."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsi_specdec.config import EvaluateConfig
from wsi_specdec.evaluation.units import subset
from wsi_specdec.metrics import (
    METRICS,
    Measure,
    Plan,
    Point,
    Resampled,
    Sample,
    measure,
    measure_all,
    resample,
)

# Pooled slide scores order slides but are no probabilities: their calibration is measured where
# the calls hold probabilities too.
SLIDE_METRICS = (
    "auroc",
    "average_precision",
    "sensitivity",
    "specificity",
    "balanced_accuracy",
    "accuracy",
    "f1",
)
CALIBRATION = ("brier", "ece")
METRICS_OF = {
    "patch": (*SLIDE_METRICS, *CALIBRATION),
    "slide": SLIDE_METRICS,
    "patient": SLIDE_METRICS,
}
KAPPA = "quadratic_kappa"
_NO_GRADES = "two classes are no grades"
GROUPINGS = ("site", "scanner", "view")

# By arm, then metric.
ByArm = Mapping[str, Mapping[str, Resampled]]
# By grouping, then group, then metric.
Groups = Mapping[str, Mapping[str, Mapping[str, Measure]]]


def resample_grades(
    samples: Mapping[str, Sample], classes: int, plan: Plan
) -> dict[str, Resampled]:
    """Resample each arm's quadratic weighted kappa, of three classes or more.

    Parameters
    ----------
    samples
        Each arm's sample, whose labels and calls are grades 0 … `classes` - 1.
    classes
        How many classes there are.
    plan
        The resamples, of the samples' patients.
    """
    if classes > 2:
        return {arm: resample(each, (KAPPA,), plan)[KAPPA] for arm, each in samples.items()}
    nothing = (np.nan, np.empty(0), np.empty(0))
    return {
        arm: Resampled(
            each, KAPPA, (Point(None, each.labels.size, _NO_GRADES),) * len(each.calls), *nothing
        )
        for arm, each in samples.items()
    }


def measure_arms(arms: ByArm, config: EvaluateConfig) -> dict[str, dict[str, Measure]]:
    """Give every arm's metrics their values and intervals."""
    return {
        arm: {name: measure(each, config.confidence) for name, each in metrics.items()}
        for arm, metrics in arms.items()
    }


def metrics_json(measured: Mapping[str, Measure]) -> dict[str, Any]:
    """Return metrics as `results.json` holds them."""
    return {name: each.to_json() for name, each in measured.items()}


def grouped(
    sample: Sample,
    names: Mapping[str, Sequence[str]],
    config: EvaluateConfig,
    metrics: Sequence[str] = SLIDE_METRICS,
    calibrated: Sample | None = None,
) -> dict[str, Any]:
    """Measure units group by group.

    Parameters
    ----------
    sample
        n units.
    names
        For each of `GROUPINGS`, the group of each unit, empty where it is not known. Where fewer
        than two are named, there are no groups.
    config
        Resamples, confidence and seed.
    metrics
        What is measured of each group.
    calibrated
        The units' probabilities in place of scores, where there are any.

    Returns
    -------
    The entries `by_<grouping>` and `worst_group` of `results.json`.
    """
    groups = {column: _by_group(sample, names[column], config, metrics) for column in GROUPINGS}
    if calibrated is not None:
        for column, found in groups.items():
            more = _by_group(calibrated, names[column], config, CALIBRATION)
            groups[column] = {group: found[group] | more[group] for group in found}
    return groups_json(groups)


def groups_json(groups: Groups) -> dict[str, Any]:
    """Return groups as `results.json` holds them: by grouping, and the worst for each metric."""
    out: dict[str, Any] = {
        f"by_{column}": {group: metrics_json(measures) for group, measures in found.items()}
        for column, found in groups.items()
    }
    metrics = dict.fromkeys(
        metric for found in groups.values() for measures in found.values() for metric in measures
    )
    return out | {"worst_group": _worst(groups, list(metrics))}


def _by_group(
    sample: Sample, of_unit: Sequence[str], config: EvaluateConfig, metrics: Sequence[str]
) -> dict[str, dict[str, Measure]]:
    groups = np.array(of_unit, dtype=np.str_)
    names = sorted(set(groups.tolist()) - {""})
    if len(names) < 2:
        return {}
    return {
        name: measure_all(
            subset(sample, groups == name),
            metrics,
            resamples=config.bootstrap,
            confidence=config.confidence,
            seed=config.seed,
        )
        for name in names
    }


def _worst(groups: Groups, metrics: Sequence[str]) -> dict[str, Any]:
    """Return, for each metric, the group where it is worst, over all groupings."""
    worst: dict[str, Any] = {}
    for metric in metrics:
        sign = 1 if metric not in METRICS or METRICS[metric].higher_is_better else -1
        found = [
            (sign * value, column, group, measures[metric])
            for column, by_name in groups.items()
            for group, measures in by_name.items()
            if (value := measures[metric].value) is not None
        ]
        if found:
            _, column, group, lowest = min(found, key=lambda each: each[:3])
            worst[metric] = {"column": column, "group": group, **lowest.to_json()}
    return worst
