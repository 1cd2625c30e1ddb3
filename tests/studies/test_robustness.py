"""Robustness: shifted sets, areas and corruption errors, and a whole study of tiny networks."""

from pathlib import Path

import numpy as np
import pytest

from wsi_specdec.config import (
    ArmConfig,
    EvaluateConfig,
    RobustnessConfig,
    SearchConfig,
    StudyData,
    TrainConfig,
)
from wsi_specdec.evaluation import pairs_of
from wsi_specdec.files import read_json
from wsi_specdec.metrics import Sample, plan_for
from wsi_specdec.studies.robustness.measures import (
    CLEAN,
    MCE,
    Cells,
    areas,
    corruption_errors,
    describe_arms,
    measure_cells,
)
from wsi_specdec.studies.robustness.sets import centre_stains, shift_sets
from wsi_specdec.studies.robustness.shifts import shifted
from wsi_specdec.studies.robustness.study import run
from wsi_specdec.studies.sets.prepare import open_set, prepare_set, read_truth
from wsi_specdec.studies.stain_patches.sets import training_stains

N = 40
LABELS = np.arange(N) % 2
CONFIG = RobustnessConfig(
    title="Shifts",
    data=StudyData(
        source="breast", size=24, max_images={"train": 48, "validation": 30, "internal": 24}
    ),
    train=TrainConfig(
        model="test_resnet",
        epochs=1,
        batch_size=16,
        classes=("normal", "IDC"),
        search=SearchConfig(sd_coefs=(0.01, 1.0), weight_decays=(0.01, 1.0)),
        device="cpu",
    ),
    arms=(
        ArmConfig(name="wd", weight_decay=0.01, sd_coef=0.0),
        ArmConfig(name="sd", weight_decay=0.0, sd_coef="auto"),
    ),
    shifts=("noise",),
    centres=(3,),
    seeds=(0, 1),
    evaluate=EvaluateConfig(baseline="wd", bootstrap=100),
)


def _cells(wrong: dict[tuple[str, int], int], seeds: int = 2) -> Cells:
    """Measure an arm that errs on so many of the images of each set, in every training."""
    samples = {}
    for place, count in wrong.items():
        calls = np.where(np.arange(N) < count, 1 - LABELS, LABELS)
        rows = np.tile(calls, (seeds, 1))
        samples[place] = Sample(LABELS, np.arange(N), rows.astype(np.float64), rows)
    plan = plan_for(next(iter(samples.values())), 200, 0)
    return measure_cells(samples, plan)


def _errors(blur: list[int], hue: list[int]) -> dict[tuple[str, int], int]:
    shifts = {"blur": blur, "hue": hue}
    along = {(name, k): count for name, each in shifts.items() for k, count in enumerate(each, 1)}
    return {(CLEAN, 0): 4, **along}


BASE = _cells(_errors([4, 4, 8, 8, 16], [10] * 5))
BETTER = _cells(_errors([2, 2, 4, 4, 8], [10] * 5))


def test_the_area_is_a_mean_height_by_the_trapezoidal_rule() -> None:
    found = areas(BASE, "accuracy")
    heights = 1 - np.array([4, 4, 4, 8, 8, 16]) / N
    assert found["blur"].value == pytest.approx(np.trapezoid(heights, dx=1 / 5))
    heights = 1 - np.array([4, 10, 10, 10, 10, 10]) / N
    assert found["hue"].value == pytest.approx(np.trapezoid(heights, dx=1 / 5))


def test_errors_are_summed_over_strengths_before_they_are_divided() -> None:
    found = corruption_errors(BETTER, BASE)
    assert found["blur"].value == pytest.approx(20 / 40)
    assert found["hue"].value == pytest.approx(1)
    # Paired: the same errors give a ratio of 1 in every resample.
    assert found["hue"].replicates == pytest.approx(np.ones(200))


def test_the_mean_corruption_error_of_the_baseline_is_100() -> None:
    pairs = pairs_of(["wd", "sd"], "wd")
    told = describe_arms({"wd": BASE, "sd": BETTER}, "wd", pairs, 0.95)
    assert told["left_out"] == []
    assert told["arms"]["wd"]["totals"][MCE]["value"] == pytest.approx(100)
    assert told["arms"]["sd"]["totals"][MCE]["value"] == pytest.approx(75)
    (row,) = [each for each in told["differences"] if each["measure"] == MCE]
    assert row["delta"] == pytest.approx(-25)
    assert row["ci_low"] < -25 < row["ci_high"] < 0
    assert row["p_adjusted"] < 0.05


def test_a_shift_without_any_error_of_the_baseline_is_left_out_for_all() -> None:
    base = _cells(_errors([0] * 5, [10] * 5))
    told = describe_arms({"wd": base, "sd": BETTER}, "wd", pairs_of(["wd", "sd"], "wd"), 0.95)
    assert told["left_out"] == ["blur"]
    assert told["arms"]["sd"]["totals"][MCE]["value"] == pytest.approx(100)
    blur = told["arms"]["sd"]["shifts"][0]
    assert blur["shift"] == "blur"
    assert blur["corruption_error"]["value"] is None


def test_images_of_one_class_have_no_auroc_but_an_accuracy() -> None:
    labels = np.ones(6, np.int64)
    calls = np.tile([1, 1, 1, 0, 0, 1], (2, 1))
    sample = Sample(labels, np.arange(6), calls.astype(np.float64), calls)
    cells = measure_cells({(CLEAN, 0): sample, ("hue", 1): sample}, plan_for(sample, 50, 0))
    told = describe_arms({"wd": cells}, "wd", [], 0.95)
    totals = told["arms"]["wd"]["totals"]
    assert totals["auroc_area"]["value"] is None
    assert totals["accuracy_area"]["value"] == pytest.approx(4 / 6)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("robustness")


def test_sets_hold_the_test_images_shifted(out: Path) -> None:
    base = prepare_set(CONFIG.data, out, 1)
    clean, sets = shift_sets(CONFIG, base, out)
    assert [(each.shift, each.strength) for each in sets] == [
        (name, k) for name in ("noise", "centre-3") for k in range(1, 6)
    ]
    assert sets[-1].cohort == "external-centre-3-5"
    truth = read_truth(clean)
    assert set(truth.split) == {"internal"}
    rows = np.arange(len(truth))
    images = open_set(clean).read(rows).astype(int)
    numbers = np.flatnonzero(np.array(read_truth(base).split) == "internal")
    noisy = open_set(sets[2].folder)
    assert np.array_equal(noisy.read(rows), shifted(images.astype(np.uint8), "noise", 3, numbers))
    moved = [np.abs(open_set(s.folder).read(rows).astype(int) - images).mean() for s in sets[5:]]
    assert 0 < moved[0] < moved[2] < moved[4]
    assert all(read_truth(each.folder).image_id == truth.image_id for each in sets)


def test_the_centres_stains_are_other_ones_than_the_training_images(out: Path) -> None:
    own = training_stains(prepare_set(CONFIG.data, out, 1), "leave the centres out")
    profiles = [centre_stains(centre).matrix() for centre in range(5)]
    assert len({each.tobytes() for each in profiles}) == 5
    for each in profiles:
        assert np.linalg.norm(each, axis=1) == pytest.approx(1, abs=1e-3)
        assert np.abs(each - own.matrix()).max() > 0.02


def test_the_study_is_run_and_told(out: Path) -> None:
    page = run(CONFIG, out, 2)
    told = read_json(out / "shifts.json")
    results = read_json(out / "results.json")
    assert set(results["conditions"][""]["cohorts"]) == {"validation", "internal"}
    totals = told["arms"]["sd"]["totals"]
    clean = results["conditions"][""]["arms"]["sd"]["cohorts"]["internal"]["patch"]
    assert totals["auroc_clean"]["value"] == pytest.approx(clean["auroc"]["value"])
    assert totals["accuracy_clean"]["value"] == pytest.approx(clean["accuracy"]["value"])
    # Every value of λ is measured on every set: 1 + 2 values, 2 seeds, 12 cohorts.
    assert len(results["curves"]) == 3 * 2 * 12
    chosen = [p for p in results["curves"] if p["selected"] and p["arm"] == "sd"]
    shifted_ones = [p["auroc"] for p in chosen if p["cohort"].startswith("external-")]
    assert totals["auroc_shifted"]["value"] == pytest.approx(np.mean(shifted_ones))
    text = page.read_text()
    for name in ("totals", "accuracy", "auroc", "values", "shifts"):
        assert f"figures/robustness_{name}.png" in text
        assert (out / "figures" / f"robustness_{name}.png").is_file()
    assert "## Over all shifts" in text
