"""Metrics, intervals and paired tests: pure functions of arrays."""

from wsi_specdec.metrics.bootstrap import Interval, Plan, bootstrap_interval, bootstrap_p, draw_plan
from wsi_specdec.metrics.exact import clopper_pearson
from wsi_specdec.metrics.measure import Difference, Measure, Point
from wsi_specdec.metrics.paired import DELONG, MCNEMAR, delong, delong_components, holm, mcnemar
from wsi_specdec.metrics.point import (
    METRICS,
    Metric,
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    brier,
    ece,
    f1,
    sensitivity,
    specificity,
)
from wsi_specdec.metrics.resampling import (
    Resampled,
    Sample,
    compare,
    measure,
    measure_all,
    plan_for,
    resample,
)

__all__ = [
    "DELONG",
    "MCNEMAR",
    "METRICS",
    "Difference",
    "Interval",
    "Measure",
    "Metric",
    "Plan",
    "Point",
    "Resampled",
    "Sample",
    "accuracy",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "bootstrap_interval",
    "bootstrap_p",
    "brier",
    "clopper_pearson",
    "compare",
    "delong",
    "delong_components",
    "draw_plan",
    "ece",
    "f1",
    "holm",
    "mcnemar",
    "measure",
    "measure_all",
    "plan_for",
    "resample",
    "sensitivity",
    "specificity",
]
