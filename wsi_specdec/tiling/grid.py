"""Where tiles lie."""

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.geometry import Box


def grid_coords(bounds: Box, size_level0: int, stride_level0: int) -> NDArray[np.int64]:
    """Lay a regular grid of tiles over the scanned part of a slide.

    The grid starts at the top-left corner of `bounds`, and a tile is kept where it lies wholly
    within: nothing is padded, and a rest narrower than a tile at the right and bottom is left out.

    Parameters
    ----------
    bounds
        The scanned part, in level-0 pixels.
    size_level0, stride_level0
        Side of a tile and the step to the next, in level-0 pixels.

    Returns
    -------
    NDArray[np.int64]
        (N, 2) x, y of the top-left corners, sorted by y, then x.

    Examples
    --------
    >>> grid_coords(Box(10, 0, 25, 19), size_level0=10, stride_level0=10).tolist()
    [[10, 0], [20, 0]]
    """
    xs = np.arange(bounds.x, bounds.x + bounds.width - size_level0 + 1, stride_level0)
    ys = np.arange(bounds.y, bounds.y + bounds.height - size_level0 + 1, stride_level0)
    rows, columns = np.meshgrid(ys, xs, indexing="ij")
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.int64)
