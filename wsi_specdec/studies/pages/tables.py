"""Results of a study as Markdown tables; numbers are written as in reports."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from wsi_specdec.keys import VALIDATION
from wsi_specdec.report.tables import (
    MISSING,
    cell_of,
    order_cohorts,
    p_value,
    pair_name,
    signed,
    signed_interval,
    title_of_cohort,
)
from wsi_specdec.studies.outcome import Outcome

METRICS: Final = {
    "auroc": "AUROC",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
}
# Shown in addition where a cohort has images of one class alone.
ONE_CLASS: Final = {"sensitivity": "Sensitivity", "specificity": "Specificity"}
SETTINGS: Final = {"sd_coef": "λ", "weight_decay": "weight decay"}

_COUNTS: Final = ("images", "patients", "positives")

Conditions = Mapping[str, Mapping[str, Any]]


def table(header: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> list[str]:
    """Write lines of a Markdown table.

    Parameters
    ----------
    header, rows
        Cells; a `|` in them is escaped.
    text
        How many columns hold text and stand on the left; numbers stand on the right.

    Examples
    --------
    >>> table(["arm", "AUROC"], [["sd", "0.9"]])
    ['| arm | AUROC |', '|---|---:|', '| sd | 0.9 |']
    """
    marks = ["---" if column < text else "---:" for column in range(len(header))]
    lines = [_line(header), f"|{'|'.join(marks)}|"]
    return lines + [_line(row) for row in rows]


def data_table(conditions: Conditions) -> list[str]:
    """Count images, patients and positives of each cohort, by condition where they differ."""
    counted = [results["cohorts"] for results in conditions.values()]
    alike = all(each == counted[0] for each in counted)
    rows = [
        [name, title_of_cohort(cohort), *(str(cohorts[cohort][key]) for key in _COUNTS)]
        for name, cohorts in zip(conditions, counted[:1] if alike else counted, strict=False)
        for cohort in order_cohorts(cohorts)
    ]
    return _with_condition(["Cohort", "Images", "Patients", "Positive"], rows, text=2)


def metrics_table(conditions: Conditions, cohorts: Sequence[str] | None = None) -> list[str]:
    """Write AUROC, accuracy and balanced accuracy with intervals, by condition, cohort and arm.

    Sensitivity and specificity have columns where a cohort has images of one class alone.

    Parameters
    ----------
    conditions
        Content of `results.json` by condition.
    cohorts
        Cohorts to show; all but `validation` if None.
    """
    places = [
        (name, cohort)
        for name, results in conditions.items()
        for cohort in _shown(results, cohorts)
    ]
    alone = any(_one_class(conditions[name], cohort) for name, cohort in places)
    metrics = {**METRICS, **(ONE_CLASS if alone else {})}
    rows = [
        [name, title_of_cohort(cohort), arm, *(_value(found.get(metric)) for metric in metrics)]
        for name, cohort in places
        for arm, each in conditions[name]["arms"].items()
        for found in [each["cohorts"][cohort]["patch"]]
    ]
    return _with_condition(["Cohort", "Arm", *metrics.values()], rows, text=3)


def differences_table(
    conditions: Conditions, cohorts: Sequence[str] | None = None, metrics: Sequence[str] = ()
) -> list[str]:
    """Write the differences of arms with intervals and p-values, by condition and cohort.

    Those that are not defined, such as of AUROC where all images are of one class, are left out.

    Parameters
    ----------
    conditions
        Content of `results.json` by condition.
    cohorts
        Cohorts to show; all if None.
    metrics
        Metrics to show; all that are compared if empty.
    """
    titles = {**METRICS, **ONE_CLASS}
    rows = [
        [
            name,
            title_of_cohort(row["cohort"]),
            titles.get(row["metric"], row["metric"]),
            pair_name(row),
            f"{signed(row['delta'])} ({signed_interval(row['ci_low'], row['ci_high'])})",
            p_value(row["p"]),
            p_value(row["p_adjusted"]),
        ]
        for name, results in conditions.items()
        for row in results["differences"]
        if row["delta"] is not None
        and (cohorts is None or row["cohort"] in cohorts)
        and (not metrics or row["metric"] in metrics)
    ]
    header = ["Cohort", "Metric", "Arms", "Difference", "p", "p adjusted"]
    return _with_condition(header, rows, text=4)


def choices_table(outcome: Outcome) -> list[str]:
    """Write the value that the validation images chose for each arm under each condition."""
    rows = [
        [
            each["condition"],
            each["arm"],
            SETTINGS.get(each["setting"], each["setting"]),
            f"{each['value']:g}",
            ", ".join(f"{mean['value']:g}: {mean['auroc']:.3f}" for mean in each["means"]),
            "yes" if each["at_edge"] else "no",
        ]
        for each in outcome.choices
        if each["setting"] in SETTINGS
    ]
    header = ["Arm", "Setting", "Chosen", "Mean validation AUROC of each value", "At the edge"]
    return _with_condition(header, rows, text=5)


def cost_table(conditions: Conditions) -> list[str]:
    """Write what each arm took, a column for each kind of cost; no lines where none is known."""
    known = [
        (name, arm, each["cost"])
        for name, results in conditions.items()
        for arm, each in results["arms"].items()
    ]
    kinds = list(dict.fromkeys(kind for _, _, cost in known for kind in cost))
    if not kinds:
        return []
    rows = [[name, arm, *(_amount(cost.get(kind)) for kind in kinds)] for name, arm, cost in known]
    return _with_condition(["Arm", *(kind.replace("_", " ") for kind in kinds)], rows, text=2)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _with_condition(header: Sequence[str], rows: Sequence[Sequence[str]], text: int) -> list[str]:
    """Write a table whose rows begin with their condition, a column only where they differ."""
    if len({row[0] for row in rows}) > 1:
        return table(["Condition", *header], rows, text)
    return table(header, [row[1:] for row in rows], text - 1)


def _shown(results: Mapping[str, Any], cohorts: Sequence[str] | None) -> list[str]:
    found = order_cohorts(results["cohorts"])
    return [name for name in found if (name != VALIDATION if cohorts is None else name in cohorts)]


def _one_class(results: Mapping[str, Any], cohort: str) -> bool:
    counts = results["cohorts"][cohort]
    return counts["positives"] in (0, counts["images"])


def _value(found: Mapping[str, Any] | None) -> str:
    cell = cell_of(found or {})
    return f"{cell.value} ({cell.interval})" if cell.interval else cell.value


def _amount(value: object) -> str:
    if value is None:
        return MISSING
    return f"{value:.4g}" if isinstance(value, float) else str(value)
