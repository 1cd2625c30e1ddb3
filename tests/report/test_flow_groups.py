"""Patient flow adds up, and groups say where an arm is worst."""

from dataclasses import replace
from typing import Any

from fake_runs import FakeRun

from wsi_specdec.cohort import Slide, write_manifest
from wsi_specdec.report import read_run
from wsi_specdec.report.flow import FlowRow, patient_flow
from wsi_specdec.report.groups import (
    gap_rows,
    group_metrics,
    group_tables,
    robustness_rows,
    worst_rows,
)
from wsi_specdec.runner import Ledger, Outcome
from wsi_specdec.store.calls import read_calls, write_calls


def adds_up(row: FlowRow) -> bool:
    return row.slides == row.failed + row.empty + row.uncalled + row.unlabelled + row.used


def test_each_slide_is_left_out_once_for_its_first_reason(comparison: FakeRun) -> None:
    extra = [
        Slide(f"external-{name}", comparison.path / f"{name}.tif", "p-external-0", 1, "external")
        for name in ("failed", "empty", "uncalled", "unlabelled")
    ]
    extra[3] = replace(extra[3], label=None)
    first = read_run(comparison.path)
    write_manifest([*first.slides.values(), *extra], comparison.path / "slides.csv")
    with Ledger(comparison.path) as ledger:
        for slide, state in zip(extra, ("failed", "empty", "done", "done"), strict=True):
            tiles = 5 if state == "done" else 0
            ledger.append(Outcome(slide.slide_id, state, "why", tiles))  # type: ignore[arg-type]
    for path in comparison.path.glob("arms/*/seed-*/calls.csv"):
        calls = read_calls(path)
        called = replace(calls[-1], slide_id="external-unlabelled")
        # One of the arms alone calls the other.
        more = [called, replace(calls[-1], slide_id="external-uncalled")]
        write_calls(path, [*calls, *more[: 1 + ("macenko" in str(path))]])
    rows = {row.title: row for row in patient_flow(read_run(comparison.path))}
    row = rows["External"]
    assert (row.slides, row.patients, row.used, row.used_patients) == (8, 4, 4, 4)
    assert (row.failed, row.empty, row.uncalled, row.unlabelled) == (1, 1, 1, 1)
    assert row.positives == 2
    assert all(adds_up(each) for each in rows.values())


def test_training_slides_need_tiles_alone(comparison: FakeRun) -> None:
    rows = {row.title: row for row in patient_flow(read_run(comparison.path))}
    assert (rows["Train"].slides, rows["Train"].empty, rows["Train"].used) == (2, 1, 1)
    assert rows["Train"].uncalled == 0
    assert list(rows) == ["Internal", "External", "Validation", "Train"]


def measured(value: float | None, number: int, reason: str | None = None) -> dict[str, Any]:
    bounds = (None, None) if value is None else (value - 0.1, value + 0.1)
    return {
        "value": value,
        "ci_low": bounds[0],
        "ci_high": bounds[1],
        "n": number,
        "per_seed": [value],
        "reason": reason,
    }


def with_groups(results: dict[str, Any]) -> dict[str, Any]:
    for rank, arm in enumerate(results["arms"].values()):
        arm["cohorts"]["external"]["by_site"] = {
            "b": {"auroc": measured(0.7 + rank / 10, 11), "sensitivity": measured(0.5, 11)},
            "a": {"auroc": measured(None, 3, "one class"), "sensitivity": measured(0.8, 3)},
        }
        worst = measured(0.7 + rank / 10, 11) | {"column": "site", "group": "b"}
        arm["cohorts"]["external"]["worst_group"] = {"auroc": worst}
    return results


def test_groups_stand_together_with_their_numbers(results: dict[str, Any]) -> None:
    (table,) = group_tables(with_groups(results))
    assert (table.title, table.column) == ("External, by site", "Site")
    assert [(row.group, row.arm, row.number) for row in table.rows] == [
        ("a", "wd", "3"),
        ("a", "sd+macenko", "3"),
        ("b", "wd", "11"),
        ("b", "sd+macenko", "11"),
    ]
    assert table.rows[2].cells[0].value == "0.700"
    assert table.rows[0].cells[0].value == "–"
    assert any("one class" in note for note in table.notes)


def test_tiles_stand_beside_slides_where_they_are_known_by_group(results: dict[str, Any]) -> None:
    results = with_groups(results)
    assert [metric.unit for metric in group_metrics(results)] == ["slide"] * 4
    external = results["arms"]["wd"]["cohorts"]["external"]
    external["patch_by_site"] = {"b": {"auroc": measured(0.65, 200)}}
    external["patch_worst_group"] = {
        "auroc": measured(0.65, 200) | {"column": "site", "group": "b"}
    }
    (table,) = group_tables(results)
    assert group_metrics(results)[0].title == "Patch AUROC"
    assert [(row.number, row.cells[0].value) for row in table.rows] == [
        ("3", "–"),
        ("3", "–"),
        ("11", "0.650"),
        ("11", "–"),
    ]
    first = worst_rows(results)[0]
    assert (first.metric, first.worst.value) == ("Patch AUROC", "0.650")
    overall = external["patch"]["auroc"]["value"]
    assert first.overall == f"{overall:.3f}"


def test_the_worst_group_stands_beside_the_whole(results: dict[str, Any]) -> None:
    rows = worst_rows(with_groups(results))
    assert [(row.cohort, row.metric, row.arm, row.group) for row in rows] == [
        ("External", "Slide AUROC", "wd", "site b"),
        ("External", "Slide AUROC", "sd+macenko", "site b"),
    ]
    overall = results["arms"]["wd"]["cohorts"]["external"]["slide"]["auroc"]["value"]
    assert (rows[0].worst.value, rows[0].overall) == ("0.700", f"{overall:.3f}")


def test_results_without_groups_have_no_tables(results: dict[str, Any]) -> None:
    assert group_tables(results) == []
    assert worst_rows(results) == []
    for arm in results["arms"].values():
        for cohort in arm["cohorts"].values():
            for key in ("by_site", "by_scanner", "worst_group"):
                cohort.pop(key, None)
        arm["cohorts"].pop("internal")
    assert group_tables(results) == []
    assert worst_rows(results) == []


def test_gaps_are_listed_by_cohort_and_metric(results: dict[str, Any]) -> None:
    results.pop("gaps", None)
    assert gap_rows(results) == []
    gap = {"arm": "wd", "cohort": "external", "unit": "slide", "metric": "specificity"}
    low = gap | {"gap": -0.25, "ci_low": -0.4, "ci_high": -0.1}
    results["gaps"] = [
        low,
        gap | {"unit": "patient", "metric": "auroc", "gap": 0.1},
        gap | {"metric": "auroc", "gap": None, "ci_low": None, "ci_high": None},
    ]
    first, second = gap_rows(results)
    assert (first.metric, first.gap, first.interval) == ("Slide AUROC", "–", "–")
    assert (second.metric, second.gap, second.interval) == (
        "Specificity",
        "−0.250",
        "−0.400 to −0.100",
    )


def test_robustness_names_the_lowest_pair_and_nothing_where_there_is_none(
    results: dict[str, Any],
) -> None:
    assert robustness_rows(results) == []
    pair = {"groups": ["a", "b"], "tiles": 40, "per_seed": [0.8, 0.6], "reason": None}
    pairs = [
        pair,
        pair | {"groups": ["a", "c"], "per_seed": [0.3, 0.5]},
        pair | {"groups": ["b", "c"], "per_seed": [None, None], "reason": "all alike"},
    ]
    found = {"value": 0.55, "per_seed": [0.55, 0.55], "pairs": pairs, "reason": None}
    none = {"value": None, "per_seed": [None], "pairs": [], "reason": "no two scanners"}
    results["arms"]["wd"]["robustness"] = {"site": found, "scanner": none}
    (row,) = robustness_rows(results)
    assert (row.between, row.arm, row.index) == ("sites", "wd", "0.550")
    assert (row.lowest, row.tiles) == ("0.400 (a and c)", 80)
