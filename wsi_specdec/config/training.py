"""From tile stores to a model, and from a model to tile scores."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from wsi_specdec.config.base import Count, Fraction, NonNegative, Positive, StageConfig

StainMethod = Literal["none", "macenko"]


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
