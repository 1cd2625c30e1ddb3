"""Whole pipelines: the stages' models, nested."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from wsi_specdec.config.augment import AugmentConfig
from wsi_specdec.config.base import Count, Fraction, NonNegative, Positive, ReaderName, StageConfig
from wsi_specdec.config.calls import AggregateConfig, EvaluateConfig, ReportConfig
from wsi_specdec.config.datasets import DatasetConfig
from wsi_specdec.config.packing import PackConfig
from wsi_specdec.config.tiling import RunnerConfig, TileConfig, TissueConfig
from wsi_specdec.config.training import ScoreConfig, StainMethod, TrainConfig

# Settings of `train` that an arm may set to its own.
_OF_TRAINING = ("weight_decay", "sd_coef", "sd_gamma", "augment")


class ArmConfig(StageConfig):
    """One method in a comparison: what it changes in `train`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_-]*$")]
    # "auto" searches it for this arm alone, as `train.search` says.
    weight_decay: NonNegative | Literal["auto"] | None = None
    sd_coef: NonNegative | Literal["auto"] | None = None
    sd_gamma: float | tuple[float, ...] | None = None
    stain: StainMethod | None = None
    # "tile" fits a profile to every tile by itself.
    stain_fit: Literal["slide", "tile"] | None = None
    # Takes the place of the whole of `train.augment`; what it leaves out has its default.
    augment: AugmentConfig | None = None

    def apply(self, train: TrainConfig, seed: int) -> TrainConfig:
        """Return `train` with this arm's settings and `seed`."""
        own = {name: getattr(self, name) for name in _OF_TRAINING}
        changes: dict[str, Any] = {k: v for k, v in own.items() if v is not None}
        changes["seed"] = seed
        stain = {"method": self.stain, "fit": self.stain_fit}
        given = {name: value for name, value in stain.items() if value is not None}
        if given:
            changes["stain"] = train.stain.model_copy(update=given)
        return train.model_copy(update=changes)


class PipelineConfig(StageConfig):
    """Slides, or images that are none, to results, for one arm or several."""

    kind: Literal["pipeline"] = "pipeline"
    # Of slides; with `pack`, the folder or CSV file of the images.
    manifest: Path | None = None
    # In place of a manifest: a public data set, and the folder that it was unpacked to.
    dataset: DatasetConfig | None = None
    data: Path | None = None
    out: Path | None = None
    # Shares of patients a split gets, where no slide of the manifest has one.
    splits: dict[str, Fraction] = Field(
        default_factory=lambda: {"train": 0.6, "validation": 0.15, "internal": 0.25}
    )
    # Each site (or scanner) in turn is external, and the others are divided: docs/compare.md.
    leave_out: Literal["site", "scanner"] | None = None
    tile: TileConfig = Field(default_factory=TileConfig)
    # In place of `tile`, for images that are no slides (docs/images.md): how they are packed, or
    # the folder that `wsi-specdec pack` wrote, whose manifest holds where none is given.
    pack: PackConfig | None = None
    packed: Path | None = None
    train: TrainConfig = Field(default_factory=TrainConfig)
    arms: Annotated[tuple[ArmConfig, ...], Field(min_length=1)] = Field(
        default_factory=lambda: (ArmConfig(name="sd", sd_coef=0.01),)
    )
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    score: ScoreConfig = Field(default_factory=ScoreConfig)
    aggregate: AggregateConfig = Field(default_factory=AggregateConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    report: ReportConfig = Field(default_factory=ReportConfig)
    runner: RunnerConfig = Field(default_factory=RunnerConfig)
    # Arms and seeds that are trained at the same time; of several, each has one thread.
    parallel: Count = 1

    @model_validator(mode="after")
    def _arms_and_seeds_are_sound(self) -> "PipelineConfig":
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            msg = f"arms must have different names, got {names}"
            raise ValueError(msg)
        for arm in self.arms:
            settings = arm.apply(self.train, 0)
            if settings.sd_coef == settings.weight_decay == "auto":
                msg = f"arm {arm.name}: sd_coef and weight_decay cannot both be 'auto'"
                raise ValueError(msg)
            if "none" not in {self.tile.stain.method, settings.stain.method}:
                msg = (
                    f"arm {arm.name} normalises stains ({settings.stain.method}) that are "
                    f"normalised as tiles are written ({self.tile.stain.method}): set one of the "
                    "two to none"
                )
                raise ValueError(msg)
        if len(set(self.seeds)) != len(self.seeds):
            msg = f"seeds must differ, got {list(self.seeds)}"
            raise ValueError(msg)
        return self

    @property
    def of_images(self) -> bool:
        """Whether it works on packed images, not on slides."""
        return self.pack is not None or self.packed is not None

    @model_validator(mode="after")
    def _one_source_of_tiles(self) -> "PipelineConfig":
        if self.pack is not None and self.packed is not None:
            msg = "give either pack, to pack images, or packed, a folder of packed ones"
            raise ValueError(msg)
        if self.of_images and (self.tile != TileConfig() or self.dataset is not None):
            msg = "tile and dataset are about slides: leave them out where images are packed"
            raise ValueError(msg)
        if self.leave_out is not None and self.pack is not None and self.pack.splits:
            msg = f"leave_out {self.leave_out} divides the images itself: leave out pack.splits"
            raise ValueError(msg)
        return self


class ProcessConfig(StageConfig):
    """A folder of unseen slides through a trained model."""

    kind: Literal["process"] = "process"
    slides: Path | None = None
    model: Path | None = None
    aggregator: Path | None = None
    out: Path | None = None
    slide_mpp: Positive | None = None
    min_tissue: Fraction = 0.5
    reader: ReaderName = "auto"
    tissue: TissueConfig = Field(default_factory=TissueConfig)
    score: ScoreConfig = Field(default_factory=ScoreConfig)
    report: ReportConfig = Field(default_factory=ReportConfig)
    runner: RunnerConfig = Field(default_factory=RunnerConfig)


class CohortConfig(StageConfig):
    """Numbers of composed slides in the built-in cohort, half of each with cancer."""

    train: Annotated[int, Field(ge=2)] = 24
    validation: Annotated[int, Field(ge=2)] = 12
    internal: Annotated[int, Field(ge=2)] = 20
    external: Annotated[int, Field(ge=2)] = 20
    # Cases of `external` that each of five more scanners shows as well, in cohorts of their own
    # (external-centre-0 …): the same cases in all of them.
    external_centres: Annotated[int, Field(ge=0)] = 0
    seed: int = 0

    @model_validator(mode="after")
    def _centres_have_cases(self) -> "CohortConfig":
        if self.external_centres == 1 or self.external_centres > self.external:
            msg = (
                "external_centres are cases of `external`, with cancer and without: give 0, or "
                f"2 to {self.external}, got {self.external_centres}"
            )
            raise ValueError(msg)
        return self


class DemoConfig(StageConfig):
    """The built-in composed cohort, and the pipeline that is run on it.

    `full` is laid over the other settings by `study --full`.
    """

    kind: Literal["demo"] = "demo"
    cohort: CohortConfig = Field(default_factory=CohortConfig)
    pipeline: PipelineConfig = Field(default_factory=PipelineConfig)
    full: dict[str, Any] = Field(default_factory=dict)


AnyConfig = PipelineConfig | ProcessConfig | DemoConfig
