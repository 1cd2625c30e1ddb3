"""Sections of the page on robustness, beside those that every study has."""

from collections.abc import Mapping
from typing import Any, Final

from wsi_specdec.report.tables import p_value, pair_name, signed, signed_interval
from wsi_specdec.studies.outcome import Outcome
from wsi_specdec.studies.pages.page import Section, standard_sections
from wsi_specdec.studies.pages.tables import table
from wsi_specdec.studies.robustness.measures import MCE

TOTALS: Final = {
    "accuracy_clean": "Accuracy, clean",
    "accuracy_area": "Accuracy, area",
    "auroc_clean": "AUROC, clean",
    "auroc_area": "AUROC, area",
    MCE: "mCE, %",
}
_EXPLAINED: Final = (
    "*Area* is the area under the curve over strengths 0 to 5 as a mean height, averaged over the "
    "shifts. *mCE* is the mean corruption error relative to {baseline}, under 100 where an arm "
    "errs less. Intervals are BCa over trainings and patients."
)
_LEFT_OUT: Final = (
    "Under {shifts} the arm {baseline} makes no error at all; these are left out of the mCE of "
    "every arm."
)


def sections_of(outcome: Outcome, found: Mapping[str, Any]) -> list[Section]:
    """Return the page's sections, those of the shifts after the data."""
    first, *others = standard_sections(outcome)
    explained = [_EXPLAINED.format(baseline=found["baseline"])]
    if found["left_out"]:
        names = ", ".join(found["left_out"])
        explained.append(_LEFT_OUT.format(shifts=names, baseline=found["baseline"]))
    text = " ".join(explained)
    renamed = {"Results": "Clean test images", "Differences": "Differences on clean test images"}
    return [
        first,
        Section("Over all shifts", [text, "", *totals_table(found)]),
        Section("Differences over all shifts", differences_table(found)),
        Section("By shift", shifts_table(found)),
        *(Section(renamed.get(each.title, each.title), each.lines) for each in others),
    ]


def totals_table(found: Mapping[str, Any]) -> list[str]:
    """Write what is said of each arm over all shifts."""
    rows = [
        [arm, *(_cell(told["totals"].get(name), name) for name in TOTALS)]
        for arm, told in found["arms"].items()
    ]
    return table(["Arm", *TOTALS.values()], rows)


def differences_table(found: Mapping[str, Any]) -> list[str]:
    """Write the differences of areas and of mCE; p-values are adjusted (Holm)."""
    rows = [
        [
            pair_name(row),
            TOTALS[row["measure"]],
            _signed(row["delta"], row["measure"]),
            _signed_interval(row),
            p_value(row["p_adjusted"]),
        ]
        for row in found["differences"]
        if row["measure"] in ("accuracy_area", "auroc_area", MCE)
    ]
    return table(["Arms", "Measure", "Difference", "Interval", "p"], rows, text=2)


def shifts_table(found: Mapping[str, Any]) -> list[str]:
    """Write area under the accuracy and corruption error of each shift, an arm a column."""
    arms = found["arms"]
    first = next(iter(arms.values()))["shifts"]
    rows = [
        [
            row["shift"],
            *(f"{_number(told['shifts'][place]['accuracy_area'], 3)}" for told in arms.values()),
            *(_percent(told["shifts"][place]["corruption_error"]) for told in arms.values()),
        ]
        for place, row in enumerate(first)
    ]
    header = [
        "Shift",
        *(f"Accuracy area, {arm}" for arm in arms),
        *(f"Corruption error, {arm}, %" for arm in arms),
    ]
    return table(header, rows)


def _cell(found: Mapping[str, Any] | None, name: str) -> str:
    if found is None or found["value"] is None:
        return "–"
    digits = 1 if name == MCE else 3
    text = f"{found['value']:.{digits}f}"
    if found["ci_low"] is None:
        return text
    return f"{text} ({found['ci_low']:.{digits}f}–{found['ci_high']:.{digits}f})"


def _number(found: Mapping[str, Any], digits: int) -> str:
    return "–" if found["value"] is None else f"{found['value']:.{digits}f}"


def _percent(found: Mapping[str, Any]) -> str:
    return "–" if found["value"] is None else f"{100 * found['value']:.0f}"


def _signed(value: float | None, measure: str) -> str:
    return (
        f"{value:+.1f}".replace("-", "−") if measure == MCE and value is not None else signed(value)
    )


def _signed_interval(row: Mapping[str, Any]) -> str:
    if row["measure"] != MCE or row["ci_low"] is None:
        return signed_interval(row["ci_low"], row["ci_high"])
    return f"{_signed(row['ci_low'], MCE)} to {_signed(row['ci_high'], MCE)}"
