"""Results of images that are called one by one, against scikit-learn on the numbers behind them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from numpy.typing import NDArray
from sklearn.metrics import (
    balanced_accuracy_score,
    cohen_kappa_score,
    recall_score,
    roc_auc_score,
)

from wsi_specdec.config import EvaluateConfig
from wsi_specdec.errors import ConfigError, ManifestError, StoreError
from wsi_specdec.evaluation import PatchRun, PatchTruth, evaluate_patches, results_schema
from wsi_specdec.metrics import Sample, compare, delong, holm, plan_for, resample
from wsi_specdec.store import write_scores

Results = dict[str, Any]
CONFIG = EvaluateConfig(bootstrap=200)
THRESHOLDS = {0: 0.3, 1: 0.62}
ARMS = {"wd": 0.4, "sd": 1.0}


@dataclass
class World:
    """What `evaluate_patches` is given, and the numbers behind it."""

    truths: dict[str, PatchTruth]
    runs: dict[str, list[PatchRun]]
    scores: dict[tuple[str, int, str], NDArray[np.float64]] = field(default_factory=dict)

    def results(self, config: EvaluateConfig = CONFIG) -> Results:
        return evaluate_patches(self.runs, self.truths, config, {}, {}, {})


def truth(
    labels: Sequence[int], each: int = 1, of: str = "p", **groups: tuple[str, ...]
) -> PatchTruth:
    """Return the truth of images of which a patient has `each`; their names begin with `of`."""
    names = tuple(f"i{row}" for row in range(len(labels)))
    none = ("",) * len(labels)
    found = {"site": none, "scanner": none, "view": none} | groups
    patient = tuple(f"{of}{row // each:03}" for row in range(len(labels)))
    return PatchTruth(names, np.array(labels, np.int64), patient, **found)


def build(
    folder: Path, truths: Mapping[str, PatchTruth], arms: Mapping[str, float] = ARMS
) -> World:
    """Write scores of arms, given the quality of each, of two seeds."""
    world = World(dict(truths), {})
    for arm, quality in arms.items():
        for seed, threshold in THRESHOLDS.items():
            paths = {}
            for cohort, known in truths.items():
                rng = np.random.default_rng([seed, *f"{arm} {cohort}".encode()])
                logits = 2 * quality * (known.label == 1) - 1 + rng.normal(size=len(known.label))
                probs = (1 / (1 + np.exp(-logits))).astype(np.float32)
                paths[cohort] = folder / arm / str(seed) / f"{cohort}.parquet"
                write(paths[cohort], probs)
                world.scores[arm, seed, cohort] = probs.astype(np.float64)
            world.runs.setdefault(arm, []).append(PatchRun(seed, paths, threshold))
    return world


def write(path: Path, probs: NDArray[np.float32], order: Sequence[int] | None = None) -> None:
    """Write scores, rows in the given order of the images."""
    rows = np.arange(len(probs)) if order is None else np.array(order)
    coords = np.stack([rows, np.zeros_like(rows)], axis=1)
    write_scores(path, coords, probs[rows, None], probs[rows, None], ["tumour"], {})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two images of a patient; an external cohort of two views, and one of positives alone."""
    half = [0, 0, 1, 1] * 10
    views = tuple("AP" if row % 3 else "PA" for row in range(40))
    sites = tuple("ab"[row % 4 // 2] if row < 36 else "" for row in range(40))
    truths = {
        "validation": truth(half),
        "internal": truth([*half[:-2], -1, -1], each=2),
        "external": truth(half, of="e", view=views, site=sites, scanner=("x",) * 40),
        "external-sick": truth([1] * 24, of="s"),
    }
    return build(tmp_path_factory.mktemp("patches"), truths)


@pytest.fixture(scope="module")
def results(shared: World) -> Results:
    return shared.results()


def test_the_result_is_valid_by_the_schema(results: Results) -> None:
    written = json.loads(json.dumps(results, allow_nan=False))
    Draft202012Validator(results_schema()).validate(written)
    for arm in results["arms"].values():
        for found in arm["cohorts"].values():
            assert (found["slide"], found["patient"]) == ({}, {})


def test_cohorts_are_counted_in_labelled_images(results: Results) -> None:
    names = ("images", "patients", "positives", "threshold_chosen_here")
    expected = {
        "validation": (40, 40, 20, True),
        "internal": (38, 19, 18, False),
        "external": (40, 40, 20, False),
        "external-sick": (24, 24, 24, False),
    }
    assert results["cohorts"] == {
        cohort: dict(zip(names, values, strict=True)) for cohort, values in expected.items()
    }


@pytest.mark.parametrize("arm", list(ARMS))
@pytest.mark.parametrize("cohort", ["validation", "internal", "external"])
def test_metrics_are_those_of_scikit_learn_at_each_runs_threshold(
    shared: World, results: Results, arm: str, cohort: str
) -> None:
    found = results["arms"][arm]["cohorts"][cohort]["patch"]
    labels = shared.truths[cohort].label
    known = labels >= 0
    for row, (seed, threshold) in enumerate(THRESHOLDS.items()):
        scores = shared.scores[arm, seed, cohort][known]
        calls = scores >= threshold
        expected = {
            "auroc": roc_auc_score(labels[known], scores),
            "balanced_accuracy": balanced_accuracy_score(labels[known], calls),
            "sensitivity": recall_score(labels[known], calls),
        }
        for name, value in expected.items():
            assert found[name]["per_seed"][row] == pytest.approx(value)
    assert found["auroc"]["n"] == known.sum()


def test_one_class_alone_has_sensitivity_and_a_reason_for_the_rest(results: Results) -> None:
    found = results["arms"]["sd"]["cohorts"]["external-sick"]["patch"]
    assert found["sensitivity"]["ci_low"] < found["sensitivity"]["value"]
    assert found["sensitivity"]["value"] == found["accuracy"]["value"]
    for name in ("auroc", "balanced_accuracy", "specificity"):
        assert found[name]["value"] is None
        assert found[name]["reason"]


def test_differences_are_paired_over_seeds_and_patients(shared: World, results: Results) -> None:
    labels = shared.truths["internal"].label[:-2]
    patients = np.arange(len(labels)) // 2
    samples = []
    for arm in ("sd", "wd"):
        scores = np.stack([shared.scores[arm, seed, "internal"][:-2] for seed in THRESHOLDS])
        calls = scores >= np.array(list(THRESHOLDS.values()))[:, None]
        samples.append(Sample(labels, patients, scores, calls.astype(np.int64)))
    plan = plan_for(samples[0], CONFIG.bootstrap, CONFIG.seed)
    of = {d["metric"]: d for d in results["differences"] if d["cohort"] == "internal"}
    assert set(of) == {"auroc", "balanced_accuracy", "accuracy"}
    for name in ("balanced_accuracy", "accuracy"):
        both = [resample(sample, [name], plan)[name] for sample in samples]
        expected = compare(both[0], both[1], CONFIG.confidence)
        assert of[name]["delta"] == pytest.approx(expected.delta)
        assert (of[name]["ci_low"], of[name]["p"]) == (expected.ci_low, expected.p)
    by_delong = delong(labels, samples[0].scores, samples[1].scores, 0.95, patients)
    assert of["auroc"]["p"] == pytest.approx(by_delong.p)


def test_what_is_compared_depends_on_the_classes_and_never_on_validation(tmp_path: Path) -> None:
    truths = {"validation": truth([0, 1] * 8), "external-well": truth([0] * 16)}
    found = build(tmp_path, truths, ARMS | {"sd+x": 0.5, "wd+x": 0.1}).results()["differences"]
    assert {d["cohort"] for d in found} == {"external-well"}
    defined = {d["metric"] for d in found if d["delta"] is not None}
    assert defined == {"specificity", "accuracy"}
    family = [d for d in found if d["metric"] == "specificity"]
    pairs = [(d["arm"], d["baseline"]) for d in family]
    assert pairs == [("sd", "wd"), ("sd+x", "wd"), ("sd+x", "wd+x"), ("wd+x", "wd")]
    assert [d["p_adjusted"] for d in family] == holm([d["p"] for d in family])


def test_groups_are_by_site_scanner_and_view(shared: World, results: Results) -> None:
    found = results["arms"]["sd"]["cohorts"]["external"]
    assert set(found["by_view"]) == {"AP", "PA"}
    assert set(found["by_site"]) == {"a", "b"}
    assert found["by_scanner"] == {}
    chosen = np.array(shared.truths["external"].view) == "PA"
    expected = roc_auc_score(
        shared.truths["external"].label[chosen], shared.scores["sd", 0, "external"][chosen]
    )
    assert found["by_view"]["PA"]["auroc"]["per_seed"][0] == pytest.approx(expected)
    worst = found["worst_group"]["accuracy"]
    values = [
        group["accuracy"]["value"] for by in ("by_site", "by_view") for group in found[by].values()
    ]
    assert worst["value"] == min(values)


def test_gaps_are_external_minus_internal(results: Results) -> None:
    gaps = {(g["arm"], g["cohort"], g["metric"]): g["gap"] for g in results["gaps"]}
    cohorts = results["arms"]["sd"]["cohorts"]
    expected = [cohorts[name]["patch"]["auroc"]["value"] for name in ("external", "internal")]
    assert gaps["sd", "external", "auroc"] == pytest.approx(expected[0] - expected[1])
    assert gaps["sd", "external-sick", "auroc"] is None


def test_gaps_to_the_same_patients_are_paired_by_patient(tmp_path: Path) -> None:
    inside = truth([0, 0, 1, 1] * 10, each=2)
    some = replace(inside, patient=("q", *inside.patient[1:]))
    world = build(tmp_path, {"internal": inside, "external-again": inside, "external-some": some})
    found = {(g["cohort"], g["metric"]): g for g in world.results()["gaps"] if g["arm"] == "sd"}
    samples = []
    for cohort in ("external-again", "internal"):
        scores = np.stack([world.scores["sd", seed, cohort] for seed in THRESHOLDS])
        calls = scores >= np.array(list(THRESHOLDS.values()))[:, None]
        samples.append(Sample(inside.label, np.arange(40) // 2, scores, calls.astype(np.int64)))
    plan = plan_for(samples[0], CONFIG.bootstrap, CONFIG.seed)
    both = [resample(sample, ["accuracy"], plan)["accuracy"] for sample in samples]
    expected = compare(both[0], both[1], CONFIG.confidence)
    again = found["external-again", "accuracy"]
    assert (again["gap"], again["ci_low"]) == (expected.delta, expected.ci_low)
    assert again["test"] == "bootstrap over seeds and patients, paired by patient"
    partly = found["external-some", "accuracy"]
    assert partly["gap"] is not None
    assert (partly["ci_low"], partly["reason"]) == (
        None,
        "no interval: some patients are in both cohorts",
    )


def test_rows_are_joined_by_number_and_seeds_put_in_order(tmp_path: Path) -> None:
    world = build(tmp_path, {"internal": truth([0, 1] * 10)})
    expected = world.results()
    path = world.runs["sd"][0].scores["internal"]
    probs = world.scores["sd", 0, "internal"].astype(np.float32)
    write(path, probs, order=np.random.default_rng(0).permutation(20).tolist())
    world.runs["sd"].reverse()
    assert world.results() == expected


def test_scores_of_other_images_are_refused(tmp_path: Path) -> None:
    world = build(tmp_path, {"internal": truth([0, 1] * 10)})
    write(world.runs["sd"][1].scores["internal"], np.full(21, 0.5, np.float32))
    with pytest.raises(StoreError, match="21 images that are not the 20 of 'internal'"):
        world.results()
    write(world.runs["sd"][1].scores["internal"], np.full(20, 0.5, np.float32), order=[3] * 20)
    with pytest.raises(StoreError, match="score them again"):
        world.results()


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    world = build(tmp_path, {"internal": truth([0, 1] * 10)})
    other = World(world.truths, world.runs | {"sd": [replace(world.runs["sd"][0], seed=7)]})
    with pytest.raises(ConfigError, match="same seeds"):
        other.results()
    with pytest.raises(ConfigError, match="baseline 'ls'"):
        world.results(replace_baseline("ls"))
    with pytest.raises(ConfigError, match="no scores of 'external'"):
        World({"external": truth([0, 1])}, world.runs).results()
    with pytest.raises(ConfigError, match="no cohort"):
        World({}, world.runs).results()
    short = replace(world.truths["internal"], view=("AP",))
    with pytest.raises(ManifestError, match="20 labels, but not as many of view"):
        World({"internal": short}, world.runs).results()


def replace_baseline(name: str) -> EvaluateConfig:
    return CONFIG.model_copy(update={"baseline": name})


def test_images_of_grades_have_a_kappa_and_are_positive_by_all_but_the_first(
    tmp_path: Path,
) -> None:
    grades = [0, 1, 2, 1, 0, 2] * 8
    world = build(tmp_path, {"internal": truth(grades)}, {"sd": 1.0})
    rng = np.random.default_rng(0)
    coords = np.stack([np.arange(48), np.zeros(48, np.int64)], axis=1)
    kappas, areas, hits = [], [], []
    for run in world.runs["sd"]:
        probs = rng.dirichlet(np.ones(3), 48) + np.eye(3)[grades] * 0.3
        probs = (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)
        write_scores(run.scores["internal"], coords, probs, probs, ["none", "mild", "severe"], {})
        called = probs.argmax(axis=1)
        kappas.append(cohen_kappa_score(grades, called, weights="quadratic"))
        positive = 1 - probs[:, 0].astype(np.float64)
        areas.append(roc_auc_score(np.array(grades) > 0, positive))
        hits.append(recall_score(np.array(grades) > 0, positive >= run.threshold))
    found = world.results()["arms"]["sd"]["cohorts"]["internal"]["patch"]
    assert found["quadratic_kappa"]["per_seed"] == pytest.approx(kappas)
    assert found["auroc"]["per_seed"] == pytest.approx(areas)
    assert found["sensitivity"]["per_seed"] == pytest.approx(hits)
