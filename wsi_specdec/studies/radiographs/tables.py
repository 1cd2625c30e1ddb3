"""Tables of the study of chest radiographs: by view, lung fields, attribution."""

from collections.abc import Mapping
from typing import Any, Final

from wsi_specdec.keys import VALIDATION
from wsi_specdec.report.tables import (
    cell_of,
    order_cohorts,
    p_value,
    signed,
    signed_interval,
    title_of_cohort,
)
from wsi_specdec.studies.outcome import Outcome
from wsi_specdec.studies.pages.page import Section, standard_sections
from wsi_specdec.studies.pages.tables import table

_METRICS: Final = {
    "auroc": "AUROC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "balanced_accuracy": "Balanced accuracy",
}
_MINUS: Final = "\N{MINUS SIGN}"

Counts = Mapping[str, Mapping[str, Mapping[str, int]]]


def chest_sections(outcome: Outcome, fields: Counts, explained: Mapping[str, Any]) -> list[Section]:
    """Return the standard sections of the page, and those of radiographs behind the differences.

    Parameters
    ----------
    outcome
        What the study found.
    fields
        As `count_fields` gives them.
    explained
        As `attribution.summarise` gives it.
    """
    results = outcome.conditions[""]
    classes = list(outcome.config["data"]["classes"]) or ["0", "1"]
    own = [
        Section("From the internal to the external test", gap_lines(results)),
        Section("By view", view_table(results)),
        Section("Lung fields", fields_table(fields)),
        Section("Attribution outside of the lung fields", share_table(explained, classes)),
        Section("Differences of attribution", attribution_differences(explained, classes)),
    ]
    standard = standard_sections(outcome)
    after = next(i for i, each in enumerate(standard) if each.title == "Differences") + 1
    return [*standard[:after], *own, *standard[after:]]


def gap_lines(results: Mapping[str, Any]) -> list[str]:
    """Write by how much each metric of each arm falls from the internal to the external images."""
    rows = [
        [
            row["arm"],
            title_of_cohort(row["cohort"]),
            _METRICS.get(row["metric"], row["metric"]),
            f"{row['internal']:.3f}",
            f"{row['external']:.3f}",
            f"{signed(row['gap'])} ({signed_interval(row['ci_low'], row['ci_high'])})",
        ]
        for row in results["gaps"]
        if row["gap"] is not None and row["unit"] == "patch" and row["metric"] in _METRICS
    ]
    return (
        table(["Arm", "Cohort", "Metric", "Internal", "There", "Difference"], rows, 3)
        if rows
        else []
    )


def view_table(results: Mapping[str, Any]) -> list[str]:
    """Write each arm's metrics by the view, of every cohort that has several."""
    rows = []
    for cohort in order_cohorts(results["cohorts"]):
        if cohort == VALIDATION:
            continue
        for arm, each in results["arms"].items():
            for view, found in each["cohorts"][cohort].get("by_view", {}).items():
                cells = [_value(found[name]) for name in _METRICS]
                rows.append([title_of_cohort(cohort), arm, view, *cells])
    return table(["Cohort", "Arm", "View", *_METRICS.values()], rows, 3) if rows else []


def fields_table(fields: Counts) -> list[str]:
    """Write in how many images of each split and class lung fields were found."""
    rows = [
        [
            title_of_cohort(split),
            name,
            str(counts["found"]),
            str(counts["fallback"]),
            f"{100 * counts['fallback'] / (counts['found'] + counts['fallback']):.0f} %",
        ]
        for split in order_cohorts(fields)
        for name, counts in sorted(fields[split].items())
    ]
    return table(["Images", "Class", "Found", "Central box instead", "Share"], rows, 2)


def share_table(explained: Mapping[str, Any], classes: list[str]) -> list[str]:
    """Write the share of attribution outside of the lung fields, beside that of the area."""
    rows = [
        [
            title_of_cohort(row["cohort"]),
            classes[row["label"]],
            row["arm"],
            f"{row['images']} ({row['patients']})",
            f"{row['area_outside']:.3f}",
            _value({"value": row["value"], "ci_low": row["low"], "ci_high": row["high"]}),
        ]
        for row in sorted(
            explained["shares"], key=lambda r: (_rank(r["cohort"], explained), r["label"])
        )
    ]
    header = ["Cohort", "Class", "Arm", "Images (patients)", "Area outside", "Attribution outside"]
    return table(header, rows, 3) if rows else []


def attribution_differences(explained: Mapping[str, Any], classes: list[str]) -> list[str]:
    """Write the differences of that share between arms whose images are cut alike."""
    rows = [
        [
            title_of_cohort(row["cohort"]),
            classes[row["label"]],
            f"{row['arm']} {_MINUS} {row['baseline']}",
            f"{signed(row['value'])} ({signed_interval(row['low'], row['high'])})",
            p_value(row["p"]),
            p_value(row["p_holm"]),
        ]
        for row in explained["differences"]
    ]
    header = ["Cohort", "Class", "Arms", "Difference", "p", "p adjusted"]
    return table(header, rows, 3) if rows else []


def _rank(cohort: str, explained: Mapping[str, Any]) -> int:
    return order_cohorts({row["cohort"] for row in explained["shares"]}).index(cohort)


def _value(found: Mapping[str, Any]) -> str:
    cell = cell_of(found)
    return f"{cell.value} ({cell.interval})" if cell.interval else cell.value
