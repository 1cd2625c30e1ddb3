"""Fitting, saving and loading the aggregator."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wsi_specdec.aggregation import (
    Rule,
    fit_aggregator,
    fit_calibration,
    fit_conformal,
    fit_threshold,
    load_aggregator,
    save_aggregator,
)
from wsi_specdec.cohort import Slide
from wsi_specdec.config import AggregateConfig
from wsi_specdec.errors import LeakError, ManifestError, ModelError, NotEnoughDataError
from wsi_specdec.keys import AGGREGATOR_FILE, INTERNAL, VALIDATION

MakeScores = Callable[..., Path]
CONFIG = AggregateConfig(pooling="max")


def slide(name: str, label: int | None, split: str | None = VALIDATION) -> Slide:
    return Slide(name, Path(f"{name}.svs"), f"p-{name}", label, split)


SLIDES = [
    slide("a", 0),
    slide("b", 1),
    slide("c", None),
    slide("d", 0, INTERNAL),
    slide("e", 1, INTERNAL),
]
TILES = {"a": [0.1, 0.3], "b": [0.2, 0.7], "c": [0.6], "d": [0.95], "e": [0.05]}


def test_threshold_is_chosen_on_the_labelled_slides_of_the_split_alone(
    make_scores: MakeScores,
) -> None:
    scores = make_scores(TILES)
    found = fit_aggregator(scores, SLIDES, CONFIG, provenance={"seed": 1})
    assert found.threshold == pytest.approx(0.5)
    assert (found.pooling, found.pooling_parameters) == ("max", {})
    assert (found.fit_cohort, found.fit_slides, found.fit_positives) == (VALIDATION, 2, 1)
    assert found.model_sha256 == "m" * 64
    assert found.provenance == {"seed": 1}


def test_other_splits_need_no_scores_and_change_nothing(make_scores: MakeScores) -> None:
    scores = make_scores({name: TILES[name] for name in "ab"})
    whole = fit_aggregator(scores, SLIDES, CONFIG)
    assert fit_aggregator(scores, SLIDES[:2], CONFIG) == whole


def test_hash_tells_which_slides_were_used(make_scores: MakeScores) -> None:
    scores = make_scores(TILES | {"f": [0.2]})
    one = fit_aggregator(scores, SLIDES, CONFIG)
    other = fit_aggregator(scores, [*SLIDES, slide("f", 0)], CONFIG)
    assert one.fit_slides_sha256 != other.fit_slides_sha256
    reordered = fit_aggregator(scores, SLIDES[::-1], CONFIG)
    assert reordered.fit_slides_sha256 == one.fit_slides_sha256


def test_slides_without_tissue_are_left_out(make_scores: MakeScores) -> None:
    scores = make_scores(TILES)
    slides = [*SLIDES, slide("bare", 1)]
    found = fit_aggregator(scores, slides, CONFIG, states={"bare": "empty"})
    assert found == fit_aggregator(scores, SLIDES, CONFIG)
    with pytest.raises(ManifestError, match=r"labelled slides with no scores in .*: bare;"):
        fit_aggregator(scores, slides, CONFIG)


def test_one_class_is_refused(make_scores: MakeScores) -> None:
    with pytest.raises(NotEnoughDataError, match="the split 'validation' holds 1 positive and 0"):
        fit_aggregator(make_scores(TILES), [SLIDES[1], *SLIDES[3:]], CONFIG)


def test_fixed_threshold_is_fitted_on_nothing(make_scores: MakeScores) -> None:
    config = AggregateConfig(threshold_rule="fixed", threshold_target=0.4)
    found = fit_aggregator(make_scores(TILES), [], config)
    assert (found.threshold, found.fit_cohort, found.fit_slides) == (0.4, None, 0)
    assert found.fit_slides_sha256 is None
    assert found.model_sha256 == "m" * 64
    assert found.pooling_parameters == {"k": 10}


@pytest.mark.parametrize("split", ["internal", "external", "external-aarhus", "test"])
def test_nothing_is_fitted_on_what_is_evaluated(split: str) -> None:
    with pytest.raises(ValueError, match=f"'{split}' is evaluated"):
        AggregateConfig(fit_on=split)


def test_a_patient_in_two_splits_is_refused(make_scores: MakeScores) -> None:
    twin = Slide("d", Path("d.svs"), "p-a", 0, INTERNAL)
    with pytest.raises(LeakError, match="p-a in internal and validation"):
        fit_aggregator(make_scores(TILES), [*SLIDES[:2], twin], CONFIG)


def test_calibration_and_abstention_are_fitted_on_the_same_slides(make_scores: MakeScores) -> None:
    tiles = {f"s{i}": [0.02 * i + 0.01, 0.0] for i in range(40)}
    slides = [slide(name, int(i >= 20 and i % 7 != 0)) for i, name in enumerate(tiles)]
    scores = make_scores(tiles)
    config = AggregateConfig(
        pooling="max",
        threshold_rule="cost",
        cost_ratio=3,
        prevalence=0.2,
        abstain="conformal",
        alpha=0.2,
        patient_rule="mean",
    )
    found = fit_aggregator(scores, [*slides, slide("t", 1, INTERNAL)], config)
    labels = [s.label or 0 for s in slides]
    values = [float(np.float32(tiles[s.slide_id][0])) for s in slides]
    assert found.threshold == fit_threshold(labels, values, Rule.of(config), "")
    assert found.calibration == fit_calibration(labels, values, config, "")
    assert found.abstention == fit_conformal(labels, values, 0.2)
    assert (found.cost_ratio, found.prevalence, found.patient_rule) == (3, 0.2, "mean")
    off = fit_aggregator(scores, slides, AggregateConfig(calibration="none"))
    assert (off.calibration, off.abstention) == (None, None)


def test_an_aggregator_of_the_first_release_is_read(tmp_path: Path) -> None:
    values = {
        "schema_version": 1,
        "pooling": "topk_mean",
        "pooling_parameters": {"k": 10.0},
        "threshold": 0.4,
        "threshold_rule": "youden",
        "threshold_target": 0.9,
        "fit_cohort": "validation",
        "fit_slides": 4,
        "fit_positives": 2,
        "fit_slides_sha256": "0" * 64,
        "model_sha256": None,
        "provenance": {},
    }
    (tmp_path / AGGREGATOR_FILE).write_text(json.dumps(values))
    found = load_aggregator(tmp_path)
    assert (found.threshold, found.calibration, found.abstention) == (0.4, None, None)
    assert found.pooler.parameters == {"k": 10}


def test_scores_of_two_models_are_refused(make_scores: MakeScores) -> None:
    make_scores({"a": TILES["a"]})
    scores = make_scores({"b": TILES["b"]}, model="n" * 64)
    with pytest.raises(ModelError, match="holds scores of 2 models"):
        fit_aggregator(scores, SLIDES, CONFIG)


def test_of_several_classes_all_but_the_first_are_positive(make_scores: MakeScores) -> None:
    plain = fit_aggregator(make_scores(TILES), SLIDES, CONFIG)
    rest = {name: [1 - each for each in tiles] for name, tiles in TILES.items()}
    graded = fit_aggregator(make_scores(rest, names=("benign", "grade3", "grade4")), SLIDES, CONFIG)
    assert graded.threshold == pytest.approx(plain.threshold)
    with pytest.raises(ModelError, match="holds scores of no class"):
        fit_aggregator(make_scores(TILES, names=()), SLIDES, CONFIG)


def test_scores_that_are_not_finite_are_refused(make_scores: MakeScores) -> None:
    scores = make_scores(TILES | {"a": [0.1, float("nan")]})
    with pytest.raises(ModelError, match=r"1 of 2 scores in .*a\.parquet"):
        fit_aggregator(scores, SLIDES, CONFIG)


def test_saved_aggregator_is_loaded_exactly(make_scores: MakeScores, tmp_path: Path) -> None:
    config = AggregateConfig(pooling="quantile", quantile=1 / 3)
    found = fit_aggregator(make_scores(TILES), SLIDES, config, provenance={"seed": 0})
    path = save_aggregator(tmp_path / "aggregator", found)
    assert path.name == AGGREGATOR_FILE
    assert load_aggregator(path.parent) == found
    assert load_aggregator(path.parent).threshold == found.threshold


def test_missing_and_damaged_aggregators_say_what_to_do(
    make_scores: MakeScores, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"there is no aggregator at .*aggregate --fit-on"):
        load_aggregator(tmp_path / "nowhere")
    path = save_aggregator(tmp_path, fit_aggregator(make_scores(TILES), SLIDES, CONFIG))
    values = json.loads(path.read_text())
    for change in ({"threshold": "high"}, {"surprise": 1}, {"pooling_parameters": {"k": 2}}):
        path.write_text(json.dumps(values | change))
        with pytest.raises(ModelError, match="is no aggregator"):
            load_aggregator(tmp_path)
    path.write_text(json.dumps(values | {"schema_version": 99}))
    with pytest.raises(ModelError, match="has schema 99"):
        load_aggregator(tmp_path)
    path.write_text("{")
    with pytest.raises(ModelError, match="is no aggregator"):
        load_aggregator(tmp_path)
