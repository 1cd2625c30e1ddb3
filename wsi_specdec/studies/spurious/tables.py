"""Tables of the study of marks: what was recovered, and what the models hold."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from wsi_specdec.report.tables import (
    MISSING,
    cell_of,
    interval,
    p_value,
    pair_name,
    signed,
    signed_interval,
)
from wsi_specdec.studies.outcome import Outcome
from wsi_specdec.studies.pages.page import Section, standard_sections
from wsi_specdec.studies.pages.tables import table
from wsi_specdec.studies.spurious.features import CLASS, MARK
from wsi_specdec.studies.spurious.sets import REVERSED

_REPLACED: Final = "Differences"
_METRICS: Final = ("accuracy", "auroc")


def sections_of(outcome: Outcome, features: Mapping[str, Mapping[str, Any]]) -> list[Section]:
    """Return the parts of the page; differences are those on the reversed test alone.

    Parameters
    ----------
    features
        By condition, what `describe_features` returns.
    """
    standard = {section.title: section for section in standard_sections(outcome)}
    data = standard.pop("Data")
    standard.pop(_REPLACED)
    return [data, _recovered(outcome), *standard.values(), _held(features)]


def recovered_table(conditions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Write what each arm has over its baseline on the reversed test, in percentage points.

    Parameters
    ----------
    conditions
        Content of `results.json` by condition.
    """
    rows = []
    for name, results in conditions.items():
        for first in results["differences"]:
            if first["cohort"] != REVERSED or first["metric"] != _METRICS[0]:
                continue
            row = [name, pair_name(first), _accuracies(results, first)]
            for metric in _METRICS:
                found = _same_pair(results, first, metric)
                row += [_points(found), p_value(found["p_adjusted"])]
            rows.append(row)
    header = ["Condition", "Arms", "Accuracies", "Accuracy, points", "p", "AUROC, points", "p"]
    return table(header, rows, text=2)


def probes_table(features: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Write the AUROC of the probes for class and mark, by condition and arm."""
    rows = [
        [name, arm, *(_value(each["probes"][target]) for target in (CLASS, MARK))]
        for name, found in features.items()
        for arm, each in found["arms"].items()
    ]
    return table(["Condition", "Arm", "AUROC, class", "AUROC, mark"], rows, text=2)


def probe_differences_table(features: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Write how arms differ in what is read from their features."""
    rows = [
        [
            name,
            row["probe"],
            pair_name(row),
            f"{signed(row['delta'])} ({signed_interval(row['ci_low'], row['ci_high'])})",
            p_value(row["p_adjusted"]),
        ]
        for name, found in features.items()
        for row in found["differences"]
    ]
    return table(["Condition", "Probe", "Arms", "Difference in AUROC", "p"], rows, text=3)


def logits_table(features: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Write the median logit by class and mark, with the 5 % and 95 % quantiles."""
    rows = []
    for name, found in features.items():
        for arm, each in found["arms"].items():
            groups = {(row["class"], row["mark"]): row["quantiles"] for row in each["logits"]}
            keys = [(0, False), (0, True), (1, False), (1, True)]
            rows.append([name, arm, *(_quantiles(groups[key]) for key in keys)])
    names = ["negative", "negative, marked", "positive", "positive, marked"]
    return table(["Condition", "Arm", *names], rows, text=2)


def _recovered(outcome: Outcome) -> Section:
    told = (
        "On the reversed test, where the mark goes with the other class: accuracy of the arm and "
        "of its baseline, and differences in percentage points with intervals over trainings and "
        "patients. p-values are adjusted (Holm) over the arms."
    )
    return Section("Recovered", [told, "", *recovered_table(outcome.conditions)])


def _held(features: Mapping[str, Mapping[str, Any]]) -> Section:
    counts = next(iter(features.values()))["images"]
    probes = (
        "AUROC of linear probes on the features before the last layer, fitted on "
        f"{counts['fitted_on']} images of one half of the patients and tested on the "
        f"{counts['tested_on']} of the other, where the mark is independent of the class."
    )
    logits = (
        "Logits of the positive class on the same images, of all seeds together: median (5 % to "
        "95 %)."
    )
    lines = [probes, "", *probes_table(features), "", *probe_differences_table(features)]
    lines += ["", logits, "", *logits_table(features)]
    return Section("What the models hold", lines)


def _same_pair(
    results: Mapping[str, Any], like: Mapping[str, Any], metric: str
) -> Mapping[str, Any]:
    keys = ("arm", "baseline", "cohort")
    found: Sequence[Mapping[str, Any]] = results["differences"]
    return next(
        row
        for row in found
        if row["metric"] == metric and all(row[key] == like[key] for key in keys)
    )


def _accuracies(results: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    cells = [
        cell_of(results["arms"][pair[key]]["cohorts"][REVERSED]["patch"][_METRICS[0]]).value
        for key in ("arm", "baseline")
    ]
    return " against ".join(cells)


def _points(row: Mapping[str, Any]) -> str:
    """Write a difference of shares in percentage points, as `+3.1 (−0.4 to +6.6)`."""
    values = [row["delta"], row["ci_low"], row["ci_high"]]
    delta, low, high = (MISSING if value is None else _in_points(value) for value in values)
    return delta if MISSING in (low, high) else f"{delta} ({low} to {high})"


def _in_points(value: float) -> str:
    text = f"{abs(100 * value):.1f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else "\N{MINUS SIGN}") + text


def _value(measured: Mapping[str, Any]) -> str:
    cell = cell_of(measured)
    bounds = interval(measured.get("ci_low"), measured.get("ci_high"))
    return f"{cell.value} ({bounds})"


def _quantiles(found: Mapping[str, float]) -> str:
    if not found:
        return MISSING
    low, middle, high = (f"{found[key]:.1f}" for key in ("0.05", "0.5", "0.95"))
    return f"{middle} ({low} to {high})".replace("-", "\N{MINUS SIGN}")
