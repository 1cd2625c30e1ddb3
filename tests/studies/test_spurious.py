"""The study of a mark that goes with the class, from its sets to its page, on shipped patches."""

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from numpy.typing import NDArray

from wsi_specdec.config import (
    ArmConfig,
    EvaluateConfig,
    MarkStrengths,
    SearchConfig,
    SpuriousConfig,
    StudyData,
    TrainConfig,
)
from wsi_specdec.config.studies import Mark
from wsi_specdec.errors import NotEnoughDataError
from wsi_specdec.store import read_scores
from wsi_specdec.studies.outcome import study_schema
from wsi_specdec.studies.sets.files import open_set
from wsi_specdec.studies.sets.prepare import prepare_set, read_truth
from wsi_specdec.studies.spurious.sets import (
    INDEPENDENT,
    REVERSED,
    Condition,
    carriers,
    mark_sets,
    marking_of,
)
from wsi_specdec.studies.spurious.study import methods_of, run

IMAGES = StudyData(
    source="breast", size=24, max_images={"train": 64, "validation": 32, "internal": 40}
)
CONFIG = SpuriousConfig(
    title="A mark",
    data=IMAGES,
    probabilities=(0.5, 1.0),
    strengths=MarkStrengths(sharpening=2.0),
    train=TrainConfig(
        model="test_resnet",
        # Those of the images count.
        classes=("one", "other"),
        epochs=1,
        batch_size=16,
        lr=0.003,
        tensorboard=False,
        search=SearchConfig(sd_coefs=(0.01, 1.0), weight_decays=(0.01, 1.0)),
    ),
    arms=(
        ArmConfig(name="wd", weight_decay="auto", sd_coef=0.0),
        ArmConfig(name="sd-gamma", weight_decay=0.0, sd_coef="auto", sd_gamma=(-1.0, 1.0)),
    ),
    seeds=(0, 1),
    evaluate=EvaluateConfig(bootstrap=100),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_set(IMAGES, tmp_path_factory.mktemp("images"), 1)


def pixels(folder: Path, split: str | None = None) -> NDArray[np.uint8]:
    """The images of a set, or of one split of it."""
    truth = read_truth(folder)
    rows = np.flatnonzero([split in (None, name) for name in truth.split])
    return open_set(folder).read(rows)


def shares(base: Path, marked: Path, split: str) -> tuple[int, int]:
    """How many negative and positive images of a split differ from those of the base set."""
    differ = (pixels(marked, split) != pixels(base, split)).any(axis=(1, 2, 3))
    truth = read_truth(marked)
    label = truth.label[[name == split for name in truth.split]]
    return int(differ[label == 0].sum()), int(differ[label == 1].sum())


def counts(base: Path, split: str) -> tuple[int, int]:
    truth = read_truth(base)
    own = np.array([name == split for name in truth.split])
    return int((own & (truth.label == 0)).sum()), int((own & (truth.label == 1)).sum())


def made(base: Path, out: Path, **changes: object) -> list[Condition]:
    return mark_sets(CONFIG.model_copy(update=changes), base, out)


def test_marks_go_with_the_class_in_exact_shares(base: Path, tmp_path: Path) -> None:
    (condition,) = made(base, tmp_path, probabilities=(0.9,))
    assert condition.name == "sharpening/p-0.9"
    for split, share, folder in (
        ("train", 0.9, condition.training),
        ("validation", 0.9, condition.training),
        ("internal", 0.9, condition.tests["internal"]),
        ("internal", 0.5, condition.tests[INDEPENDENT]),
        ("internal", 0.1, condition.tests[REVERSED]),
    ):
        negative, positive = counts(base, split)
        expected = round((1 - share) * negative), round(share * positive)
        assert shares(base, folder, split) == expected
    assert set(read_truth(condition.training).split) == {"train", "validation"}
    tested = read_truth(condition.tests[REVERSED])
    assert set(tested.split) == {"internal"}
    assert not set(tested.patient) & set(read_truth(condition.training).patient)


def test_sets_that_are_alike_are_one(base: Path, tmp_path: Path) -> None:
    half, whole = made(base, tmp_path, probabilities=(0.5, 1.0))
    assert len(set(half.tests.values())) == 1
    assert half.tests[INDEPENDENT] == whole.tests[INDEPENDENT]
    assert len(set(whole.tests.values())) == 3
    assert half.training != whole.training
    assert np.array_equal(
        carriers(read_truth(base), 0.5, 0)[[s == "internal" for s in read_truth(base).split]],
        carriers(read_truth(half.tests[INDEPENDENT]), 0.5, 0),
    )


@pytest.mark.parametrize("mark", get_args(Mark))
def test_each_mark_changes_its_carriers_and_no_others(
    mark: Mark, base: Path, tmp_path: Path
) -> None:
    (condition,) = made(base, tmp_path, marks=(mark,), probabilities=(1.0,))
    negative, positive = counts(base, "internal")
    assert shares(base, condition.tests["internal"], "internal") == (0, positive)
    assert shares(base, condition.tests[REVERSED], "internal") == (negative, 0)
    truth = read_truth(base)
    own = np.flatnonzero([name == "internal" for name in truth.split])
    chosen = truth.label[own] == 1
    expected = marking_of(mark, CONFIG.strengths, base)(pixels(base, "internal")[chosen])
    assert np.array_equal(pixels(condition.tests["internal"])[chosen], expected)


def test_images_from_elsewhere_are_tested_unmarked(base: Path, tmp_path: Path) -> None:
    # A set is a run directory like that of `pack`: the source here, with its splits renamed.
    renamed = StudyData(source=base, split_names={"validation": "external-b"})
    folder = prepare_set(renamed, tmp_path, 1)
    (condition,) = made(folder, tmp_path, probabilities=(0.9,), data=renamed)
    elsewhere = condition.tests["external-b"]
    assert np.array_equal(pixels(elsewhere), pixels(base, "validation"))
    assert set(read_truth(elsewhere).split) == {"external-b"}


def test_without_internal_images_there_is_no_test(base: Path, tmp_path: Path) -> None:
    renamed = StudyData(source=base, split_names={"internal": "external"})
    folder = prepare_set(renamed, tmp_path, 1)
    with pytest.raises(NotEnoughDataError, match="split 'internal'"):
        made(folder, tmp_path)


def test_methods_differ_by_arm_and_condition_alone(base: Path, tmp_path: Path) -> None:
    conditions = made(base, tmp_path, probabilities=(0.5, 1.0))
    methods = methods_of(CONFIG, conditions)
    assert [(m.condition, m.arm) for m in methods] == [
        (condition.name, arm.name) for condition in conditions for arm in CONFIG.arms
    ]
    assert methods[0].training == methods[1].training != methods[2].training
    assert methods[1].train.sd_gamma == (-1.0, 1.0)
    assert methods[1].train.classes == ("normal", "IDC")
    assert len({len(method.values) for method in methods}) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"marks": ("jpeg", "jpeg")}, "marks must differ"),
        ({"probabilities": (0.4,)}, "greater than or equal to 0.5"),
        ({"probabilities": (0.9, 0.9)}, "probabilities must differ"),
    ],
)
def test_settings_without_a_meaning_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpuriousConfig.model_validate(changes)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a study that was run."""
    page = run(CONFIG, tmp_path_factory.mktemp("study"), 1)
    assert page.name == "page.md"
    return page.parent


def read(path: Path) -> Any:  # noqa: ANN401 - JSON holds any of its types
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_study_tells_what_its_schema_says(study: Path) -> None:
    results = read(study / "results.json")
    Draft202012Validator(study_schema()).validate(results)
    assert list(results["conditions"]) == ["sharpening/p-0.5", "sharpening/p-1"]
    for name, found in results["conditions"].items():
        assert read(study / "conditions" / name / "results.json") == found
        assert list(found["arms"]) == ["wd", "sd-gamma"]
        assert set(found["cohorts"]) == {"validation", "internal", INDEPENDENT, REVERSED}
    # Two conditions, two arms of two values, two seeds, four cohorts.
    assert len(results["curves"]) == 2 * 2 * 2 * 2 * 4
    assert len(list(study.glob("trainings/**/model.json"))) == 16


def test_the_values_are_those_of_validation(study: Path) -> None:
    results = read(study / "results.json")
    for choice in results["choices"]:
        tried: dict[float, list[float]] = {}
        for point in results["curves"]:
            same = all(point[key] == choice[key] for key in ("condition", "arm"))
            if same and point["cohort"] == "validation":
                tried.setdefault(point["value"], []).append(point["auroc"])
        means = {value: round(float(np.mean(each)), 12) for value, each in tried.items()}
        assert choice["value"] == min(means, key=lambda value: (-means[value], value))


def test_at_one_half_the_tests_say_the_same(study: Path) -> None:
    half = read(study / "results.json")["conditions"]["sharpening/p-0.5"]
    for arm in half["arms"].values():
        tests = [arm["cohorts"][name]["patch"] for name in ("internal", INDEPENDENT, REVERSED)]
        assert tests[0] == tests[1] == tests[2]
    whole = read(study / "results.json")["conditions"]["sharpening/p-1"]
    for arm in whole["arms"].values():
        assert arm["cohorts"]["internal"]["patch"] != arm["cohorts"][REVERSED]["patch"]


def test_features_are_those_of_the_chosen_models(study: Path) -> None:
    told = read(study / "features.json")["conditions"]
    results = read(study / "results.json")
    for choice in results["choices"]:
        found = told[choice["condition"]]["arms"][choice["arm"]]
        assert len(found["probes"]["class"]["per_seed"]) == 2
        # The logits that were probed are those that were scored.
        setting = f"{choice['setting']}-{choice['value']!r}"
        folder = study / "trainings" / choice["condition"] / choice["arm"] / setting
        scored = [
            read_scores(folder / f"seed-{seed}" / "scores" / f"{INDEPENDENT}.parquet")
            for seed in (0, 1)
        ]
        truth = read_truth(study / "data" / "sharpening" / "internal-0.5")
        for row in found["logits"]:
            chosen = (truth.label == row["class"]) & (carriers(truth, 0.5, 0) == row["mark"])
            logits = np.concatenate([table["logit_IDC"].to_numpy()[chosen] for table in scored])
            assert row["quantiles"]["0.5"] == pytest.approx(np.median(logits), abs=1e-4)


def test_the_page_shows_what_was_found(study: Path) -> None:
    page = (study / "page.md").read_text(encoding="utf-8")
    results = read(study / "results.json")
    (row,) = [
        row
        for row in results["conditions"]["sharpening/p-1"]["differences"]
        if row["cohort"] == REVERSED and row["metric"] == "accuracy"
    ]
    points = f"{abs(100 * row['delta']):.1f}"
    (line,) = [
        each for each in page.splitlines() if each.startswith("| sharpening/p-1 | sd-gamma −")
    ]
    assert points in line
    linked = [part.split(")")[0] for part in page.split("](")[1:]]
    assert len(linked) >= 6
    assert all((study / link).stat().st_size < 120_000 for link in linked)


def test_the_same_command_again_trains_nothing(study: Path) -> None:
    def kept() -> dict[Path, int]:
        made = [*study.glob("trainings/**/*"), *study.glob("data/**/*")]
        return {path: path.stat().st_mtime_ns for path in made if path.is_file()}

    before, told = kept(), read(study / "results.json")
    run(CONFIG, study, 1)
    assert kept() == before
    again = read(study / "results.json")
    assert (
        again["conditions"]["sharpening/p-1"]["arms"]
        == told["conditions"]["sharpening/p-1"]["arms"]
    )
    assert again["curves"] == told["curves"]


def test_one_seed_gives_its_figures_again(study: Path, tmp_path: Path) -> None:
    alone = CONFIG.model_copy(update={"seeds": (1,), "probabilities": (1.0,)})
    run(alone, tmp_path, 1)

    def of_seed(folder: Path) -> list[dict[str, Any]]:
        points = read(folder / "results.json")["curves"]
        return [
            {key: value for key, value in point.items() if key != "selected"}
            for point in points
            if point["seed"] == 1 and point["condition"] == "sharpening/p-1"
        ]

    assert len(of_seed(study)) == 2 * 2 * 4
    assert of_seed(tmp_path) == of_seed(study)
