"""How much worse an arm does outside: each metric on external cohorts minus on the internal one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wsi_specdec.keys import EXTERNAL, INTERNAL
from wsi_specdec.metrics import Difference, Measure, gap

# By cohort and unit, then arm, then metric.
Measured = Mapping[tuple[str, str], Mapping[str, Mapping[str, Measure]]]
# Takes the external cohort, the arm and the metric.
Between = Callable[[str, str, str], Difference | None]


def gaps_of(
    measured: Measured, cohorts: Sequence[str], between: Between = lambda *_: None
) -> list[dict[str, Any]]:
    """List the gap of every arm, unit and metric between each external cohort and the internal.

    Parameters
    ----------
    measured
        All measures.
    cohorts
        Names of the cohorts; there are no gaps without an internal and an external one.
    between
        Gives the difference where the cohorts share patients; None where they share none.

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
                    found = between(cohort, arm, metric) or gap(external, within[metric])
                    ends = (within[metric].value, external.value)
                    rows.append(_row((arm, cohort, unit, metric), ends, found))
    return rows


def _row(
    names: tuple[str, str, str, str], ends: tuple[float | None, float | None], found: Difference
) -> dict[str, Any]:
    return {
        **dict(zip(("arm", "cohort", "unit", "metric"), names, strict=True)),
        **dict(zip(("internal", "external"), ends, strict=True)),
        "gap": found.delta,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "test": found.test,
        "reason": found.reason,
    }
