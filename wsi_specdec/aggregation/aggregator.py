"""What turns tile scores into a call, fitted once and then carried unchanged to other data."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from wsi_specdec.aggregation.pooling import Pooler, check_parameters, make_pooler
from wsi_specdec.aggregation.scores import one_model, read_slide_scores, scored_ids
from wsi_specdec.aggregation.thresholds import fit_threshold
from wsi_specdec.cohort import Slide, cohort_slides
from wsi_specdec.config import AggregateConfig, Pooling, StageConfig, ThresholdRule
from wsi_specdec.errors import ModelError
from wsi_specdec.files import read_json, write_json
from wsi_specdec.keys import AGGREGATOR_FILE, SCHEMA_VERSION


class Aggregator(StageConfig):
    """Pooling and threshold, with what they were fitted on.

    Attributes
    ----------
    pooling, pooling_parameters
        How a slide score is made of tile probabilities.
    threshold
        Slides with a score at or above it are called positive.
    threshold_rule, threshold_target
        How it was chosen.
    fit_cohort, fit_slides, fit_positives, fit_slides_sha256
        The split, the number of its labelled and scored slides, of the positive ones among them,
        and a hash of their ids; None, 0, 0 and None for a fixed threshold, which is not fitted.
    model_sha256
        Identity of the model whose scores it was fitted on; None where the scores name none.
    provenance
        What it was made with.
    """

    schema_version: int = SCHEMA_VERSION
    pooling: Pooling
    pooling_parameters: dict[str, float] = Field(default_factory=dict)
    threshold: float
    threshold_rule: ThresholdRule
    threshold_target: float
    fit_cohort: str | None
    fit_slides: int
    fit_positives: int
    fit_slides_sha256: str | None
    model_sha256: str | None
    provenance: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parameters_belong_to_pooling(self) -> "Aggregator":
        check_parameters(self.pooling, self.pooling_parameters)
        return self

    @property
    def pooler(self) -> Pooler:
        """The pooling as a function of tile probabilities."""
        return Pooler(self.pooling, self.pooling_parameters)


def fit_aggregator(
    scores: Path,
    slides: Sequence[Slide],
    config: AggregateConfig,
    *,
    states: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Aggregator:
    """Choose the threshold on the labelled slides of `config.fit_on`, and on no others.

    Parameters
    ----------
    scores
        Folder of `<slide_id>.parquet`.
    slides
        The manifest; slides of other splits are not looked at.
    config
        Pooling, threshold rule and the split to fit on.
    states
        Ledger state of each slide, which excuses those without tiles.
    provenance
        What to keep beside the result.

    Raises
    ------
    NotEnoughDataError
        If the split has not scored slides of both classes and the rule needs them.
    ManifestError
        If a labelled slide of the split has no scores and the ledger does not say why.
    ModelError
        If the scores are of several models.
    """
    pooler = make_pooler(config)
    fitted = config.threshold_rule != "fixed"
    found = _labelled_scores(scores, slides, config, states or {}) if fitted else []
    labels = [label for _, label, _ in found]
    threshold = fit_threshold(
        labels,
        [score for _, _, score in found],
        config.threshold_rule,
        config.threshold_target,
        f"the split {config.fit_on!r}",
    )
    used = [slide_id for slide_id, _, _ in found] if fitted else scored_ids(scores)
    return Aggregator(
        pooling=config.pooling,
        pooling_parameters=dict(pooler.parameters),
        threshold=threshold,
        threshold_rule=config.threshold_rule,
        threshold_target=config.threshold_target,
        fit_cohort=config.fit_on if fitted else None,
        fit_slides=len(found),
        fit_positives=labels.count(1),
        fit_slides_sha256=_hash_ids(used) if fitted else None,
        model_sha256=one_model(scores, used),
        provenance=dict(provenance or {}),
    )


def save_aggregator(folder: Path, aggregator: Aggregator) -> Path:
    """Write `aggregator.json` into `folder`, and return its path."""
    path = folder / AGGREGATOR_FILE
    write_json(path, aggregator.model_dump(mode="json"))
    return path


def load_aggregator(folder: Path) -> Aggregator:
    """Read `aggregator.json` from `folder`.

    Raises
    ------
    ModelError
        If there is none, or it is damaged or of another schema.
    """
    path = folder / AGGREGATOR_FILE
    remedy = "make one with `wsi-specdec aggregate --fit-on validation`"
    try:
        aggregator = Aggregator.model_validate(read_json(path))
    except FileNotFoundError as error:
        msg = f"there is no aggregator at {path}: {remedy}"
        raise ModelError(msg) from error
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
        msg = f"{path} is no aggregator: {error}; {remedy}"
        raise ModelError(msg) from error
    if aggregator.schema_version != SCHEMA_VERSION:
        msg = f"{path} has schema {aggregator.schema_version}, not {SCHEMA_VERSION}: {remedy}"
        raise ModelError(msg)
    return aggregator


def _labelled_scores(
    scores: Path, slides: Sequence[Slide], config: AggregateConfig, states: Mapping[str, str]
) -> list[tuple[str, int, float]]:
    """Return id, label and score of the slides to fit on; those without tiles are left out."""
    chosen = cohort_slides(slides, config.fit_on)
    labels = {slide.slide_id: slide.label for slide in chosen if slide.label is not None}
    labelled = [slide for slide in chosen if slide.slide_id in labels]
    found = read_slide_scores(scores, labelled, make_pooler(config), states)
    return [
        (each.slide_id, labels[each.slide_id], each.score)
        for each in found
        if each.score is not None
    ]


def _hash_ids(slide_ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(slide_ids)).encode()).hexdigest()
