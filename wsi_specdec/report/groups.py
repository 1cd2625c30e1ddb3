"""Results by site, scanner and view, and where an arm is worst: rows of text for the template."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wsi_specdec.report.tables import (
    HEADLINE,
    MISSING,
    Cell,
    Metric,
    cell_of,
    footnotes,
    order_cohorts,
    signed,
    signed_interval,
    title_of_cohort,
)

_GROUPINGS: Final = {"by_site": "site", "by_scanner": "scanner", "by_view": "view"}


@dataclass(frozen=True)
class GroupRow:
    """One arm in one group."""

    group: str
    arm: str
    number: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class GroupTable:
    """One cohort by site, scanner or view."""

    title: str
    column: str
    rows: Sequence[GroupRow]
    notes: Sequence[str]


@dataclass(frozen=True)
class GapRow:
    """What one arm loses by a metric on an external cohort against the internal one."""

    cohort: str
    metric: str
    arm: str
    gap: str
    interval: str


@dataclass(frozen=True)
class RobustnessRow:
    """How far an arm's embeddings tell class from site, or from scanner."""

    between: str
    arm: str
    index: str
    lowest: str
    tiles: int


@dataclass(frozen=True)
class WorstRow:
    """The group in which an arm is worst by a metric, beside its value over all groups."""

    cohort: str
    metric: str
    arm: str
    group: str
    worst: Cell
    overall: str


def group_metrics(results: Mapping[str, Any]) -> list[Metric]:
    """Return the headline metrics of groups; those of tiles where any are known by group."""
    cohorts = [c for arm in results["arms"].values() for c in arm.get("cohorts", {}).values()]
    tiles = any(cohort.get(f"patch_{key}") for cohort in cohorts for key in _GROUPINGS)
    return [metric for metric in HEADLINE if metric.unit == "slide" or tiles]


def group_tables(results: Mapping[str, Any]) -> list[GroupTable]:
    """Lay out the results by site, scanner and view, groups together, arms within.

    Results that name no groups give no tables.
    """
    return [
        _group_table(results, cohort, key)
        for cohort in order_cohorts(results["cohorts"])
        for key in _GROUPINGS
        if any(_of(results, arm, cohort, "slide", key) for arm in results["arms"])
    ]


def worst_rows(results: Mapping[str, Any]) -> list[WorstRow]:
    """List, per cohort, metric and arm, the group that is served worst."""
    return [
        WorstRow(
            title_of_cohort(cohort),
            metric.title,
            arm,
            f"{found.get('column', 'group')} {found.get('group', MISSING)}",
            cell_of(found),
            cell_of(_at(results, arm, cohort).get(metric.unit, {}).get(metric.name) or {}).value,
        )
        for cohort in order_cohorts(results["cohorts"])
        for metric in group_metrics(results)
        for arm in results["arms"]
        if (found := _of(results, arm, cohort, metric.unit, "worst_group").get(metric.name))
    ]


def gap_rows(results: Mapping[str, Any]) -> list[GapRow]:
    """List external minus internal values of the headline metrics, as far as they are there."""
    titles = {(metric.unit, metric.name): metric.title for metric in HEADLINE}
    rank = {key: place for place, key in enumerate(titles)}
    found = [gap for gap in results.get("gaps") or () if (gap["unit"], gap["metric"]) in titles]
    return [
        GapRow(
            title_of_cohort(gap["cohort"]),
            titles[gap["unit"], gap["metric"]],
            gap["arm"],
            signed(gap.get("gap")),
            signed_interval(gap.get("ci_low"), gap.get("ci_high")),
        )
        for gap in sorted(found, key=lambda g: (g["cohort"], rank[g["unit"], g["metric"]]))
    ]


def robustness_rows(results: Mapping[str, Any]) -> list[RobustnessRow]:
    """List the robustness index of each arm, where there is one."""
    rows = []
    for between in ("site", "scanner"):
        for arm, values in results["arms"].items():
            found = (values.get("robustness") or {}).get(between) or {}
            if found.get("value") is None:
                continue
            means = {
                " and ".join(pair["groups"]): sum(pair["per_seed"]) / len(pair["per_seed"])
                for pair in found["pairs"]
                if pair["reason"] is None
            }
            lowest = min(means, key=lambda names: means[names])
            tiles = sum(pair["tiles"] for pair in found["pairs"] if pair["reason"] is None)
            said = f"{means[lowest]:.3f} ({lowest})"
            rows.append(RobustnessRow(f"{between}s", arm, f"{found['value']:.3f}", said, tiles))
    return rows


def _group_table(results: Mapping[str, Any], cohort: str, key: str) -> GroupTable:
    rows, named, metrics = [], [], group_metrics(results)
    for group, arm in _in_order(results, cohort, key):
        found = [
            _of(results, arm, cohort, m.unit, key).get(group, {}).get(m.name) or {} for m in metrics
        ]
        cells = [cell_of(each) for each in found]
        of_slides = (each for each, m in zip(found, metrics, strict=True) if m.unit == "slide")
        number = next((str(each["n"]) for each in of_slides if each.get("n") is not None), MISSING)
        rows.append(GroupRow(group, arm, number, cells))
        named += [
            (f"{arm}, {group}", metric.title, cell.reason)
            for metric, cell in zip(metrics, cells, strict=True)
        ]
    column = _GROUPINGS[key]
    title = f"{title_of_cohort(cohort)}, by {column}"
    return GroupTable(title, column.capitalize(), rows, footnotes(named))


def _in_order(results: Mapping[str, Any], cohort: str, key: str) -> Iterator[tuple[str, str]]:
    arms = results["arms"]
    names = {group for arm in arms for group in _of(results, arm, cohort, "slide", key)}
    for group in sorted(names):
        for arm in arms:
            yield group, arm


def _of(
    results: Mapping[str, Any], arm: str, cohort: str, unit: str, key: str
) -> Mapping[str, Any]:
    """Return groups, or the worst ones, of slides or of tiles."""
    prefix = "" if unit == "slide" else f"{unit}_"
    return dict(_at(results, arm, cohort).get(prefix + key) or {})


def _at(results: Mapping[str, Any], arm: str, cohort: str) -> Mapping[str, Any]:
    return dict((results["arms"][arm].get("cohorts") or {}).get(cohort) or {})
