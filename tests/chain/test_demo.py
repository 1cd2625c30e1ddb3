"""The quick demo, run as a user runs it: every promise on its outputs."""

import csv
import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import jsonschema
from report_pages import Page

from wsi_specdec.cohort import read_manifest
from wsi_specdec.evaluation import results_schema
from wsi_specdec.store import find_stores, open_store

Program = Callable[..., "subprocess.CompletedProcess[str]"]
MakeSlide = Callable[..., Path]

REPOSITORY = Path(__file__).parents[2]
ARMS = {"wd", "sd", "wd+macenko", "sd+macenko"}
COHORTS = {"validation", "internal", "external"}
# Elements that load what their `src` names.
LOADING = ("img", "script", "iframe", "source")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as handle:
        return list(csv.DictReader(handle))


def test_results_hold_every_arm_and_cohort_with_intervals(quick_demo: Path) -> None:
    results = json.loads((quick_demo / "results.json").read_text())
    jsonschema.validate(results, results_schema())
    assert set(results["arms"]) == ARMS
    assert set(results["cohorts"]) == COHORTS
    for arm in results["arms"].values():
        for cohort in ("internal", "external"):
            for unit, metric in (("patch", "auroc"), ("slide", "auroc"), ("slide", "sensitivity")):
                measure = arm["cohorts"][cohort][unit][metric]
                assert 0 <= measure["ci_low"] <= measure["value"] <= measure["ci_high"] <= 1
    assert results["provenance"]["versions"]["torch"]


def test_the_network_learnt_something(quick_demo: Path) -> None:
    results = json.loads((quick_demo / "results.json").read_text())
    patch = results["arms"]["wd"]["cohorts"]["internal"]["patch"]["auroc"]
    assert patch["value"] > 0.75


def test_every_slide_of_the_cohort_is_tiled_and_has_truth(quick_demo: Path) -> None:
    slides = read_manifest(quick_demo / "slides.csv")
    assert {row["state"] for row in rows(quick_demo / "ledger.csv")} == {"done"}
    stores = {k: open_store(p) for k, p in find_stores(quick_demo).items()}
    assert set(stores) == {slide.slide_id for slide in slides}
    for slide in slides:
        labels = stores[slide.slide_id].label
        assert set(labels.tolist()) <= {0, 1}
        assert bool((labels == 1).any()) == (slide.label == 1)


def test_a_patient_is_in_one_split_and_calls_cover_the_evaluated_slides(quick_demo: Path) -> None:
    slides = read_manifest(quick_demo / "slides.csv")
    judged = {s.slide_id for s in slides if s.split != "train"}
    calls = rows(quick_demo / "calls.csv")
    assert len(calls) == len(judged) * len(ARMS)
    for arm in ARMS:
        own = rows(quick_demo / "arms" / arm / "seed-0" / "calls.csv")
        assert {call["slide_id"] for call in own} == judged
        thresholds = {call["threshold"] for call in own}
        assert len(thresholds) == 1
        for call in own:
            assert int(call["call"]) == int(float(call["score"]) >= float(call["threshold"]))


def test_the_report_is_one_file_that_loads_nothing(quick_demo: Path) -> None:
    text = (quick_demo / "report.html").read_text()
    page = Page(text)
    sources = [
        *(each["href"] for each in page.attributes("link")),
        *(each.get("src") for kind in LOADING for each in page.attributes(kind)),
    ]
    found = [source for source in sources if source]
    assert len(found) > 10
    assert all(source.startswith("data:") for source in found)
    assert all(image.get("alt") for image in page.attributes("img"))
    assert "composed" in text
    assert len(text) < 15e6


def test_the_terminal_shows_the_table_and_the_paths(quick_demo: Path) -> None:
    printed = (quick_demo / "stdout.txt").read_text()
    for word in (*ARMS, "results.json", "calls.csv", "report.html", "Internal", "External"):
        assert word.lower() in printed.lower()
    assert max(map(len, printed.splitlines())) <= 80 + len(str(quick_demo))


def test_the_same_command_again_trains_nothing(demo_copy: Path, in_process: Program) -> None:
    watched = [
        *demo_copy.glob("arms/*/seed-0/model/weights.safetensors"),
        *demo_copy.glob("arms/*/seed-0/scores/*.parquet"),
        *demo_copy.glob("tiles/*/zarr.json"),
        *demo_copy.glob("slides/*.tif"),
    ]
    before = {path: path.stat().st_mtime_ns for path in watched}
    results = json.loads((demo_copy / "results.json").read_text())
    done = in_process("demo", "--quick", "--out", demo_copy)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in watched} == before
    again = json.loads((demo_copy / "results.json").read_text())
    for volatile in ("cost", "settings"):
        for arm in (*results["arms"].values(), *again["arms"].values()):
            arm.pop(volatile)
    assert again["arms"] == results["arms"]
    assert again["differences"] == results["differences"]


def test_process_calls_unseen_slides(
    quick_demo: Path, tmp_path: Path, in_process: Program, make_slide: MakeSlide
) -> None:
    folder = tmp_path / "unseen"
    folder.mkdir()
    slides = [s for s in read_manifest(quick_demo / "slides.csv") if s.split == "external"][:2]
    for slide in slides:
        (folder / slide.path.name).symlink_to(slide.path)
    (folder / "CMU.svs").symlink_to(REPOSITORY / "tests/data/CMU-1-Small-Region.svs")
    make_slide(folder / "blank.tif", mpp=4.0, tissue=False)
    model = quick_demo / "arms/sd/seed-0/model"
    out = tmp_path / "calls"

    done = in_process("process", folder, "--model", model, "--out", out)

    assert done.returncode == 0, done.stderr
    calls = {row["slide_id"]: row for row in rows(out / "calls.csv")}
    assert len(calls) == 4
    assert calls["blank"]["call"] == ""
    assert calls["blank"]["state"] == "empty"
    assert calls["CMU"]["call"] in {"0", "1"}
    kept = {r["slide_id"]: r for r in rows(quick_demo / "arms/sd/seed-0/calls.csv")}
    for slide in slides:
        assert math.isclose(
            float(calls[slide.slide_id]["score"]),
            float(kept[slide.slide_id]["score"]),
            abs_tol=1e-5,
        )
        assert (out / "heatmaps" / f"{slide.slide_id}.png").is_file()
    assert (out / "report.html").is_file()


def test_process_lists_a_failure_and_refuses_the_fluorescence_slide(
    quick_demo: Path, tmp_path: Path, in_process: Program
) -> None:
    folder = tmp_path / "unseen"
    folder.mkdir()
    (folder / "glow.ndpi").symlink_to(REPOSITORY / "tests/data/stritt_DAPI.ndpi")
    (folder / "text.svs").write_text("no slide")
    (folder / "CMU.svs").symlink_to(REPOSITORY / "tests/data/CMU-1-Small-Region.svs")
    model = quick_demo / "arms/sd+macenko/seed-0/model"
    done = in_process("process", folder, "--model", model, "--out", tmp_path / "calls")
    assert done.returncode == 1
    states = {r["slide_id"]: r["state"] for r in rows(tmp_path / "calls" / "calls.csv")}
    assert states == {"CMU": "done", "glow": "skipped", "text": "failed"}
    assert "failed text" in done.stderr
    assert "fluorescence" in done.stderr
