"""Logistic regression on poolings, against scikit-learn's pipeline and cross-validation."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from wsi_specdec.aggregation import fit_aggregator, load_aggregator, make_calls, save_aggregator
from wsi_specdec.aggregation.logistic_fit import cross_fit
from wsi_specdec.aggregation.pooling import FeatureSpec
from wsi_specdec.cohort import Slide, assign_folds
from wsi_specdec.config import AggregateConfig
from wsi_specdec.errors import NotEnoughDataError
from wsi_specdec.keys import VALIDATION

Floats = NDArray[np.float64]
MakeScores = Callable[..., Path]
CONFIG = AggregateConfig(pooling="logistic", logistic_features=("mean", "max"), logistic_c=0.5)
FEATURES = tuple(FeatureSpec.of(name, CONFIG) for name in CONFIG.logistic_features)


def cohort(n: int, per_patient: int = 2, seed: int = 0) -> tuple[list[Slide], Floats]:
    """Slides of patients, all of a patient's of one label, and two features of each."""
    rng = np.random.default_rng(seed)
    slides = [
        Slide(f"s{i}", Path("x"), f"p{i // per_patient}", i // per_patient % 2, VALIDATION)
        for i in range(n)
    ]
    labels = np.array([slide.label for slide in slides])
    return slides, rng.normal(size=(n, 2)) + labels[:, None] * [0.7, 0.2]


def test_regression_is_scikit_learns_and_a_plain_minimisation() -> None:
    slides, values = cohort(40)
    labels = np.array([slide.label for slide in slides])
    found = cross_fit(slides, labels, values, FEATURES, CONFIG).pooler
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, tol=1e-8))
    expected = pipeline.fit(values, labels).predict_proba(values)[:, 1]
    assert found.predict(values) == pytest.approx(expected, abs=1e-6)

    standard = (values - values.mean(axis=0)) / values.std(axis=0)

    def loss(weights: Floats) -> float:
        z = standard @ weights[:2] + weights[2]
        return float(
            np.logaddexp(0, np.where(labels == 1, -z, z)).sum() + weights[:2] @ weights[:2]
        )

    best = optimize.minimize(loss, np.zeros(3)).x
    assert [*found.coefficients, found.intercept] == pytest.approx(best, abs=1e-4)


def test_each_slides_score_comes_from_other_patients() -> None:
    slides, values = cohort(40)
    labels = np.array([slide.label for slide in slides])
    found = cross_fit(slides, labels, values, FEATURES, CONFIG)
    folds = np.array([assign_folds(slides, 5, 0)[slide.patient_id] for slide in slides])
    for fold in range(1, 6):
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, tol=1e-8))
        pipeline.fit(values[folds != fold], labels[folds != fold])
        expected = pipeline.predict_proba(values[folds == fold])[:, 1]
        assert found.scores[folds == fold] == pytest.approx(expected, abs=1e-6)
    patients = [slide.patient_id for slide in slides]
    for patient in set(patients):
        assert len({fold for fold, own in zip(folds, patients, strict=True) if own == patient}) == 1


def test_scores_of_noise_are_not_better_than_chance_although_the_fit_is() -> None:
    rng = np.random.default_rng(3)
    features = tuple(FeatureSpec.of(name, CONFIG) for name in ("mean", "max", "quantile")) * 4
    honest, fitted = [], []
    for seed in range(12):
        slides, _ = cohort(40, 1, seed)
        labels, values = np.array([s.label for s in slides]), rng.normal(size=(40, 12))
        found = cross_fit(slides, labels, values, features, CONFIG)
        honest.append(roc_auc_score(labels, found.scores))
        fitted.append(roc_auc_score(labels, found.pooler.predict(values)))
    assert np.mean(fitted) > 0.75
    assert np.mean(honest) < 0.6


def test_a_feature_that_says_nothing_is_no_division_by_zero() -> None:
    slides, values = cohort(20)
    values[:, 1] = 0.25
    labels = np.array([slide.label for slide in slides])
    found = cross_fit(slides, labels, values, FEATURES, CONFIG)
    assert found.pooler.scales[1] == 1
    assert np.isfinite(found.scores).all()


def test_fewer_patients_take_fewer_folds_and_one_is_too_few() -> None:
    slides, values = cohort(8)
    labels = np.array([slide.label for slide in slides])
    assert np.isfinite(cross_fit(slides, labels, values, FEATURES, CONFIG).scores).all()
    with pytest.raises(NotEnoughDataError, match="holds 1 patients of one label"):
        cross_fit(slides[:6], labels[:6], values[:6], FEATURES, CONFIG)


def test_the_aggregator_takes_its_threshold_from_honest_scores(
    make_scores: MakeScores, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    slides, _ = cohort(24, 1)
    labels = np.array([slide.label for slide in slides])
    tiles = {s.slide_id: rng.beta(1 + (s.label or 0), 2, 30).tolist() for s in slides}
    scores = make_scores(tiles)
    found = fit_aggregator(scores, slides, CONFIG)
    values = np.array(
        [
            [np.mean(f), np.max(f)]
            for f in (np.float32(tiles[s.slide_id]).astype(float) for s in slides)
        ]
    )
    honest = cross_fit(slides, labels, values, FEATURES, CONFIG).scores
    # Youden's index over every place between the honest scores.
    places = np.sort(honest)
    gaps = (places[:-1] + places[1:]) / 2
    youden = [(honest[labels == 1] >= g).mean() - (honest[labels == 0] >= g).mean() for g in gaps]
    assert found.threshold == pytest.approx(gaps[int(np.argmax(youden))], abs=1e-5)
    assert (found.fit_cohort, found.fit_slides) == (VALIDATION, 24)

    folder = save_aggregator(tmp_path / "aggregator", found).parent
    loaded = load_aggregator(folder)
    assert loaded == found
    calls = make_calls(scores, slides, loaded)
    expected = cross_fit(slides, labels, values, FEATURES, CONFIG).pooler.predict(values)
    assert [call.score for call in calls] == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_fixed_threshold_still_names_what_was_learned_from(make_scores: MakeScores) -> None:
    slides, _ = cohort(8, 1)
    scores = make_scores({s.slide_id: [0.2 + 0.5 * (s.label or 0)] for s in slides})
    config = CONFIG.model_copy(update={"threshold_rule": "fixed", "threshold_target": 0.5})
    found = fit_aggregator(scores, slides, config)
    assert (found.threshold, found.fit_cohort, found.fit_slides) == (0.5, VALIDATION, 8)
    assert config.fitted_on == VALIDATION
