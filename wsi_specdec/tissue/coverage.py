"""How much of each tile a mask covers, exact for fractional mask pixels."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

# Those of few rows of a slide, so that the integral image of the mask is small.
_TILES_AT_ONCE = 4096


def tissue_fractions(
    mask: NDArray[np.bool_], downsample: float, coords: NDArray[np.int64], size_level0: int
) -> NDArray[np.float32]:
    """Return the share of each tile that the mask covers.

    Parameters
    ----------
    mask
        (h, w) bool; its pixel (row, column) covers the level-0 square from
        (column, row) * `downsample` to (column + 1, row + 1) * `downsample`.
    downsample
        Level-0 pixels per mask pixel.
    coords
        (N, 2) x, y of the tiles' top-left corners, in level-0 pixels.
    size_level0
        Side of a tile in level-0 pixels.

    Returns
    -------
    NDArray[np.float32]
        (N,) in [0, 1]. What lies outside the mask counts as not covered.
    """
    return area_fractions(mask, (downsample, downsample), coords, size_level0)


def area_fractions(
    mask: NDArray[np.bool_],
    scale: tuple[float, float],
    coords: NDArray[np.int64],
    size_level0: int,
) -> NDArray[np.float32]:
    """Return the share of each tile that the mask covers, for mask pixels that are not square.

    `scale` is the number of level-0 pixels per mask pixel in x and in y; all else as in
    `tissue_fractions`.
    """
    parts = range(0, len(coords), _TILES_AT_ONCE)
    return np.concatenate(
        [np.empty(0, np.float32)]
        + [_fractions(mask, scale, coords[i : i + _TILES_AT_ONCE], size_level0) for i in parts]
    )


def _fractions(
    mask: NDArray[np.bool_],
    scale: tuple[float, float],
    coords: NDArray[np.int64],
    size_level0: int,
) -> NDArray[np.float32]:
    """Return the share of each of a few tiles, from the integral image of the rows under them."""
    left, top = (coords[:, axis] / scale[axis] for axis in (0, 1))
    right, bottom = (left + size_level0 / scale[0], top + size_level0 / scale[1])
    first = min(max(math.floor(top.min()), 0), len(mask) - 1)
    end = max(math.ceil(bottom.max()), first + 1)
    rows = mask[first:end].view(np.uint8)
    covered = marked_areas(rows, left, top - first, right, bottom - first)
    area = size_level0**2 / (scale[0] * scale[1])
    return np.clip(covered / area, 0, 1).astype(np.float32)


def marked_areas(
    mask: NDArray[np.uint8],
    left: NDArray[np.float64],
    top: NDArray[np.float64],
    right: NDArray[np.float64],
    bottom: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return how much of each rectangle a mask marks, in mask pixels, exact for parts of them.

    Parameters
    ----------
    mask
        (h, w), 0 or 1.
    left, top, right, bottom
        (N,) each, in mask pixels; outside the mask nothing is marked.

    Returns
    -------
    NDArray[np.float64]
        (N,).
    """
    integral = np.asarray(cv2.integral(mask, sdepth=cv2.CV_32S), np.int32)
    return (
        _integral_at(integral, right, bottom)
        - _integral_at(integral, left, bottom)
        - _integral_at(integral, right, top)
        + _integral_at(integral, left, top)
    )


def _integral_at(
    integral: NDArray[np.int32], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Area covered above and left of (x, y).

    Within a mask pixel the area is bilinear in x and y, so that interpolating is exact.
    """
    height, width = integral.shape
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    column = np.minimum(x.astype(np.int64), width - 2)
    row = np.minimum(y.astype(np.int64), height - 2)
    dx, dy = x - column, y - row
    upper = integral[row, column] * (1 - dx) + integral[row, column + 1] * dx
    lower = integral[row + 1, column] * (1 - dx) + integral[row + 1, column + 1] * dx
    area: NDArray[np.float64] = upper * (1 - dy) + lower * dy
    return area
