"""The terminal begins with what is lost outside."""

import io
from typing import Any

from rich.console import Console

from wsi_specdec.report import print_results
from wsi_specdec.report.gaps import print_gaps


def results_with(gaps: list[dict[str, Any]]) -> dict[str, Any]:
    return {"arms": {"wd": {}, "sd+macenko": {}}, "gaps": gaps, "cohorts": {}}


def gap(arm: str, value: float | None, cohort: str = "external-far") -> dict[str, Any]:
    return {
        "arm": arm,
        "cohort": cohort,
        "unit": "slide",
        "metric": "auroc",
        "gap": value,
        "ci_low": None if value is None else value - 0.1,
        "ci_high": None if value is None else value + 0.1,
    }


def printed(results: dict[str, Any]) -> str:
    out = io.StringIO()
    print_gaps(results, Console(file=out, width=80))
    return out.getvalue()


def test_each_external_cohort_has_a_table_with_intervals() -> None:
    gaps = [gap("wd", -0.0712), gap("sd+macenko", None), gap("wd", 0.02, "external")]
    text = printed(results_with(gaps))
    assert "External (far) minus internal" in text
    assert "External minus internal" in text
    for part in ("\N{MINUS SIGN}0.071", "\N{MINUS SIGN}0.171", "to +0.029", "+0.020", "sd+macenko"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 80


def test_results_without_gaps_print_none() -> None:
    assert printed(results_with([])) == ""
    assert printed({"arms": {}, "cohorts": {}}) == ""


def test_gaps_come_before_the_cohorts() -> None:
    results = results_with([gap("wd", -0.0712, "external")])
    results["cohorts"] = {"internal": {"slides": 4, "patients": 4, "positives": 2}}
    out = io.StringIO()
    print_results(results, Console(file=out, width=80))
    text = out.getvalue()
    assert text.index("minus internal") < text.index("Internal: 4 slides")
