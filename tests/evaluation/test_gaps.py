"""What is lost between the internal cohort and the external ones: first in the results."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from compared import BuildWorld, Results
from scipy.stats import binomtest

from wsi_specdec.cohort import Slide
from wsi_specdec.evaluation import write_results
from wsi_specdec.metrics import Measure, gap


def slides_of(*splits: str, count: int = 12) -> list[Slide]:
    return [
        Slide(f"{split}{row}", Path("x.tif"), f"{split}{row}", row % 2, split)
        for split in splits
        for row in range(count)
    ]


def test_gaps_stand_first(results: Results, tmp_path: Path) -> None:
    assert list(results)[:2] == ["schema_version", "gaps"]
    write_results(tmp_path / "results.json", results)
    text = (tmp_path / "results.json").read_text()
    assert text.index('"gaps"') < min(text.index(f'"{key}"') for key in ("cohorts", "arms"))


def test_every_arm_unit_and_metric_has_its_gap(results: Results) -> None:
    found = {(g["arm"], g["cohort"], g["unit"], g["metric"]) for g in results["gaps"]}
    assert len(found) == len(results["gaps"])
    assert found == {
        (arm, "external", unit, metric)
        for arm, content in results["arms"].items()
        for unit in ("patch", "slide", "patient")
        for metric in content["cohorts"]["external"][unit]
    }


def test_a_gap_is_external_minus_internal_with_the_interval_of_both(results: Results) -> None:
    seen = 0
    for each in results["gaps"]:
        cohorts = results["arms"][each["arm"]]["cohorts"]
        inside, outside = (
            cohorts[name][each["unit"]][each["metric"]] for name in ("internal", "external")
        )
        assert (each["internal"], each["external"]) == (inside["value"], outside["value"])
        if each["gap"] is None:
            assert each["reason"]
            continue
        assert each["gap"] == pytest.approx(outside["value"] - inside["value"])
        if each["ci_low"] is not None:
            seen += 1
            assert each["ci_low"] <= each["gap"] + 1e-9
            assert each["gap"] <= each["ci_high"] + 1e-9
            below = np.hypot(
                outside["value"] - outside["ci_low"], inside["ci_high"] - inside["value"]
            )
            assert each["ci_low"] == pytest.approx(max(-1, each["gap"] - below))
    assert seen > 50


def test_each_external_cohort_has_gaps_of_its_own(build_world: BuildWorld) -> None:
    slides = slides_of("internal", "external-a", "external-b", "validation")
    gaps = build_world(slides, {"sd": 0.7}).results()["gaps"]
    assert list(dict.fromkeys(g["cohort"] for g in gaps)) == ["external-a", "external-b"]


@pytest.mark.parametrize("splits", [("internal", "validation"), ("external", "validation")])
def test_without_both_cohorts_there_is_no_gap(
    build_world: BuildWorld, splits: tuple[str, str]
) -> None:
    assert build_world(slides_of(*splits), {"sd": 0.7}).results()["gaps"] == []


def test_the_interval_covers_the_gap_between_two_populations() -> None:
    """Sensitivities of 0.9 and 0.75 on 40 and 60 patients, 1,000 times: between 92 and 98 %."""
    rng = np.random.default_rng(0)
    covered = 0
    pairs = np.stack([rng.binomial(40, 0.9, 1000), rng.binomial(60, 0.75, 1000)], axis=1)
    for inside, outside in pairs:
        found = gap(_share(outside, 60), _share(inside, 40))
        assert found.ci_low is not None
        assert found.ci_high is not None
        covered += found.ci_low <= -0.15 <= found.ci_high
    assert 920 <= covered <= 980


@cache
def _share(right: int, of: int) -> Measure:
    method = "exact" if right == of else "wilson"
    found = binomtest(int(right), of).proportion_ci(0.95, method=method)
    return Measure(right / of, found.low, found.high, of, (right / of,))
