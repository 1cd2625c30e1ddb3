"""The robustness index of a run's embeddings, and kappa of its grades."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compared import BuildWorld, World
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from wsi_specdec.cohort import Slide
from wsi_specdec.config import EvaluateConfig
from wsi_specdec.metrics import best_k
from wsi_specdec.store import (
    EmbeddingsWriter,
    embeddings_folder,
    embeddings_path,
    read_scores,
    scores_path,
    write_scores,
)

Floats = NDArray[np.float64]
Embed = Callable[[Slide, int], Floats]
CONFIG = EvaluateConfig(bootstrap=100)


def two_sites(count: int = 8) -> list[Slide]:
    """Slides of either label at two sites, each of its own patient; one more on validation."""
    slides = [
        Slide(f"s{r}", Path("x.tif"), f"p{r}", r % 2, "internal", site="ab"[r // 2 % 2])
        for r in range(count)
    ]
    return [*slides, Slide("v", Path("x.tif"), "pv", 1, "validation", site="c")]


def write_embeddings(world: World, embed: Embed) -> None:
    """Write `embed(slide, tile)` of each tile of each store, in the order of the scores."""
    for run in (run for runs in world.runs.values() for run in runs):
        for slide in world.slides:
            table = read_scores(scores_path(run.scores, slide.slide_id))
            tiles = [int(y) // 8 * 4 + int(x) // 8 for x, y in table[["x", "y"]].to_numpy()]
            rows = np.array([embed(slide, tile) for tile in tiles], np.float32)
            path = embeddings_path(embeddings_folder(run.scores), slide.slide_id)
            with EmbeddingsWriter(path, n_tiles=len(rows), n_features=rows.shape[1]) as writer:
                writer.append(rows)
                writer.finish({})


def robustness(world: World, config: EvaluateConfig = CONFIG) -> dict[str, Any]:
    found: dict[str, Any] = world.results(config)["arms"]["sd"]["robustness"]
    return found


def test_embeddings_by_class_give_one_and_by_site_nought(build_world: BuildWorld) -> None:
    world = build_world(two_sites(), {"sd": 1.0})
    rng = np.random.default_rng(0)

    def by_class(slide: Slide, tile: int) -> Floats:
        label = world.stores[slide.slide_id].label[tile]
        return rng.normal([1, float(label == 1), 0], 0.01)

    def by_site(slide: Slide, _: int) -> Floats:
        return rng.normal([1, float(slide.site == "a"), 0], 0.01)

    write_embeddings(world, by_class)
    found = robustness(world)["site"]
    assert found["value"] == 1
    # Two positive slides a site, each with five tiles of label 1.
    (pair,) = found["pairs"]
    assert (pair["groups"], pair["tiles"], pair["reason"]) == (["a", "b"], 40, None)
    write_embeddings(world, by_site)
    assert robustness(world)["site"]["value"] == 0
    few = robustness(world, CONFIG.model_copy(update={"robustness_tiles": 3}))["site"]
    assert few["pairs"][0]["tiles"] == 12


def test_index_is_that_of_all_tiles_where_cells_are_even(build_world: BuildWorld) -> None:
    slides = two_sites()
    # The first two slides of site b are of patients of site a: never their neighbours.
    slides[2:4] = [replace(slides[k], patient_id=f"p{k - 2}") for k in (2, 3)]
    slides = [replace(s, scanner=s.site) for s in slides]
    world = build_world(slides, {"sd": 1.0})
    for truth in world.stores.values():
        truth.label[:] = -1
    rng = np.random.default_rng(1)
    vectors = {s.slide_id: 1 + rng.normal(0, 1, (12, 4)) for s in slides}
    write_embeddings(world, lambda slide, tile: vectors[slide.slide_id][tile])
    kept = [s for s in slides if s.split == "internal"]
    each = [np.repeat([getattr(s, k) for s in kept], 12) for k in ("label", "site", "patient_id")]
    rows = np.concatenate([vectors[s.slide_id] for s in kept]).astype(np.float16)
    expected = best_k(rows, *each, candidates=[1, 3, 5, 9, 15, 25, 51])
    found = robustness(world)
    assert found["site"]["per_seed"] == [pytest.approx(expected.index)]
    assert found["site"]["pairs"][0]["k"] == [expected.k]
    assert found["site"]["pairs"][0]["patients"] == 6
    assert found["scanner"]["value"] == found["site"]["value"]


def test_seeds_and_pairs_are_averaged(build_world: BuildWorld) -> None:
    slides = [replace(s, site="abc"[row // 2 % 3]) for row, s in enumerate(two_sites(12))]
    world = build_world(slides, {"sd": 1.0})
    rng = np.random.default_rng(2)
    write_embeddings(world, lambda *_: 1 + rng.normal(0, 1, 4))
    found = robustness(world)["site"]
    pairs = [pair["per_seed"][0] for pair in found["pairs"]]
    assert [pair["groups"] for pair in found["pairs"]] == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert len(set(pairs)) == 3
    assert found["value"] == pytest.approx(np.mean(pairs))


def test_without_embeddings_or_sites_it_is_null_with_a_reason(build_world: BuildWorld) -> None:
    world = build_world(two_sites(), {"sd": 1.0})
    found = robustness(world)
    assert found["site"]["reason"] == (
        "there are no embeddings of 8 slides: set `embeddings` of the section `score`"
    )
    assert found["scanner"]["reason"] == "no two scanners have tiles of both classes"
    assert found["site"]["value"] is None
    write_embeddings(world, lambda *_: np.zeros(3))
    assert robustness(world)["site"]["reason"] == "an embedding is all 0"


def test_kappa_of_tile_grades_is_that_of_scikit_learn(build_world: BuildWorld) -> None:
    slides = [Slide(f"s{r}", Path("x.tif"), f"p{r}", r % 2, "internal") for r in range(12)]
    world = build_world(slides, {"sd": 1.0})
    (run,) = world.runs["sd"]
    rng = np.random.default_rng(3)
    truth, called, positive = [], [], []
    for slide in slides:
        store = world.stores[slide.slide_id]
        store.label[store.label == 1] = rng.integers(1, 4, 5 if slide.label else 0)
        logits = rng.normal(0, 1, (12, 4)) + 2 * np.eye(4)[np.maximum(store.label, 0)]
        probs = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
        names = ["benign", "g3", "g4", "g5"]
        path = scores_path(run.scores, slide.slide_id)
        write_scores(path, store.coords, probs, probs, names, {})
        known = store.label >= 0
        truth.append(store.label[known])
        called.append(probs[known].argmax(axis=1))
        positive.append(1 - probs[known, 0])
    grades, calls, scores = map(np.concatenate, (truth, called, positive))
    found = world.results(CONFIG)["arms"]["sd"]["cohorts"]["internal"]["patch"]
    kappa = found["quadratic_kappa"]
    assert kappa["value"] == pytest.approx(cohen_kappa_score(grades, calls, weights="quadratic"))
    assert kappa["ci_low"] < kappa["value"] < kappa["ci_high"]
    assert kappa["interval"].startswith("BCa")
    # A tile is positive by all classes but the first, and a lesion is of any grade.
    assert found["auroc"]["value"] == pytest.approx(roc_auc_score(grades > 0, scores))
    assert found["froc"]["n"] == 6


def test_two_classes_have_no_kappa(build_world: BuildWorld) -> None:
    found = build_world(two_sites(), {"sd": 1.0}).results(CONFIG)["arms"]["sd"]["cohorts"]
    kappa = found["internal"]["patch"]["quadratic_kappa"]
    assert (kappa["value"], kappa["reason"]) == (None, "two classes are no grades")
