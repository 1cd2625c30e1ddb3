"""One frozen model per stage; a pipeline file is these, nested.

Every default is written here and nowhere else. Unknown keys are refused.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from wsi_specdec.errors import ConfigError
from wsi_specdec.files import sha256_of
from wsi_specdec.keys import VALIDATION

T = TypeVar("T")
ConfigT = TypeVar("ConfigT", bound="StageConfig")

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
ReaderName = Literal["auto", "openslide", "tiffslide"]
StainMethod = Literal["none", "macenko"]
Pooling = Literal["mean", "max", "topk_mean", "quantile", "fraction_above"]
ThresholdRule = Literal["youden", "sensitivity", "specificity", "fixed"]


class StageConfig(BaseModel):
    """Base of all: frozen, unknown keys refused."""

    # Deferred, since the command line imports this module for `--help`.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    def digest(self) -> str:
        """SHA-256 of the resolved settings."""
        return sha256_of(self.model_dump(mode="json"))


class TissueConfig(StageConfig):
    """How tissue is told from glass, on a low-resolution image of the slide."""

    method: Literal["otsu", "all"] = "otsu"
    mask_mpp: Positive = 8.0
    max_mask_px: Count = 4096
    min_object_um2: NonNegative = 10_000.0
    max_hole_um2: NonNegative = 40_000.0
    # Bounds on Otsu's threshold, in optical density: glass noise lies below, faint tissue above.
    min_threshold: Fraction = 0.05
    max_threshold: Fraction = 0.25
    # Blue, green and black pen is not tissue; switch off for stains that are blue or green.
    exclude_ink: bool = True


class TileConfig(StageConfig):
    """From a slide to a tile store."""

    mpp: Positive | None = None
    tile_size: Annotated[int, Field(ge=8, le=4096)] = 256
    overlap: Annotated[int, Field(ge=0)] = 0
    min_tissue: Fraction = 0.5
    mpp_tolerance: Annotated[float, Field(ge=0, le=0.2)] = 0.02
    slide_mpp: Positive | None = None
    # Share of a tile that annotated tumour must cover for the tile to count as tumour.
    min_label_coverage: Annotated[float, Field(gt=0, le=1)] = 0.5
    codec: Literal["jpeg", "lossless"] = "jpeg"
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    reader: ReaderName = "auto"
    full_hash: bool = False
    tissue: TissueConfig = Field(default_factory=TissueConfig)

    @model_validator(mode="after")
    def _overlap_is_smaller_than_tile(self) -> "TileConfig":
        if self.overlap >= self.tile_size:
            msg = f"overlap {self.overlap} must be smaller than tile_size {self.tile_size}"
            raise ValueError(msg)
        return self


class RunnerConfig(StageConfig):
    """How work is spread over slides. Changes no result, so it is never hashed."""

    workers: Count = 2
    # Address of a Dask scheduler, such as tcp://host:8786; None takes this machine's processes.
    scheduler: str | None = None
    timeout_s: Positive = 3600.0
    # Of one worker, resident; a slide that goes past it fails and its worker is replaced.
    memory_limit_mb: Positive | None = 4096.0


class StainConfig(StageConfig):
    """Explicit stain normalisation, fitted per slide and applied per tile."""

    method: StainMethod = "none"
    max_pixels: Count = 200_000
    # Optical density under which a pixel counts as glass (Macenko et al. 2009, beta).
    min_od: Positive = 0.15
    # Robust extremes of the angle, in percent (Macenko et al. 2009, alpha).
    angle_percentile: Annotated[float, Field(gt=0, lt=50)] = 1.0
    seed: int = 0


class TrainConfig(StageConfig):
    """From tile stores to a model."""

    model: str = "resnet18"
    model_args: dict[str, Any] = Field(default_factory=dict)
    pretrained: bool = False
    init: Path | None = None
    epochs: Count = 10
    batch_size: Count = 64
    lr: Positive = 1e-3
    warmup_epochs: NonNegative = 1.0
    weight_decay: NonNegative = 0.01
    sd_coef: NonNegative = 0.0
    sd_gamma: float = 0.0
    labels: Literal["auto", "tile", "slide"] = "auto"
    balance_classes: bool = True
    flips: bool = True
    jitter: Fraction = 0.1
    precision: Literal["float32", "bfloat16"] = "float32"
    stain: StainConfig = Field(default_factory=StainConfig)
    device: str = "auto"
    # Decoded tiles kept in memory, in MiB, where a whole split of them fits.
    cache_mb: NonNegative = 1024.0
    seed: int = 0


class ScoreConfig(StageConfig):
    """From model and tile stores to tile scores."""

    batch_size: Count = 256
    device: str = "auto"


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


class ArmConfig(StageConfig):
    """One method in a comparison: what it changes in `train`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_-]*$")]
    weight_decay: NonNegative | None = None
    sd_coef: NonNegative | None = None
    stain: StainMethod | None = None

    def apply(self, train: TrainConfig, seed: int) -> TrainConfig:
        """Return `train` with this arm's settings and `seed`."""
        changes: dict[str, Any] = {"seed": seed}
        if self.weight_decay is not None:
            changes["weight_decay"] = self.weight_decay
        if self.sd_coef is not None:
            changes["sd_coef"] = self.sd_coef
        if self.stain is not None:
            changes["stain"] = train.stain.model_copy(update={"method": self.stain})
        return train.model_copy(update=changes)


class PipelineConfig(StageConfig):
    """Slides to results, for one arm or several."""

    kind: Literal["pipeline"] = "pipeline"
    manifest: Path | None = None
    out: Path | None = None
    # Shares of patients a split gets, where no slide of the manifest has one.
    splits: dict[str, Fraction] = Field(
        default_factory=lambda: {"train": 0.6, "validation": 0.15, "internal": 0.25}
    )
    tile: TileConfig = Field(default_factory=TileConfig)
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

    @model_validator(mode="after")
    def _names_are_unique(self) -> "PipelineConfig":
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            msg = f"arms must have different names, got {names}"
            raise ValueError(msg)
        if len(set(self.seeds)) != len(self.seeds):
            msg = f"seeds must differ, got {list(self.seeds)}"
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
    seed: int = 0


class DemoConfig(StageConfig):
    """The built-in composed cohort, and the pipeline that is run on it."""

    kind: Literal["demo"] = "demo"
    cohort: CohortConfig = Field(default_factory=CohortConfig)
    pipeline: PipelineConfig = Field(default_factory=PipelineConfig)


AnyConfig = PipelineConfig | ProcessConfig | DemoConfig


def load_config(path: Path) -> AnyConfig:
    """Read a pipeline file; relative paths in it are taken from the working directory.

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, or has a wrong or unknown key (all are listed).
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        msg = f"cannot read the config {path}: {error}"
        raise ConfigError(msg) from error
    if not isinstance(values, dict):
        msg = f"{path} holds no settings; start from a file in pipelines/"
        raise ConfigError(msg)
    values.setdefault("kind", "pipeline")
    adapter: TypeAdapter[AnyConfig] = TypeAdapter(Annotated[AnyConfig, Field(discriminator="kind")])
    return _validated(lambda: adapter.validate_python(values), str(path))


def make_config(model: type[ConfigT], values: dict[str, Any], source: str) -> ConfigT:
    """Build one stage's config from flags.

    Raises
    ------
    ConfigError
        If a value is wrong; the message names `source`, the setting and the rule.
    """
    return _validated(lambda: model.model_validate(values), source)


def override(config: ConfigT, assignments: Sequence[str]) -> ConfigT:
    """Change settings by assignments such as `tile.mpp=4` or `seeds=[0, 1]` (values are YAML).

    Raises
    ------
    ConfigError
        If an assignment is no assignment, names no section, or its value is wrong.
    """
    values = config.model_dump()
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        *sections, name = path.strip().split(".")
        place = values
        for section in sections:
            inner = place.get(section)
            if not isinstance(inner, dict):
                msg = f"--set {assignment}: there is no section {section!r} in {sorted(place)}"
                raise ConfigError(msg)
            place = inner
        if not equals or not name:
            msg = f"--set {assignment}: write it as SECTION.NAME=VALUE, for one tile.mpp=1.0"
            raise ConfigError(msg)
        place[name] = yaml.safe_load(text)
    return make_config(type(config), values, "--set")


def dump_config(config: StageConfig) -> str:
    """Render a config as YAML that `load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _validated(build: Callable[[], T], source: str) -> T:
    try:
        return build()
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in item['loc']) or 'config'}: {item['msg']}"
            f" (got {item['input']!r})"
            for item in error.errors()
        ]
        msg = f"{source}:\n" + "\n".join(lines)
        raise ConfigError(msg) from error


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """List the settings in which two nested mappings differ, as `tile.mpp: 4.0 -> 2.0`.

    >>> differences({"tile": {"mpp": 4.0, "overlap": 0}}, {"tile": {"mpp": 2.0, "overlap": 0}})
    ['tile.mpp: 4.0 -> 2.0']
    """
    found: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key, "unset"), new.get(key, "unset")
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}: {before} -> {after}")
    return found
