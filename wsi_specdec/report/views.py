"""What the report says in words and tables: a run, turned into text ready for the template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import yaml

from wsi_specdec.config import EvaluateConfig, ReportConfig
from wsi_specdec.keys import TRAIN, VALIDATION
from wsi_specdec.report.flow import NO_SPLIT
from wsi_specdec.report.run import Run
from wsi_specdec.report.tables import (
    MISSING,
    Cell,
    Metric,
    cell_of,
    footnotes,
    headline,
    metric_of,
    order_cohorts,
    p_value,
    pair_name,
    signed,
    signed_interval,
    size_text,
    sorted_differences,
    title_of_cohort,
    title_of_metric,
)

_UNITS: Final = ("patch", "slide", "patient")


@dataclass(frozen=True)
class CohortRow:
    """Numbers of one cohort, counted from the manifest and the ledger."""

    title: str
    slides: int
    patients: int
    positives: int
    negatives: int
    unlabelled: int
    tiles: int
    sites: int
    scanners: int


@dataclass(frozen=True)
class ResultTable:
    """One cohort's results: a row of cells per arm."""

    title: str
    size: str
    rows: Sequence[tuple[str, Sequence[Cell]]]
    notes: Sequence[str]


@dataclass(frozen=True)
class DetailTable:
    """Every metric of one cohort: a row per metric, a cell per arm."""

    title: str
    arms: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


@dataclass(frozen=True)
class DifferenceRow:
    """One arm against the baseline, as text."""

    metric: str
    arms: str
    delta: str
    interval: str
    p: str
    p_adjusted: str
    test: str


@dataclass(frozen=True)
class DifferenceTable:
    """The differences of one cohort."""

    title: str
    rows: Sequence[DifferenceRow]
    notes: Sequence[str]


@dataclass(frozen=True)
class Failure:
    """A slide that gave no result, and why."""

    slide_id: str
    cohort: str
    state: str
    reason: str


def confidence_of(run: Run) -> float:
    """Confidence level of the intervals, from the run's config."""
    values = yaml.safe_load(run.config) or {}
    stage = (values.get("pipeline") or values).get("evaluate") or {}
    return float(stage.get("confidence", EvaluateConfig().confidence))


def question_text(run: Run, config: ReportConfig) -> str:
    """Say what the run is to answer: as its settings say, else from its arms and cohorts."""
    if config.question:
        return config.question
    if run.results is None:
        return "Which of these slides does the model call positive, and where on them?"
    cohorts = [
        title_of_cohort(name).lower()
        for name in order_cohorts(run.results["cohorts"])
        if name not in {TRAIN, VALIDATION}
    ]
    where = _listed(cohorts) or VALIDATION
    arms = list(run.results["arms"])
    if len(arms) == 1:
        return f"How well does {arms[0]} call the slides of the {where} cohort?"
    plural = "cohorts" if len(cohorts) > 1 else "cohort"
    return (
        f"Which of {_listed(arms)} calls slides best on the {where} {plural}, with the same "
        "slides, splits and seeds for each?"
    )


def cohort_rows(run: Run) -> list[CohortRow]:
    """Count the slides of each split."""
    groups: dict[str, list[str]] = {}
    for slide in run.slides.values():
        groups.setdefault(slide.split or NO_SPLIT, []).append(slide.slide_id)
    return [_cohort_row(run, name, groups[name]) for name in order_cohorts(groups)]


def result_tables(results: Mapping[str, Any]) -> list[ResultTable]:
    """Lay out the headline metrics, one table per cohort."""
    return [_result_table(results, cohort) for cohort in order_cohorts(results["cohorts"])]


def detail_tables(results: Mapping[str, Any]) -> list[DetailTable]:
    """Lay out every metric there is, one table per cohort."""
    arms = list(results["arms"])
    tables = []
    for cohort in order_cohorts(results["cohorts"]):
        rows = [
            (
                title_of_metric(metric.unit, metric.name),
                [cell_of(metric_of(results, arm, cohort, metric)) for arm in arms],
            )
            for metric in _metrics_there_are(results, cohort)
        ]
        tables.append(DetailTable(title_of_cohort(cohort), arms, rows))
    return tables


def difference_tables(results: Mapping[str, Any]) -> list[DifferenceTable]:
    """Write each difference as text, one table per cohort, headline metrics first."""
    by_cohort: dict[str, list[Mapping[str, Any]]] = {}
    for difference in sorted_differences(results):
        by_cohort.setdefault(difference["cohort"], []).append(difference)
    return [
        DifferenceTable(
            title_of_cohort(cohort),
            [_difference_row(d) for d in by_cohort[cohort]],
            footnotes(
                (pair_name(d), title_of_metric(d["unit"], d["metric"]), d.get("reason") or "")
                for d in by_cohort[cohort]
            ),
        )
        for cohort in order_cohorts(by_cohort)
    ]


def arm_settings(results: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Names of the arms, and a row of text per setting in which they differ, seeds and costs."""
    arms = results["arms"]
    flat = {name: _flatten(arm["settings"]) for name, arm in arms.items()}
    keys = dict.fromkeys(key for settings in flat.values() for key in settings)
    differing = [k for k in keys if len({str(flat[n].get(k)) for n in arms}) > 1 or len(arms) == 1]
    rows = [(key, [_plain(flat[name].get(key)) for name in arms]) for key in differing]
    rows.append(("seeds", [", ".join(map(str, arm["seeds"])) for arm in arms.values()]))
    costs = {name: _flatten(arm.get("cost") or {}) for name, arm in arms.items()}
    rows += [
        (key, [_plain(costs[name].get(key)) for name in arms])
        for key in dict.fromkeys(key for cost in costs.values() for key in cost)
    ]
    return list(arms), rows


def failures(run: Run) -> list[Failure]:
    """List the slides that were not done, with the ledger's reason."""
    found = []
    for slide_id, slide in run.slides.items():
        outcome = run.ledger.get(slide_id)
        cohort = title_of_cohort(slide.split) if slide.split else ""
        if outcome is None:
            found.append(Failure(slide_id, cohort, "missing", "the ledger does not name it"))
        elif outcome.state != "done":
            found.append(Failure(slide_id, cohort, outcome.state, outcome.reason))
    return found


def created_text(run: Run) -> str:
    """Write when the run was made, to the minute; nothing where it is not known."""
    created = run.provenance.get("created")
    if not isinstance(created, str):
        return ""
    try:
        return datetime.fromisoformat(created).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return created


def provenance_rows(run: Run) -> list[tuple[str, str]]:
    """Flatten the provenance to names and text, versions and hashes included."""
    return [(name, _plain(value)) for name, value in _flatten(run.provenance).items()]


def _cohort_row(run: Run, name: str, members: Sequence[str]) -> CohortRow:
    slides = [run.slides[slide_id] for slide_id in members]
    outcomes = [run.ledger[slide_id] for slide_id in members if slide_id in run.ledger]
    return CohortRow(
        title=title_of_cohort(name),
        slides=len(slides),
        patients=len({slide.patient_id for slide in slides}),
        positives=sum(slide.label == 1 for slide in slides),
        negatives=sum(slide.label is not None and slide.label != 1 for slide in slides),
        unlabelled=sum(slide.label is None for slide in slides),
        tiles=sum(outcome.tiles for outcome in outcomes),
        sites=len({slide.site for slide in slides if slide.site}),
        scanners=len({slide.scanner for slide in slides if slide.scanner}),
    )


def _difference_row(difference: Mapping[str, Any]) -> DifferenceRow:
    return DifferenceRow(
        metric=title_of_metric(difference["unit"], difference["metric"]),
        arms=pair_name(difference),
        delta=signed(difference["delta"]),
        interval=signed_interval(difference.get("ci_low"), difference.get("ci_high")),
        p=p_value(difference["p"]),
        p_adjusted=p_value(difference.get("p_adjusted")),
        test=difference["test"] or MISSING,
    )


def _result_table(results: Mapping[str, Any], cohort: str) -> ResultTable:
    rows, named, metrics = [], [], headline(results)
    for arm in results["arms"]:
        cells = [cell_of(metric_of(results, arm, cohort, metric)) for metric in metrics]
        rows.append((arm, cells))
        named += [(arm, m.title, cell.reason) for m, cell in zip(metrics, cells, strict=True)]
    return ResultTable(title_of_cohort(cohort), size_text(results, cohort), rows, footnotes(named))


def _metrics_there_are(results: Mapping[str, Any], cohort: str) -> list[Metric]:
    found: dict[tuple[str, str], Metric] = {}
    for unit in _UNITS:
        for arm in results["arms"].values():
            for name in arm.get("cohorts", {}).get(cohort, {}).get(unit) or {}:
                found.setdefault((unit, name), Metric(unit, name, ""))
    return list(found.values())


def _listed(names: Sequence[str]) -> str:
    """Join names as a sentence does."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _plain(value: object) -> str:
    if value is None or value == []:
        return MISSING
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
