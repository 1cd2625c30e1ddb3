"""Pixels of tiles by the reader's `read_region`, several neighbours at a time."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.geometry import ReadPlan, Size
from wsi_specdec.slides import SlideReader
from wsi_specdec.tiling.grid import level_corners

# Side of a region read at once, in pixels of the level: bounds memory, and is wide enough that
# a slide's own tiles are seldom decoded twice.
_BLOCK_PX = 2048
# A region of a longer side is averaged by a whole factor as it is read, strip by strip.
_WHOLE_PX = 4096
_STRIP_AREA_PX = 1 << 22

Image = NDArray[np.uint8]


class RegionTiles:
    """Tiles read by the slide's library.

    Where the level's resolution is not the target's, pixels are averaged by area. Regions of more
    than 4,096 px a side are first averaged by the whole factor that brings them near that; they
    may then reach past the tile by less than that factor.

    Parameters
    ----------
    slide
        The open slide.
    plan
        Level and sizes.
    """

    def __init__(self, slide: SlideReader, plan: ReadPlan) -> None:
        self._slide = slide
        self._plan = plan

    def tiles(self, run: NDArray[np.int64]) -> list[Image]:
        """Read one run of `split_runs`: (T, T, 3) RGB each, T = `plan.tile_size_px`."""
        plan = self._plan
        if plan.read_size_px > _WHOLE_PX:
            return [resampled(self._read_averaged(corner), plan) for corner in run]
        side = plan.read_size_px
        corners = level_corners(run, plan.downsample)
        offsets = (corners[:, 0] - corners[0, 0]).tolist()
        region = Size(offsets[-1] + side, side)
        pixels = self._slide.read_region(int(run[0, 0]), int(run[0, 1]), plan.level, region)
        return [resampled(pixels[:, x : x + side], plan) for x in offsets]

    def _read_averaged(self, corner: NDArray[np.int64]) -> Image:
        """Read one large tile strip by strip, averaged by a whole factor."""
        plan = self._plan
        factor = plan.read_size_px // min(plan.tile_size_px, plan.read_size_px)
        factor = max(1, min(factor, plan.read_size_px // _BLOCK_PX))
        side = -(-plan.read_size_px // factor)
        rows = max(1, _STRIP_AREA_PX // (side * factor * factor))
        strips = []
        for row in range(0, side, rows):
            height = min(rows, side - row)
            strip = self._slide.read_region(
                int(corner[0]),
                int(corner[1]) + round(row * factor * plan.downsample),
                plan.level,
                Size(side * factor, height * factor),
            )
            strips.append(_resize(strip, Size(side, height)))
        return np.concatenate(strips)


def visit_order(coords: NDArray[np.int64], plan: ReadPlan) -> NDArray[np.int64]:
    """Order tiles by strips as wide as a run, one after another, each from top to bottom.

    So what a row needs again of the one above it does not grow with the width of the slide.

    Parameters
    ----------
    coords
        (N, 2) x, y of the top-left corners in level-0 pixels, N >= 1.
    plan
        Level and sizes.

    Returns
    -------
    NDArray[np.int64]
        (N,) indices into `coords`.
    """
    x, y = level_corners(coords, plan.downsample).T
    a_run = max(1, int((_BLOCK_PX - plan.read_size_px) // plan.step_px) + 1)
    column = np.rint((x - x.min()) / plan.step_px).astype(np.int64)
    return np.lexsort((x, y, column // a_run))


def split_runs(coords: NDArray[np.int64], plan: ReadPlan) -> Iterator[NDArray[np.int64]]:
    """Split tiles into runs of neighbours in one row, each within one block of bounded size.

    Parameters
    ----------
    coords
        (N, 2) x, y of the top-left corners in level-0 pixels, sorted by y, then x, or by strips
        of `visit_order`.
    plan
        Level and sizes.

    Yields
    ------
    NDArray[np.int64]
        (n, 2) of `coords`, in their order, n >= 1.
    """
    corners = level_corners(coords, plan.downsample)
    xs, ys = corners[:, 0].tolist(), corners[:, 1].tolist()
    side = plan.read_size_px
    start = 0
    for end in range(1, len(xs) + 1):
        if (
            end == len(xs)
            or ys[end] != ys[start]
            or not 0 <= xs[end] - xs[end - 1] <= side
            or xs[end] + side - xs[start] > _BLOCK_PX
        ):
            yield coords[start:end]
            start = end


def resampled(pixels: Image, plan: ReadPlan) -> Image:
    """Average a region by area to the tile's size; one of that size is returned as it is."""
    return _resize(pixels, Size(plan.tile_size_px, plan.tile_size_px))


def _resize(pixels: Image, size: Size) -> Image:
    if pixels.shape[:2] == (size.height, size.width):
        return pixels
    resized = cv2.resize(pixels, (size.width, size.height), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)
