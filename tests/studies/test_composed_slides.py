"""The page of composed slides: the worst centre, and every cohort and arm in its tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsi_specdec.config import DemoConfig, PipelineConfig, load_config
from wsi_specdec.files import pipeline_file
from wsi_specdec.report.tables import Metric
from wsi_specdec.studies.composed_slides import worst_cohort, write_slides_page

CENTRES = ("external-centre-0", "external-centre-1", "external-centre-2")
AUROC: dict[str, dict[str, float | None]] = {
    "wd": {"internal": 0.5, "external": 0.4, **dict(zip(CENTRES, (0.8, 0.7, 0.9), strict=True))},
    "sd": {"internal": 0.9, "external": 0.8, **dict(zip(CENTRES, (0.6, None, 0.7), strict=True))},
}
BRIER = Metric("patch", "brier", "Brier score")
PATCH = Metric("patch", "auroc", "Patch AUROC")


def measure(value: float | None) -> dict[str, Any]:
    ends = (None, None) if value is None else (value - 0.1, value + 0.05)
    return {"value": value, "ci_low": ends[0], "ci_high": ends[1], "reason": None}


def results() -> Mapping[str, Any]:
    names = ("validation", "internal", "external", *CENTRES)
    sizes = {"slides": 20, "patients": 20, "positives": 10, "threshold_chosen_here": False}
    arms = {
        arm: {
            "settings": {"sd_coef": [0.01, 0.1], "weight_decay": 0.0},
            "seeds": [0, 1],
            "cost": {"train_seconds": 12.0},
            "cohorts": {
                name: {
                    "patch": {"auroc": measure(values.get(name)), "brier": measure(0.2)},
                    "slide": {"auroc": measure(0.75), "balanced_accuracy": measure(0.65)},
                }
                for name in names
            },
        }
        for arm, values in AUROC.items()
    }
    row = {"arm": "sd", "baseline": "wd", "unit": "patch", "metric": "auroc", "p": 0.02}
    row |= {"delta": -0.2, "ci_low": -0.3, "ci_high": -0.1, "p_adjusted": 0.04, "test": "t"}
    rows = [row | {"cohort": CENTRES[0]}, row | {"cohort": "internal", "metric": "accuracy"}]
    rows += [
        row | {"cohort": "external", "unit": unit, "delta": 0.1} for unit in ("patch", "slide")
    ]
    found = {"cohorts": dict.fromkeys(names, sizes), "arms": arms, "differences": rows}
    return found | {"provenance": {"command": ["x", "study"], "git_revision": "abc"}}


def test_the_worst_cohort_is_the_lowest_of_those_asked_that_have_a_value() -> None:
    assert worst_cohort(results(), "wd", PATCH, CENTRES) == CENTRES[1]
    assert worst_cohort(results(), "sd", PATCH, CENTRES) == CENTRES[0]
    assert worst_cohort(results(), "sd", PATCH, CENTRES[1:2]) is None
    assert worst_cohort(results(), "wd", PATCH, ("internal", *CENTRES)) == "internal"


def test_where_less_is_better_the_worst_is_the_highest() -> None:
    made = results()
    made["arms"]["wd"]["cohorts"][CENTRES[2]]["patch"]["brier"] = measure(0.3)
    assert worst_cohort(made, "wd", BRIER, CENTRES) == CENTRES[2]


def test_the_page_shows_cohorts_the_worst_centre_differences_and_chosen_values(
    tmp_path: Path,
) -> None:
    config = DemoConfig(pipeline=PipelineConfig(seeds=(3, 4)))
    page = write_slides_page(tmp_path, results(), config).read_text(encoding="utf-8")
    assert page.startswith(f"# {config.pipeline.report.title}\n")
    assert "Revision abc" in page
    assert "seeds 3, 4" in page
    assert (tmp_path / "page.html").stat().st_size > 10_000
    for name in ("arms", "differences", "centres"):
        assert f"(figures/{name}.png)" in page
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 5_000
    assert "| wd | 0.500 (0.40–0.55) | 0.400 (0.30–0.45) | 0.800 (0.70–0.85) |" in page
    assert "| wd | centre 1: 0.700 (0.60–0.75) | centre 0: 0.750 (0.65–0.80) |" in page
    assert "| sd | centre 0: 0.600 (0.50–0.65) |" in page
    minus = "\N{MINUS SIGN}"
    cell = f"{minus}0.200 ({minus}0.300 to {minus}0.100; 0.040)"
    assert f"| sd {minus} wd | – | +0.100 (" in page
    assert f"| {cell} | – | – |" in page
    assert "Accuracy" not in page
    assert "| sd | 0.01, 0.1 | 0 |" in page
    assert "Validation" not in page


def test_one_arm_alone_has_a_page_without_differences(tmp_path: Path) -> None:
    alone = dict(results()) | {"differences": []}
    page = write_slides_page(tmp_path, alone, DemoConfig()).read_text(encoding="utf-8")
    assert "ifferences" not in page


def test_the_shipped_study_has_each_stain_method_with_both_penalties_and_equal_grids() -> None:
    config = load_config(pipeline_file("composed_slides"))
    assert isinstance(config, DemoConfig)
    arms = {arm.name: arm for arm in config.pipeline.arms}
    methods = ("", "+macenko", "+reinhard", "+vahadane", "+augmented")
    assert set(arms) == {f"{penalty}{method}" for penalty in ("wd", "sd") for method in methods}
    train = config.pipeline.train
    for method in methods:
        wd, sd = (arms[f"{p}{method}"].apply(train, 0) for p in ("wd", "sd"))
        assert (wd.searched, wd.sd_coef) == ("weight_decay", 0.0)
        assert (sd.searched, sd.weight_decay) == ("sd_coef", 0.0)
        assert wd.stain == sd.stain
        assert wd.augment == sd.augment
        assert (wd.augment.stain.probability > 0) == (method == "+augmented")
    assert len(config.pipeline.seeds) == 5
    assert ("sd", "wd+macenko") in config.pipeline.evaluate.pairs
