"""Metrics by site and scanner, of slides and of tiles, and the group where they are worst."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compared import BuildWorld, Results, World, members
from sklearn.metrics import brier_score_loss, roc_auc_score

from wsi_specdec.cohort import Slide
from wsi_specdec.store.calls import read_calls, write_calls


def eight_slides() -> list[Slide]:
    return [Slide(f"s{row}", Path("x.tif"), f"p{row}", row % 2, "internal") for row in range(8)]


def test_sites_and_scanners_are_apart_where_there_are_several(
    two_sites: World, results: Results
) -> None:
    cohorts = results["arms"]["sd"]["cohorts"]
    for name in ("by_site", "by_scanner", "worst_group"):
        assert cohorts["internal"][name] == {}
    external = cohorts["external"]
    assert set(external["by_site"]) == {"a", "b"}
    assert set(external["by_scanner"]) == {"x", "y"}
    scores = two_sites.slide_scores["sd", 0]
    kept = [s for s in members(two_sites, "external") if s.site == "b" and s.slide_id in scores]
    expected = roc_auc_score(
        [slide.label for slide in kept], [scores[slide.slide_id] for slide in kept]
    )
    found = external["by_site"]["b"]["auroc"]
    assert found["per_seed"][0] == pytest.approx(expected)
    assert found["n"] == len(kept)


def test_tiles_are_apart_by_site_and_scanner_too(two_sites: World, results: Results) -> None:
    cohorts = results["arms"]["sd"]["cohorts"]
    assert cohorts["internal"]["patch_by_site"] == cohorts["internal"]["patch_worst_group"] == {}
    external = cohorts["external"]
    labels, values = [], []
    for slide in members(two_sites, "external"):
        if slide.scanner == "y" and slide.slide_id in two_sites.tile_scores["sd", 0]:
            known = two_sites.stores[slide.slide_id].label >= 0
            labels.append(two_sites.stores[slide.slide_id].label[known])
            values.append(two_sites.tile_scores["sd", 0][slide.slide_id][known])
    found = external["patch_by_scanner"]["y"]
    expected = roc_auc_score(np.concatenate(labels), np.concatenate(values))
    assert found["auroc"]["per_seed"][0] == pytest.approx(expected)
    assert found["auroc"]["n"] == 10 * len(labels)
    assert found["froc"]["n"] == sum(bool((each == 1).any()) for each in labels)
    worst = external["patch_worst_group"]["froc"]
    groups = [*external["patch_by_site"].values(), *external["patch_by_scanner"].values()]
    assert worst["value"] == min(group["froc"]["value"] for group in groups)


def test_worst_group_is_the_lowest_over_sites_and_scanners(results: Results) -> None:
    external = results["arms"]["wd"]["cohorts"]["external"]
    for metric in ("auroc", "balanced_accuracy", "specificity"):
        groups = {
            (column, name): values[metric]
            for column in ("site", "scanner")
            for name, values in external[f"by_{column}"].items()
        }
        worst = external["worst_group"][metric]
        assert worst["value"] == min(group["value"] for group in groups.values())
        chosen = groups[worst["column"], worst["group"]]
        assert {key: worst[key] for key in chosen} == chosen


def test_slides_of_no_named_site_are_in_no_group(build_world: BuildWorld) -> None:
    slides = [
        Slide(f"s{row}", Path("x.tif"), f"p{row}", row % 2, "internal", site=site)
        for row, site in enumerate(["a", "a", "b", "b", None, None])
    ]
    by_site = build_world(slides, {"sd": 1.0}).results()["arms"]["sd"]["cohorts"]["internal"]
    assert {name: each["accuracy"]["n"] for name, each in by_site["by_site"].items()} == {
        "a": 2,
        "b": 2,
    }


def test_one_site_alone_is_no_group(build_world: BuildWorld) -> None:
    slides = [replace(slide, site="a") for slide in eight_slides()]
    found = build_world(slides, {"sd": 1.0}).results()["arms"]["sd"]["cohorts"]["internal"]
    assert (found["by_site"], found["worst_group"]) == ({}, {})


def test_probabilities_are_judged_by_site_too(build_world: BuildWorld) -> None:
    slides = [replace(slide, site="ab"[row // 2 % 2]) for row, slide in enumerate(eight_slides())]
    world = build_world(slides, {"sd": 1.0})
    (run,) = world.runs["sd"]
    calls = read_calls(run.calls)
    probabilities = np.linspace(0.1, 0.8, 8)
    rows = [replace(c, probability=float(p)) for c, p in zip(calls, probabilities, strict=True)]
    write_calls(run.calls, rows)
    found = world.results()["arms"]["sd"]["cohorts"]["internal"]
    inside = [row for row, slide in enumerate(slides) if slide.site == "b"]
    expected = brier_score_loss([slides[row].label for row in inside], probabilities[inside])
    assert found["by_site"]["b"]["brier"]["value"] == pytest.approx(expected)
    worst = found["worst_group"]["brier"]
    # Of an error the highest is the worst.
    assert worst["value"] == max(each["brier"]["value"] for each in found["by_site"].values())
