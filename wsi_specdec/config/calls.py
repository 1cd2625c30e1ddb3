"""From tile scores to calls, results and a report."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from wsi_specdec.config.base import Count, Fraction, StageConfig
from wsi_specdec.keys import VALIDATION

Pooling = Literal["mean", "max", "topk_mean", "quantile", "fraction_above"]
ThresholdRule = Literal["youden", "sensitivity", "specificity", "fixed"]


class AggregateConfig(StageConfig):
    """From tile scores to slide scores and calls."""

    pooling: Pooling = "topk_mean"
    top_k: Count = 10
    quantile: Fraction = 0.95
    tile_threshold: Fraction = 0.5
    threshold_rule: ThresholdRule = "youden"
    # Sensitivity or specificity to reach, or the threshold itself where the rule is `fixed`.
    threshold_target: Fraction = 0.9
    fit_on: str = VALIDATION

    @field_validator("fit_on")
    @classmethod
    def _full_name(cls, name: str) -> str:
        return VALIDATION if name in {"val", "valid"} else name


class EvaluateConfig(StageConfig):
    """From calls and truth to metrics with intervals."""

    bootstrap: Annotated[int, Field(ge=100)] = 1000
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    # The arm that the others are compared with.
    baseline: str = "wd"
    seed: int = 0


class ReportConfig(StageConfig):
    """What the report shows."""

    title: str = "Slide calls"
    note: str = ""
    max_slides: Annotated[int, Field(ge=0)] = 12
