"""From slides to tile stores, and how that work is spread."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wsi_specdec.config.base import (
    Count,
    Fraction,
    NonNegative,
    Positive,
    ReaderName,
    StageConfig,
)


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
