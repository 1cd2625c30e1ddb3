"""How much worse an arm does outside: each metric on external cohorts minus on the internal one."""

from collections.abc import Mapping, Sequence
from typing import Any

from wsi_specdec.keys import EXTERNAL, INTERNAL
from wsi_specdec.metrics import Measure, gap

# By cohort and unit, then arm, then metric.
Measured = Mapping[tuple[str, str], Mapping[str, Mapping[str, Measure]]]


def gaps_of(measured: Measured, cohorts: Sequence[str]) -> list[dict[str, Any]]:
    """List the gap of every arm, unit and metric between each external cohort and the internal.

    Parameters
    ----------
    measured
        All measures.
    cohorts
        Names of the cohorts; there are no gaps without an internal and an external one.

    Returns
    -------
    The entries of `gaps` in `results.json`: `gap` is external minus internal, so that a loss of
    a metric of which more is better is negative.
    """
    if INTERNAL not in cohorts:
        return []
    outside = [name for name in cohorts if name.partition("-")[0] == EXTERNAL]
    rows = []
    for cohort in outside:
        for (name, unit), arms in measured.items():
            if name != cohort:
                continue
            for arm, metrics in arms.items():
                within = measured[INTERNAL, unit][arm]
                for metric, external in metrics.items():
                    rows.append(_row((arm, cohort, unit, metric), external, within[metric]))
    return rows


def _row(names: tuple[str, str, str, str], external: Measure, internal: Measure) -> dict[str, Any]:
    found = gap(external, internal)
    return {
        **dict(zip(("arm", "cohort", "unit", "metric"), names, strict=True)),
        "internal": internal.value,
        "external": external.value,
        "gap": found.delta,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "test": found.test,
        "reason": found.reason,
    }
