"""From tile scores to calls, results and a report."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from wsi_specdec.config.base import Count, Fraction, Positive, StageConfig
from wsi_specdec.config.mil import MilConfig
from wsi_specdec.keys import TRAIN, VALIDATION

Feature = Literal[
    "mean",
    "max",
    "topk_mean",
    "quantile",
    "fraction_above",
    "noisy_or",
    "connected_area",
]
Pooling = Literal[Feature, "logistic", "mil"]
ThresholdRule = Literal["youden", "sensitivity", "specificity", "cost", "fixed"]
Calibrating = Literal["auto", "platt", "temperature", "none"]
Abstaining = Literal["none", "conformal", "band"]
PatientRule = Literal["max", "mean", "any"]
ExportFormat = Literal["regions", "tiles", "ome-tiff", "ome-zarr", "hdf5"]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]


class AggregateConfig(StageConfig):
    """From tile scores to slide scores and calls: docs/aggregation.md."""

    pooling: Pooling = "topk_mean"
    top_k: Count = 10
    quantile: Fraction = 0.95
    # Tiles at or above it count for fraction_above and connected_area.
    tile_threshold: Fraction = 0.5
    # noisy_or: power of each tile's chance to be negative, and the probability that means nothing.
    noisy_or_exponent: Positive = 1.0
    noisy_or_leak: Annotated[float, Field(ge=0, lt=1)] = 0.0
    # connected_area: mm² that get a slide score of 0.5.
    area_half_mm2: Positive = 1.0
    # logistic: poolings that it weighs, inverse strength of its L2 penalty, folds of patients.
    logistic_features: Annotated[tuple[Feature, ...], Field(min_length=1)] = (
        "mean",
        "max",
        "topk_mean",
        "quantile",
        "fraction_above",
    )
    logistic_c: Positive = 1.0
    logistic_folds: Annotated[int, Field(ge=2)] = 5
    mil: MilConfig = Field(default_factory=MilConfig)
    threshold_rule: ThresholdRule = "youden"
    # Sensitivity or specificity to reach, or the threshold itself where the rule is `fixed`.
    threshold_target: Fraction = 0.9
    # cost: false positives that one missed positive is worth, and the share of positives where the
    # calls will be used; none takes the share among the slides that the threshold is chosen on.
    cost_ratio: Positive = 1.0
    prevalence: OpenFraction | None = None
    # Slide score to probability; "auto" is Platt's where there are 10 slides of each class.
    calibration: Calibrating = "auto"
    # Which slides are referred to a pathologist, and the share of errors per class that is allowed.
    abstain: Abstaining = "none"
    alpha: OpenFraction = 0.1
    patient_rule: PatientRule = "max"
    fit_on: str = VALIDATION
    seed: int = 0

    @property
    def fitted_on(self) -> str | None:
        """The split whose labels are looked at; None where nothing is fitted."""
        fits = (
            self.threshold_rule != "fixed"
            or self.pooling in {"logistic", "mil"}
            or self.calibration in {"platt", "temperature"}
            or self.abstain != "none"
        )
        return self.fit_on if fits else None

    @property
    def needs_embeddings(self) -> bool:
        """Whether slide scores are made of embeddings, those of the training slides included."""
        return self.pooling == "mil"

    @field_validator("fit_on")
    @classmethod
    def _not_evaluated(cls, name: str) -> str:
        full = {"val": VALIDATION, "valid": VALIDATION, "training": TRAIN}.get(name, name)
        if full not in {TRAIN, VALIDATION}:
            msg = (
                f"{name!r} is evaluated, so nothing may be fitted on it: fit on {VALIDATION!r}, "
                "which is the split to give slides to fit on in the manifest"
            )
            raise ValueError(msg)
        return full

    @model_validator(mode="after")
    def _attention_is_judged_elsewhere(self) -> "AggregateConfig":
        if self.pooling == "mil" and self.fit_on != VALIDATION:
            msg = f"mil learns from {TRAIN!r}, so its threshold is chosen on {VALIDATION!r} alone"
            raise ValueError(msg)
        if len(set(self.logistic_features)) != len(self.logistic_features):
            msg = f"name each of logistic_features once, got {list(self.logistic_features)}"
            raise ValueError(msg)
        return self


class EvaluateConfig(StageConfig):
    """From calls and truth to metrics with intervals."""

    bootstrap: Annotated[int, Field(ge=100)] = 1000
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    # The arm that the others are compared with.
    baseline: str = "wd"
    # What else is compared, as an arm and its baseline: [[sd, wd+macenko]].
    pairs: tuple[tuple[str, str], ...] = ()
    # Tiles in either direction within which there is one detection, for FROC.
    detection_reach: Count = 2
    # Tiles of each class and site (or scanner), at most, for the robustness index.
    robustness_tiles: Count = 250
    seed: int = 0


class ExportConfig(StageConfig):
    """Files for other programs, beside the report."""

    formats: tuple[ExportFormat, ...] = ("regions",)
    # Least score of a tile that is called.
    tile_threshold: Fraction = 0.5
    # Where GeoJSON counts from: the scanned area's corner, as QuPath does, or the slide's.
    origin: Literal["bounds", "slide"] = "bounds"
    # GeoJSON as `.geojson.gz`.
    gzip: bool = False
    # Longest side of the OME-TIFF, in pixels.
    max_px: Annotated[int, Field(ge=64, le=16384)] = 4096


class ReportConfig(StageConfig):
    """What the report shows."""

    title: str = "Slide calls"
    # What the run is to answer; said from its arms and cohorts where empty.
    question: str = ""
    note: str = ""
    max_slides: Annotated[int, Field(ge=0)] = 12
    # Tiles in each row of the gallery of tiles; 0 shows none.
    max_tiles: Annotated[int, Field(ge=0)] = 10
    export: ExportConfig = Field(default_factory=ExportConfig)
