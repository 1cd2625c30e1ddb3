"""One slide, from its file to a complete store."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.annotations import MaskImage, label_tiles, read_mask
from wsi_specdec.cohort import Slide
from wsi_specdec.config import TileConfig
from wsi_specdec.errors import (
    SlideNotFoundError,
    StoreError,
    UnsupportedSlideError,
)
from wsi_specdec.files import fingerprint, sha256_of
from wsi_specdec.geometry import ReadPlan, plan_reading
from wsi_specdec.keys import PREVIEWS_DIR, SCHEMA_VERSION, UNKNOWN_LABEL
from wsi_specdec.runner import TaskResult
from wsi_specdec.slides import SlideReader, open_slide, read_overview
from wsi_specdec.store import TileStoreWriter, open_store, store_path
from wsi_specdec.tiling.extract import read_tiles
from wsi_specdec.tiling.grid import grid_coords
from wsi_specdec.tiling.previews import write_previews
from wsi_specdec.tissue import area_fractions, check_brightfield, find_tissue

NO_TISSUE = "no tissue found"


@dataclass(frozen=True, slots=True)
class TileJob:
    """All that a worker process needs to tile one slide.

    Attributes
    ----------
    slide
        Row of the manifest.
    out
        Output folder; the store goes to `tiles/`, previews to `previews/`.
    config
        Settings.
    params_sha256
        Of `params_of(slide, config)`.
    provenance
        What this run is made with.
    overwrite
        Whether a store that is there already is made anew.
    """

    slide: Slide
    out: Path
    config: TileConfig
    params_sha256: str
    provenance: dict[str, Any]
    overwrite: bool = False

    @property
    def store_path(self) -> Path:
        """Where the store goes."""
        return store_path(self.out, self.slide.slide_id)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Tiles kept: (N, 2) coords, (N,) tissue fractions, and why there are none."""

    coords: NDArray[np.int64]
    fractions: NDArray[np.float32]
    reason: str


def params_of(slide: Slide, config: TileConfig) -> str:
    """Hash whatever shapes a slide's store, but for the slide's own file."""
    return sha256_of(
        {
            "schema_version": SCHEMA_VERSION,
            "tile": config.model_dump(mode="json"),
            "mpp": slide.mpp,
            "scanner": slide.scanner,
            "inputs": _input_hashes(slide),
        }
    )


def tile_slide(job: TileJob) -> TaskResult:
    """Tile one slide, unless its store is there, complete and of the same slide and settings.

    Raises
    ------
    SlideError
        If the slide is missing, cannot be read, has no mpp where one is needed, or is of a kind
        that is not supported.
    ManifestError
        If its tissue mask or annotation cannot be used.
    """
    # The runner works on as many slides as there are cores.
    cv2.setNumThreads(1)
    slide, config = job.slide, job.config
    if not slide.path.exists():
        msg = f"no such slide: {slide.path}"
        raise SlideNotFoundError(msg)
    slide_mark = fingerprint(slide.path, full=config.full_hash)
    if not job.overwrite and job.store_path.exists():
        if (former := _reusable(job, slide_mark)) is not None:
            return former
        # Of another slide or other settings: should this run fail, it must not pass for its result.
        shutil.rmtree(job.store_path)
    mpp, source = (slide.mpp, "manifest") if slide.mpp is not None else (config.slide_mpp, "flag")
    with open_slide(slide.path, config.reader, mpp, source) as reader:
        return _tile(reader, job, slide_mark)


def _reusable(job: TileJob, slide_mark: str) -> TaskResult | None:
    """Return the result of a former run, None where it is not of the same slide and settings."""
    try:
        store = open_store(job.store_path)
    except StoreError:
        return None
    wanted = {"params_sha256": job.params_sha256, "slide_fingerprint": slide_mark}
    if any(store.attributes.get(name) != value for name, value in wanted.items()):
        return None
    state, reason = _state(store.n_tiles, str(store.attributes.get("reason", "")))
    return TaskResult(state, reason, store.n_tiles, reused=True)


def _tile(reader: SlideReader, job: TileJob, slide_mark: str) -> TaskResult:
    config, info = job.config, reader.info
    if info.fluorescence:
        msg = "its metadata say fluorescence; only brightfield slides such as H&E are supported"
        raise UnsupportedSlideError(msg)
    plan = plan_reading(
        mpp_level0=info.mpp,
        level_downsamples=info.level_downsamples,
        mpp=config.mpp,
        tile_size_px=config.tile_size,
        overlap_px=config.overlap,
        tolerance=config.mpp_tolerance,
    )
    grid = _plan_grid(reader, job, plan)
    labels = _labels(reader, job, plan, grid.coords)
    with TileStoreWriter(
        job.store_path,
        n_tiles=len(grid.coords),
        tile_size=config.tile_size,
        codec=config.codec,
        jpeg_quality=config.jpeg_quality,
        attributes=_attributes(reader, job, plan, slide_mark) | {"reason": grid.reason},
    ) as writer:
        for tiles in read_tiles(reader, grid.coords, plan):
            writer.append(tiles)
        writer.finish(grid.coords, grid.fractions, labels, {})
    state, reason = _state(len(grid.coords), grid.reason)
    return TaskResult(state, reason, len(grid.coords))


def _plan_grid(reader: SlideReader, job: TileJob, plan: ReadPlan) -> _Grid:
    """Find the tissue, write the previews, and choose the tiles."""
    tissue_config, info = job.config.tissue, reader.info
    overview, downsample = read_overview(reader, tissue_config.max_mask_px, tissue_config.mask_mpp)
    check_brightfield(overview)
    if job.slide.tissue_mask_path is None:
        mpp = None if info.mpp is None else info.mpp * downsample
        shown = find_tissue(overview, mpp, tissue_config)
        tissue = MaskImage(shown, (downsample, downsample))
    else:
        tissue = read_mask(job.slide.tissue_mask_path, info.level_sizes[0])
        shown = _resized_mask(tissue.pixels, overview.shape[1], overview.shape[0])
    write_previews(job.out / PREVIEWS_DIR, job.slide.slide_id, overview, shown, downsample)
    coords = grid_coords(info.bounds, plan.tile_size_level0_px, plan.stride_level0_px)
    fractions = area_fractions(tissue.pixels, tissue.scale, coords, plan.tile_size_level0_px)
    keep = (fractions >= job.config.min_tissue) & tissue.pixels.any()
    reason = "" if keep.any() else _why_empty(tissue.pixels, coords, job.config, plan)
    return _Grid(coords[keep], fractions[keep], reason)


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


def _labels(
    reader: SlideReader, job: TileJob, plan: ReadPlan, coords: NDArray[np.int64]
) -> NDArray[np.int16]:
    if job.slide.annotation_path is None:
        return np.full(len(coords), UNKNOWN_LABEL, dtype=np.int16)
    return label_tiles(
        job.slide.annotation_path,
        reader.info.level_sizes[0],
        coords,
        plan.tile_size_level0_px,
        job.config.min_label_coverage,
    )


def _state(n_tiles: int, reason: str) -> tuple[Any, str]:
    return ("done", "") if n_tiles else ("empty", reason)


def _input_hashes(slide: Slide) -> dict[str, str]:
    """Hashes of the files that the manifest names beside the slide; a missing one fails later."""
    files = {"tissue_mask": slide.tissue_mask_path, "annotation": slide.annotation_path}
    return {
        name: fingerprint(path) if path.is_file() else "missing"
        for name, path in files.items()
        if path is not None
    }


def _attributes(
    reader: SlideReader, job: TileJob, plan: ReadPlan, slide_mark: str
) -> dict[str, Any]:
    info, slide = reader.info, job.slide
    level0 = info.level_sizes[0]
    inputs = {"slide": slide_mark, **_input_hashes(slide)}
    return {
        "slide_id": slide.slide_id,
        "slide_path": str(slide.path),
        "slide_fingerprint": slide_mark,
        "slide_vendor": info.vendor,
        "scanner": slide.scanner if slide.scanner is not None else info.scanner,
        "level0_width": level0.width,
        "level0_height": level0.height,
        "mpp_level0": info.mpp,
        "mpp_source": info.mpp_source,
        "mpp": plan.mpp,
        "mpp_effective": plan.mpp_effective,
        "read_level": plan.level,
        "tile_size_px": plan.tile_size_px,
        "tile_size_level0_px": plan.tile_size_level0_px,
        "stride_px": job.config.tile_size - job.config.overlap,
        "bounds_x": info.bounds.x,
        "bounds_y": info.bounds.y,
        "pixel_path": "read_region",
        "stain_applied": "none",
        "params_sha256": job.params_sha256,
        "provenance": {**job.provenance, "inputs": inputs},
    }
