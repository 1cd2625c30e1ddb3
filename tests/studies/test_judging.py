"""From scores of a grid on disk to points and results, without a training."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from wsi_specdec.config import EvaluateConfig, StudyData, TrainConfig
from wsi_specdec.errors import StoreError
from wsi_specdec.evaluation import results_schema
from wsi_specdec.store import write_scores
from wsi_specdec.studies.grid import Choice, Fitted, Method, validation_set
from wsi_specdec.studies.judging import (
    curve_points,
    evaluate_conditions,
    truths_of,
    youden_threshold,
)
from wsi_specdec.studies.sets.prepare import derive_set, prepare_set, read_truth

DATA = StudyData(
    source="breast", size=16, max_images={"train": 20, "validation": 40, "internal": 40}
)
CONFIG = EvaluateConfig(bootstrap=100)
CHOICES = {("", arm): Choice("sd_coef", 0.1, {0.1: 0.9, 1.0: 0.8}) for arm in ("wd", "sd")}


def same(tiles: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    del rows
    return tiles


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The base set, its internal images, and its training images in their place."""
    out = tmp_path_factory.mktemp("judged")
    base = prepare_set(DATA, out, 1)
    found = {"base": base}
    for split in ("internal", "train"):
        found[split] = derive_set(base, out / split, same, splits=(split,), params={})
    return found


@pytest.fixture
def fitted(sets: Mapping[str, Path], tmp_path: Path) -> list[Fitted]:
    """Two arms, two values and two seeds, with made-up scores; the chosen value is the better."""
    found = []
    for arm, quality in (("wd", 0.5), ("sd", 1.0)):
        method = Method(
            "", arm, TrainConfig(sd_coef="auto"), sets["base"], {"internal": sets["internal"]}
        )
        for value in (0.1, 1.0):
            for seed in (0, 1):
                each = Fitted(method, value, seed, tmp_path / arm / f"{value}" / f"{seed}")
                write(each, quality / value, sets)
                found.append(each)
    return found


def write(fitted: Fitted, quality: float, sets: Mapping[str, Path]) -> None:
    """Write scores of the validation and internal images that go with the label."""
    for cohort, folder in (
        ("validation", validation_set(sets["base"])),
        ("internal", sets["internal"]),
    ):
        label = read_truth(folder).label
        rng = np.random.default_rng([fitted.seed, *f"{fitted.folder.name}{cohort}".encode()])
        logits = quality * (2 * label - 1) + rng.normal(size=len(label)) + 0.5
        probs = (1 / (1 + np.exp(-logits))).astype(np.float32)[:, None]
        coords = np.stack([np.arange(len(label)), np.zeros(len(label), np.int64)], axis=1)
        write_scores(fitted.scores(cohort), coords, probs, probs, ["IDC"], {})


def scores(fitted: Fitted, cohort: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    from wsi_specdec.studies.grid import read_probabilities

    return truths_of(fitted)[cohort].label, read_probabilities(fitted, cohort)


def test_the_threshold_is_youdens_on_validation(fitted: list[Fitted]) -> None:
    for each in fitted:
        label, probs = scores(each, "validation")
        calls = probs >= youden_threshold(each)
        reached = calls[label == 1].mean() - calls[label == 0].mean()
        false, true, _ = roc_curve(label, probs)
        assert reached == pytest.approx((true - false).max())


def test_points_are_of_every_training_at_its_own_threshold(fitted: list[Fitted]) -> None:
    points = curve_points(fitted, CHOICES)
    assert len(points) == len(fitted) * 2
    for point, (each, cohort) in zip(
        points, [(f, c) for f in fitted for c in ("validation", "internal")], strict=True
    ):
        label, probs = scores(each, cohort)
        named = (point.arm, point.value, point.seed, point.cohort)
        assert named == (each.method.arm, each.value, each.seed, cohort)
        assert point.auroc == pytest.approx(roc_auc_score(label, probs))
        right = (probs >= youden_threshold(each)) == (label == 1)
        assert point.accuracy == pytest.approx(right.mean())
        assert point.selected is (each.value == 0.1)


def test_arms_are_evaluated_at_their_chosen_values(fitted: list[Fitted]) -> None:
    found = evaluate_conditions(fitted, CHOICES, CONFIG, {}, {"sd": {"bytes": 3}})
    assert list(found) == [""]
    results = json.loads(json.dumps(found[""], allow_nan=False))
    Draft202012Validator(results_schema()).validate(results)
    points = [p for p in curve_points(fitted, CHOICES) if p.selected and p.cohort == "internal"]
    for arm, told in results["arms"].items():
        measured = told["cohorts"]["internal"]["patch"]
        own = [point for point in points if point.arm == arm]
        assert measured["auroc"]["per_seed"] == pytest.approx([p.auroc for p in own])
        assert measured["accuracy"]["per_seed"] == pytest.approx([p.accuracy for p in own])
        assert told["settings"]["sd_coef"] == 0.1
    assert results["arms"]["sd"]["cost"] == {"bytes": 3}
    assert results["cohorts"]["validation"]["threshold_chosen_here"]
    assert {d["cohort"] for d in results["differences"]} == {"internal"}


def test_arms_on_other_images_are_not_compared(
    fitted: list[Fitted], sets: Mapping[str, Path]
) -> None:
    other = {"internal": sets["train"]}
    moved = [
        replace(each, method=replace(each.method, tests=other)) if each.method.arm == "sd" else each
        for each in fitted
    ]
    with pytest.raises(StoreError, match="wd and sd were scored on different images of 'internal'"):
        evaluate_conditions(moved, CHOICES, CONFIG, {})
