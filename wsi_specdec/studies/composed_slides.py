"""The page of the composed slides: arms on internal and external cohorts, and the worst centre."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from wsi_specdec.keys import EXTERNAL, VALIDATION
from wsi_specdec.metrics import METRICS
from wsi_specdec.report.tables import (
    Metric,
    cell_of,
    metric_of,
    order_cohorts,
    p_value,
    pair_name,
    signed,
    signed_interval,
    title_of_cohort,
)
from wsi_specdec.studies.pages.tables import SETTINGS, cost_table, table

# A cohort that one of several centres scanned.
CENTRE: Final = f"{EXTERNAL}-centre-"
_SHOWN: Final = (
    Metric("patch", "auroc", "Patch AUROC"),
    Metric("slide", "auroc", "Slide AUROC"),
    Metric("slide", "balanced_accuracy", "Slide balanced accuracy"),
)
_COUNTS: Final = ("slides", "patients", "positives")
_COMPARED: Final = (("patch", "auroc"), ("slide", "auroc"))


def worst_cohort(
    results: Mapping[str, Any], arm: str, metric: Metric, cohorts: Sequence[str]
) -> str | None:
    """Return the cohort where an arm does worst by a metric; None where it has no value in any.

    Parameters
    ----------
    results
        Content of `results.json`.
    arm, metric
        Whose value of what.
    cohorts
        Names of the cohorts to choose from; of equal ones the first.
    """
    found = {name: metric_of(results, arm, name, metric)["value"] for name in cohorts}
    sign = 1 if METRICS[metric.name].higher_is_better else -1
    known = {name: sign * value for name, value in found.items() if value is not None}
    return min(known, key=lambda name: known[name]) if known else None


def slides_page(results: Mapping[str, Any], title: str) -> str:
    """Render results of composed slides as Markdown.

    Parameters
    ----------
    results
        Content of `results.json`.
    title
        Of the page.
    """
    cohorts = [name for name in order_cohorts(results["cohorts"]) if name != VALIDATION]
    centres = [name for name in cohorts if name.startswith(CENTRE)]
    lines = [f"# {title}", "", "## Data", "", *_data(results, cohorts)]
    for metric in _SHOWN:
        lines += ["", f"## {metric.title}", "", *_values(results, metric, cohorts)]
    if centres:
        lines += ["", "## Worst centre", "", *_worst(results, centres)]
    lines += ["", "## Differences", "", *_differences(results, cohorts)]
    lines += ["", "## Chosen values", "", *_chosen(results)]
    lines += ["", "## Cost", "", *cost_table({"": results})]
    return "\n".join(lines) + "\n"


def _data(results: Mapping[str, Any], cohorts: Sequence[str]) -> list[str]:
    rows = [
        [title_of_cohort(name), *(str(results["cohorts"][name][key]) for key in _COUNTS)]
        for name in cohorts
    ]
    return table(["Composed cohort", "Slides", "Cases", "With cancer"], rows)


def _values(results: Mapping[str, Any], metric: Metric, cohorts: Sequence[str]) -> list[str]:
    rows = [
        [arm, *(_cell(metric_of(results, arm, name, metric)) for name in cohorts)]
        for arm in results["arms"]
    ]
    return table(["Arm", *map(title_of_cohort, cohorts)], rows)


def _worst(results: Mapping[str, Any], centres: Sequence[str]) -> list[str]:
    rows = []
    for arm in results["arms"]:
        row = [arm]
        for metric in _SHOWN:
            name = worst_cohort(results, arm, metric, centres)
            where = "" if name is None else f"centre {name.removeprefix(CENTRE)}: "
            row.append(where + _cell(metric_of(results, arm, name or centres[0], metric)))
        rows.append(row)
    return table(["Arm", *(metric.title for metric in _SHOWN)], rows)


def _differences(results: Mapping[str, Any], cohorts: Sequence[str]) -> list[str]:
    rows = [
        [
            title_of_cohort(row["cohort"]),
            f"{row['unit'].capitalize()} AUROC",
            pair_name(row),
            f"{signed(row['delta'])} ({signed_interval(row['ci_low'], row['ci_high'])})",
            p_value(row["p"]),
            p_value(row["p_adjusted"]),
        ]
        for row in results["differences"]
        if row["cohort"] in cohorts and (row["unit"], row["metric"]) in _COMPARED
    ]
    return table(["Cohort", "Metric", "Arms", "Difference", "p", "p adjusted"], rows, text=3)


def _chosen(results: Mapping[str, Any]) -> list[str]:
    """Write the values that validation chose, a seed each, of each arm that searched one."""
    rows = []
    for arm, each in results["arms"].items():
        own = {title: each["settings"].get(name) for name, title in SETTINGS.items()}
        rows.append([arm, *(_value(value) for value in own.values())])
    return table(["Arm", *SETTINGS.values()], rows)


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"{each:g}" for each in value)
    return f"{value:g}" if isinstance(value, float | int) else str(value)


def _cell(values: Mapping[str, Any]) -> str:
    cell = cell_of(values)
    return f"{cell.value} ({cell.interval})" if cell.interval else cell.value
