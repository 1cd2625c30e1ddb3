"""What the config models share: their base, and types that state a range."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from wsi_specdec.files import sha256_of

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
ReaderName = Literal["auto", "openslide", "tiffslide", "image"]


class StageConfig(BaseModel):
    """Base of all: frozen, unknown keys refused."""

    # Deferred, since the command line imports this module for `--help`.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    def digest(self) -> str:
        """SHA-256 of the resolved settings."""
        return sha256_of(self.model_dump(mode="json"))
