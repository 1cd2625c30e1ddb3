"""From slides to tile stores, and how that work is spread."""

from pathlib import Path
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
from wsi_specdec.config.training import StainConfig


class TissueConfig(StageConfig):
    """How tissue is told from glass, on a low-resolution image of the slide."""

    method: Literal["otsu", "threshold", "all"] = "otsu"
    mask_mpp: Positive = 8.0
    max_mask_px: Count = 2048
    min_object_um2: NonNegative = 10_000.0
    max_hole_um2: NonNegative = 10_000.0
    # Bounds on Otsu's threshold, in optical density: glass noise lies below, faint tissue above.
    min_threshold: Fraction = 0.05
    max_threshold: Fraction = 0.25
    # The threshold itself where the method is "threshold".
    fixed_threshold: Fraction = 0.1
    # Fat is fainter than any threshold: it is found by its mean colour around plain tissue.
    keep_fatty: bool = True
    # Blue, green, black and (in strokes on glass) red pen; switch off for stains of such colours.
    exclude_ink: bool = True
    # Narrow bands much darker than the tissue around.
    exclude_folds: bool = False


ClassName = Annotated[str, Field(min_length=1, coerce_numbers_to_str=True)]


class AnnotationConfig(StageConfig):
    """How annotated regions, or a mask's values, become labels of tiles.

    A class is named as the file names it (QuPath's classification, ASAP's group, a mask's pixel
    value), whatever its case.
    """

    # Classes that mean tumour, label 1; empty: every class (value but 0) that is not named below.
    positive: tuple[ClassName, ...] = ()
    # Instead of `positive`, a label for each class; several classes may share one.
    classes: dict[ClassName, Annotated[int, Field(ge=0, lt=1 << 15)]] = Field(default_factory=dict)
    # Share of a tile that a label must cover; the one that covers most wins, of equal ones the
    # lowest. What is in no class counts as nothing, and a tile without a label is 0.
    min_coverage: Annotated[float, Field(gt=0, le=1)] = 0.5
    # Classes of regions that are cut out of all others.
    exclude: tuple[ClassName, ...] = ("Exclusion", "_2", "Normal", "Ignore*")
    # Classes whose tiles are not used at all (label -1), and the share above which that holds.
    ignore: tuple[ClassName, ...] = ()
    max_ignored: Fraction = 0.5
    # QuPath counts from the corner of the scanned area, other software from the slide's.
    geojson_origin: Literal["bounds", "slide"] = "bounds"
    # Of slides of these sites (the manifest's), in place of the whole of this section.
    by_site: dict[ClassName, "AnnotationConfig"] = Field(default_factory=dict)

    def of_site(self, site: str | None) -> "AnnotationConfig":
        """Return the settings for slides of one site."""
        own = self.by_site.get(site or "", self)
        return own.model_copy(update={"by_site": {}})

    @model_validator(mode="after")
    def _sites_have_none_within(self) -> "AnnotationConfig":
        nested = [site for site, own in self.by_site.items() if own.by_site]
        if nested:
            msg = f"by_site of the site {nested[0]} cannot hold another by_site"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _one_way_to_name_labels(self) -> "AnnotationConfig":
        if self.positive and self.classes:
            msg = "give either positive or classes: positive is short for classes with label 1"
            raise ValueError(msg)
        return self


class TileConfig(StageConfig):
    """From a slide to a tile store."""

    mpp: Positive | None = None
    tile_size: Annotated[int, Field(ge=8, le=4096)] = 256
    overlap: Annotated[int, Field(ge=0)] = 0
    min_tissue: Fraction = 0.5
    mpp_tolerance: Annotated[float, Field(ge=0, le=0.2)] = 0.02
    slide_mpp: Positive | None = None
    codec: Literal["jpeg", "lossless"] = "jpeg"
    # Of what is encoded here; tiles that are copied from the slide keep theirs.
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    # Where pixels come from; "auto" takes the fastest that fits: docs/formats.md.
    pixel_path: Literal["auto", "passthrough", "decode", "read_region"] = "auto"
    # Sharpness, saturation and pen of every tile; copied tiles are then decoded, for that alone.
    quality: bool = False
    # Folder of CLAM's or TRIDENT's HDF5: <slide_id>.h5 says where tiles lie and how large they are.
    coords: Path | None = None
    # Stains are normalised as tiles are written, to a profile that `wsi-specdec stain fit` wrote.
    stain: StainConfig = Field(default_factory=StainConfig)
    stain_target: Path | None = None
    reader: ReaderName = "auto"
    full_hash: bool = False
    tissue: TissueConfig = Field(default_factory=TissueConfig)
    annotations: AnnotationConfig = Field(default_factory=AnnotationConfig)

    @model_validator(mode="after")
    def _overlap_is_smaller_than_tile(self) -> "TileConfig":
        if self.overlap >= self.tile_size:
            msg = f"overlap {self.overlap} must be smaller than tile_size {self.tile_size}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _coords_bring_their_own_grid(self) -> "TileConfig":
        if self.coords is not None and (self.mpp is not None or self.overlap):
            msg = "coords say where tiles lie and how large they are: leave out mpp and overlap"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _stains_have_a_target(self) -> "TileConfig":
        normalised = self.stain.method != "none"
        if normalised != (self.stain_target is not None):
            msg = (
                "stain.method and stain_target belong together: the method, and the file that "
                "`wsi-specdec stain fit` wrote by it"
            )
            raise ValueError(msg)
        if normalised and self.pixel_path == "passthrough":
            msg = (
                "pixel_path passthrough copies tiles as they are, and stain.method changes them: "
                "leave out one of the two"
            )
            raise ValueError(msg)
        return self


class RunnerConfig(StageConfig):
    """How work is spread over slides. Changes no result, so it is never hashed."""

    workers: Count = 2
    # Of each worker, for decoding, encoding and copying; None shares the cores among workers.
    threads: Count | None = None
    # Address of a Dask scheduler, such as tcp://host:8786; None takes this machine's processes.
    scheduler: str | None = None
    timeout_s: Positive = 3600.0
    # Of one worker, resident; a slide that goes past it fails and its worker is replaced.
    memory_limit_mb: Positive | None = 4096.0
