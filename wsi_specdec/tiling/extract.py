"""Pixels of tiles by the reader's `read_region`, several neighbours at a time."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.geometry import ReadPlan, Size
from wsi_specdec.slides import SlideReader

# Side of a region read at once, in pixels of the level: bounds memory, and is wide enough that
# a slide's own tiles are seldom decoded twice.
_BLOCK_PX = 2048
# A region of a longer side is averaged by a whole factor as it is read, strip by strip.
_WHOLE_PX = 4096
_STRIP_AREA_PX = 1 << 24


def read_tiles(
    slide: SlideReader, coords: NDArray[np.int64], plan: ReadPlan
) -> Iterator[NDArray[np.uint8]]:
    """Read tiles in the order of `coords`, in batches of neighbours in a row.

    Where the level's resolution is not the target's, pixels are averaged by area. Regions of more
    than 4,096 px a side are first averaged by the whole factor that brings them near that; they
    may then reach past the tile by less than that factor.

    Parameters
    ----------
    slide
        The open slide.
    coords
        (N, 2) x, y of the top-left corners, in level-0 pixels.
    plan
        Level and sizes.

    Yields
    ------
    NDArray[np.uint8]
        (n, T, T, 3) RGB, n >= 1, T = `plan.tile_size_px`.
    """
    scale = slide.info.level_downsamples[plan.level]
    for run in _runs(coords, plan, scale):
        if plan.read_size_px > _WHOLE_PX:
            yield _resampled(_read_averaged(slide, run[0], plan), plan)[np.newaxis]
        else:
            yield _read_run(slide, run, plan, scale)


def _runs(coords: NDArray[np.int64], plan: ReadPlan, scale: float) -> Iterator[NDArray[np.int64]]:
    """Split into runs of neighbours in one row, of at most `_BLOCK_PX` (or one tile) in width."""
    limit = max(1, int((_BLOCK_PX - plan.read_size_px) * scale / plan.stride_level0_px) + 1)
    start = 0
    for end in range(1, len(coords) + 1):
        if (
            end == len(coords)
            or end - start == limit
            or coords[end, 1] != coords[start, 1]
            or coords[end, 0] - coords[end - 1, 0] > plan.tile_size_level0_px
        ):
            yield coords[start:end]
            start = end


def _read_run(
    slide: SlideReader, run: NDArray[np.int64], plan: ReadPlan, scale: float
) -> NDArray[np.uint8]:
    """Read one region that holds all tiles of a run, and cut it up."""
    side = plan.read_size_px
    offsets = np.rint((run[:, 0] - run[0, 0]) / scale).astype(np.int64)
    region = Size(int(offsets[-1]) + side, side)
    pixels = slide.read_region(int(run[0, 0]), int(run[0, 1]), plan.level, region)
    return np.stack([_resampled(pixels[:, x : x + side], plan) for x in offsets])


def _read_averaged(
    slide: SlideReader, corner: NDArray[np.int64], plan: ReadPlan
) -> NDArray[np.uint8]:
    """Read one large tile strip by strip, averaged by a whole factor."""
    factor = plan.read_size_px // min(plan.tile_size_px, plan.read_size_px)
    factor = max(1, min(factor, plan.read_size_px // _BLOCK_PX))
    side = -(-plan.read_size_px // factor)
    scale = slide.info.level_downsamples[plan.level]
    rows = max(1, _STRIP_AREA_PX // (side * factor * factor))
    strips = []
    for row in range(0, side, rows):
        height = min(rows, side - row)
        strip = slide.read_region(
            int(corner[0]),
            int(corner[1]) + round(row * factor * scale),
            plan.level,
            Size(side * factor, height * factor),
        )
        strips.append(_resize(strip, Size(side, height)))
    return np.concatenate(strips)


def _resampled(pixels: NDArray[np.uint8], plan: ReadPlan) -> NDArray[np.uint8]:
    return _resize(pixels, Size(plan.tile_size_px, plan.tile_size_px))


def _resize(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    if pixels.shape[:2] == (size.height, size.width):
        return pixels
    resized = cv2.resize(pixels, (size.width, size.height), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)
