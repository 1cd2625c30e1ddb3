"""How tiles are changed while a network learns from them: docs/augmentation.md."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from wsi_specdec.config.base import Count, Fraction, NonNegative, Positive, StageConfig

Operation = Literal[
    "red",
    "green",
    "blue",
    "hue",
    "saturation",
    "brightness",
    "contrast",
    "gamma",
    "solarize",
    "posterize",
    "sharpen",
    "blur",
    "noise",
    "jpeg",
    "tone",
    "autocontrast",
    "grayscale",
    "haematoxylin",
    "eosin",
]


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        msg = f"a range goes from the lower number to the higher, got {list(bounds)}"
        raise ValueError(msg)
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
NonNegativeRange = Annotated[tuple[NonNegative, NonNegative], AfterValidator(_ordered)]
# Of a Gaussian, in pixels.
Sigma = Annotated[float, Field(ge=0, le=8)]
Quality = Annotated[int, Field(ge=1, le=100)]

# Outside these an operation has no meaning, or none that is bounded.
_WIDEST: dict[str, tuple[float, float]] = {
    "hue": (-0.5, 0.5),
    "solarize": (0.0, 1.0),
    "posterize": (1, 8),
    "blur": (0.0, 8.0),
    "noise": (0.0, 1.0),
    "jpeg": (1, 100),
    "tone": (0.0, 1.0),
}

# Those of StrongAugment's code, brought to pixels in [0, 1].
_STRONG: dict[Operation, Range | None] = {
    "red": (0.0, 2.0),
    "green": (0.0, 2.0),
    "blue": (0.0, 2.0),
    "hue": (-0.5, 0.5),
    "saturation": (0.0, 2.0),
    "brightness": (0.1, 2.0),
    "contrast": (0.1, 2.0),
    "gamma": (0.1, 2.0),
    "solarize": (0.0, 1.0),
    "posterize": (1, 8),
    "sharpen": (0.0, 9.0),
    "blur": (0.0, 3.0),
    "noise": (0.0, 0.06),
    "jpeg": (1, 100),
    "tone": (0.0, 1.0),
    "autocontrast": (1.0, 1.0),
    "grayscale": (1.0, 1.0),
}


class CropJitter(StageConfig):
    """A part of the tile brought to the tile's size; beyond its edge it is mirrored."""

    probability: Fraction = 0.0
    # Factor of magnification: under 1 shows more than the tile.
    zoom: PositiveRange = (0.8, 1.25)
    # Farthest that the centre moves, as a share of the side.
    shift: Fraction = 0.1


class StainJitter(StageConfig):
    """Concentrations of haematoxylin and eosin: times 1 ± alpha, plus ± beta."""

    probability: Fraction = 0.0
    alpha: Fraction = 0.2
    # In units of optical density (natural logarithm).
    beta: NonNegative = 0.05
    # Of which haematoxylin and eosin: the standard ones, or those fitted to the tile's own slide.
    vectors: Literal["standard", "slide"] = "standard"


class ColourJitter(StageConfig):
    """Factors from 1 ± the setting; the hue turns by ± its setting, of a whole turn."""

    probability: Fraction = 1.0
    brightness: Fraction = 0.1
    contrast: Fraction = 0.1
    saturation: Fraction = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0


class BlurJitter(StageConfig):
    """Gaussian blur."""

    probability: Fraction = 0.0
    sigma: Annotated[tuple[Sigma, Sigma], AfterValidator(_ordered)] = (0.1, 1.5)


class SharpenJitter(StageConfig):
    """Unsharp mask: the tile plus `amount` times what a blur of `sigma` pixels takes from it."""

    probability: Fraction = 0.0
    amount: NonNegativeRange = (0.0, 1.0)
    sigma: Annotated[float, Field(gt=0, le=8)] = 0.8


class NoiseJitter(StageConfig):
    """Normal noise, of each pixel and channel; white is 1."""

    probability: Fraction = 0.0
    std: NonNegativeRange = (0.0, 0.03)


class JpegJitter(StageConfig):
    """Encoded as a JPEG (4:2:0) and decoded again, on the CPU."""

    probability: Fraction = 0.0
    quality: Annotated[tuple[Quality, Quality], AfterValidator(_ordered)] = (30, 95)


class StrongAugment(StageConfig):
    """A few operations out of many, in random order, of strengths drawn from wide ranges."""

    probability: Fraction = 0.0
    # How many operations a tile gets, and the chance of each such number.
    operations: Annotated[tuple[Count, ...], Field(min_length=1)] = (2, 3, 4)
    chances: tuple[Fraction, ...] = (0.5, 0.3, 0.2)
    # Operations that may be drawn and their strengths; null takes one out.
    ranges: dict[Operation, Range | None] = Field(default_factory=lambda: dict(_STRONG))

    def pool(self) -> dict[Operation, tuple[float, float]]:
        """Operations that may be drawn, and the ranges of their strengths."""
        return {name: bounds for name, bounds in self.ranges.items() if bounds is not None}

    @model_validator(mode="after")
    def _can_be_drawn(self) -> "StrongAugment":
        pool = self.pool()
        if len(self.chances) != len(self.operations) or abs(sum(self.chances) - 1) > 1e-6:
            msg = "chances need one number for each of `operations`, which sum to 1"
            raise ValueError(msg)
        if max(self.operations) > len(pool):
            msg = f"{max(self.operations)} operations cannot be drawn from {len(pool)} `ranges`"
            raise ValueError(msg)
        for name, (low, high) in pool.items():
            least, most = _WIDEST.get(name, (0.0, float("inf")))
            if low < least or high > most:
                msg = f"the range of {name} must lie in {least} to {most}, got {[low, high]}"
                raise ValueError(msg)
        return self


class AugmentConfig(StageConfig):
    """What is done to a tile, in this order; what has the probability 0 is not done."""

    # One of the square's eight symmetries, each as likely.
    flips: bool = True
    crop: CropJitter = Field(default_factory=CropJitter)
    stain: StainJitter = Field(default_factory=StainJitter)
    colour: ColourJitter = Field(default_factory=ColourJitter)
    blur: BlurJitter = Field(default_factory=BlurJitter)
    sharpen: SharpenJitter = Field(default_factory=SharpenJitter)
    noise: NoiseJitter = Field(default_factory=NoiseJitter)
    jpeg: JpegJitter = Field(default_factory=JpegJitter)
    strong: StrongAugment = Field(default_factory=StrongAugment)
