"""Studies: one method against another on images that differ in a stated way: docs/studies/."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from wsi_specdec.config.augment import AugmentConfig, ColourJitter, StainJitter, StrongAugment
from wsi_specdec.config.base import Count, Fraction, NonNegative, Positive, StageConfig
from wsi_specdec.config.calls import EvaluateConfig
from wsi_specdec.config.packing import Name
from wsi_specdec.config.training import TrainConfig
from wsi_specdec.config.whole import ArmConfig

Share = Annotated[float, Field(gt=0, lt=1)]
LearnedSplit = Literal["train", "validation", "internal"]
Shift = Literal[
    "blur", "sharpening", "brighter", "darker", "contrast", "hue", "jpeg", "resolution", "noise"
]
_SHARES: dict[LearnedSplit, float] = {"train": 0.6, "validation": 0.15, "internal": 0.25}


class StudyData(StageConfig):
    """Where a study's images come from."""

    # A folder or CSV as `pack` takes them; a run directory of `tile` or `pack`; or "breast", the
    # patches that ship with the package.
    source: Path | Literal["breast"] | None = None
    # Names of the labels 0, 1, …; of two, the second is the positive one. Empty: those found.
    classes: tuple[Name, ...] = ()
    # Side of the images in pixels; none keeps that of a store, and packs pictures at 224.
    size: Annotated[int, Field(ge=8, le=4096)] | None = None
    fit: Literal["pad", "crop", "stretch"] = "stretch"
    # Splits as the source names them, and what they are here: {test: external}.
    split_names: dict[str, str] = Field(default_factory=dict)
    # Shares of the patients, where the source has no split; where it has no validation, of those
    # in its `train`.
    splits: dict[LearnedSplit, Share] = Field(default_factory=lambda: dict(_SHARES))
    # Images of each split at most, as many of each class as their share.
    max_images: dict[str, Count] = Field(default_factory=dict)
    # Tiles that each slide gives, where the source is a run directory of slides.
    tiles_per_slide: Count = 200
    seed: int = 0


class StudyConfig(StageConfig):
    """What every study has; `full` is laid over the other settings by `study --full`."""

    title: str = ""
    out: Path | None = None
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    # Trainings at a time, each with one thread; "auto" takes one for each core.
    workers: Count | Literal["auto"] = "auto"
    full: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _seeds_differ(self) -> "StudyConfig":
        if len(set(self.seeds)) != len(self.seeds):
            msg = f"seeds must differ, got {list(self.seeds)}"
            raise ValueError(msg)
        return self


class ImageStudyConfig(StudyConfig):
    """A study that trains networks on images."""

    data: StudyData = Field(default_factory=StudyData)
    train: TrainConfig = Field(default_factory=TrainConfig)
    arms: Annotated[tuple[ArmConfig, ...], Field(min_length=1)] = Field(
        default_factory=lambda: (
            ArmConfig(name="wd", weight_decay="auto", sd_coef=0.0),
            ArmConfig(name="sd", weight_decay=0.0, sd_coef="auto"),
        )
    )
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)

    @model_validator(mode="after")
    def _arms_differ(self) -> "ImageStudyConfig":
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            msg = f"arms must have different names, got {names}"
            raise ValueError(msg)
        return self


Mark = Literal["sharpening", "stain", "jpeg", "corner"]


class MarkStrengths(StageConfig):
    """How much each mark changes an image."""

    # Times what a blur of `sharpening_sigma` pixels takes from the image.
    sharpening: Positive = 1.0
    sharpening_sigma: Positive = 1.0
    # Factors of haematoxylin and eosin.
    stain: tuple[Positive, Positive] = (0.85, 1.15)
    # Quality that an image is compressed with.
    jpeg: Annotated[int, Field(ge=1, le=100)] = 60
    # Side of the black square, in pixels.
    corner: Count = 2


class SpuriousConfig(ImageStudyConfig):
    """Training images of one class carry a mark: docs/studies/shortcuts.md."""

    kind: Literal["spurious"] = "spurious"
    marks: Annotated[tuple[Mark, ...], Field(min_length=1)] = ("sharpening",)
    strengths: MarkStrengths = Field(default_factory=MarkStrengths)
    # Share of the positive images that carry the mark in training; of the others the rest to 1.
    probabilities: Annotated[
        tuple[Annotated[float, Field(ge=0.5, le=1)], ...], Field(min_length=1)
    ] = (0.5, 0.9, 0.98, 1.0)
    # What models hold of mark and class is shown at this one, or at the highest below it.
    shown_probability: Fraction = 0.98

    @model_validator(mode="after")
    def _conditions_differ(self) -> "SpuriousConfig":
        for name, values in (("marks", self.marks), ("probabilities", self.probabilities)):
            if len(set(values)) != len(values):
                msg = f"{name} must differ, got {list(values)}"
                raise ValueError(msg)
        return self


class RobustnessConfig(ImageStudyConfig):
    """Models trained on clean images, tested on shifted ones: docs/studies/robustness.md."""

    kind: Literal["robustness"] = "robustness"
    # Of the test images, each at five strengths.
    shifts: tuple[Shift, ...] = get_args(Shift)
    # Centres of CAMELYON17 whose stains test images are moved to, a fifth of the way at a time.
    centres: tuple[Annotated[int, Field(ge=0, le=4)], ...] = (0, 1, 2, 3, 4)

    @model_validator(mode="after")
    def _shifts_differ(self) -> "RobustnessConfig":
        for name, values in (("shifts", self.shifts), ("centres", self.centres)):
            if len(set(values)) != len(values):
                msg = f"{name} must differ, got {list(values)}"
                raise ValueError(msg)
        if not self.shifts and not self.centres:
            msg = "there is nothing to test: name shifts, centres, or both"
            raise ValueError(msg)
        return self


class LinearConfig(StageConfig):
    """Linear models of two samples with two features, and how they are trained."""

    # Strength of the weak feature, and those that the strong one has in turn.
    weak: Positive = 2.0
    strong: Annotated[tuple[Positive, ...], Field(min_length=2)] = (2.0, 3.0, 4.0, 5.0, 6.0)
    # Least and greatest angle of the rotation that shares features out, in degrees; each seed
    # draws its own. Below 45 both features help.
    angles: tuple[Annotated[float, Field(gt=0, lt=45)], Annotated[float, Field(gt=0, lt=45)]] = (
        25.0,
        35.0,
    )
    parameters: Annotated[int, Field(ge=2)] = 50
    weight_decay: Positive = 0.02
    sd_coef: Positive = 0.1
    lr: Positive = 0.1
    steps: Count = 5000


class MoonsConfig(StageConfig):
    """Two moons, and the network that is trained on them."""

    # Points of each moon, what lies between the moons, and the deviation of the points.
    points: Annotated[int, Field(ge=10)] = 150
    gap: NonNegative = 0.2
    noise: NonNegative = 0.1
    # What lies between the moons in tests; below 0 they reach into each other.
    test_gaps: Annotated[tuple[float, ...], Field(min_length=1)] = (0.2, 0.0, -0.25, -0.5)
    test_points: Annotated[int, Field(ge=10)] = 1000
    hidden: Count = 500
    lr: Positive = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    steps: Count = 1000
    weight_decays: tuple[Positive, ...] = (0.0001, 0.001, 0.01)
    sd_coefs: tuple[Positive, ...] = (0.01, 0.1, 1.0)


class StarvationConfig(StudyConfig):
    """Gradient starvation in systems of two features: docs/studies/starvation.md."""

    kind: Literal["starvation"] = "starvation"
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    linear: LinearConfig = Field(default_factory=LinearConfig)
    moons: MoonsConfig = Field(default_factory=MoonsConfig)


class StainPatchesConfig(ImageStudyConfig):
    """Patches with and without stain normalisation: docs/studies/stain_patches.md."""

    kind: Literal["stain_patches"] = "stain_patches"

    # Each arm is trained on images as they are, …
    # … on images that are normalised, by the settings of `train.stain`, each by itself, …
    normalisation: tuple[Literal["macenko", "reinhard", "vahadane"], ...] = (
        "macenko",
        "reinhard",
        "vahadane",
    )
    # … and on images as they are, augmented so; none leaves that out.
    augmented: AugmentConfig | None = Field(
        default_factory=lambda: AugmentConfig(stain=StainJitter(probability=1.0))
    )
    # Training images that the target is made of, at most.
    references: Count = 100
    # Images that the cost is measured on, at most.
    timed: Count = 200

    @model_validator(mode="after")
    def _stains_are_the_studys(self) -> "StainPatchesConfig":
        if self.train.stain.method != "none" or any(arm.stain is not None for arm in self.arms):
            msg = "the study normalises stains itself, by `normalisation`: name no other method"
            raise ValueError(msg)
        if odd := [arm.name for arm in self.arms if "+" in arm.name]:
            msg = f"what stands behind '+' is added by the study: rename {', '.join(odd)}"
            raise ValueError(msg)
        if len(set(self.normalisation)) != len(self.normalisation):
            msg = f"normalisation names a method twice: {', '.join(self.normalisation)}"
            raise ValueError(msg)
        return self


class RadiographsConfig(ImageStudyConfig):
    """COVID-19 in chest radiographs: docs/studies/radiographs.md."""

    kind: Literal["radiographs"] = "radiographs"
    # Side of the images that networks take, pixels; `data.size` is that of the images which lung
    # fields are found in and cut from.
    size: Annotated[int, Field(ge=16, le=1024)] = 80
    # What of an image networks are shown: all of it, or the square around its lung fields, …
    regions: Annotated[tuple[Literal["image", "lungs"], ...], Field(min_length=1)] = (
        "image",
        "lungs",
    )
    # … with a margin, in shares of the image's side.
    margin: Annotated[float, Field(ge=0, le=0.3)] = 0.04
    # Each arm is trained with the augmentation of `train.augment`, and once more with this one;
    # none leaves that out.
    strong: AugmentConfig | None = Field(
        default_factory=lambda: AugmentConfig(
            flips=False,
            colour=ColourJitter(probability=0.0),
            strong=StrongAugment(probability=1.0),
        )
    )
    # Images of each cohort, as many of each class, whose attribution is computed; 0 leaves it out.
    explained: Annotated[int, Field(ge=0)] = 60
    # Points on the path from the mean image to an image, at which gradients are taken.
    steps: Annotated[int, Field(ge=2)] = 16

    @model_validator(mode="after")
    def _names_are_the_studys(self) -> "RadiographsConfig":
        if odd := [arm.name for arm in self.arms if "+" in arm.name]:
            msg = f"what stands behind '+' is added by the study: rename {', '.join(odd)}"
            raise ValueError(msg)
        if len(set(self.regions)) != len(self.regions):
            msg = f"regions names one twice: {', '.join(self.regions)}"
            raise ValueError(msg)
        return self


AnyStudy = (
    SpuriousConfig | RobustnessConfig | StarvationConfig | StainPatchesConfig | RadiographsConfig
)
