"""One slide, from its file to a complete store."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.annotations import label_tiles
from wsi_specdec.cohort import Slide
from wsi_specdec.config import TileConfig
from wsi_specdec.errors import FluorescenceError, ResolutionError, StoreError
from wsi_specdec.files import fingerprint, sha256_of
from wsi_specdec.keys import (
    COORDS_DIR,
    PREVIEWS_DIR,
    SCHEMA_VERSION,
    STAIN_APPLIED,
    STAIN_DIR,
    UNKNOWN_LABEL,
)
from wsi_specdec.runner import TaskResult, hand_back_memory
from wsi_specdec.slides import SlideReader
from wsi_specdec.store import TileStoreWriter, export_coords, open_store, store_path
from wsi_specdec.tiling.imported import coords_file
from wsi_specdec.tiling.opening import mark_of, open_brightfield, open_given
from wsi_specdec.tiling.paths import PixelPath, choose_path, tiles_at
from wsi_specdec.tiling.selection import Selection, plan_grid, select_tiles
from wsi_specdec.tiling.write import write_tiles

# Attribute: whether a store is empty since its slide is of a kind that is not supported.
_UNSUPPORTED = "unsupported"
_DECODED_TOO = "tiles are decoded too, to measure their quality"


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
    hdf5
        Whether coordinates are also written as HDF5, to `coords/<slide_id>.h5`.
    threads
        How many decode, encode and copy.
    """

    slide: Slide
    out: Path
    config: TileConfig
    params_sha256: str
    provenance: dict[str, Any]
    overwrite: bool = False
    hdf5: bool = False
    threads: int = 1

    @property
    def store_path(self) -> Path:
        """Where the store goes."""
        return store_path(self.out, self.slide.slide_id)


def params_of(slide: Slide, config: TileConfig) -> str:
    """Hash whatever shapes a slide's store, but for the slide's own file."""
    # Where these lie is of no matter; what they hold is among the inputs.
    unhashed: dict[str, Any] = {"coords": True, "stain_target": True}
    # Those of the slide's own site are hashed in place of all.
    unhashed["annotations"] = {"by_site"}
    annotations = config.annotations.of_site(slide.site)
    config = config.model_copy(update={"annotations": annotations})
    if config.stain.method == "none":
        unhashed["stain"] = True
    return sha256_of(
        {
            "schema_version": SCHEMA_VERSION,
            "tile": config.model_dump(mode="json", exclude=unhashed),
            "mpp": slide.mpp,
            "scanner": slide.scanner,
            "inputs": _input_hashes(slide, config),
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
    StoreError
        If its file of coordinates cannot be used.
    ConfigError
        If its coordinates are another slide's, or the pixel path asked for cannot be taken.
    """
    # Threads are shared out by the runner's settings.
    cv2.setNumThreads(1)
    slide, config = job.slide, job.config
    slide_mark = mark_of(slide, config)
    if not job.overwrite and job.store_path.exists():
        if (former := _reusable(job, slide_mark)) is not None:
            _export(job)
            return former
        # Of another slide or other settings: should this run fail, it must not pass for its result.
        shutil.rmtree(job.store_path)
    try:
        with open_brightfield(slide, config) as reader:
            result = _tile(reader, job, slide_mark)
    except FluorescenceError as error:
        _write_empty(job, slide_mark, str(error))
        raise
    _export(job)
    return result


def _export(job: TileJob) -> None:
    if job.hdf5:
        path = job.out / COORDS_DIR / f"{job.slide.slide_id}.h5"
        export_coords(open_store(job.store_path), path)


def _reusable(job: TileJob, slide_mark: str) -> TaskResult | None:
    """Return the result of a former run, None where it is not of the same slide and settings."""
    try:
        store = open_store(job.store_path)
    except StoreError:
        return None
    wanted = {"params_sha256": job.params_sha256, "slide_fingerprint": slide_mark}
    if any(store.attributes.get(name) != value for name, value in wanted.items()):
        return None
    state, reason = _state(store.n_tiles, store.attributes)
    if store.attributes.get(_UNSUPPORTED):
        raise FluorescenceError(reason)
    return TaskResult(state, reason, store.n_tiles, reused=True)


def _tile(reader: SlideReader, job: TileJob, slide_mark: str) -> TaskResult:
    config = job.config
    chosen = select_tiles(reader, job.slide, config, job.out / PREVIEWS_DIR)
    hand_back_memory()
    plan, coords = chosen.plan, chosen.coords
    labels = _labels(reader, job, plan.tile_size_level0_px, coords)
    path = _stained(choose_path(reader, plan, coords, config), reader, job, chosen, slide_mark)
    attributes = _attributes(reader, job, chosen, path, slide_mark)
    hand_back_memory()
    _write(job, reader, chosen, path, labels, attributes)
    state, reason = _state(len(coords), attributes)
    return TaskResult(state, reason, len(coords))


def _write(
    job: TileJob,
    reader: SlideReader,
    chosen: Selection,
    path: PixelPath,
    labels: NDArray[np.int16],
    attributes: Mapping[str, Any],
) -> None:
    """Write the store."""
    config, plan, coords = job.config, chosen.plan, chosen.coords
    chunk_px = path.level.tile.width if path.level and path.name == "passthrough" else None
    with TileStoreWriter(
        job.store_path,
        n_tiles=len(coords),
        tile_size=config.tile_size,
        codec=config.codec,
        jpeg_quality=_jpeg_quality(config, path) or config.jpeg_quality,
        chunk_size=chunk_px,
        threads=job.threads,
        attributes=attributes,
    ) as writer:
        quality = write_tiles(
            writer, path, reader, plan, coords, quality=config.quality, threads=job.threads
        )
        writer.finish(coords, chosen.fractions, labels, quality)


def _write_empty(job: TileJob, slide_mark: str, reason: str) -> None:
    """Write the store, without tiles, of a slide that is not to be cut."""
    with open_given(job.slide, job.config) as reader:
        try:
            plan, _ = plan_grid(reader.info, job.config)
        except ResolutionError:
            # Nor does it have the resolution that its store would state.
            return
        nowhere = np.empty((0, 2), np.int64)
        chosen = Selection(plan, nowhere, np.empty(0, np.float32), reason)
        path = PixelPath("read_region", reason, None)
        attributes = _attributes(reader, job, chosen, path, slide_mark) | {_UNSUPPORTED: True}
        _write(job, reader, chosen, path, np.empty(0, np.int16), attributes)


def _labels(
    reader: SlideReader, job: TileJob, size_level0: int, coords: NDArray[np.int64]
) -> NDArray[np.int16]:
    if job.slide.annotation_path is None:
        return np.full(len(coords), UNKNOWN_LABEL, dtype=np.int16)
    return label_tiles(
        job.slide.annotation_path,
        reader.info.level_sizes[0],
        coords,
        size_level0,
        job.config.annotations.of_site(job.slide.site),
        reader.info.bounds,
    )


def _state(n_tiles: int, attributes: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the state of a slide, and why there are no tiles or what to be wary of."""
    if n_tiles:
        return "done", "; ".join(attributes.get("warnings", ()))
    return "empty", str(attributes.get("reason", ""))


def _jpeg_quality(config: TileConfig, path: PixelPath) -> int | None:
    """Quality of the store's JPEGs: as they are encoded, or as they were where copied."""
    if path.name == "passthrough" and path.level is not None:
        return path.level.quality
    return config.jpeg_quality if config.codec == "jpeg" else None


def _input_hashes(slide: Slide, config: TileConfig) -> dict[str, str]:
    """Hashes of the files beside the slide; a missing one fails later, but for the target."""
    files = {"tissue_mask": slide.tissue_mask_path, "annotation": slide.annotation_path}
    if config.coords is not None:
        files["coords"] = coords_file(config.coords, slide.slide_id)
    hashes = {
        name: fingerprint(path) if path.is_file() else "missing"
        for name, path in files.items()
        if path is not None
    }
    if config.stain_target is not None:
        from wsi_specdec.stain.target import read_target

        # Of the target alone: fitted again, its file has another date.
        hashes["stain_target"] = read_target(config.stain_target).sha256
    return hashes


def _stained(
    path: PixelPath, reader: SlideReader, job: TileJob, chosen: Selection, slide_mark: str
) -> PixelPath:
    """Fit the slide's stains where tiles are normalised, and keep their profile."""
    if job.config.stain.method == "none":
        return path
    from wsi_specdec.tiling.stained import fit_normaliser

    def read(tiles: NDArray[np.int64]) -> NDArray[np.uint8]:
        return tiles_at(path, reader, chosen.plan, chosen.coords[tiles], job.threads)

    normaliser = fit_normaliser(job.config, read, len(chosen.coords))
    hand_back_memory()
    if normaliser is not None:
        made_from = {
            "fitted": "while tiling",
            "store_params_sha256": job.params_sha256,
            "slide_fingerprint": slide_mark,
        }
        normaliser.write_profile(job.out / STAIN_DIR, job.slide.slide_id, made_from)
    return replace(path, stained=normaliser)


def _attributes(
    reader: SlideReader, job: TileJob, chosen: Selection, path: PixelPath, slide_mark: str
) -> dict[str, Any]:
    info, slide, plan, config = reader.info, job.slide, chosen.plan, job.config
    level0 = info.level_sizes[0]
    inputs = {"slide": slide_mark, **_input_hashes(slide, config)}
    stained = path.stained
    remarks = [stained.warning] if stained is not None and stained.warning else []
    return {
        "slide_id": slide.slide_id,
        "slide_path": str(slide.path),
        "slide_fingerprint": slide_mark,
        "slide_vendor": info.vendor,
        "objective_power": info.objective_power,
        "scanner": slide.scanner if slide.scanner is not None else info.scanner,
        "level0_width": level0.width,
        "level0_height": level0.height,
        "mpp_level0": info.mpp,
        "mpp_source": info.mpp_source,
        "mpp": plan.mpp,
        "mpp_effective": plan.mpp_effective,
        "read_level": plan.level,
        "read_size_px": plan.read_size_px,
        "tile_size_px": plan.tile_size_px,
        "tile_size_level0_px": plan.tile_size_level0_px,
        "stride_px": config.tile_size - config.overlap,
        "bounds_x": info.bounds.x,
        "bounds_y": info.bounds.y,
        "pixel_path": path.name,
        "pixel_path_reason": path.reason or (_DECODED_TOO if config.quality else ""),
        "jpeg_quality": _jpeg_quality(config, path),
        STAIN_APPLIED: "none" if stained is None else stained.applied,
        "reason": chosen.reason,
        _UNSUPPORTED: False,
        "warnings": [*info.warnings, *remarks],
        "params_sha256": job.params_sha256,
        "provenance": {**job.provenance, "inputs": inputs},
    }
