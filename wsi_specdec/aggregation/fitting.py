"""Fitting an aggregator: on labelled slides of `validation` (and `train`), and on no others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.aggregation.abstention import fit_abstention
from wsi_specdec.aggregation.aggregator import Aggregator, hash_ids, member_of
from wsi_specdec.aggregation.calibration import fit_calibration
from wsi_specdec.aggregation.pooling import (
    FeatureSpec,
    Mil,
    MilWeights,
    Pooler,
    feature_values,
    simple_pooler,
)
from wsi_specdec.aggregation.scores import (
    one_model,
    read_slide_scores,
    refuse_unscored,
    scored_ids,
    with_scores,
)
from wsi_specdec.aggregation.thresholds import Rule, fit_threshold
from wsi_specdec.aggregation.tiles import SlideTiles, read_tiles
from wsi_specdec.cohort import Slide, check_leaks, cohort_slides
from wsi_specdec.config import AggregateConfig
from wsi_specdec.errors import NotEnoughDataError
from wsi_specdec.keys import TRAIN
from wsi_specdec.store.scores import scores_path

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A pooling, and the slides that a threshold may be chosen on.

    `scores` are what the pooling says of slides that it did not learn from: those of a pooling that
    learned from these very slides come from cross-validation.
    """

    pooler: Pooler
    slides: Sequence[Slide]
    scores: Floats
    learned_from: Sequence[Slide] = ()
    weights: MilWeights | None = None

    @property
    def labels(self) -> Labels:
        return np.array([slide.label for slide in self.slides], dtype=np.int64)


def fit_aggregator(
    scores: Path,
    slides: Sequence[Slide],
    config: AggregateConfig,
    *,
    states: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Aggregator:
    """Fit the pooling where it learns, then threshold, calibration and abstention.

    Parameters
    ----------
    scores
        Folder of `<slide_id>.parquet`, with `embeddings/` beside it for attention.
    slides
        The manifest; of `config.fit_on`, and of `train` for attention, those with a label are
        looked at, and no others.
    config
        Pooling, rules and the split to fit on.
    states
        Ledger state of each slide, which excuses those without tiles.
    provenance
        What to keep beside the result.

    Raises
    ------
    LeakError
        If a patient stands in two splits.
    NotEnoughDataError
        If the split has not scored slides of both classes and something needs them.
    ManifestError
        If a labelled slide of the split has no scores and the ledger does not say why.
    ModelError
        If the scores are of several models.
    StoreError
        If scores lack what the pooling needs: embeddings, or the tiles' size.
    """
    check_leaks(slides)
    where = f"the split {config.fit_on!r}"
    fit = _fit_pooler(scores, slides, config, states or {})
    threshold = fit_threshold(fit.labels, fit.scores, Rule.of(config), where)
    labels, used = fit.labels, [slide.slide_id for slide in fit.slides]
    fitted = config.fitted_on is not None
    of_model = sorted({*used, *(slide.slide_id for slide in fit.learned_from)})
    return Aggregator(
        pooling=config.pooling,
        pooling_parameters=fit.pooler.parameters,
        threshold=threshold,
        threshold_rule=config.threshold_rule,
        threshold_target=config.threshold_target,
        cost_ratio=config.cost_ratio,
        prevalence=config.prevalence,
        calibration=fit_calibration(labels, fit.scores, config, where) if fitted else None,
        abstention=fit_abstention(labels, fit.scores, threshold, config, where),
        patient_rule=config.patient_rule,
        fit_cohort=config.fitted_on,
        fit_slides=len(used),
        fit_positives=int((labels == 1).sum()),
        fit_slides_sha256=hash_ids(used) if fitted else None,
        fit_members=tuple(sorted({member_of(s) for s in [*fit.slides, *fit.learned_from]})),
        model_sha256=one_model(scores, of_model if fitted else scored_ids(scores)),
        provenance=dict(provenance or {}),
    ).with_weights(fit.weights)


def _fit_pooler(
    scores: Path, slides: Sequence[Slide], config: AggregateConfig, states: Mapping[str, str]
) -> _Fit:
    labelled = _labelled(slides, config.fit_on)
    if config.pooling == "logistic":
        return _fit_logistic(scores, labelled, config, states)
    if config.pooling == "mil":
        learned = _labelled(slides, TRAIN)
        pooler, weights = _fit_mil(scores, learned, labelled, config, states)
        found = _scored(scores, labelled, pooler, states)
        return _Fit(pooler, *found, learned_from=learned, weights=weights)
    simple = simple_pooler(config.pooling, config)
    if config.fitted_on is None:
        return _Fit(simple, [], np.empty(0))
    return _Fit(simple, *_scored(scores, labelled, simple, states))


def _labelled(slides: Sequence[Slide], split: str) -> list[Slide]:
    return [slide for slide in cohort_slides(slides, split) if slide.label is not None]


def _scored(
    scores: Path, slides: Sequence[Slide], pooler: Pooler, states: Mapping[str, str]
) -> tuple[list[Slide], Floats]:
    """Return the slides that have a score, and the scores."""
    found = read_slide_scores(scores, slides, pooler, states)
    pairs = [(s, f.score) for s, f in zip(slides, found, strict=True) if f.score is not None]
    return [slide for slide, _ in pairs], np.array([score for _, score in pairs], dtype=np.float64)


def _tiled(
    scores: Path, slides: Sequence[Slide], states: Mapping[str, str]
) -> Iterator[tuple[Slide, SlideTiles]]:
    """Read one after the other the slides that have tiles."""
    refuse_unscored(scores, slides, states)
    for slide in with_scores(slides, states):
        tiles = read_tiles(scores_path(scores, slide.slide_id))
        if tiles.probabilities.size:
            yield slide, tiles


def _fit_logistic(
    scores: Path, slides: Sequence[Slide], config: AggregateConfig, states: Mapping[str, str]
) -> _Fit:
    from wsi_specdec.aggregation.logistic_fit import cross_fit

    features = tuple(FeatureSpec.of(name, config) for name in config.logistic_features)
    kept, values = [], []
    for slide, tiles in _tiled(scores, slides, states):
        kept.append(slide)
        values.append(feature_values(features, tiles))
    labels = np.array([slide.label for slide in kept], dtype=np.int64)
    stacked = np.stack(values) if values else np.empty((0, len(features)))
    found = cross_fit(kept, labels, stacked, features, config)
    return _Fit(found.pooler, kept, found.scores, learned_from=kept)


def _fit_mil(
    scores: Path,
    train: Sequence[Slide],
    validation: Sequence[Slide],
    config: AggregateConfig,
    states: Mapping[str, str],
) -> tuple[Mil, MilWeights]:
    from wsi_specdec.aggregation.mil_fit import Bag, fit_mil

    if not train:
        msg = (
            f"mil learns from labelled slides of the split {TRAIN!r}, and the manifest has none: "
            "score the training slides too, with embeddings: true"
        )
        raise NotEnoughDataError(msg)
    bags = [
        [Bag(s.slide_id, int(s.label or 0), partial(_embeddings, t.source)) for s, t in found]
        for found in (_tiled(scores, train, states), _tiled(scores, validation, states))
    ]
    pooler = fit_mil(bags[0], bags[1], config.mil)
    assert pooler.weights is not None
    return pooler, pooler.weights


def _embeddings(source: Path) -> NDArray[np.float32]:
    return read_tiles(source).embeddings()
