"""What turns tile scores into a call, fitted once and then carried unchanged to other data."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from wsi_specdec.aggregation.abstention import Abstention
from wsi_specdec.aggregation.calibration import Calibration
from wsi_specdec.aggregation.pooling import Mil, MilWeights, Pooler, load_pooler
from wsi_specdec.cohort import Slide
from wsi_specdec.config import PatientRule, Pooling, StageConfig, ThresholdRule
from wsi_specdec.errors import ModelError
from wsi_specdec.files import read_json, write_bytes, write_json
from wsi_specdec.keys import AGGREGATOR_FILE, MIL_FILE, SCHEMA_VERSION

_REMEDY = "make one with `wsi-specdec aggregate --fit-on validation`"


class Aggregator(StageConfig):
    """Pooling and threshold, with what they were fitted on.

    Attributes
    ----------
    pooling, pooling_parameters
        How a slide score is made of tiles.
    threshold
        Slides with a score at or above it are called positive.
    threshold_rule, threshold_target, cost_ratio, prevalence
        How it was chosen.
    calibration
        Slide score to probability; None where there were too few slides, or it was not asked for.
    abstention
        Which slides are referred; None where it was not asked for.
    patient_rule
        How a patient's slides make one call.
    fit_cohort, fit_slides, fit_positives, fit_slides_sha256
        The split, the number of its labelled and scored slides, of the positive ones among them,
        and a hash of their ids; None, 0, 0 and None where nothing was fitted.
    fit_members
        A short hash of each slide and its patient that anything was learned from, so that one of
        them is not taken for test data later.
    model_sha256
        Identity of the model whose scores it was fitted on; None where the scores name none.
    provenance
        What it was made with.
    """

    schema_version: int = SCHEMA_VERSION
    pooling: Pooling
    pooling_parameters: dict[str, Any] = Field(default_factory=dict)
    threshold: float
    threshold_rule: ThresholdRule
    threshold_target: float
    cost_ratio: float = 1.0
    prevalence: float | None = None
    calibration: Calibration | None = None
    abstention: Abstention | None = None
    patient_rule: PatientRule = "max"
    fit_cohort: str | None
    fit_slides: int
    fit_positives: int
    fit_slides_sha256: str | None
    fit_members: tuple[str, ...] = ()
    model_sha256: str | None
    provenance: dict[str, Any] = Field(default_factory=dict)
    _weights: MilWeights | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _parameters_belong_to_pooling(self) -> "Aggregator":
        load_pooler(self.pooling, self.pooling_parameters)
        return self

    @property
    def pooler(self) -> Pooler:
        """The pooling as a function of a slide's tiles."""
        pooler = load_pooler(self.pooling, self.pooling_parameters)
        if isinstance(pooler, Mil) and self._weights is not None:
            return pooler.with_weights(self._weights)
        return pooler

    @property
    def needs_embeddings(self) -> bool:
        """Whether slide scores are made of the tiles' embeddings."""
        return self.pooling == "mil"

    @property
    def weights(self) -> MilWeights | None:
        """The weights of an attention; None for other poolings."""
        return self._weights

    def with_weights(self, weights: MilWeights | None) -> Self:
        """Return it with the weights of its attention."""
        known = self.model_copy()
        known._weights = weights  # noqa: SLF001 - of its own copy
        return known


def save_aggregator(folder: Path, aggregator: Aggregator) -> Path:
    """Write `aggregator.json`, and `mil.safetensors` for attention, and return the former's path.

    The JSON comes last and names the weights by their hash: after a kill between the two, loading
    says so.
    """
    path = folder / AGGREGATOR_FILE
    if aggregator.weights is not None:
        write_bytes(folder / MIL_FILE, aggregator.weights.data)
    write_json(path, aggregator.model_dump(mode="json"))
    if aggregator.weights is None:
        (folder / MIL_FILE).unlink(missing_ok=True)
    return path


def load_aggregator(folder: Path) -> Aggregator:
    """Read `aggregator.json` from `folder`, and the weights that it names.

    Raises
    ------
    ModelError
        If there is none, or it is damaged or of another schema.
    """
    path = folder / AGGREGATOR_FILE
    try:
        aggregator = Aggregator.model_validate(read_json(path))
    except FileNotFoundError as error:
        msg = f"there is no aggregator at {path}: {_REMEDY}"
        raise ModelError(msg) from error
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
        msg = f"{path} is no aggregator: {error}; {_REMEDY}"
        raise ModelError(msg) from error
    if aggregator.schema_version != SCHEMA_VERSION:
        msg = f"{path} has schema {aggregator.schema_version}, not {SCHEMA_VERSION}: {_REMEDY}"
        raise ModelError(msg)
    return _with_weights(aggregator, folder / MIL_FILE)


def member_of(slide: Slide) -> str:
    """Return a short hash of a slide and its patient."""
    return hashlib.sha256(f"{slide.slide_id}\n{slide.patient_id}".encode()).hexdigest()[:16]


def hash_ids(slide_ids: Sequence[str]) -> str:
    """Hash ids, whatever their order."""
    return hashlib.sha256("\n".join(sorted(slide_ids)).encode()).hexdigest()


def _with_weights(aggregator: Aggregator, path: Path) -> Aggregator:
    if not aggregator.needs_embeddings:
        return aggregator
    try:
        weights = MilWeights(path.read_bytes())
    except OSError as error:
        msg = f"the attention's weights {path} cannot be read ({error}): copy its whole folder"
        raise ModelError(msg) from error
    pooler = load_pooler(aggregator.pooling, aggregator.pooling_parameters)
    assert isinstance(pooler, Mil)
    pooler.with_weights(weights, path)
    _ = weights.tensors
    return aggregator.with_weights(weights)
