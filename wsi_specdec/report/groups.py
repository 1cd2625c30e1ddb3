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
GROUP_METRICS: Final[tuple[Metric, ...]] = tuple(m for m in HEADLINE if m.unit == "slide")


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
class WorstRow:
    """The group in which an arm is worst by a metric, beside its value over all groups."""

    cohort: str
    metric: str
    arm: str
    group: str
    worst: Cell
    overall: str


def group_tables(results: Mapping[str, Any]) -> list[GroupTable]:
    """Lay out the results by site, scanner and view, groups together, arms within.

    Results that name no groups give no tables.
    """
    return [
        _group_table(results, cohort, key)
        for cohort in order_cohorts(results["cohorts"])
        for key in _GROUPINGS
        if any(_groups(results, arm, cohort, key) for arm in results["arms"])
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
            cell_of(_at(results, arm, cohort).get("slide", {}).get(metric.name) or {}).value,
        )
        for cohort in order_cohorts(results["cohorts"])
        for metric in GROUP_METRICS
        for arm in results["arms"]
        if (found := (_at(results, arm, cohort).get("worst_group") or {}).get(metric.name))
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


def _group_table(results: Mapping[str, Any], cohort: str, key: str) -> GroupTable:
    rows, named = [], []
    for group, arm, measures in _in_order(results, cohort, key):
        cells = [cell_of(measures.get(metric.name) or {}) for metric in GROUP_METRICS]
        counts = [
            measures[metric.name].get("n")
            for metric in GROUP_METRICS
            if isinstance(measures.get(metric.name), Mapping)
        ]
        number = next((str(n) for n in counts if n is not None), MISSING)
        rows.append(GroupRow(group, arm, number, cells))
        named += [
            (f"{arm}, {group}", metric.title, cell.reason)
            for metric, cell in zip(GROUP_METRICS, cells, strict=True)
        ]
    column = _GROUPINGS[key]
    title = f"{title_of_cohort(cohort)}, by {column}"
    return GroupTable(title, column.capitalize(), rows, footnotes(named))


def _in_order(
    results: Mapping[str, Any], cohort: str, key: str
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    names = {group for arm in results["arms"] for group in _groups(results, arm, cohort, key)}
    for group in sorted(names):
        for arm in results["arms"]:
            yield group, arm, _groups(results, arm, cohort, key).get(group) or {}


def _groups(results: Mapping[str, Any], arm: str, cohort: str, key: str) -> Mapping[str, Any]:
    return dict(_at(results, arm, cohort).get(key) or {})


def _at(results: Mapping[str, Any], arm: str, cohort: str) -> Mapping[str, Any]:
    return dict((results["arms"][arm].get("cohorts") or {}).get(cohort) or {})
