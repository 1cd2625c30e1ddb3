"""Where tiles lie."""

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.geometry import Box


def grid_coords(area: Box, size_px: int, step_px: float, downsample: float) -> NDArray[np.int64]:
    """Lay a regular grid of tiles over the scanned part of a level.

    The grid starts at the top-left corner of `area`, and a tile is kept where it lies wholly
    within: nothing is padded, and a rest narrower than a tile at the right and bottom is left out.
    Corners are whole pixels of the level, so a downsample that is not whole adds up no error.

    Parameters
    ----------
    area
        The scanned part, in pixels of the level that is read.
    size_px
        Side of a tile, in pixels of the level.
    step_px
        From one tile to the next, in pixels of the level; need not be whole.
    downsample
        Of the level.

    Returns
    -------
    NDArray[np.int64]
        (N, 2) x, y of the top-left corners in level-0 pixels, sorted by y, then x.

    Examples
    --------
    >>> grid_coords(Box(10, 0, 25, 19), size_px=10, step_px=10, downsample=4.01).tolist()
    [[40, 0], [80, 0]]
    """
    xs = _to_level0(_corners(area.x, area.width, size_px, step_px), downsample)
    ys = _to_level0(_corners(area.y, area.height, size_px, step_px), downsample)
    rows, columns = np.meshgrid(ys, xs, indexing="ij")
    return np.stack([columns.ravel(), rows.ravel()], axis=1)


def level_corners(coords: NDArray[np.int64], downsample: float) -> NDArray[np.int64]:
    """Return corners, (N, 2) in level-0 pixels, in those of a level.

    Undoes the rounding of `grid_coords` exactly, since a downsample is never below 1.
    """
    return np.rint(coords / downsample).astype(np.int64)


def _corners(start: int, length: int, size: int, step: float) -> NDArray[np.int64]:
    count = max(0, int((length - size) // step) + 1)
    corners: NDArray[np.int64] = start + np.rint(np.arange(count) * step).astype(np.int64)
    return corners


def _to_level0(corners: NDArray[np.int64], downsample: float) -> NDArray[np.int64]:
    return np.asarray(np.rint(corners * downsample), np.int64)
