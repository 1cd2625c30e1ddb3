"""How well arms bear shifts: areas under curves of strength, and mean corruption errors.

An arm's error under a shift is summed over the strengths and divided by the baseline's sum; the
mean over the shifts, in percent, is its mean corruption error (Hendrycks & Dietterich 2019,
"Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", arXiv 1903.12261,
section 4). Everything is computed on one set of resamples of patients and seeds, which pairs arms,
shifts and strengths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.evaluation.comparisons import Pair
from wsi_specdec.metrics import (
    Plan,
    Resampled,
    Sample,
    bootstrap_interval,
    bootstrap_p,
    holm,
    resample,
)

Floats = NDArray[np.float64]

METRICS: Final = ("accuracy", "auroc")
CLEAN: Final = ""
MCE: Final = "mean_corruption_error"


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """A number with its resamples: `replicates` (R,) and, without each patient, `jackknife` (C,).

    `value` is what they scatter around; None of the three may be NaN but where it is undefined.
    """

    value: float
    replicates: Floats
    jackknife: Floats

    @classmethod
    def of(cls, found: Resampled) -> "Statistic":
        """Take over a metric; NaN where it is undefined."""
        if found.value is None:
            return cls(np.nan, np.empty(0), np.empty(0))
        return cls(found.estimate, found.replicates, found.jackknife)

    @classmethod
    def mean(cls, parts: Sequence["Statistic"]) -> "Statistic":
        """Average over shifts or strengths."""
        return cls(*(np.mean([each[i] for each in map(_parts, parts)], axis=0) for i in range(3)))

    def __sub__(self, other: "Statistic") -> "Statistic":
        """Subtract, resample by resample."""
        return Statistic(*(a - b for a, b in zip(_parts(self), _parts(other), strict=True)))

    def over(self, other: "Statistic") -> "Statistic":
        """Divide, resample by resample; NaN where that is not defined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found = [
                np.asarray(np.where(np.asarray(b) > 0, np.divide(a, b), np.nan))
                for a, b in zip(_parts(self), _parts(other), strict=True)
            ]
        return Statistic(float(found[0]), *found[1:])

    def to_json(self, confidence: float) -> dict[str, Any]:
        """Return value and interval (BCa)."""
        if np.isnan(self.value):
            return {"value": None, "ci_low": None, "ci_high": None, "reason": "not defined"}
        found = bootstrap_interval(self.value, self.replicates, self.jackknife, confidence)
        return {
            "value": self.value,
            "ci_low": found.low,
            "ci_high": found.high,
            "reason": found.reason,
        }


# By shift and strength, and under CLEAN and 0 the images as they are.
Cells = Mapping[tuple[str, int], Mapping[str, Statistic]]


def measure_cells(samples: Mapping[tuple[str, int], Sample], plan: Plan) -> Cells:
    """Measure one arm on every set, by the same resamples."""
    return {
        place: {
            name: Statistic.of(found) for name, found in resample(sample, METRICS, plan).items()
        }
        for place, sample in samples.items()
    }


def areas(cells: Cells, metric: str) -> dict[str, Statistic]:
    """Return the area under a metric's curve over strengths 0 to 5, by shift, as a mean height.

    By the trapezoidal rule, so that an arm that loses nothing keeps its clean value.
    """
    out = {}
    for shift in _shifts(cells):
        curve = [cells[CLEAN, 0][metric], *(each[metric] for each in _along(cells, shift))]
        trapezoids = [Statistic.mean(pair) for pair in pairwise(curve)]
        out[shift] = Statistic.mean(trapezoids)
    return out


def corruption_errors(cells: Cells, baseline: Cells) -> dict[str, Statistic]:
    """Return the error summed over strengths over the baseline's, by shift.

    NaN where the baseline makes no error at any strength.
    """
    return {shift: _error(cells, shift).over(_error(baseline, shift)) for shift in _shifts(cells)}


def describe_arms(
    cells: Mapping[str, Cells], baseline: str, pairs: Sequence[Pair], confidence: float
) -> dict[str, Any]:
    """Describe every arm, and the differences between the arms of each pair.

    A shift under which the baseline makes no error at all has no corruption error and is left out
    of the mean, for every arm; `left_out` names such shifts.

    Parameters
    ----------
    cells
        By arm, of `measure_cells` with one plan.
    """
    errors = {arm: corruption_errors(own, cells[baseline]) for arm, own in cells.items()}
    left_out = [shift for shift, each in errors[baseline].items() if np.isnan(each.value)]
    totals = {arm: _totals(own, errors[arm], left_out) for arm, own in cells.items()}
    return {
        "baseline": baseline,
        "left_out": left_out,
        "arms": {
            arm: {
                "totals": {name: each.to_json(confidence) for name, each in totals[arm].items()},
                "shifts": _by_shift(own, errors[arm], confidence),
            }
            for arm, own in cells.items()
        },
        "differences": _differences(totals, pairs, confidence),
    }


def _totals(
    cells: Cells, errors: Mapping[str, Statistic], left_out: Sequence[str]
) -> dict[str, Statistic]:
    """Return what is said of an arm over all shifts."""
    found = {}
    for metric in METRICS:
        found[f"{metric}_clean"] = cells[CLEAN, 0][metric]
        shifted = [each[metric] for (shift, _), each in cells.items() if shift != CLEAN]
        found[f"{metric}_shifted"] = Statistic.mean(shifted)
        found[f"{metric}_area"] = Statistic.mean(list(areas(cells, metric).values()))
    kept = [each for shift, each in errors.items() if shift not in left_out]
    if kept:
        mean = Statistic.mean(kept)
        found[MCE] = Statistic(100 * mean.value, 100 * mean.replicates, 100 * mean.jackknife)
    return found


def _by_shift(
    cells: Cells, errors: Mapping[str, Statistic], confidence: float
) -> list[dict[str, Any]]:
    under = {metric: areas(cells, metric) for metric in METRICS}
    return [
        {
            "shift": shift,
            **{
                metric: [_value(cells[CLEAN, 0][metric]), *(_value(e[metric]) for e in along)]
                for metric in METRICS
            },
            **{f"{m}_area": under[m][shift].to_json(confidence) for m in METRICS},
            "corruption_error": errors[shift].to_json(confidence),
        }
        for shift in _shifts(cells)
        for along in [_along(cells, shift)]
    ]


def _differences(
    totals: Mapping[str, Mapping[str, Statistic]], pairs: Sequence[Pair], confidence: float
) -> list[dict[str, Any]]:
    """Subtract within each pair; p-values are adjusted (Holm) over the pairs of a measure."""
    rows: list[dict[str, Any]] = []
    for name in next(iter(totals.values())):
        found = [totals[pair.arm][name] - totals[pair.baseline][name] for pair in pairs]
        p = [
            None if np.isnan(e.value) else bootstrap_p(e.value, e.replicates, e.jackknife)
            for e in found
        ]
        for pair, each, raw, adjusted in zip(pairs, found, p, holm(p), strict=True):
            told = each.to_json(confidence)
            told["delta"] = told.pop("value")
            names = {"measure": name, "arm": pair.arm, "baseline": pair.baseline}
            rows.append({**names, **told, "p": raw, "p_adjusted": adjusted})
    return rows


def _error(cells: Cells, shift: str) -> Statistic:
    accuracy = Statistic.mean([each["accuracy"] for each in _along(cells, shift)])
    return Statistic(1 - accuracy.value, 1 - accuracy.replicates, 1 - accuracy.jackknife)


def _along(cells: Cells, shift: str) -> list[Mapping[str, Statistic]]:
    return [cells[place] for place in sorted(place for place in cells if place[0] == shift)]


def _shifts(cells: Cells) -> list[str]:
    return [shift for shift in dict.fromkeys(shift for shift, _ in cells) if shift != CLEAN]


def _value(found: Statistic) -> float | None:
    return None if np.isnan(found.value) else found.value


def _parts(found: Statistic) -> tuple[Any, Floats, Floats]:
    return found.value, found.replicates, found.jackknife
