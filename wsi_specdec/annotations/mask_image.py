"""Masks over a whole slide, from an image or from regions, at any scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.annotations.classes import EXCLUDED, meaning_of_name
from wsi_specdec.annotations.mask_blocks import MaskBlocks, open_mask
from wsi_specdec.annotations.raster import Shapes, Window
from wsi_specdec.annotations.reading import is_vector, read_regions
from wsi_specdec.annotations.regions import Rings
from wsi_specdec.config import AnnotationConfig
from wsi_specdec.geometry import Box, Size

# 64 MiB as bool, and four times that for the sums that coverage is taken from.
_MAX_SIDE = 8192
_ROWS_AT_ONCE = 256
_CUT_OUT = ("Exclusion", "Ignore*")


@dataclass(frozen=True, slots=True)
class MaskImage:
    """A mask over a whole slide.

    Attributes
    ----------
    pixels
        (h, w) bool.
    scale
        Level-0 pixels per mask pixel, in x and in y.
    """

    pixels: NDArray[np.bool_]
    scale: tuple[float, float]


def read_mask(path: Path, level0: Size, bounds: Box | None = None) -> MaskImage:
    """Read a mask from an image (what is not zero is marked) or from a file of regions.

    Memory is bounded whatever the mask's size. Of a pyramidal TIFF the finest level of at most
    8,192 px a side is read. A larger image without one is reduced to that by a whole number: a
    pixel is marked where at least half of what it stands for is. Regions are drawn with at most
    8,192 px a side, a pixel marked where its centre is inside, whatever their class, but that
    "Ignore*" and "Exclusion" are cut out and other classes that end in `*` are left aside.

    Parameters
    ----------
    path
        PNG, TIFF or any other image that OpenCV reads; `.geojson`, `.json` (also `.gz`), `.xml`.
    level0
        The slide's size at level 0.
    bounds
        See `read_regions`; nothing to images.

    Raises
    ------
    ManifestError
        If the file is missing, cannot be read, has a piece too large to decode, or has another
        shape than the slide; for regions as `read_regions`.
    """
    if is_vector(path):
        return _drawn(path, level0, bounds)
    with open_mask(path, level0, _finest_within_bounds) as mask:
        return _reduced(mask, max(1, -(-max(mask.size.width, mask.size.height) // _MAX_SIDE)))


def _finest_within_bounds(sizes: Sequence[Size]) -> int:
    fitting = (i for i, size in enumerate(sizes) if max(size.width, size.height) <= _MAX_SIDE)
    return next(fitting, len(sizes) - 1)


def _reduced(mask: MaskBlocks, factor: int) -> MaskImage:
    height, width = (-(-side // factor) for side in (mask.size.height, mask.size.width))
    counts = np.zeros((height, width), np.min_scalar_type(factor**2))
    for x, y, values in mask.blocks:
        if not values.any():
            continue
        rows, columns = (_cells(y, values.shape[0], factor), _cells(x, values.shape[1], factor))
        marked = (values != 0).astype(counts.dtype)
        if factor > 1:
            marked = np.add.reduceat(marked, rows, axis=0, dtype=counts.dtype)
            marked = np.add.reduceat(marked, columns, axis=1, dtype=counts.dtype)
        top, left = y // factor, x // factor
        counts[top : top + marked.shape[0], left : left + marked.shape[1]] += marked
    high, wide = (
        np.minimum(factor, side - factor * np.arange(cells))
        for side, cells in ((mask.size.height, height), (mask.size.width, width))
    )
    pixels = np.empty((height, width), np.bool_)
    # Row by row: the least counts of all cells would take several times the mask's memory.
    for row in range(height):
        pixels[row] = counts[row] >= (high[row] * wide + 1) // 2
    return MaskImage(pixels, (mask.scale[0] * factor, mask.scale[1] * factor))


def _cells(start: int, length: int, factor: int) -> NDArray[np.int64]:
    """Where in a block each cell of the reduced mask begins."""
    borders = np.arange((start // factor + 1) * factor, start + length, factor) - start
    return np.concatenate(([0], borders)).astype(np.int64)


def _drawn(path: Path, level0: Size, bounds: Box | None) -> MaskImage:
    config = AnnotationConfig(exclude=_CUT_OUT)
    shown: list[Rings] = []
    excluded: list[Rings] = []
    for region in read_regions(path, level0, bounds).regions:
        meaning = meaning_of_name(region.class_name, config)
        if meaning == EXCLUDED:
            excluded += region.polygons
        elif meaning > 0:
            shown += region.polygons
    pitch = max(1.0, max(level0.width, level0.height) / _MAX_SIDE)
    size = level0.scaled(pitch)
    pixels = np.zeros((size.height, size.width), np.bool_)
    marks, without = Shapes(shown), Shapes(excluded)
    for top in range(0, size.height, _ROWS_AT_ONCE):
        rows = min(_ROWS_AT_ONCE, size.height - top)
        window = Window(0, top * pitch, pitch, rows, size.width)
        if (painted := marks.paint(window)) is None:
            continue
        if (cut := without.paint(window)) is not None:
            painted &= ~cut
        pixels[top : top + rows] = painted
    return MaskImage(pixels, (pitch, pitch))
