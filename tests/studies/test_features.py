"""What probes read, and what is said of logits, on features made to hold known things."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from wsi_specdec.config import EvaluateConfig
from wsi_specdec.errors import NotEnoughDataError
from wsi_specdec.studies.spurious.features import (
    Probed,
    Seen,
    describe_features,
    fitting_half,
    probe,
)

N_PATIENTS, EACH = 40, 4
N = N_PATIENTS * EACH
CONFIG = EvaluateConfig(bootstrap=100)


def images() -> Probed:
    """Of 40 patients with four images each: both classes, with and without the mark."""
    return Probed(
        label=np.tile([0, 0, 1, 1], N_PATIENTS).astype(np.int64),
        mark=np.tile([False, True, False, True], N_PATIENTS),
        patient=np.repeat(np.arange(N_PATIENTS), EACH).astype(np.int64),
    )


def seen(of_class: float, of_mark: float, seed: int) -> Seen:
    """Features of which one holds the class and one the mark, so many deviations apart."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(N, 6)).astype(np.float32)
    features[:, 0] += of_class * images().label
    features[:, 1] += of_mark * images().mark
    # Of another scale, which standardising takes away.
    features[:, 2] *= 1000
    return Seen((4.0 * images().label - 2).astype(np.float32), features)


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    arms = {
        "wd": [seen(0.0, 4.0, seed) for seed in range(4)],
        "sd": [seen(4.0, 4.0, seed) for seed in range(4, 8)],
    }
    return describe_features(arms, images(), CONFIG)


def test_half_of_the_patients_are_fitted_on() -> None:
    patient = images().patient
    half = fitting_half(patient, 0)
    assert half.sum() == N // 2
    assert not set(patient[half]) & set(patient[~half])
    assert np.array_equal(half, fitting_half(patient, 0))
    assert not np.array_equal(half, fitting_half(patient, 1))


def test_a_probe_learns_from_its_half_alone() -> None:
    features, truth = seen(2.0, 0.0, 5).features, images().label == 1
    half = fitting_half(images().patient, 0)
    judged = probe(features, truth, half)
    scaler = StandardScaler().fit(features[half].astype(float))
    trusted = LogisticRegression(C=0.1, max_iter=5000, tol=1e-6)
    trusted.fit(scaler.transform(features[half].astype(float)), truth[half])
    expected = trusted.decision_function(scaler.transform(features[~half].astype(float)))
    assert np.allclose(judged, expected)
    # What the other half is called changes nothing.
    assert np.array_equal(judged, probe(features, np.where(half, truth, ~truth), half))


def test_what_features_hold_is_read_from_them(described: dict[str, Any]) -> None:
    read = {
        (arm, target): described["arms"][arm]["probes"][target]
        for arm in ("wd", "sd")
        for target in ("class", "mark")
    }
    assert read["sd", "class"]["value"] > 0.97
    assert read["sd", "mark"]["value"] > 0.97
    assert read["wd", "mark"]["value"] > 0.97
    assert read["wd", "class"]["ci_low"] < 0.5 < read["wd", "class"]["ci_high"]
    for measured in read.values():
        assert len(measured["per_seed"]) == 4
        assert measured["ci_low"] <= measured["value"] <= measured["ci_high"]
        assert measured["n"] == N // 2


def test_a_probes_auroc_is_that_of_the_other_half(described: dict[str, Any]) -> None:
    half = fitting_half(images().patient, CONFIG.seed)
    truth = images().label == 1
    expected = roc_auc_score(truth[~half], probe(seen(0.0, 4.0, 1).features, truth, half))
    assert described["arms"]["wd"]["probes"]["class"]["per_seed"][1] == pytest.approx(expected)


def test_arms_are_compared_on_the_same_images(described: dict[str, Any]) -> None:
    rows = {row["probe"]: row for row in described["differences"]}
    assert [(row["arm"], row["baseline"]) for row in rows.values()] == [("sd", "wd")] * 2
    probes = {arm: described["arms"][arm]["probes"] for arm in ("wd", "sd")}
    for target, row in rows.items():
        delta = probes["sd"][target]["value"] - probes["wd"][target]["value"]
        assert row["delta"] == pytest.approx(delta)
    assert rows["class"]["ci_low"] > 0.2
    assert rows["class"]["p_adjusted"] < 0.01
    assert rows["mark"]["ci_low"] < 0 < rows["mark"]["ci_high"]


def test_logits_are_told_by_class_and_mark() -> None:
    logits = np.arange(N, dtype=np.float32)
    told = describe_features({"wd": [Seen(logits, seen(1, 1, 0).features)]}, images(), CONFIG)
    arm = told["arms"]["wd"]
    for row in arm["logits"]:
        chosen = (images().label == row["class"]) & (images().mark == row["mark"])
        assert row["n"] == chosen.sum() == N_PATIENTS
        assert row["quantiles"]["0.5"] == np.median(logits[chosen])
        assert row["quantiles"]["0.05"] == pytest.approx(np.quantile(logits[chosen], 0.05))
    assert told["differences"] == []


def test_no_logit_falls_out_of_the_histogram(described: dict[str, Any]) -> None:
    for arm in described["arms"].values():
        histogram = arm["histogram"]
        edges = np.array(histogram["edges"])
        for group in histogram["groups"]:
            # Of all seeds.
            assert sum(group["counts"]) == 4 * N_PATIENTS
            middle = (edges[:-1] + edges[1:]) / 2
            mean = np.average(middle, weights=group["counts"])
            assert mean == pytest.approx(4 * group["class"] - 2, abs=edges[1] - edges[0])


def test_images_all_alike_are_refused() -> None:
    features: NDArray[np.float32] = np.zeros((N, 2), np.float32)
    half = fitting_half(images().patient, 0)
    with pytest.raises(NotEnoughDataError, match="80 images are all of one kind"):
        probe(features, np.zeros(N, np.bool_), half)
