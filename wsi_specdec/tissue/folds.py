"""Folds: two layers of tissue that absorb about twice the light, in narrow bands.

A band counts as a fold where it is among the darkest of the slide's own tissue, much darker than
the mean of the tissue around, narrow, and long for its width. Dark nodules are not; cells crowded
in a line can be, so that folds are left out on request alone.
"""

import cv2
import numpy as np

from wsi_specdec.tissue.morphology import Mask, dilate, open_up, pieces
from wsi_specdec.tissue.planes import Planes, blurred

# Optical density over the mean of the tissue around, and its rank in the slide's own tissue.
_MIN_RATIO = 1.5
_MIN_QUANTILE = 0.9
_AROUND_UM = 500.0
_CELL_UM = 64.0
_MAX_WIDTH_UM = 240.0
_MIN_LENGTH_UM = 400.0
_MIN_ELONGATION = 3.0


def folds(planes: Planes, tissue: Mask, mpp: float) -> Mask:
    """Find narrow bands much darker than the tissue around them.

    Parameters
    ----------
    planes
        Of the overview.
    tissue
        (h, w) 0 or 1.
    mpp
        µm per pixel.

    Returns
    -------
    Mask
        (h, w) 0 or 1.
    """
    found = np.zeros_like(tissue)
    if not tissue.any():
        return found
    counts = np.asarray(cv2.calcHist([planes.signal], [0], tissue, [256], [0, 256])).ravel()
    least = int(np.searchsorted(np.cumsum(counts), _MIN_QUANTILE * counts.sum()))
    # The signal is a square root, and so is the ratio.
    around = cv2.convertScaleAbs(_around(planes, tissue, mpp), alpha=_MIN_RATIO**0.5)
    darkest = ((planes.signal >= least) & (tissue > 0)).astype(np.uint8)
    radius = max(1, round(_MAX_WIDTH_UM / 2 / mpp))
    # With a margin, or the rims of dark areas would pass for bands.
    broad = dilate(open_up(darkest, radius), 1 + radius // 4)
    dark = darkest & (planes.signal > around) & (1 - broad)
    for piece in pieces(dark, min_px=_MIN_LENGTH_UM * 2 / mpp, margin=2):
        if piece.is_band(_MIN_LENGTH_UM / mpp, _MIN_ELONGATION):
            found[piece.window] |= dilate(piece.mask, 1)
    return found & tissue


def _around(planes: Planes, tissue: Mask, mpp: float) -> Mask:
    """Mean signal of the tissue around each pixel, (h, w) uint8."""
    height, width = tissue.shape
    cell = max(1, round(_CELL_UM / mpp))
    size = (max(1, width // cell), max(1, height // cell))
    sigma = _AROUND_UM / 2 / (mpp * cell)
    taken = tissue * np.uint8(255)
    share, level = (
        blurred(np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8), sigma)
        for plane in (taken, planes.signal & taken)
    )
    mean = (255 * level / np.maximum(share, 1)).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(mean, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
