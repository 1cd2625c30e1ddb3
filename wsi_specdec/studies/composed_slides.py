"""The page of the composed slides: arms on internal and external cohorts, and the worst centre."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from wsi_specdec.config import DemoConfig
from wsi_specdec.keys import EXTERNAL, FIGURES_DIR, VALIDATION
from wsi_specdec.metrics import METRICS
from wsi_specdec.report.tables import (
    MISSING,
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
from wsi_specdec.studies.outcome import Outcome
from wsi_specdec.studies.pages.page import Picture, Section, write_page
from wsi_specdec.studies.pages.tables import SETTINGS, cost_table, table
from wsi_specdec.studies.pages.treatments import draw_arms, draw_differences, draw_sources

STUDY: Final = "composed_slides"
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


def write_slides_page(out: Path, results: Mapping[str, Any], config: DemoConfig) -> Path:
    """Write the page of composed slides, and its figures.

    Parameters
    ----------
    out
        Folder of the study.
    results
        Content of `results.json`.
    config
        What was run.

    Returns
    -------
    Path
        The page in Markdown.
    """
    whole = config.pipeline
    settings = config.model_dump(mode="json")
    # Where `write_page` looks for the confidence.
    settings["evaluate"] = settings["pipeline"]["evaluate"]
    made = results["provenance"]
    outcome = Outcome(STUDY, whole.report.title, settings, made, whole.seeds, {"": results})
    cohorts = [name for name in order_cohorts(results["cohorts"]) if name != VALIDATION]
    centres = [name for name in cohorts if name.startswith(CENTRE)]
    pictures = _draw(results, cohorts, centres, out / FIGURES_DIR)
    return write_page(out, outcome, pictures, sections_of(results, cohorts, centres))


def _draw(
    results: Mapping[str, Any], cohorts: Sequence[str], centres: Sequence[str], folder: Path
) -> list[Picture]:
    aurocs = [metric for metric in _SHOWN if (metric.unit, metric.name) in _COMPARED]
    shown = [name for name in cohorts if name not in centres]
    draw_arms(results, list(results["arms"]), folder / "arms.png", aurocs, shown)
    sources = {name: name.removeprefix(CENTRE) for name in centres}
    draw_sources(results, sources, aurocs, folder / "centres.png")
    outside = title_of_cohort(shown[-1])
    pictures = [
        Picture(
            folder / "arms.png",
            f"AUROC of tiles and of slides with 95 % intervals, inside (open) and on {outside} "
            "(filled).",
        ),
        Picture(
            folder / "centres.png",
            "AUROC of the same cases with the stains of each CAMELYON17 centre, by treatment.",
        ),
    ]
    if any(row["cohort"] == shown[-1] for row in results["differences"]):
        draw_differences(results, folder / "differences.png", aurocs, shown[-1])
        caption = (
            f"Differences of AUROC on {outside}, in points; those below an adjusted p of 0.05 are "
            "filled."
        )
        pictures.append(Picture(folder / "differences.png", caption))
    return pictures


def sections_of(
    results: Mapping[str, Any], cohorts: Sequence[str], centres: Sequence[str]
) -> list[Section]:
    """Return the tables of the page: cohorts in the order shown, `centres` those of a centre."""
    paired = (
        "First arm minus second on the same slides and seeds, in brackets the interval and the "
        "p-value adjusted (Holm) over the pairs of a cohort and metric."
    )
    differences = [
        Section(
            f"Differences of {metric.title}", [paired, "", *_differences(results, metric, cohorts)]
        )
        for metric in _SHOWN
        if (metric.unit, metric.name) in _COMPARED and results["differences"]
    ]
    return [
        Section("Data", _data(results, cohorts)),
        *(Section(metric.title, _values(results, metric, cohorts)) for metric in _SHOWN),
        Section("Worst centre", _worst(results, centres) if centres else []),
        *differences,
        Section("Chosen values", _chosen(results)),
        Section("Cost", cost_table({"": results})),
    ]


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


def _differences(results: Mapping[str, Any], metric: Metric, cohorts: Sequence[str]) -> list[str]:
    """Write a row for each pair of arms, a column for each cohort."""
    found: dict[str, dict[str, str]] = {}
    for row in results["differences"]:
        if (row["unit"], row["metric"]) == (metric.unit, metric.name):
            interval = signed_interval(row["ci_low"], row["ci_high"])
            cell = f"{signed(row['delta'])} ({interval}; {p_value(row['p_adjusted'])})"
            found.setdefault(pair_name(row), {})[row["cohort"]] = cell
    rows = [
        [pair, *(cells.get(name, MISSING) for name in cohorts)] for pair, cells in found.items()
    ]
    return table(["Arms", *map(title_of_cohort, cohorts)], rows)


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
