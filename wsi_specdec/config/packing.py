"""From images that are no slides to a packed store."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from wsi_specdec.config.base import Positive, StageConfig

Name = Annotated[str, Field(min_length=1, coerce_numbers_to_str=True)]


class PackConfig(StageConfig):
    """From images of any size to square tiles of one store: docs/images.md."""

    # Side of the tiles, in pixels.
    size: Annotated[int, Field(ge=8, le=4096)] = 224
    # How an oblong image becomes square: with a margin, by losing its ends, or out of proportion.
    fit: Literal["pad", "crop", "stretch"] = "pad"
    # Of the margin.
    fill: Annotated[int, Field(ge=0, le=255)] = 0
    codec: Literal["lossless", "jpeg"] = "lossless"
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 95
    # DICOM images whose header says that annotations are burnt into their pixels.
    burnt_in: Literal["refuse", "keep"] = "refuse"
    # Names of the labels 0, 1, …; of two, the second is the positive one. Empty: those found.
    classes: tuple[Name, ...] = ()
    # Share of the patients in each split, where no image has a split of its own.
    splits: dict[
        Literal["train", "validation", "internal"], Annotated[float, Field(gt=0, lt=1)]
    ] = Field(default_factory=dict)
    # Draws the splits.
    seed: int = 0
    # µm per pixel of the tiles, where all have the same.
    mpp: Positive | None = None
    # Secret file by which patients' ids in DICOM headers become pseudonyms; none makes one in the
    # output folder. With the same file a patient has the same pseudonym in several outputs.
    salt: Path | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> "PackConfig":
        if self.splits and abs(sum(self.splits.values()) - 1) > 1e-6:
            msg = f"the shares of splits must sum to 1, got {self.splits}"
            raise ValueError(msg)
        if len({name.lower() for name in self.classes}) != len(self.classes):
            msg = f"classes names one twice: {', '.join(self.classes)}"
            raise ValueError(msg)
        return self

    def shaping(self) -> dict[str, Any]:
        """Return the settings that shape pixels; the others may change without packing anew."""
        names = {"size", "fit", "fill", "codec", "jpeg_quality", "burnt_in"}
        return self.model_dump(mode="json", include=names)
