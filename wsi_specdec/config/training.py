"""From tile stores to a model, and from a model to tile scores."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from wsi_specdec.config.augment import AugmentConfig
from wsi_specdec.config.base import Count, Fraction, NonNegative, Positive, StageConfig
from wsi_specdec.errors import ConfigError

StainMethod = Literal["none", "macenko", "vahadane", "reinhard"]
SearchedSetting = Literal["sd_coef", "weight_decay"]
_NOT_CHOSEN = "`{}` is 'auto': choose it first, by wsi_specdec.training.train_searched"


def _rising(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(a >= b for a, b in pairwise(values)):
        msg = f"give the values from the lowest to the highest, each once, got {list(values)}"
        raise ValueError(msg)
    return values


Grid = Annotated[tuple[NonNegative, ...], Field(min_length=2), AfterValidator(_rising)]


class StainConfig(StageConfig):
    """Explicit stain normalisation, fitted per slide and applied per tile: docs/stain.md."""

    method: StainMethod = "none"
    # "tile" fits a profile to every tile by itself, as much of the literature does.
    fit: Literal["slide", "tile"] = "slide"
    # Sampled of a slide, from at most so many of its tiles.
    max_pixels: Count = 200_000
    max_tiles: Count = 400
    # Optical density under which a pixel counts as glass (Macenko et al. 2009, beta) …
    min_od: Positive = 0.15
    # … of the mean of its channels, or of every channel, as torchstain counts.
    min_od_of: Literal["mean", "every_channel"] = "mean"
    # Fewer tissue pixels than this are too little to fit.
    min_pixels: Annotated[int, Field(ge=2)] = 500
    # Robust extremes of the angle, in percent (Macenko et al. 2009, alpha).
    angle_percentile: Annotated[float, Field(gt=0, lt=50)] = 1.0
    # Maximum concentrations are of the tissue, or of all pixels, as torchstain's are.
    strengths_of: Literal["tissue", "all"] = "tissue"
    # Weight of the sum of concentrations (Vahadane et al. 2016, lambda).
    sparsity: NonNegative = 0.1
    seed: int = 0


class SearchConfig(StageConfig):
    """How a setting that is `auto` is chosen: docs/search.md."""

    # As many of each, so that what is compared by them was searched at equal cost.
    sd_coefs: Grid = (0.0001, 0.001, 0.01, 0.1, 1.0)
    weight_decays: Grid = (0.0001, 0.001, 0.01, 0.1, 1.0)
    # Trainings of each value: with the seed of the training, the next one, …
    seeds: Count = 1
    # Of each training of the search; none takes as many as the training itself.
    epochs: Count | None = None

    def values(self, setting: SearchedSetting) -> tuple[float, ...]:
        """Return the values that are tried of a setting."""
        return self.sd_coefs if setting == "sd_coef" else self.weight_decays

    @model_validator(mode="after")
    def _budgets_are_equal(self) -> "SearchConfig":
        if len(self.sd_coefs) != len(self.weight_decays):
            msg = (
                f"every search gets as many values: sd_coefs has {len(self.sd_coefs)} and "
                f"weight_decays {len(self.weight_decays)}"
            )
            raise ValueError(msg)
        return self


class TrainConfig(StageConfig):
    """From tile stores to a model."""

    model: str = "resnet18"
    # Passed to timm: drop_rate, drop_path_rate, in_chans (3, or 1 for grey), …
    model_args: dict[str, Any] = Field(default_factory=dict)
    pretrained: bool = False
    # Weights to start from: a .safetensors file, or a model's folder.
    init: Path | None = None
    # Names of the labels 0, 1, …; of two, the second is the positive class.
    classes: Annotated[tuple[str, ...], Field(min_length=2)] = ("normal", "tumour")
    epochs: Count = 10
    # Tiles in one step of the optimiser, over all processes and all parts of an accumulated step.
    batch_size: Count = 64
    # Parts in which a process computes its share of a step, one after the other: less memory.
    accumulate: Count = 1
    optimiser: Literal["adamw", "sgd"] = "adamw"
    # Of SGD.
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = True
    lr: Positive = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: NonNegative = 1.0
    # "auto" chooses it as `search` says; so does that of `sd_coef`.
    weight_decay: NonNegative | Literal["auto"] = 0.01
    # Whether biases and the scales of normalisation layers are decayed too.
    decay_all: bool = False
    # Largest norm of the whole gradient; none clips nothing.
    clip_norm: Positive | None = None
    # λ of spectral decoupling, and the logit that is not penalised: one number, or one per class.
    sd_coef: NonNegative | tuple[NonNegative, ...] | Literal["auto"] = 0.0
    sd_gamma: float | tuple[float, ...] = 0.0
    # Weights of the classes in the cross-entropy: "balanced" takes n / (classes · n of the class).
    class_weights: Literal["none", "balanced"] | tuple[Positive, ...] = "none"
    labels: Literal["auto", "tile", "slide"] = "auto"
    # An epoch has as many tiles of each class.
    balance_classes: bool = True
    # What is as likely as its like to be drawn (within its class, where these are balanced).
    draw_by: Literal["tile", "slide", "patient"] = "tile"
    # Different tiles of one class that a slide gives to an epoch, at most; other ones each time.
    max_tiles_per_slide: Count | None = None
    # Tiles of less tissue, or whose measures lie outside [least, most], train and validate nothing:
    # quality: {sharpness: [20, null]} takes all that are sharp enough.
    min_tissue: Fraction = 0.0
    quality: dict[str, tuple[float | None, float | None]] = Field(default_factory=dict)
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    # The model gets the mean of the weights over the steps ("ema") or the last epochs ("swa").
    average: Literal["none", "ema", "swa"] = "none"
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    # Share of the epochs after which "swa" begins.
    swa_start: Annotated[float, Field(ge=0, lt=1)] = 0.75
    # Epochs without a better `monitor` after which training ends; none goes through all epochs.
    patience: Count | None = None
    monitor: Literal["val_auroc", "val_cross_entropy"] = "val_auroc"
    # Which epoch's weights the model gets.
    keep: Literal["best", "last"] = "last"
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = True
    compile: bool = False
    # Algorithms that give the same numbers each time; "auto" takes them on the CPU.
    deterministic: bool | Literal["auto"] = "auto"
    stain: StainConfig = Field(default_factory=StainConfig)
    device: str = "auto"
    # Decoded tiles kept in memory, in MiB, where a whole split of them fits.
    cache_mb: NonNegative = 1024.0
    # Batches decoded ahead of the step.
    prefetch: Count = 2
    # Minutes between checkpoints within an epoch (each epoch ends with one); 0 writes one a step.
    checkpoint_minutes: NonNegative = 5.0
    tensorboard: bool = True
    # Whether augmentations.png and curves.png are drawn, which takes longer than some trainings.
    pictures: bool = True
    search: SearchConfig = Field(default_factory=SearchConfig)
    seed: int = 0

    @property
    def searched(self) -> SearchedSetting | None:
        """The setting that is to be searched."""
        if self.sd_coef == "auto":
            return "sd_coef"
        return "weight_decay" if self.weight_decay == "auto" else None

    @property
    def penalty(self) -> float | tuple[float, ...]:
        """`sd_coef`, once it is known."""
        if isinstance(self.sd_coef, str):
            raise ConfigError(_NOT_CHOSEN.format("sd_coef"))
        return self.sd_coef

    @property
    def decay(self) -> float:
        """`weight_decay`, once it is known."""
        if isinstance(self.weight_decay, str):
            raise ConfigError(_NOT_CHOSEN.format("weight_decay"))
        return self.weight_decay

    @model_validator(mode="after")
    def _one_is_searched(self) -> "TrainConfig":
        if self.sd_coef == self.weight_decay == "auto":
            msg = "sd_coef and weight_decay cannot both be 'auto': one is searched at a time"
            raise ValueError(msg)
        return self


class ScoreConfig(StageConfig):
    """From models and tiles to tile scores: docs/scoring.md."""

    # Tiles that go through the network at once; "auto" takes 256 on CUDA and 32 on the CPU.
    batch_size: Count | Literal["auto"] = "auto"
    device: str = "auto"
    # "auto" takes bfloat16 on CUDA and float32 elsewhere.
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    # Test-time augmentation: logits are the mean over so many of the square's symmetries, the tile
    # as it is first, then mirrored (2), turned by half (4), and all of these transposed (8).
    symmetries: Annotated[int, Field(ge=1, le=8)] = 1
    # Whether embeddings are written as well, beside the folder of scores.
    embeddings: bool = False
    embeddings_dtype: Literal["float16", "float32"] = "float16"
    # Tiles of less tissue, or whose measures lie outside [least, most], get no score; by default
    # every tile has one. As in training: quality: {sharpness: [20, null]}.
    min_tissue: Fraction = 0.0
    quality: dict[str, tuple[float | None, float | None]] = Field(default_factory=dict)
