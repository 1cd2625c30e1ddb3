"""Where a slide's tiles lie, and their scores as an array with one value a tile."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import RunDirectoryError
from wsi_specdec.geometry import Box, Size
from wsi_specdec.keys import MPP_LEVEL0
from wsi_specdec.report.heatmap import score_map
from wsi_specdec.store import TileStore

# Corners are rounded twice: to pixels of the level that is read, and to those of level 0.
_ROUNDING_PX: Final = 1.0


@dataclass(frozen=True)
class Layout:
    """How a store's tiles lie on their slide.

    Attributes
    ----------
    slide_id
        The slide.
    level0
        Size of its finest level.
    tile_size
        Side of a tile in level-0 pixels.
    step
        From one tile to the next, in level-0 pixels; need not be whole.
    read_downsample
        Level-0 pixels per pixel of the level that corners were rounded on.
    corner
        x, y where the scanned area begins, in level-0 pixels: QuPath counts from it.
    mpp
        µm per level-0 pixel, None where it is not known.
    """

    slide_id: str
    level0: Size
    tile_size: int
    step: float
    read_downsample: float
    corner: tuple[int, int]
    mpp: float | None

    @property
    def bounds(self) -> Box:
        """The slide from the scanned area's corner on, for `annotations`."""
        x, y = self.corner
        return Box(x, y, self.level0.width - x, self.level0.height - y)


@dataclass(frozen=True)
class ScoreGrid:
    """Scores as an image, a pixel per tile.

    Attributes
    ----------
    values
        (h, w) float32, NaN where there is no tile.
    step
        Level-0 pixels from one pixel to the next.
    origin
        x, y in level-0 pixels of the top-left corner of the tile of the first pixel.
    tile_size
        Side of the tile that a pixel stands for, in level-0 pixels.
    """

    values: NDArray[np.float32]
    step: float
    origin: tuple[float, float]
    tile_size: int


def layout_of(store: TileStore) -> Layout:
    """Read the layout from a store's attributes.

    Raises
    ------
    RunDirectoryError
        If the store does not state the slide's size.
    """
    given = store.attributes
    width, height = (given.get(f"level0_{side}") for side in ("width", "height"))
    if width is None or height is None:
        msg = f"{store.path} does not state the slide's size; tile the slide again"
        raise RunDirectoryError(msg)
    mpp = given.get(MPP_LEVEL0)
    effective = given.get("mpp_effective")
    # The tiles' side is rounded, which would add up over a row; the ratio of the mpp is exact.
    scale = effective / mpp if mpp and effective else store.tile_size_level0 / store.tile_size
    stride = given.get("stride_px") or store.tile_size
    read = given.get("read_size_px") or store.tile_size
    return Layout(
        slide_id=store.slide_id,
        level0=Size(int(width), int(height)),
        tile_size=store.tile_size_level0,
        step=float(stride) * scale,
        read_downsample=scale * store.tile_size / float(read),
        corner=(int(given.get("bounds_x") or 0), int(given.get("bounds_y") or 0)),
        mpp=None if mpp is None else float(mpp),
    )


def score_grid(
    coords: NDArray[np.int64], scores: NDArray[np.floating], layout: Layout
) -> ScoreGrid:
    """Lay scores out as an image with a pixel per tile.

    Tiles that lie on no grid (imported ones) are averaged over squares of a tile's side instead,
    a square taking every tile that holds its centre.

    Parameters
    ----------
    coords
        (N, 2) corners x, y in level-0 pixels.
    scores
        (N,).
    layout
        Of the slide.
    """
    if not len(coords):
        return ScoreGrid(np.empty((0, 0), np.float32), layout.step, (0.0, 0.0), layout.tile_size)
    # The grid starts at the scanned area's corner; one that was imported may start anywhere.
    starts = (np.array(layout.corner, np.int64), coords.min(axis=0))
    found = (_on_grid(coords, start, layout) for start in starts)
    on_grid = next((each for each in found if each is not None), None)
    if on_grid is None:
        return _averaged(coords, scores, layout)
    cells, origin = on_grid
    width, height = cells.max(axis=0) + 1
    values = np.full((height, width), np.nan, np.float32)
    values[cells[:, 1], cells[:, 0]] = scores
    return ScoreGrid(values, layout.step, origin, layout.tile_size)


def _on_grid(
    coords: NDArray[np.int64], start: NDArray[np.int64], layout: Layout
) -> tuple[NDArray[np.int64], tuple[float, float]] | None:
    """Column and row of each tile, (N, 2), and the first one's corner; None if there is no grid."""
    offset = coords - start
    cells = np.rint(offset / layout.step).astype(np.int64)
    # Half a pixel by each of the two roundings, and by that of the corner.
    allowed = _ROUNDING_PX + layout.read_downsample
    if (np.abs(offset - cells * layout.step) > allowed).any():
        return None
    if len(np.unique(cells, axis=0)) != len(cells):
        return None
    first = cells.min(axis=0)
    x, y = (start + first * layout.step).tolist()
    return cells - first, (float(x), float(y))


def _averaged(coords: NDArray[np.int64], scores: NDArray[np.floating], layout: Layout) -> ScoreGrid:
    first = coords.min(axis=0)
    extent = coords.max(axis=0) + layout.tile_size - first
    side = layout.tile_size
    size = Size(*(int(n) for n in -(-extent // side)))
    values = score_map(coords - first, scores, side, size, float(side))
    x, y = (float(n) for n in first)
    return ScoreGrid(values, float(side), (x, y), side)
