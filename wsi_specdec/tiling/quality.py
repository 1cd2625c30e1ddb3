"""Measures of each tile's quality."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.tissue import ink_mask

SHARPNESS: Final = "sharpness"
SATURATION: Final = "saturation"
PEN: Final = "pen"
MEASURES: Final = (SHARPNESS, SATURATION, PEN)


def measure_quality(tiles: Sequence[NDArray[np.uint8]], mpp: float | None) -> NDArray[np.float32]:
    """Measure tiles.

    Sharpness is the variance of the Laplacian of luma (Pech-Pacheco et al., 2000), by its kernel
    of four neighbours: near 0 where out of focus, and larger the more fine detail there is.
    Saturation is the mean of (max - min) / max of each pixel's channels, in [0, 1]. Pen is the
    share of pixels inked, by `wsi_specdec.tissue.ink_mask`.

    Parameters
    ----------
    tiles
        (T, T, 3) uint8 RGB each.
    mpp
        µm per pixel of the tiles, None where unknown.

    Returns
    -------
    NDArray[np.float32]
        (n, 3), columns as in `MEASURES`.
    """
    return np.array([_measure(tile, mpp) for tile in tiles], np.float32).reshape(-1, len(MEASURES))


def _measure(tile: NDArray[np.uint8], mpp: float | None) -> tuple[float, ...]:
    luma = cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S, ksize=1))
    saturation = cv2.extractChannel(cv2.cvtColor(tile, cv2.COLOR_RGB2HSV), 1)
    pen = float(ink_mask(tile, mpp).mean())
    return float(deviation[0, 0]) ** 2, cv2.mean(saturation)[0] / 255, pen
