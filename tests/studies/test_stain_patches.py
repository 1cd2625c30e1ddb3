"""Spectral decoupling and stain normalisation on patches, on the breast patches that ship."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.config import (
    ArmConfig,
    EvaluateConfig,
    ScoreConfig,
    StainConfig,
    StainPatchesConfig,
    StudyData,
    TrainConfig,
)
from wsi_specdec.errors import ConfigError
from wsi_specdec.files import read_json
from wsi_specdec.metrics import holm
from wsi_specdec.models import load_spec
from wsi_specdec.scoring import score_stores
from wsi_specdec.stain import StainProfile, fit_pixels, normalise_each
from wsi_specdec.store.calls import positive_scores
from wsi_specdec.studies.grid import Fitted, read_probabilities
from wsi_specdec.studies.judging import youden_threshold
from wsi_specdec.studies.pages.treatments import sorted_pairs
from wsi_specdec.studies.sets.files import open_set
from wsi_specdec.studies.sets.prepare import prepare_set, read_truth
from wsi_specdec.studies.stain_patches.sets import (
    PLAIN,
    StainedSets,
    fit_target,
    reference_rows,
    treated_sets,
)
from wsi_specdec.studies.stain_patches.study import compared, methods_of, run, treated_arms

COUNTS = {"train": 48, "validation": 24, "internal": 24, "external": 16}


def settings(source: Path, **changes: Any) -> StainPatchesConfig:  # noqa: ANN401
    values: dict[str, Any] = {
        "data": StudyData(source=source, max_images=COUNTS),
        "normalisation": ("macenko", "reinhard"),
        "references": 20,
        "timed": 8,
        "train": TrainConfig(
            model="test_resnet",
            classes=("normal", "IDC"),
            epochs=1,
            batch_size=16,
            lr=0.003,
            device="cpu",
            tensorboard=False,
        ),
        "arms": (
            ArmConfig(name="wd", weight_decay=0.01, sd_coef=0.0),
            ArmConfig(name="sd", weight_decay=0.0, sd_coef=0.01),
        ),
        "seeds": (0,),
        "evaluate": EvaluateConfig(bootstrap=100),
    }
    return StainPatchesConfig(**(values | changes))


@dataclass(frozen=True)
class World:
    source: Path
    base: Path
    out: Path
    config: StainPatchesConfig
    sets: dict[str, StainedSets]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Breast patches, some patients of whose internal images are called external."""
    out = tmp_path_factory.mktemp("stains")
    drawn = StudyData(
        source="breast",
        splits={"train": 0.5, "validation": 0.2, "internal": 0.3},
        max_images={"train": 60, "validation": 40, "internal": 80},
    )
    source = prepare_set(drawn, out / "source", 1)
    with (source / "slides.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    internal = sorted({row["patient_id"] for row in rows if row["split"] == "internal"})
    for row in rows:
        if row["patient_id"] in internal[::2]:
            row["split"] = "external"
    with (source / "slides.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    config = settings(source)
    base = prepare_set(config.data, out / "study", 1)
    sets = treated_sets(base, out / "study" / "data", config)
    return World(source, base, out / "study", config, sets)


def folders(sets: StainedSets) -> dict[str, Path]:
    return {"training": sets.training, **sets.tests}


def pixels(folder: Path) -> NDArray[np.uint8]:
    store = open_set(folder)
    return store.read(np.arange(len(store)))


def angles(tiles: NDArray[np.uint8], target: StainProfile, config: StainConfig) -> list[float]:
    """Degrees between the haematoxylin of tiles and that of the target."""
    found = [fit_pixels(tile.reshape(-1, 3), config) for tile in tiles]
    cosines = [p.matrix()[0] @ target.matrix()[0] for p in found if p.status == "ok"]
    assert len(cosines) > len(tiles) / 2
    return [float(angle) for angle in np.degrees(np.arccos(np.clip(cosines, -1, 1)))]


def test_all_arms_see_the_same_images(world: World) -> None:
    assert list(world.sets) == [PLAIN, "macenko", "reinhard"]
    for cohort, folder in folders(world.sets[PLAIN]).items():
        plain = read_truth(folder)
        expected = {"train", "validation"} if cohort == "training" else {cohort}
        assert set(plain.split) == expected
        for sets in world.sets.values():
            truth = read_truth(folders(sets)[cohort])
            assert truth.image_id == plain.image_id
            assert truth.patient == plain.patient
            assert np.array_equal(truth.label, plain.label)
    counts = {name: len(read_truth(path)) for name, path in folders(world.sets[PLAIN]).items()}
    assert counts == {"training": 72, "internal": 24, "external": 16}


def test_plain_images_are_those_of_the_source(world: World) -> None:
    split = np.array(read_truth(world.base).split)
    rows = np.flatnonzero(split == "external")
    wanted = open_set(world.base).read(rows)
    assert np.array_equal(pixels(world.sets[PLAIN].tests["external"]), wanted)


def test_normalised_images_are_closer_to_the_target(world: World) -> None:
    target = world.sets["macenko"].target
    assert target is not None
    for cohort in ("training", "external"):
        before = angles(pixels(folders(world.sets[PLAIN])[cohort]), target.profile, target.settings)
        after = angles(
            pixels(folders(world.sets["macenko"])[cohort]), target.profile, target.settings
        )
        assert np.median(after) < np.median(before) / 2


def test_the_target_is_made_of_a_few_training_images_alone(world: World) -> None:
    target = world.sets["macenko"].target
    assert target is not None
    rows = reference_rows(world.base, 20, world.config.data.seed)
    truth = read_truth(world.base)
    assert {truth.split[row] for row in rows} == {"train"}
    assert len(set(rows.tolist())) == 20
    assert fit_target(open_set(world.base), rows, target.settings) == target
    assert not np.array_equal(rows, reference_rows(world.base, 20, 1))
    assert len(reference_rows(world.base, 1000, 0)) == COUNTS["train"]


def test_statuses_are_those_of_every_image(world: World) -> None:
    for name in ("macenko", "reinhard"):
        sets = world.sets[name]
        assert sets.target is not None
        for cohort, path in folders(world.sets[PLAIN]).items():
            changed, codes = normalise_each(pixels(path), sets.target.profile, sets.target.settings)
            assert np.array_equal(pixels(folders(sets)[cohort]), changed)
            counts = np.bincount(codes, minlength=3).tolist()
            assert list(sets.statuses[cohort].values()) == counts


def test_sets_are_kept(world: World) -> None:
    files = [path for path in (world.out / "data").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert treated_sets(world.base, world.out / "data", world.config) == world.sets
    assert {path: path.stat().st_mtime_ns for path in files} == before
    # As after a kill between a set and its count.
    lost = world.sets["macenko"].tests["internal"] / "stain_status.json"
    lost.unlink()
    assert treated_sets(world.base, world.out / "data", world.config) == world.sets
    assert lost.is_file()


def test_images_that_are_normalised_already_are_refused(world: World, tmp_path: Path) -> None:
    done = world.sets["macenko"].training
    with pytest.raises(ConfigError, match="normalised already"):
        treated_sets(done, tmp_path, world.config)


def test_arms_are_crossed_with_treatments(world: World) -> None:
    arms = treated_arms(world.config)
    assert [(each.arm.name, each.images) for each in arms] == [
        ("wd", PLAIN),
        ("sd", PLAIN),
        ("wd+macenko", "macenko"),
        ("sd+macenko", "macenko"),
        ("wd+reinhard", "reinhard"),
        ("sd+reinhard", "reinhard"),
        ("wd+augmented", PLAIN),
        ("sd+augmented", PLAIN),
    ]
    for each in arms:
        train = each.arm.apply(world.config.train, 0)
        assert train.stain.method == "none"
        assert train.augment.stain.probability == float(each.arm.name.endswith("+augmented"))
    assert (arms[-1].arm.sd_coef, arms[-1].arm.weight_decay) == (0.01, 0.0)


def test_each_arm_is_compared_with_the_treated_baseline(world: World) -> None:
    own = (("sd", "wd+macenko"), ("sd", "wd+reinhard"), ("sd", "wd+augmented"))
    assert compared(world.config).pairs == own
    asked = EvaluateConfig(pairs=(("sd+macenko", "sd"),))
    assert compared(settings(world.source, evaluate=asked)).pairs == (*asked.pairs, *own)
    for wrong in (EvaluateConfig(baseline="x"), EvaluateConfig(pairs=(("sd", "x"),))):
        with pytest.raises(ConfigError):
            compared(settings(world.source, evaluate=wrong))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": TrainConfig(stain=StainConfig(method="macenko"))}, "normalises stains itself"),
        ({"arms": (ArmConfig(name="wd", stain="macenko"),)}, "normalises stains itself"),
        ({"arms": (ArmConfig(name="wd+x"),)}, "rename wd"),
        ({"normalisation": ("macenko", "macenko")}, "names a method twice"),
    ],
    ids=["train", "arm", "plus", "twice"],
)
def test_settings_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(Path("images"), **changes)


@dataclass(frozen=True)
class Study:
    page: Path
    results: dict[str, Any]
    fitted: dict[str, Fitted]


@pytest.fixture(scope="module")
def study(world: World) -> Study:
    config = settings(world.source, normalisation=("macenko",))
    page = run(config, world.out, 1)
    methods = methods_of(config, world.sets)
    trainings = world.out / "trainings"
    fitted = {
        method.arm: Fitted(method, 0.0, 0, trainings / method.arm / "fixed" / "seed-0")
        for method in methods
    }
    return Study(page, read_json(world.out / "results.json"), fitted)


def differences(study: Study, metric: str) -> dict[tuple[str, str], dict[str, Any]]:
    rows = study.results["conditions"][""]["differences"]
    return {
        (row["arm"], row["baseline"]): row
        for row in rows
        if row["cohort"] == "external" and row["metric"] == metric
    }


def test_the_questions_are_answered_on_external_images(study: Study) -> None:
    for metric in ("auroc", "accuracy"):
        found = differences(study, metric)
        asked = {
            ("sd", "wd"),
            ("sd", "wd+macenko"),
            ("sd", "wd+augmented"),
            ("sd+macenko", "wd+macenko"),
            ("sd+augmented", "wd+augmented"),
        }
        assert asked <= set(found)
        rows = list(found.values())
        assert [row["p_adjusted"] for row in rows] == holm([row["p"] for row in rows])
    arms = study.results["conditions"][""]["arms"]
    external = {arm: each["cohorts"]["external"]["patch"]["auroc"] for arm, each in arms.items()}
    delta = external["sd"]["value"] - external["wd+macenko"]["value"]
    assert differences(study, "auroc")["sd", "wd+macenko"]["delta"] == pytest.approx(delta)


def test_images_elsewhere_are_called_at_the_threshold_of_validation(study: Study) -> None:
    for arm, each in study.results["conditions"][""]["arms"].items():
        fitted = study.fitted[arm]
        truth = read_truth(fitted.method.tests["external"])
        calls = read_probabilities(fitted, "external") >= youden_threshold(fitted)
        accuracy = each["cohorts"]["external"]["patch"]["accuracy"]["value"]
        assert accuracy == pytest.approx((calls == truth.label).mean())
    cohorts = study.results["conditions"][""]["cohorts"]
    assert [name for name, each in cohorts.items() if each["threshold_chosen_here"]] == [
        "validation"
    ]


def test_models_know_what_was_done_to_their_images(
    world: World, study: Study, tmp_path: Path
) -> None:
    target = world.sets["macenko"].target
    assert target is not None
    spec = load_spec(study.fitted["sd+macenko"].model)
    assert spec.stain_target is not None
    assert StainProfile.from_json(spec.stain_target) == target.profile
    assert spec.stain == target.settings
    assert spec.stain.fit == "tile"
    assert load_spec(study.fitted["sd"].model).stain_target is None
    augment = load_spec(study.fitted["sd+augmented"].model).training["settings"]["augment"]
    assert augment["stain"]["probability"] == 1.0
    # Images as they are in the slide are normalised by the model itself, to the same scores.
    fitted = study.fitted["sd+macenko"]
    plain = {"external": open_set(world.sets[PLAIN].tests["external"])}
    score_stores(plain, fitted.model, tmp_path, ScoreConfig(device="cpu"), tmp_path)
    (found,) = tmp_path.glob("*.parquet")
    scores = positive_scores(found)[1]
    assert np.allclose(scores, read_probabilities(fitted, "external"), atol=1e-5)
    assert np.ptp(scores) > 1e-3


def test_cost_is_that_of_the_treatment(world: World, study: Study) -> None:
    costs = {arm: each["cost"] for arm, each in study.results["conditions"][""]["arms"].items()}
    moved = {arm: cost["normalise_seconds_per_thousand"] for arm, cost in costs.items()}
    assert [arm for arm, seconds in moved.items() if seconds > 0] == ["wd+macenko", "sd+macenko"]
    sizes = {arm: cost["extra_bytes"] for arm, cost in costs.items()}
    assert [arm for arm, size in sizes.items() if size] == ["wd+macenko", "sd+macenko"]
    images = 112 * 50 * 50 * 3
    assert 0.3 * images < sizes["sd+macenko"] < 1.5 * images
    assert all(cost["score_seconds_per_thousand"] > 0 for cost in costs.values())


def test_the_page_shows_its_tables_and_figures(world: World, study: Study) -> None:
    text = study.page.read_text(encoding="utf-8")
    for name in ("arms", "differences"):
        figure = study.page.parent / "figures" / f"{name}.png"
        assert figure.read_bytes().startswith(b"\x89PNG")
        assert f"(figures/{name}.png)" in text
    normalised = world.sets["macenko"].statuses["external"]
    row = f"| macenko | external | {' | '.join(map(str, normalised.values()))} |"
    assert row in text
    assert "| External | AUROC | sd \N{MINUS SIGN} wd+macenko |" in text
    assert any("macenko" in note for note in study.results["notes"])


def test_pairs_are_sorted_by_what_they_ask() -> None:
    pairs = [("sd+m", "wd"), ("wd+m", "wd"), ("sd+m", "wd+m"), ("sd", "wd+m"), ("sd", "wd")]
    assert sorted_pairs(pairs) == [pairs[4], pairs[3], pairs[2], pairs[1], pairs[0]]
