"""Differences between arms."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compared import BuildWorld, Results

from wsi_specdec.cohort import Slide
from wsi_specdec.config import EvaluateConfig
from wsi_specdec.errors import ConfigError, ManifestError
from wsi_specdec.evaluation import pairs_of
from wsi_specdec.keys import CALL_COLUMNS
from wsi_specdec.metrics import delong, holm, mcnemar

PAIRS = [("sd", "wd"), ("wd+macenko", "wd"), ("sd+macenko", "wd"), ("sd+macenko", "wd+macenko")]
COMPARED = {
    ("patch", "auroc"),
    ("slide", "auroc"),
    ("slide", "balanced_accuracy"),
    ("slide", "accuracy"),
}


def internal(count: int) -> list[Slide]:
    return [Slide(f"s{r:02}", Path("x.tif"), f"p{r:02}", r % 2, "internal") for r in range(count)]


def test_every_arm_is_compared_with_the_baseline_and_its_sibling(results: Results) -> None:
    differences = results["differences"]
    expected = {
        (*pair, cohort, *compared)
        for pair in PAIRS
        for cohort in ("internal", "external")
        for compared in COMPARED
    }
    found = [(d["arm"], d["baseline"], d["cohort"], d["unit"], d["metric"]) for d in differences]
    assert len(found) == len(set(found))
    # The threshold was chosen on validation, so nothing is compared there.
    assert set(found) == expected


def test_delta_is_the_difference_of_the_values(results: Results) -> None:
    for each in results["differences"]:
        values = [
            results["arms"][arm]["cohorts"][each["cohort"]][each["unit"]][each["metric"]]["value"]
            for arm in (each["arm"], each["baseline"])
        ]
        assert each["delta"] == pytest.approx(values[0] - values[1])
        if each["ci_low"] is not None:
            assert each["ci_low"] <= each["ci_high"]
        if each["metric"] == "auroc":
            assert each["test"].endswith("seeds as readers")
            assert each["bootstrap"]["test"] == "bootstrap over seeds and patients"
        else:
            assert each["test"] == "bootstrap over seeds and patients"
            assert "bootstrap" not in each


def test_p_values_are_adjusted_within_cohort_unit_and_metric(results: Results) -> None:
    differences = results["differences"]
    for cohort in ("internal", "external"):
        for unit, metric in COMPARED:
            family = [
                d
                for d in differences
                if (d["cohort"], d["unit"], d["metric"]) == (cohort, unit, metric)
            ]
            assert [d["p_adjusted"] for d in family] == holm([d["p"] for d in family])


def test_independent_slides_of_one_seed_are_tested_by_delong_and_mcnemar(
    build_world: BuildWorld,
) -> None:
    world = build_world(internal(40), {"wd": 0.3, "sd": 1.0})
    found = {(d["unit"], d["metric"]): d for d in world.results()["differences"]}
    labels = np.array([slide.label for slide in world.slides])
    arm, base = (np.array(list(world.slide_scores[name, 0].values())) for name in ("sd", "wd"))
    expected = delong(labels, arm, base, 0.95)
    auroc = found["slide", "auroc"]
    assert (auroc["test"], auroc["p"]) == ("DeLong", pytest.approx(expected.p))
    assert (auroc["ci_low"], auroc["ci_high"]) == pytest.approx((expected.ci_low, expected.ci_high))
    accuracy = found["slide", "accuracy"]
    assert accuracy["test"] == "McNemar, exact; interval by bootstrap over patients"
    assert accuracy["p"] == pytest.approx(mcnemar(labels, arm >= 0.5, base >= 0.5))
    assert found["slide", "balanced_accuracy"]["test"] == "bootstrap over patients"
    assert found["patch", "auroc"]["test"] == "DeLong, clustered by patient (Obuchowski)"
    beside = auroc["bootstrap"]
    assert beside["test"] == "bootstrap over patients"
    # Two methods on the same numbers: not equal, but not far apart.
    assert beside["ci_low"] == pytest.approx(auroc["ci_low"], abs=0.05)
    assert beside["ci_high"] == pytest.approx(auroc["ci_high"], abs=0.05)


def test_patients_with_several_slides_are_tested_as_patients(build_world: BuildWorld) -> None:
    slides = [replace(s, patient_id=f"p{row // 4:02}") for row, s in enumerate(internal(32))]
    world = build_world(slides, {"wd": 0.3, "sd": 1.0})
    found = {(d["unit"], d["metric"]): d for d in world.results()["differences"]}
    labels = np.array([slide.label for slide in world.slides])
    arm, base = (np.array(list(world.slide_scores[name, 0].values())) for name in ("sd", "wd"))
    expected = delong(labels, arm, base, 0.95, np.arange(32) // 4)
    auroc = found["slide", "auroc"]
    assert (auroc["test"], auroc["p"]) == (expected.test, pytest.approx(expected.p))
    assert "clustered" in auroc["test"]
    accuracy = found["slide", "accuracy"]
    p = mcnemar(labels, arm >= 0.5, base >= 0.5, np.arange(32) // 4)
    assert accuracy["p"] == pytest.approx(p)
    assert p != mcnemar(labels, arm >= 0.5, base >= 0.5)
    assert accuracy["test"] == (
        "McNemar, exact, clustered by patient; interval by bootstrap over patients"
    )


def test_a_better_arm_is_found_and_an_equal_one_is_not(build_world: BuildWorld) -> None:
    world = build_world(internal(60), {"wd": 0.1, "sd": 1.5})
    world.runs["same"] = world.runs["wd"]
    found = {
        (d["arm"], d["unit"], d["metric"]): d
        for d in world.results()["differences"]
        if d["metric"] == "auroc"
    }
    for unit in ("patch", "slide"):
        better, same = found["sd", unit, "auroc"], found["same", unit, "auroc"]
        assert better["p_adjusted"] < 0.05
        assert better["ci_low"] > 0
        assert (same["delta"], same["p"], same["p_adjusted"]) == (0, 1, 1)
        assert same["ci_low"] is None
        assert same["reason"] == "no interval: the difference is the same for every unit"


def test_one_arm_is_compared_with_nothing(build_world: BuildWorld) -> None:
    assert build_world(internal(8), {"sd": 1.0}).results()["differences"] == []


def test_missing_baseline_names_the_arms(build_world: BuildWorld) -> None:
    world = build_world(internal(8), {"sd": 1.0, "sd+macenko": 1.0})
    with pytest.raises(ConfigError, match=r"baseline 'wd' is not among the arms sd, sd\+macenko"):
        world.results()
    config = EvaluateConfig(bootstrap=100, baseline="sd")
    assert {d["baseline"] for d in world.results(config)["differences"]} == {"sd"}


@pytest.mark.parametrize(
    ("arms", "baseline", "expected"),
    [
        (["wd"], "sd", []),
        (["wd", "sd"], "wd", [("sd", "wd")]),
        (["sd", "wd+m", "wd"], "wd", [("sd", "wd"), ("wd+m", "wd")]),
        (["wd", "wd+m", "sd+m"], "wd", [("wd+m", "wd"), ("sd+m", "wd"), ("sd+m", "wd+m")]),
        (["wd", "wd+m", "sd+n"], "wd", [("wd+m", "wd"), ("sd+n", "wd")]),
        (
            ["wd+m", "sd+m", "sd"],
            "wd+m",
            [("sd+m", "wd+m"), ("sd", "wd+m")],
        ),
    ],
)
def test_pairs(arms: list[str], baseline: str, expected: list[tuple[str, str]]) -> None:
    assert [(pair.arm, pair.baseline) for pair in pairs_of(arms, baseline)] == expected


def test_further_pairs_are_listed_once() -> None:
    arms = ["wd", "sd", "wd+m"]
    pairs = pairs_of(arms, "wd", [("sd", "wd+m"), ("sd", "wd"), ("sd", "wd+m")])
    assert [(p.arm, p.baseline) for p in pairs] == [("sd", "wd"), ("wd+m", "wd"), ("sd", "wd+m")]
    for odd in [("sd", "wd+n"), ("sd", "sd")]:
        with pytest.raises(ConfigError, match="are not two of the arms wd, sd, wd"):
            pairs_of(arms, "wd", [odd])


def test_further_pairs_are_compared_and_adjusted_with_the_others(build_world: BuildWorld) -> None:
    world = build_world(internal(20), {"wd": 0.5, "sd": 2.0, "wd+m": 1.0})
    config = EvaluateConfig(bootstrap=100, pairs=(("sd", "wd+m"),))
    of_slides = [d for d in world.results(config)["differences"] if d["metric"] == "accuracy"]
    pairs = [(d["arm"], d["baseline"]) for d in of_slides]
    assert pairs == [("sd", "wd"), ("wd+m", "wd"), ("sd", "wd+m")]
    assert [d["p_adjusted"] for d in of_slides] == holm([d["p"] for d in of_slides])


def test_arms_must_have_the_same_seeds(build_world: BuildWorld) -> None:
    world = build_world(internal(8), {"wd": 1.0, "sd": 1.0}, seeds=(0, 1))
    world.runs["sd"].pop()
    with pytest.raises(ConfigError, match="the same seeds"):
        world.results()
    world.runs["sd"].append(replace(world.runs["sd"][0]))
    with pytest.raises(ConfigError, match="the same seeds"):
        world.results()
    world.runs["sd"].clear()
    with pytest.raises(ConfigError, match="nothing to evaluate"):
        world.results()


def test_arms_must_have_called_the_same_slides(build_world: BuildWorld) -> None:
    world = build_world(internal(8), {"wd": 1.0, "sd": 1.0})
    path = world.runs["sd"][0].calls
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(ManifestError, match=r"lacks 1 slides of the manifest \(s07\)"):
        world.results()
    empty = dict.fromkeys(CALL_COLUMNS, "") | {"slide_id": "s07", "patient_id": "p07"}
    empty |= {"cohort": "internal", "n_tiles": "0", "state": "failed"}
    path.write_text("".join([*lines[:-1], ",".join(empty.values()), "\n"]))
    with pytest.raises(ManifestError, match=r"identical slides, .* has a call for s07"):
        world.results()


def test_cohorts_other_than_the_one_fitted_on_are_compared(build_world: BuildWorld) -> None:
    slides = [replace(s, split="validation") for s in internal(8)]
    world = build_world(slides, {"wd": 0.5, "sd": 1.0})
    assert world.results()["differences"] == []
    for arm, runs in world.runs.items():
        world.runs[arm] = [replace(run, fitted_on=None) for run in runs]
    results = world.results()
    assert results["cohorts"]["validation"]["threshold_chosen_here"] is False
    assert {d["cohort"] for d in results["differences"]} == {"validation"}
