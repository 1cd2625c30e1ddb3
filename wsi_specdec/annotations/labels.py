"""Tile labels from whatever annotates a slide, by one coverage rule."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.annotations.classes import (
    EXCLUDED,
    IGNORED,
    MEANINGLESS,
    ValueTable,
    decide,
    meaning_of_name,
    value_table,
)
from wsi_specdec.annotations.mask_blocks import MaskBlocks, open_mask
from wsi_specdec.annotations.raster import SAMPLES, Shapes, coverage
from wsi_specdec.annotations.reading import is_vector, read_regions
from wsi_specdec.annotations.regions import Rings
from wsi_specdec.config import AnnotationConfig
from wsi_specdec.errors import ManifestError
from wsi_specdec.geometry import Box, Size
from wsi_specdec.tissue import marked_areas


def label_tiles(
    path: Path,
    level0: Size,
    coords: NDArray[np.int64],
    size_level0: int,
    config: AnnotationConfig,
    bounds: Box | None = None,
) -> NDArray[np.int16]:
    """Label tiles by regions or by a mask image.

    Regions (`.geojson`, `.json`, also `.gz`; `.xml`) are sampled at 64 by 64 points a tile, see
    `raster.SAMPLES` for the error. Of a mask image the coverage is exact; of a pyramidal one it is
    that of the coarsest level on which a tile is 64 px or more across.

    Parameters
    ----------
    path
        The annotation.
    level0
        The slide's size at level 0.
    coords
        (N, 2) x, y of the tiles' top-left corners, in level-0 pixels.
    size_level0
        Side of a tile in level-0 pixels.
    config
        Which classes or values mean what, and how much of a tile they must cover.
    bounds
        The slide's scanned area, from whose corner QuPath's coordinates count where
        `config.geojson_origin` says so.

    Returns
    -------
    NDArray[np.int16]
        (N,): labels, 0 for none, −1 for tiles not to be used.

    Raises
    ------
    ManifestError
        As `read_regions` and `read_mask`; also if the annotation is an image and the settings name
        classes but no value.
    """
    if is_vector(path):
        offset = bounds if config.geojson_origin == "bounds" else None
        shares = _region_shares(path, level0, coords, size_level0, config, offset)
    else:
        table = _table(path, config)

        def choose(sizes: Sequence[Size]) -> int:
            return _coarsest_fine_enough(sizes, level0, size_level0)

        with open_mask(path, level0, choose) as mask:
            shares = _mask_shares(mask, coords, size_level0, table)
    return decide(shares, len(coords), config)


def _region_shares(
    path: Path,
    level0: Size,
    coords: NDArray[np.int64],
    size_level0: int,
    config: AnnotationConfig,
    bounds: Box | None,
) -> dict[int, NDArray[np.float64]]:
    layers: dict[int, list[Rings]] = {}
    for region in read_regions(path, level0, bounds).regions:
        meaning = meaning_of_name(region.class_name, config)
        if meaning != MEANINGLESS:
            layers.setdefault(meaning, []).extend(region.polygons)
    excluded = Shapes(layers.pop(EXCLUDED, []))
    ignored = layers.pop(IGNORED, [])
    shapes = {label: Shapes(polygons) for label, polygons in layers.items()}
    shares = coverage(shapes, excluded, coords, size_level0)
    if ignored:
        shares |= coverage({IGNORED: Shapes(ignored)}, Shapes([]), coords, size_level0)
    return shares


def _table(path: Path, config: AnnotationConfig) -> ValueTable:
    table = value_table(config)
    if not any(meaning >= 0 for meaning in table.meanings):
        named = ", ".join(repr(name) for name in config.classes or config.positive)
        msg = (
            f"the annotation {path} is an image, whose classes are pixel values, and the settings "
            f"name only {named}: add the values, for one positive: ['1'] under annotations"
        )
        raise ManifestError(msg)
    return table


def _coarsest_fine_enough(sizes: Sequence[Size], level0: Size, size_level0: int) -> int:
    fine = [i for i, s in enumerate(sizes) if size_level0 * s.width >= SAMPLES * level0.width]
    return max(fine, default=0)


def _mask_shares(
    mask: MaskBlocks, coords: NDArray[np.int64], size_level0: int, table: ValueTable
) -> dict[int, NDArray[np.float64]]:
    """Coverage of each tile by each meaning, summed over the mask's blocks."""
    order = np.argsort(coords[:, 1], kind="stable")
    left, top = (coords[order, axis] / mask.scale[axis] for axis in (0, 1))
    wide, high = (size_level0 / scale for scale in mask.scale)
    areas = {meaning: np.zeros(len(coords)) for meaning in table.meanings}
    for x, y, values in mask.blocks:
        if not (table.zero_counts or values.any()):
            continue
        first = np.searchsorted(top, y - high, "right")
        last = np.searchsorted(top, y + values.shape[0], "left")
        touched = (left[first:last] > x - wide) & (left[first:last] < x + values.shape[1])
        near = np.flatnonzero(touched) + first
        if not len(near):
            continue
        for meaning, area in areas.items():
            marked = table.marked(values, meaning)
            if marked.any():
                x0, y0 = left[near] - x, top[near] - y
                area[near] += marked_areas(marked.view(np.uint8), x0, y0, x0 + wide, y0 + high)
    shares = {}
    for meaning, area in areas.items():
        shares[meaning] = np.empty(len(coords))
        shares[meaning][order] = area / (wide * high)
    return shares
