"""Tables in the terminal at 80 columns."""

import io
from typing import Any

from rich.console import Console

from wsi_specdec.report import print_calls, print_results
from wsi_specdec.store.calls import Call


def printed_results(results: dict[str, Any], width: int = 80) -> str:
    out = io.StringIO()
    print_results(results, Console(file=out, width=width))
    return out.getvalue()


def test_values_stand_above_their_intervals(results: dict[str, Any]) -> None:
    measure = results["arms"]["wd"]["cohorts"]["internal"]["slide"]["sensitivity"]
    measure |= {"value": 0.87654, "ci_low": 0.7449, "ci_high": 0.951}
    lines = printed_results(results).splitlines()
    row = next(i for i, line in enumerate(lines) if line.split()[:1] == ["wd"])
    assert "0.877" in lines[row]
    end = lines[row].index("0.877") + 5
    assert lines[row + 1][:end].endswith("0.74–0.95")


def test_nothing_is_cut_off_at_80_columns(results: dict[str, Any]) -> None:
    text = printed_results(results)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for word in ("Sensitivity", "Specificity", "Balanced", "accuracy", "sd+macenko"):
        assert word in text
    assert text.index("Internal: 4 slides of 4 patients, 2 positive") < text.index("External")


def test_missing_values_are_dashes_with_the_reason_below(results: dict[str, Any]) -> None:
    for arm in results["arms"].values():
        arm["cohorts"]["external"]["slide"]["specificity"] = {
            "value": None,
            "ci_low": None,
            "ci_high": None,
            "reason": "no negative slide",
        }
    text = printed_results(results)
    assert "Specificity (wd, sd+macenko): no negative slide" in text
    rows = [line.split() for line in text.splitlines() if line.split()[:1] == ["wd"]]
    assert [row[4] == "–" for row in rows] == [False, True]


def test_a_cohort_that_an_arm_lacks_says_so(results: dict[str, Any]) -> None:
    del results["arms"]["wd"]["cohorts"]["internal"]
    text = " ".join(printed_results(results).split())
    assert "Balanced accuracy (wd): the arm was not evaluated on internal" in text


def test_markup_in_names_is_printed_as_it_is(results: dict[str, Any]) -> None:
    results["arms"]["[red]x"] = results["arms"].pop("wd")
    assert "[red]x" in printed_results(results)


def test_calls_are_ranked_and_counted() -> None:
    calls = [
        Call("low", "low", None, 0.1234, 0, 0.5, 0.5, 9, "done"),
        Call("glass", "glass", None, None, None, None, None, 0, "empty"),
        Call("high", "high", None, 0.98, 1, 0.5, 0.5, 9, "done"),
    ]
    out = io.StringIO()
    print_calls(calls, Console(file=out, width=80))
    text = out.getvalue()
    assert text.index("high") < text.index("low") < text.index("glass")
    assert "0.123" in text
    assert "3 slides: 1 negative, 1 no call: no tissue, 1 positive" in text


def test_many_calls_are_cut_with_a_word() -> None:
    calls = [Call(f"s{i}", "p", None, 0.5, 1, 0.5, 0.0, 1, "done") for i in range(45)]
    out = io.StringIO()
    print_calls(calls, Console(file=out, width=80))
    assert "and 5 more, in calls.csv" in out.getvalue()
