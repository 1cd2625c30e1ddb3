"""Which tiles of a slide are kept: the tissue, a grid laid over it, or coordinates from outside."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.annotations import MaskImage, read_mask
from wsi_specdec.cohort import Slide
from wsi_specdec.config import TileConfig
from wsi_specdec.geometry import ReadPlan, level_box, plan_reading, plan_reading_of_size
from wsi_specdec.runner import hand_back_memory
from wsi_specdec.slides import SlideInfo, SlideReader, read_overview
from wsi_specdec.tiling.grid import grid_coords
from wsi_specdec.tiling.imported import coords_file, import_coords
from wsi_specdec.tiling.previews import make_thumbnail, write_previews
from wsi_specdec.tissue import area_fractions, check_brightfield, find_tissue, measure

NO_TISSUE = "no tissue found"


@dataclass(frozen=True, eq=False)
class Selection:
    """Tiles kept.

    Attributes
    ----------
    plan
        How they are read.
    coords
        int64, (N, 2): x, y in level-0 pixels, sorted by y, then x.
    fractions
        float32, (N,): share of each that is tissue.
    reason
        Why there are none; empty where there are some.
    """

    plan: ReadPlan
    coords: NDArray[np.int64]
    fractions: NDArray[np.float32]
    reason: str


def select_tiles(
    reader: SlideReader, slide: Slide, config: TileConfig, previews: Path
) -> Selection:
    """Find the tissue, write the previews into a folder, and choose the tiles.

    Raises
    ------
    SlideError
        If the slide has no mpp where one is needed, is fluorescence, or cannot be read.
    ManifestError
        If its tissue mask cannot be used.
    StoreError, ConfigError
        If coordinates from outside cannot be used.
    """
    plan, coords = _candidates(reader, slide, config)
    tissue = _find_tissue(reader, slide, config, previews)
    fractions = area_fractions(tissue.pixels, tissue.scale, coords, plan.tile_size_level0_px)
    if config.coords is not None:
        reason = "" if len(coords) else "its file of coordinates holds none (setting coords)"
        return Selection(plan, coords, fractions, reason)
    keep = (fractions >= config.min_tissue) & tissue.pixels.any()
    reason = "" if keep.any() else _why_empty(tissue.pixels, coords, config, plan)
    return Selection(plan, coords[keep], fractions[keep], reason)


def _candidates(
    reader: SlideReader, slide: Slide, config: TileConfig
) -> tuple[ReadPlan, NDArray[np.int64]]:
    """Return how tiles are read, and where they may lie."""
    info = reader.info
    if config.coords is not None:
        imported = import_coords(coords_file(config.coords, slide.slide_id), info)
        plan = plan_reading_of_size(
            size_level0_px=imported.size_level0_px,
            mpp_level0=info.mpp,
            level_downsamples=info.level_downsamples,
            tile_size_px=config.tile_size,
            tolerance=config.mpp_tolerance,
        )
        return plan, imported.coords
    return plan_grid(info, config)


def plan_grid(info: SlideInfo, config: TileConfig) -> tuple[ReadPlan, NDArray[np.int64]]:
    """Plan how a slide's tiles are read, and lay the grid of all of them, tissue or not.

    Returns
    -------
    plan : ReadPlan
        Level and sizes.
    coords : int64, (N, 2)
        x, y of the top-left corners in level-0 pixels, sorted by y, then x.

    Raises
    ------
    ResolutionError
        If an mpp is asked for that the slide cannot give.
    """
    plan = plan_reading(
        mpp_level0=info.mpp,
        level_downsamples=info.level_downsamples,
        mpp=config.mpp,
        tile_size_px=config.tile_size,
        overlap_px=config.overlap,
        tolerance=config.mpp_tolerance,
    )
    area = level_box(
        info.bounds, info.level_sizes[0], info.level_sizes[plan.level], plan.downsample
    )
    return plan, grid_coords(area, plan.read_size_px, plan.step_px, plan.downsample)


def _find_tissue(
    reader: SlideReader, slide: Slide, config: TileConfig, previews: Path
) -> MaskImage:
    info, settings = reader.info, config.tissue
    # First, so that large pieces are each mapped by itself from here on.
    hand_back_memory()
    overview, downsample = read_overview(reader, settings.max_mask_px, settings.mask_mpp)
    check_brightfield(overview)
    thumbnail, planes = make_thumbnail(overview), [measure(overview)]
    height, width = overview.shape[:2]
    # The largest of all that finding tissue needs, and the first to be done with.
    del overview
    hand_back_memory()
    if slide.tissue_mask_path is None:
        mpp = None if info.mpp is None else info.mpp * downsample
        # Handed over, so that they are gone as soon as they are done with.
        shown = find_tissue(planes.pop(), mpp, settings)
        tissue = MaskImage(shown, (downsample, downsample))
    else:
        origin = config.annotations.of_site(slide.site).geojson_origin
        offset = info.bounds if origin == "bounds" else None
        tissue = read_mask(slide.tissue_mask_path, info.level_sizes[0], offset)
        shown = _resized_mask(tissue.pixels, width, height)
    del planes
    hand_back_memory()
    write_previews(previews, slide.slide_id, thumbnail, shown, downsample, info.bounds)
    hand_back_memory()
    return tissue


def _resized_mask(mask: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
    resized = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(resized) > 0


def _why_empty(
    mask: NDArray[np.bool_], coords: NDArray[np.int64], config: TileConfig, plan: ReadPlan
) -> str:
    if not mask.any():
        return NO_TISSUE
    if not len(coords):
        return f"smaller than one tile of {plan.tile_size_level0_px} level-0 px"
    return f"no tile has a tissue fraction of {config.min_tissue:g} (setting min_tissue)"
