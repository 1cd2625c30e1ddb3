"""Score maps and what is drawn over thumbnails: pure functions of arrays, and one writer."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.geometry import Size
from wsi_specdec.report.images import resize_mask, size_of, write_png

# Magma, reversed and without its blackest end: even steps in lightness, told apart with any
# colour vision, and what scores low stays pale like the glass around it.
_COLOURMAP: Final = cv2.COLORMAP_MAGMA
_DARKEST_LEVEL: Final = 51
_OPACITY: Final = 0.75
# Tissue under the colours is grey and pale, so that every hue means a score.
_PALENESS: Final = 0.5
_OUTLINE_RGB: Final = (0, 229, 255)
_HALO_RGB: Final = (15, 20, 30)
# Indices gathered at once, so that memory stays bounded whatever the number of tiles.
_BLOCK_PIXELS: Final = 1 << 22


def score_map(
    coords: NDArray[np.int64],
    scores: NDArray[np.floating],
    tile_size_level0: int,
    size: Size,
    downsample: float | tuple[float, float],
) -> NDArray[np.float32]:
    """Lay tile scores out as an image of the whole slide.

    A map pixel takes the score of every tile that holds its centre, averaged where tiles overlap;
    neighbouring tiles thus neither share a pixel nor leave a gap. A tile that holds no centre,
    being smaller than a pixel, gives its score to the pixel under its own centre.

    Parameters
    ----------
    coords
        (N, 2), x and y of the tiles' top-left corners in level-0 pixels.
    scores
        (N,); a NaN is left out.
    tile_size_level0
        Side of a tile in level-0 pixels.
    size
        Width and height of the map; what lies outside is cut off.
    downsample
        Level-0 pixels per map pixel, for both axes or for x and y.

    Returns
    -------
    NDArray[float32]
        (size.height, size.width), NaN where there is no tile.
    """
    known = np.isfinite(scores)
    scale = np.broadcast_to(np.asarray(downsample, dtype=np.float64), (2,))
    start, stop = _spans(coords[known], tile_size_level0, scale)
    limit = np.array([size.width, size.height])
    start, stop = np.clip(start, 0, limit), np.clip(stop, 0, limit)
    total, count = _accumulate(start, stop, np.asarray(scores[known], dtype=np.float64), size)
    mean = np.full(size.area, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean.reshape(size.height, size.width).astype(np.float32)


def colourise(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colour scores in [0, 1], (h, w), as (h, w, 3) RGB; NaN is white."""
    known = np.isfinite(values)
    scores = np.clip(np.where(known, values, 0), 0, 1)
    levels = np.rint(255 - scores * (255 - _DARKEST_LEVEL)).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, _COLOURMAP), cv2.COLOR_BGR2RGB)
    return np.where(known[..., None], colours, 255).astype(np.uint8)


def overlay(thumbnail: NDArray[np.uint8], values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colour a score map over a thumbnail of the same (h, w), whose own colours turn grey."""
    grey = cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY)
    pale = cv2.addWeighted(grey, 1 - _PALENESS, np.full_like(grey, 255), _PALENESS, 0)
    base = cv2.cvtColor(pale, cv2.COLOR_GRAY2RGB)
    mixed = cv2.addWeighted(base, 1 - _OPACITY, colourise(values), _OPACITY, 0)
    return np.where(np.isfinite(values)[..., None], mixed, base).astype(np.uint8, copy=False)


def outline(thumbnail: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draw the outline of a mask, of any scale, over a thumbnail of the same slide."""
    fitted = resize_mask(mask, size_of(thumbnail)).astype(np.uint8)
    found, _ = cv2.findContours(fitted, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    drawn = np.ascontiguousarray(thumbnail).copy()
    width = max(1, round(max(drawn.shape[:2]) / 250))
    cv2.drawContours(drawn, found, -1, _HALO_RGB, width * 2 + 1, cv2.LINE_AA)
    cv2.drawContours(drawn, found, -1, _OUTLINE_RGB, width, cv2.LINE_AA)
    return drawn


def colour_stops(number: int = 9) -> list[str]:
    """Colours of the legend from score 0 to score 1, in hex."""
    ramp = colourise(np.linspace(0, 1, number)[None, :])[0]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in ramp.tolist()]


def write_heatmap(
    path: Path,
    thumbnail: NDArray[np.uint8],
    level0: Size,
    coords: NDArray[np.int64],
    scores: NDArray[np.floating],
    tile_size_level0: int,
) -> None:
    """Write the scores of a slide's tiles, coloured over its thumbnail, as PNG.

    Parameters
    ----------
    thumbnail
        (h, w, 3) RGB of the whole slide.
    level0
        Size of the slide's finest level, which `thumbnail` shows all of.
    coords, scores, tile_size_level0
        As in `score_map`.
    """
    size = size_of(thumbnail)
    downsample = (level0.width / size.width, level0.height / size.height)
    values = score_map(coords, scores, tile_size_level0, size, downsample)
    write_png(path, overlay(thumbnail, values))


def _spans(
    coords: NDArray[np.int64], tile_size_level0: int, scale: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and one-past-last map pixel of each tile, (N, 2) x and y."""
    start = np.ceil(coords / scale - 0.5).astype(np.int64)
    stop = np.ceil((coords + tile_size_level0) / scale - 0.5).astype(np.int64)
    under_centre = np.floor((coords + tile_size_level0 / 2) / scale).astype(np.int64)
    narrow = stop <= start
    start = np.where(narrow, under_centre, start)
    return start, np.where(narrow, start + 1, stop)


def _accumulate(
    start: NDArray[np.int64], stop: NDArray[np.int64], scores: NDArray[np.float64], size: Size
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of the scores that fall on each map pixel, both flat."""
    total, count = np.zeros(size.area), np.zeros(size.area)
    if not len(scores):
        return total, count
    extent = (stop - start).max(axis=0)
    step = max(1, _BLOCK_PIXELS // max(1, int(extent.prod())))
    for first in range(0, len(scores), step):
        block = slice(first, first + step)
        columns = start[block, 0, None] + np.arange(extent[0])  # (n, w)
        rows = start[block, 1, None] + np.arange(extent[1])  # (n, h)
        inside = (rows < stop[block, 1, None])[:, :, None] & (columns < stop[block, 0, None])[
            :, None, :
        ]
        index = (rows[:, :, None] * size.width + columns[:, None, :])[inside]
        weights = np.broadcast_to(scores[block, None, None], inside.shape)[inside]
        total += np.bincount(index, weights, minlength=size.area)
        count += np.bincount(index, minlength=size.area)
    return total, count
