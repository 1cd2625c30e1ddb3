"""Learning the logistic regression on poolings, and honest scores of the slides it learned from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.aggregation.pooling import FeatureSpec, Logistic
from wsi_specdec.cohort import Slide, assign_folds
from wsi_specdec.config import AggregateConfig
from wsi_specdec.errors import NotEnoughDataError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class CrossFit:
    """A regression, and what others say of the slides it learned from.

    Attributes
    ----------
    pooler
        Learned from all slides.
    scores
        (n,): each slide's score by a regression that saw none of its patient's slides. Thresholds
        chosen on these are not misled by how well a regression fits what it has seen.
    """

    pooler: Logistic
    scores: Floats


def cross_fit(
    slides: Sequence[Slide],
    labels: NDArray[np.int64],
    values: Floats,
    features: tuple[FeatureSpec, ...],
    config: AggregateConfig,
) -> CrossFit:
    """Learn from all slides, and from all but each fold of patients.

    Folds have as many patients of each label, to one; there are fewer than `logistic_folds` where
    there are fewer patients of a label.

    Parameters
    ----------
    slides, labels, values
        n slides of one split, (n,) labels 0 or 1, (n, F) features.

    Raises
    ------
    NotEnoughDataError
        If there are not two patients of each label.
    """
    folds = _folds(slides, config)
    scores = np.empty(len(labels))
    for fold in np.unique(folds):
        held = folds == fold
        scores[held] = _learn(values[~held], labels[~held], features, config).predict(values[held])
    return CrossFit(_learn(values, labels, features, config), scores)


def _learn(
    values: Floats,
    labels: NDArray[np.int64],
    features: tuple[FeatureSpec, ...],
    config: AggregateConfig,
) -> Logistic:
    """Standardise by the slides given and minimise Σ cross-entropy + ‖w‖² / (2C)."""
    from sklearn.linear_model import LogisticRegression

    means, scales = values.mean(axis=0), values.std(axis=0)
    # A feature that says the same of every slide has nothing to scale.
    scales[scales < 1e-12] = 1.0
    model = LogisticRegression(C=config.logistic_c, tol=1e-8, max_iter=10_000)
    model.fit((values - means) / scales, labels)
    return Logistic(
        features=features,
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        coefficients=tuple(model.coef_[0].tolist()),
        intercept=float(model.intercept_[0]),
    )


def _folds(slides: Sequence[Slide], config: AggregateConfig) -> NDArray[np.int64]:
    """Return each slide's fold."""
    highest: dict[str, int] = {}
    for slide in slides:
        highest[slide.patient_id] = max(slide.label or 0, highest.get(slide.patient_id, 0))
    fewest = min(sum(label == wanted for label in highest.values()) for wanted in (0, 1))
    if fewest < 2:
        msg = (
            f"the split {config.fit_on!r} holds {fewest} patients of one label, and the pooling "
            "'logistic' is cross-validated by patients, two of each label at least: label more, or "
            "choose a pooling that learns nothing, like topk_mean"
        )
        raise NotEnoughDataError(msg)
    of_patient = assign_folds(slides, min(config.logistic_folds, fewest), config.seed)
    return np.array([of_patient[slide.patient_id] for slide in slides])
