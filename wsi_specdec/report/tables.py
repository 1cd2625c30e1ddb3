"""What the tables show: which metrics, in which order, and how a number is written."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from wsi_specdec.keys import EXTERNAL, INTERNAL, TRAIN, VALIDATION

MISSING: Final = "–"
_MINUS: Final = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Metric:
    """A metric of `results.json` and what people call it."""

    unit: str
    name: str
    title: str


HEADLINE: Final = (
    Metric("patch", "auroc", "Patch AUROC"),
    Metric("slide", "auroc", "Slide AUROC"),
    Metric("slide", "sensitivity", "Sensitivity"),
    Metric("slide", "specificity", "Specificity"),
    Metric("slide", "balanced_accuracy", "Balanced accuracy"),
)
_WORDS: Final = {
    "auroc": "AUROC",
    "f1": "F1",
    "brier": "Brier score",
    "ece": "calibration error",
    "froc": "FROC score",
    "quadratic_kappa": "quadratic weighted kappa",
}


@dataclass(frozen=True)
class Cell:
    """One value with its interval, as text.

    `reason` says why a value is missing, or what is particular about its interval.
    """

    value: str
    interval: str
    reason: str


def headline(results: Mapping[str, Any]) -> list[Metric]:
    """Return the headline metrics, as far as any cohort has them."""
    cohorts = [c for arm in results["arms"].values() for c in arm.get("cohorts", {}).values()]
    return [m for m in HEADLINE if any(m.name in (c.get(m.unit) or {}) for c in cohorts)]


def metric_of(
    results: Mapping[str, Any], arm: str, cohort: str, metric: Metric
) -> Mapping[str, Any]:
    """Return `{value, ci_low, ci_high, reason, ...}`; a metric that is not there says so."""
    at_cohort = results["arms"][arm].get("cohorts", {}).get(cohort)
    if at_cohort is None:
        return {"value": None, "reason": f"the arm was not evaluated on {cohort}"}
    found = (at_cohort.get(metric.unit) or {}).get(metric.name)
    if found is None:
        return {"value": None, "reason": "not computed"}
    return dict(found)


def cell_of(values: Mapping[str, Any]) -> Cell:
    """Write a metric's value with three digits, and its interval with two."""
    value = values.get("value")
    if value is None:
        return Cell(MISSING, "", values.get("reason") or "not defined")
    return Cell(
        f"{value:.3f}",
        interval(values.get("ci_low"), values.get("ci_high")),
        values.get("reason") or "",
    )


def interval(low: float | None, high: float | None) -> str:
    """Write an interval, such as `0.85–0.96`; a dash where it is not known.

    >>> interval(0.851, 0.96)
    '0.85–0.96'
    """
    if low is None or high is None:
        return MISSING
    return f"{low:.2f}–{high:.2f}"


def signed(value: float | None) -> str:
    """Write a difference with its sign.

    >>> signed(0.0312), signed(0.0)
    ('+0.031', '0.000')
    """
    if value is None:
        return MISSING
    text = f"{abs(value):.3f}"
    if float(text) == 0:
        return text
    return f"{_MINUS if value < 0 else '+'}{text}"


def signed_interval(low: float | None, high: float | None) -> str:
    """Write the interval of a difference, such as `−0.02 to +0.09`."""
    if low is None or high is None:
        return MISSING
    return f"{signed(low)} to {signed(high)}"


def p_value(value: float | None) -> str:
    """Write a p-value with two digits that count.

    >>> p_value(0.0004), p_value(0.0312), p_value(0.42)
    ('<0.001', '0.031', '0.42')
    """
    if value is None:
        return MISSING
    if value < 0.001:
        return "<0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def percent(share: float) -> str:
    """Write a share, such as `95 %`.

    >>> percent(0.95), percent(0.995)
    ('95 %', '99.5 %')
    """
    return f"{100 * share:g} %"


def order_cohorts(names: Iterable[str]) -> list[str]:
    """Sort cohorts: internal, the external ones, then those that chose something."""
    rank = {INTERNAL: 0, VALIDATION: 2, TRAIN: 3}
    return sorted(set(names), key=lambda name: (rank.get(name, 1), name != EXTERNAL, name))


def title_of_metric(unit: str, name: str) -> str:
    """Name a metric for a reader, such as `Slide AUROC`."""
    for metric in HEADLINE:
        if (metric.unit, metric.name) == (unit, name):
            return metric.title
    words = _WORDS.get(name, name.replace("_", " "))
    return f"{unit.capitalize()} {words}"


def title_of_cohort(name: str) -> str:
    """Name a cohort for a reader, such as `External (centre-3)`."""
    if name.startswith(f"{EXTERNAL}-"):
        return f"External ({name.removeprefix(EXTERNAL + '-')})"
    return name.capitalize()


def size_text(results: Mapping[str, Any], cohort: str) -> str:
    """Say how large a cohort is, and whether its calls are optimistic."""
    counts = results["cohorts"][cohort]
    text = (
        f"{counts['slides']} slides of {counts['patients']} patients, "
        f"{counts['positives']} positive"
    )
    return f"{text}; threshold chosen here" if counts.get("threshold_chosen_here") else text


def pair_name(difference: Mapping[str, Any]) -> str:
    """Name what is compared, such as `sd − wd`."""
    return f"{difference['arm']} {_MINUS} {difference['baseline']}"


def sorted_differences(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Sort differences by metric, the headline ones first; pairs keep their order."""
    rank = {(metric.unit, metric.name): place for place, metric in enumerate(HEADLINE)}
    return sorted(
        results["differences"],
        key=lambda d: (rank.get((d["unit"], d["metric"]), len(rank)), d["unit"], d["metric"]),
    )


def footnotes(reasons: Iterable[tuple[str, str, str]]) -> list[str]:
    """Say each reason once, with the metrics and arms it is about.

    Parameters
    ----------
    reasons
        Arm, metric and reason; an empty reason is left out.

    Examples
    --------
    >>> footnotes([("wd", "Sensitivity", "no tumour"), ("sd", "Sensitivity", "no tumour")])
    ['Sensitivity (wd, sd): no tumour']
    """
    where: dict[str, dict[str, list[str]]] = {}
    for arm, metric, reason in reasons:
        if reason:
            where.setdefault(reason, {}).setdefault(metric, []).append(arm)
    return [
        ", ".join(f"{metric} ({', '.join(arms)})" for metric, arms in metrics.items())
        + f": {reason}"
        for reason, metrics in where.items()
    ]
