"""What other programs open: GeoJSON, OME-TIFF, OME-Zarr and HDF5 of a run's slides."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.annotations import polygons_to_geojson, tiles_to_geojson, write_geojson
from wsi_specdec.config import ExportConfig
from wsi_specdec.errors import RunDirectoryError, SlideError
from wsi_specdec.geometry import Box, Size
from wsi_specdec.keys import COORDS_DIR, PROB_PREFIX
from wsi_specdec.progress import console, progress
from wsi_specdec.report.heatmap import overlay, score_map
from wsi_specdec.report.heatmaps import is_shown
from wsi_specdec.report.images import size_of
from wsi_specdec.report.layout import Layout, score_grid
from wsi_specdec.report.ome_tiff import write_ome_tiff
from wsi_specdec.report.ome_zarr import ScoreMap, write_score_map
from wsi_specdec.report.regions import called_regions
from wsi_specdec.report.run import Run, SeedFolder
from wsi_specdec.slides import open_slide, read_overview
from wsi_specdec.store import export_coords

_UM2_PER_MM2: Final = 1e6


@dataclass(frozen=True)
class _Scored:
    """One slide's tiles and one model's scores of them."""

    folder: SeedFolder
    layout: Layout
    coords: NDArray[np.int64]
    scores: NDArray[np.float64]
    class_name: str

    @property
    def slide_id(self) -> str:
        return self.layout.slide_id

    @property
    def measurement(self) -> str:
        """Name of the scores, as in the scores' file."""
        return PROB_PREFIX + self.class_name


def export_run(
    run: Run,
    config: ExportConfig,
    *,
    slides: Collection[str] = (),
    arms: Collection[str] = (),
) -> list[Path]:
    """Write the files that `config.formats` names, of each slide and each arm's first seed.

    Parameters
    ----------
    run
        The run.
    config
        Kinds of files, threshold of a called tile, and what GeoJSON counts from.
    slides
        Ids of the slides; none takes the slides that have a heatmap.
    arms
        Names of the arms; none takes all.

    Returns
    -------
    list[Path]
        The files, and folders of OME-Zarr, under `exports/` beside the scores; HDF5 under
        `coords/`.

    Raises
    ------
    RunDirectoryError, StoreError
        If a slide or an arm is not in the run, a file of the run is missing, or the run is on
        packed images, whose scores lie nowhere.
    """
    if run.images is not None:
        msg = (
            f"{run.path} is a run on packed images: exports show where on slides scores lie, and "
            "an image has one score, which stands in calls.csv"
        )
        raise RunDirectoryError(msg)
    chosen = _chosen("slide", slides, [s for s in run.slides if is_shown(run, s)], run.slides)
    names = _chosen("arm", arms, [name for name, seeds in run.arms.items() if seeds], run.arms)
    folders = [run.arms[name][0] for name in names]
    written: list[Path] = []
    if not config.formats:
        return written
    with progress("exports", len(chosen)) as tick:
        for slide_id in chosen:
            written += _export_slide(run, slide_id, folders, config)
            tick()
    return written


def regions_geojson(
    coords: NDArray[np.int64],
    scores: NDArray[np.float64],
    layout: Layout,
    class_name: str,
    config: ExportConfig,
) -> list[dict[str, object]]:
    """Describe the called regions of a slide as GeoJSON features for QuPath.

    Parameters
    ----------
    coords, scores
        (N, 2) corners in level-0 pixels, and (N,) scores.
    layout
        Of the slide.
    class_name
        The positive class, such as `tumour`.
    config
        Threshold and origin.

    Returns
    -------
    list of features
        The highest score first; measurements are the numbers of tiles, their mean and highest
        score, and the area in mm² where the slide's resolution is known.
    """
    rounding = math.ceil(layout.read_downsample) + 1
    found = called_regions(coords, scores, layout.tile_size, config.tile_threshold, rounding)
    name = PROB_PREFIX + class_name
    measurements: dict[str, list[float]] = {
        "tiles": [float(region.tiles) for region in found],
        f"mean {name}": [region.mean_score for region in found],
        f"max {name}": [region.max_score for region in found],
    }
    if layout.mpp is not None:
        mm2 = layout.mpp**2 / _UM2_PER_MM2
        measurements["area mm^2"] = [round(region.area_px * mm2, 6) for region in found]
    collection = polygons_to_geojson(
        [region.rings for region in found],
        class_name.capitalize(),
        measurements=measurements,
        bounds=_bounds(layout, config),
    )
    return list(collection["features"])


def _export_slide(
    run: Run, slide_id: str, folders: Sequence[SeedFolder], config: ExportConfig
) -> list[Path]:
    layout = run.layout(slide_id)
    written = []
    if "hdf5" in config.formats:
        path = run.path / COORDS_DIR / f"{slide_id}.h5"
        export_coords(run.store(slide_id), path)
        written.append(path)
    kinds = [kind for kind in _WRITERS if kind in config.formats]
    picture = _picture(run, layout, config.max_px) if "ome-tiff" in config.formats else None
    for folder in folders if kinds or picture else ():
        coords, scores = folder.tile_scores(slide_id)
        scored = _Scored(folder, layout, coords, scores, folder.class_name(slide_id))
        written += [_WRITERS[kind](scored, config) for kind in kinds]
        if picture is not None:
            written.append(_write_picture(scored, *picture))
    return written


def _write_regions(scored: _Scored, config: ExportConfig) -> Path:
    path = scored.folder.export(scored.slide_id, f".regions.geojson{_gz(config)}")
    features = regions_geojson(
        scored.coords, scored.scores, scored.layout, scored.class_name, config
    )
    write_geojson(path, features)
    return path


def _write_tiles(scored: _Scored, config: ExportConfig) -> Path:
    path = scored.folder.export(scored.slide_id, f".tiles.geojson{_gz(config)}")
    called = (scored.scores >= config.tile_threshold).tolist()
    positive = scored.class_name.capitalize()
    classes = [positive if each else f"Not {scored.class_name}" for each in called]
    features = tiles_to_geojson(
        scored.coords,
        scored.layout.tile_size,
        {scored.measurement: scored.scores.astype(np.float32)},
        classes,
        bounds=_bounds(scored.layout, config),
    )
    write_geojson(path, features)
    return path


def _write_zarr(scored: _Scored, _config: ExportConfig) -> Path:
    path = scored.folder.export(scored.slide_id, ".ome.zarr")
    grid = score_grid(scored.coords, scored.scores, scored.layout)
    write_score_map(path, ScoreMap(grid, scored.slide_id, scored.layout.mpp, scored.class_name))
    return path


def _write_picture(
    scored: _Scored, image: NDArray[np.uint8], downsample: tuple[float, float]
) -> Path:
    layout = scored.layout
    values = score_map(scored.coords, scored.scores, layout.tile_size, size_of(image), downsample)
    mpp = None if layout.mpp is None else (layout.mpp * downsample[0], layout.mpp * downsample[1])
    path = scored.folder.export(scored.slide_id, ".ome.tif")
    write_ome_tiff(path, overlay(image, values), f"{scored.slide_id} {scored.measurement}", mpp)
    return path


_WRITERS: Final[Mapping[str, Callable[[_Scored, ExportConfig], Path]]] = {
    "regions": _write_regions,
    "tiles": _write_tiles,
    "ome-zarr": _write_zarr,
}


def _picture(
    run: Run, layout: Layout, max_px: int
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Picture of the whole slide and its downsample; where the slide is gone, the thumbnail's."""
    slide = run.slides[layout.slide_id]
    if slide.path.exists():
        try:
            with open_slide(slide.path, mpp=layout.mpp) as reader:
                if reader.info.level_sizes[0] == layout.level0:
                    image, downsample = read_overview(reader, max_px, None)
                    return image, (downsample, downsample)
                why = f"is of another size than the tiles of {layout.slide_id}"
        except SlideError as error:
            why = f"cannot be read ({error})"
    else:
        why = "is not there any more"
    note = f"{slide.path} {why}: its thumbnail is taken, which has fewer pixels"
    console().print(note, highlight=False, markup=False)
    image = run.thumbnail(layout.slide_id)
    return image, _downsample(layout.level0, size_of(image))


def _downsample(level0: Size, size: Size) -> tuple[float, float]:
    return level0.width / size.width, level0.height / size.height


def _bounds(layout: Layout, config: ExportConfig) -> Box | None:
    return layout.bounds if config.origin == "bounds" else None


def _gz(config: ExportConfig) -> str:
    return ".gz" if config.gzip else ""


def _chosen(
    what: str, asked: Collection[str], default: Sequence[str], known: Collection[str]
) -> list[str]:
    unknown = [name for name in asked if name not in known]
    if unknown:
        msg = f"the run has no {what} {', '.join(unknown)}; it has {', '.join(sorted(known)[:10])}"
        raise RunDirectoryError(msg)
    return list(asked or default)
