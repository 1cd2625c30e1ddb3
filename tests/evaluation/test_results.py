"""The content of `results.json`, against scikit-learn on the numbers behind it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compared import BuildWorld, Results, World, members
from numpy.typing import NDArray
from sklearn.metrics import (
    balanced_accuracy_score,
    brier_score_loss,
    recall_score,
    roc_auc_score,
)

from wsi_specdec.cohort import Slide
from wsi_specdec.config import EvaluateConfig
from wsi_specdec.errors import NotEnoughDataError, StoreError
from wsi_specdec.evaluation import evaluate, write_results
from wsi_specdec.evaluation.runs import read_runs
from wsi_specdec.evaluation.units import patient_samples
from wsi_specdec.store import TileStoreWriter, open_store, read_scores, write_scores
from wsi_specdec.store.calls import read_calls, write_calls


@dataclass(frozen=True)
class StoredTruth:
    """Truth of tiles that lie in a folder."""

    coords: NDArray[np.int64]
    label: NDArray[np.int16]
    path: Path


ARMS = ("wd", "sd", "wd+macenko", "sd+macenko")


def test_cohorts_are_counted_and_marked(results: Results) -> None:
    assert results["schema_version"] == 1
    assert results["cohorts"] == {
        "validation": counts(8, 8, 4, chosen=True),
        "internal": counts(16, 8, 8),
        "external": counts(20, 20, 10),
    }
    assert list(results["arms"]) == list(ARMS)
    for arm in results["arms"].values():
        assert arm["seeds"] == [0, 1]
        assert list(arm["cohorts"]) == ["validation", "internal", "external"]


def counts(slides: int, patients: int, positives: int, *, chosen: bool = False) -> dict[str, Any]:
    return {
        "slides": slides,
        "patients": patients,
        "positives": positives,
        "threshold_chosen_here": chosen,
    }


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("cohort", ["validation", "internal", "external"])
def test_slide_metrics_are_those_of_scikit_learn(
    two_sites: World, results: Results, arm: str, cohort: str
) -> None:
    found = results["arms"][arm]["cohorts"][cohort]["slide"]
    for row, seed in enumerate((0, 1)):
        scores = two_sites.slide_scores[arm, seed]
        kept = [slide for slide in members(two_sites, cohort) if slide.slide_id in scores]
        labels = [slide.label for slide in kept]
        values = np.array([scores[slide.slide_id] for slide in kept])
        calls = (values >= 0.5).astype(int)
        expected = {
            "auroc": roc_auc_score(labels, values),
            "balanced_accuracy": balanced_accuracy_score(labels, calls),
            "sensitivity": recall_score(labels, calls),
        }
        for name, value in expected.items():
            assert found[name]["per_seed"][row] == pytest.approx(value)
    for each in found.values():
        assert each["value"] == pytest.approx(np.mean(each["per_seed"]))
    assert "brier" not in found
    assert found["auroc"]["n"] == len(kept)
    assert found["sensitivity"]["n"] == labels.count(1)


def test_slides_without_a_call_are_in_no_metric_and_missing_from_n(results: Results) -> None:
    assert results["cohorts"]["external"]["slides"] == 20
    external = results["arms"]["sd"]["cohorts"]["external"]
    assert external["slide"]["accuracy"]["n"] == 19
    assert external["patient"]["accuracy"]["n"] == 19
    assert external["patch"]["accuracy"]["n"] == 19 * 10


def test_patch_metrics_join_scores_to_truth_by_coordinates(
    two_sites: World, results: Results
) -> None:
    found = results["arms"]["sd"]["cohorts"]["internal"]["patch"]
    for row, seed in enumerate((0, 1)):
        scores = two_sites.tile_scores["sd", seed]
        labels, values = [], []
        for slide in members(two_sites, "internal"):
            known = two_sites.stores[slide.slide_id].label >= 0
            labels.append(two_sites.stores[slide.slide_id].label[known])
            values.append(scores[slide.slide_id][known])
        truth, probabilities = np.concatenate(labels), np.concatenate(values).astype(float)
        assert found["auroc"]["per_seed"][row] == pytest.approx(roc_auc_score(truth, probabilities))
        expected = brier_score_loss(truth, probabilities)
        assert found["brier"]["per_seed"][row] == pytest.approx(expected)
        expected = recall_score(truth, probabilities >= 0.5)
        assert found["sensitivity"]["per_seed"][row] == pytest.approx(expected)
    # Two of each slide's twelve tiles have no known label.
    assert found["auroc"]["n"] == 16 * 10


def test_patients_have_their_highest_score_and_any_positive_call(
    two_sites: World, results: Results
) -> None:
    internal = members(two_sites, "internal")
    samples = patient_samples(internal, read_runs(two_sites.runs, internal))
    labels = np.arange(8) % 2
    for arm in ARMS:
        found = results["arms"][arm]["cohorts"]["internal"]["patient"]
        assert found["auroc"]["n"] == 8
        for row, seed in enumerate((0, 1)):
            of_slide = two_sites.slide_scores[arm, seed]
            scores = np.array([of_slide[f"internal-{number}"] for number in range(16)])
            highest = scores.reshape(8, 2).max(axis=1)
            np.testing.assert_array_equal(samples[arm].scores[row], highest)
            np.testing.assert_array_equal(samples[arm].calls[row], highest >= 0.5)
            assert found["auroc"]["per_seed"][row] == pytest.approx(roc_auc_score(labels, highest))
            expected = balanced_accuracy_score(labels, highest >= 0.5)
            assert found["balanced_accuracy"]["per_seed"][row] == pytest.approx(expected)


def test_a_positive_slide_without_tissue_still_makes_its_patient_positive(
    build_world: BuildWorld,
) -> None:
    slides = [
        Slide(name, Path(f"{name}.tif"), patient, label, "internal")
        for name, patient, label in (
            ("a", "p", 1),
            ("b", "p", 0),
            ("c", "q", 0),
            ("d", "r", 1),
            ("e", "s", 1),
        )
    ]
    world = build_world(slides, {"sd": 1.0}, empty=["a", "e"])
    found = world.results()["arms"]["sd"]["cohorts"]["internal"]
    # p (by its lost slide) and r; s has no call at all.
    assert found["patient"]["sensitivity"]["n"] == 2
    assert found["slide"]["sensitivity"]["n"] == 1


def test_unlabelled_slides_count_only_by_their_tiles(build_world: BuildWorld) -> None:
    slides = [Slide(f"s{row}", Path("x.tif"), f"p{row}", row % 2, "internal") for row in range(6)]
    world = build_world(slides, {"sd": 1.0})
    world.slides[0] = replace(slides[0], label=None)
    results = world.results()
    assert results["cohorts"]["internal"] == counts(5, 5, 3)
    found = results["arms"]["sd"]["cohorts"]["internal"]
    assert found["slide"]["accuracy"]["n"] == 5
    assert found["patch"]["accuracy"]["n"] == 60


def six_slides() -> list[Slide]:
    return [Slide(f"s{row}", Path("x.tif"), f"p{row}", row % 2, "internal") for row in range(6)]


def test_settings_cost_and_provenance_are_carried(build_world: BuildWorld) -> None:
    world = build_world(six_slides(), {"wd": 1.0, "sd": 1.0})
    results = evaluate(
        world.runs,
        world.slides,
        world.stores,
        EvaluateConfig(bootstrap=100),
        {"git_revision": "abc"},
        {"sd": {"sd_coef": 0.01}},
        {"sd": {"train_s": 12.5}},
    )
    assert results["provenance"] == {"git_revision": "abc"}
    assert results["arms"]["sd"]["settings"] == {"sd_coef": 0.01}
    cost = results["arms"]["sd"]["cost"]
    assert cost.pop("scores_gb_per_slide") > 0
    assert cost == {"train_s": 12.5}
    assert set(results["arms"]["wd"]["cost"]) == {"scores_gb_per_slide"}


def test_cost_is_told_for_each_slide(build_world: BuildWorld, tmp_path: Path) -> None:
    world = build_world(six_slides(), {"wd": 1.0, "sd": 1.0})
    sizes = []
    for number, (name, truth) in enumerate(world.stores.items(), start=1):
        folder = tmp_path / "stores" / name
        (folder / "tiles").mkdir(parents=True)
        (folder / "tiles" / "shard").write_bytes(bytes(10_000 * number))
        sizes.append(10_000 * number)
        world.stores[name] = StoredTruth(truth.coords, truth.label, folder)
    given = {"sd": {"train_seconds": 60.0, "score_seconds": 12.0, "stain_seconds": 3.0}}
    config = EvaluateConfig(bootstrap=100)
    results = evaluate(world.runs, world.slides, world.stores, config, {}, {}, given)
    cost = results["arms"]["sd"]["cost"]
    assert cost["train_seconds"] == 60.0
    assert cost["seconds_per_slide"] == pytest.approx(12 / 6 + 3 / 6)
    assert cost["tiles_gb_per_slide"] == pytest.approx(np.mean(sizes) / 1e9, abs=1e-6)
    files = list(world.runs["sd"][0].scores.iterdir())
    expected = sum(file.stat().st_size for file in files) / 6 / 1e9
    assert cost["scores_gb_per_slide"] == pytest.approx(expected, abs=1e-6)
    assert "seconds_per_slide" not in results["arms"]["wd"]["cost"]


def test_order_of_slides_and_runs_changes_nothing(two_sites: World, results: Results) -> None:
    two_sites.slides.reverse()
    for runs in two_sites.runs.values():
        runs.reverse()
    assert two_sites.results() == results


def test_another_seed_draws_other_resamples(build_world: BuildWorld) -> None:
    world = build_world(six_slides(), {"sd": 0.3})
    first, second = (world.results(EvaluateConfig(bootstrap=100, seed=seed)) for seed in (0, 1))
    assert world.results(EvaluateConfig(bootstrap=100, seed=0)) == first
    assert first != second


def test_intervals_are_over_patients_and_not_slides(build_world: BuildWorld) -> None:
    """The second slide of each patient repeats the first: intervals stay as with one slide."""
    slides = [
        Slide(f"s{row:02}", Path("x.tif"), f"p{row:02}", row % 2, "internal") for row in range(24)
    ]
    single = build_world(slides, {"sd": 0.8})
    plain = single.results()["arms"]["sd"]["cohorts"]["internal"]["slide"]
    (run,) = single.runs["sd"]
    text = run.calls.read_text().splitlines()
    copies = [line.replace("s", "s1-", 1) for line in text[1:]]
    run.calls.write_text("\n".join([*text, *copies]) + "\n")
    for slide in slides:
        copy = replace(slide, slide_id=slide.slide_id.replace("s", "s1-"))
        single.slides.append(copy)
    doubled = single.results()["arms"]["sd"]["cohorts"]["internal"]["slide"]
    for name, each in plain.items():
        # By Student's t where patients have several slides: a little wider, far from narrower.
        assert doubled[name]["ci_low"] == pytest.approx(each["ci_low"], abs=0.06)
        assert doubled[name]["ci_low"] < each["ci_low"] + 1e-9
        assert doubled[name]["n"] == 2 * each["n"]


def nulls(value: object) -> Iterator[dict[str, Any]]:
    """Yield every object of the results that has a null and a place for a reason."""
    if isinstance(value, dict):
        if "reason" in value and any(value[k] is None for k in value if k != "reason"):
            yield value
        for child in value.values():
            yield from nulls(child)
    elif isinstance(value, list):
        for child in value:
            yield from nulls(child)


def test_every_null_has_a_reason(build_world: BuildWorld) -> None:
    slides = [
        Slide(f"{split}{row}", Path("x.tif"), f"{split}{row}", label, split, site=site)
        for split, label in (("internal", 1), ("external", None), ("validation", 0))
        for row, site in enumerate("aabb")
    ]
    world = build_world(slides, {"wd": 0.5, "sd": 1.0}, empty=["validation0"])
    found = list(nulls(world.results()))
    assert len(found) > 20
    assert all(each["reason"] for each in found)


def test_slides_with_probabilities_are_judged_by_their_calibration(
    build_world: BuildWorld,
) -> None:
    world = build_world(six_slides(), {"wd": 0.5, "sd": 1.0})
    probabilities = np.array([0.1, 0.7, 0.3, 0.8, 0.2, 0.4])
    path = world.runs["sd"][0].calls
    calls = read_calls(path)
    rows = [replace(c, probability=float(p)) for c, p in zip(calls, probabilities, strict=True)]
    write_calls(path, rows)
    arms = world.results()["arms"]
    found = arms["sd"]["cohorts"]["internal"]["slide"]
    labels = [slide.label for slide in world.slides]
    assert found["brier"]["value"] == pytest.approx(brier_score_loss(labels, probabilities))
    assert found["auroc"]["value"] == pytest.approx(
        roc_auc_score(labels, list(world.slide_scores["sd", 0].values()))
    )
    assert "brier" not in arms["wd"]["cohorts"]["internal"]["slide"]
    write_calls(path, [replace(rows[0], probability=None), *rows[1:]])
    assert "ece" not in world.results()["arms"]["sd"]["cohorts"]["internal"]["slide"]


def test_no_tile_labels_leave_patches_undefined(two_sites: World) -> None:
    two_sites.stores.clear()
    patch = two_sites.results()["arms"]["sd"]["cohorts"]["internal"]["patch"]
    assert patch["auroc"]["value"] is None
    assert patch["auroc"]["reason"] == "there are no units"
    assert patch["auroc"]["n"] == 0


def test_tiles_of_normal_slides_need_no_annotation(build_world: BuildWorld) -> None:
    """Where others have tile labels: then all their tiles are normal, as in training."""
    slides = [Slide(f"s{n}", Path("x.tif"), f"p{n}", n % 2, "internal") for n in range(6)]
    world = build_world(slides, {"sd": 1.0})
    labelled = {slide.slide_id: slide.label for slide in slides}
    counts = {name: int((truth.label >= 0).sum()) for name, truth in world.stores.items()}
    for name, truth in world.stores.items():
        if labelled[name] == 0:
            counts[name] = len(truth.label)
            truth.label[:] = -1
    patch = world.results()["arms"]["sd"]["cohorts"]["internal"]["patch"]["auroc"]
    assert patch["n"] == sum(counts.values())
    # An annotation that says of no tile what it is leaves them all unknown.
    world.slides[:] = [replace(s, annotation_path=Path("a.xml")) for s in world.slides]
    patch = world.results()["arms"]["sd"]["cohorts"]["internal"]["patch"]["auroc"]
    assert patch["n"] == sum(counts[name] for name, label in labelled.items() if label == 1)


def test_scores_of_other_tiles_are_refused(build_world: BuildWorld) -> None:
    slides = [Slide("s0", Path("x.tif"), "p0", 0, "internal")]
    world = build_world(slides, {"sd": 1.0})
    path = world.runs["sd"][0].scores / "s0.parquet"
    frame = read_scores(path)
    coords = frame[["x", "y"]].to_numpy(np.int64)
    probs = frame[["prob_tumour"]].to_numpy(np.float32)
    for wrong in (coords + 8, coords[:-1]):
        count = len(wrong)
        write_scores(path, wrong, probs[:count], probs[:count], ["tumour"], {})
        with pytest.raises(StoreError, match=r"s0\.parquet are of .* tiles") as caught:
            world.results()
        assert ("without `min_tissue` and `quality`" in str(caught.value)) == (count < len(coords))


def test_a_manifest_without_cohorts_says_what_to_do(build_world: BuildWorld) -> None:
    slides = [Slide("a", Path("a.tif"), "a", 1, "train"), Slide("b", Path("b.tif"), "b", 0)]
    with pytest.raises(NotEnoughDataError, match="set its column 'split'"):
        build_world(slides, {"sd": 1.0}).results()


def test_results_are_written_as_json(results: Results, tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", results)
    assert json.loads((tmp_path / "results.json").read_text()) == results


def test_labels_come_from_real_stores(build_world: BuildWorld, tmp_path: Path) -> None:
    slides = [Slide(f"s{row}", Path("x.tif"), f"p{row}", row % 2, "internal") for row in range(4)]
    world = build_world(slides, {"sd": 1.0})
    expected = world.results()
    for name, truth in list(world.stores.items()):
        path = tmp_path / "tiles" / f"{name}.zarr"
        attributes = {"slide_id": name, "tile_size_level0_px": 8}
        with TileStoreWriter(
            path,
            n_tiles=len(truth.coords),
            tile_size=8,
            codec="lossless",
            attributes=attributes,
        ) as writer:
            writer.append(np.zeros((len(truth.coords), 8, 8, 3), np.uint8))
            writer.finish(
                coords=truth.coords,
                tissue_fraction=np.ones(len(truth.coords), np.float32),
                label=truth.label,
                quality={},
            )
        world.stores[name] = open_store(path)
    found = world.results()
    assert found["arms"]["sd"]["cost"].pop("tiles_gb_per_slide") > 0
    assert found == expected
