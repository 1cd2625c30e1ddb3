"""The folds of a leave-one-site-out comparison, read together."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from wsi_specdec.keys import FOLDS_DIR, SCHEMA_VERSION
from wsi_specdec.metrics import (
    METRICS,
    Estimate,
    holm,
    mean_difference,
    mean_of_sites,
)
from wsi_specdec.report.tables import (
    MISSING,
    interval,
    p_value,
    pair_name,
    signed,
    signed_interval,
    title_of_metric,
)
from wsi_specdec.studies.pages.tables import table
from wsi_specdec.studies.sites import Column, Fold

# What the page shows, as unit and metric.
_SHOWN: Final = (("patch", "auroc"), ("slide", "auroc"), ("slide", "balanced_accuracy"))
_UNITS: Final = ("patch", "slide", "patient")


def join_folds(
    folds: Sequence[tuple[Fold, Mapping[str, Any]]], column: Column, confidence: float
) -> dict[str, Any]:
    """Join the results of the folds, each on the site that it left out.

    Parameters
    ----------
    folds
        Each with its `results.json`; of the same arms.
    column
        What counts as a site.
    confidence
        Of the folds' intervals.

    Returns
    -------
    The content of `leave_one_site_out.json`: of each arm, unit and metric the value at each site,
    the mean over sites and the worst site; of each pair of arms the mean of the paired differences,
    with p-values adjusted by Holm over the pairs.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "column": column,
        "confidence": confidence,
        "sites": [
            {"site": fold.site, "cohort": fold.cohort, "folder": f"{FOLDS_DIR}/{fold.name}"}
            | dict(results["cohorts"][fold.cohort])
            for fold, results in folds
        ],
        "arms": {arm: _arm(folds, arm) for arm in folds[0][1]["arms"]},
        "differences": _differences(folds, confidence),
    }


def joined_page(joined: Mapping[str, Any]) -> str:
    """Render what `join_folds` returns as Markdown: a table by metric, and the differences."""
    sites = [each["site"] for each in joined["sites"]]
    lines = [f"# Each {joined['column']} left out in turn", "", *_sizes(joined)]
    for unit, metric in _SHOWN:
        head = ["Arm", *sites, "mean", "worst"]
        rows = [
            _row(arm, units[unit][metric], sites)
            for arm, units in joined["arms"].items()
            if metric in units[unit]
        ]
        lines += ["", f"## {title_of_metric(unit, metric)}", "", *table(head, rows)]
    if joined["differences"]:
        head = ["Arms", "Metric", "Difference", "p", "p adjusted"]
        rows = [_difference_row(each) for each in joined["differences"]]
        lines += ["", "## Differences, mean over sites", "", *table(head, rows, text=2)]
    return "\n".join(lines) + "\n"


def _arm(folds: Sequence[tuple[Fold, Mapping[str, Any]]], arm: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for unit in _UNITS:
        measured = {
            fold.site: results["arms"][arm]["cohorts"][fold.cohort][unit] for fold, results in folds
        }
        names = list(next(iter(measured.values())))
        found[unit] = {name: _over_sites(name, measured) for name in names}
    return found


def _over_sites(metric: str, measured: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    by_site = {
        site: {key: own[metric][key] for key in ("value", "ci_low", "ci_high", "n", "reason")}
        for site, own in measured.items()
    }
    sign = 1 if metric not in METRICS or METRICS[metric].higher_is_better else -1
    known = {site: own["value"] for site, own in by_site.items() if own["value"] is not None}
    worst = min(known, key=lambda site: sign * known[site]) if known else None
    mean = mean_of_sites([_estimate(own, "value") for own in by_site.values()])
    return {"by_site": by_site, "mean": asdict(mean), "worst_site": worst}


def _differences(
    folds: Sequence[tuple[Fold, Mapping[str, Any]]], confidence: float
) -> list[dict[str, Any]]:
    """Average each pair's paired differences, adjusting over the pairs by unit and metric."""
    of_pair: dict[tuple[str, str, str, str], dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for fold, results in folds:
        for row in results["differences"]:
            if row["cohort"] == fold.cohort:
                key = (row["arm"], row["baseline"], row["unit"], row["metric"])
                of_pair[key][fold.site] = row
    rows = []
    for (arm, baseline, unit, metric), sites in of_pair.items():
        found = mean_difference([_estimate(own, "delta") for own in sites.values()], confidence)
        names = {"arm": arm, "baseline": baseline, "unit": unit, "metric": metric}
        deltas = {site: own["delta"] for site, own in sites.items()}
        rows.append(names | asdict(found) | {"p_adjusted": None, "by_site": deltas})
    families: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        families[row["unit"], row["metric"]].append(row)
    for members in families.values():
        for row, p in zip(members, holm([row["p"] for row in members]), strict=True):
            row["p_adjusted"] = p
    return rows


def _estimate(row: Mapping[str, Any], name: str) -> Estimate:
    return Estimate(row[name], row["ci_low"], row["ci_high"])


def _sizes(joined: Mapping[str, Any]) -> list[str]:
    head = [str(joined["column"]).capitalize(), "Slides", "Patients", "Positive slides", "Run"]
    rows = [
        [
            each["site"],
            str(each["slides"]),
            str(each["patients"]),
            str(each["positives"]),
            f"[{each['folder']}]({each['folder']}/report.html)",
        ]
        for each in joined["sites"]
    ]
    return table(head, rows)


def _row(arm: str, found: Mapping[str, Any], sites: Sequence[str]) -> list[str]:
    cells = [_cell(found["by_site"][site]) for site in sites]
    return [arm, *cells, _cell(found["mean"]), found["worst_site"] or MISSING]


def _cell(values: Mapping[str, Any]) -> str:
    if values["value"] is None:
        return MISSING
    return f"{values['value']:.3f} ({interval(values['ci_low'], values['ci_high'])})"


def _difference_row(row: Mapping[str, Any]) -> list[str]:
    return [
        pair_name(row),
        title_of_metric(row["unit"], row["metric"]),
        f"{signed(row['delta'])} ({signed_interval(row['ci_low'], row['ci_high'])})",
        p_value(row["p"]),
        p_value(row["p_adjusted"]),
    ]
