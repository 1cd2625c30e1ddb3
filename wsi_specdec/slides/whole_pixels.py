"""Whole pixels of a level from a library that takes places on level 0 and interpolates between.

OpenSlide reads a level from a place given in level-0 pixels. Where the level's downsample is not
whole (an odd side was halved), that place lies between the level's pixels, and cairo interpolates
linearly: a known shift of less than half a pixel, which can be undone.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

# OpenSlide draws longer sides in parts, each shifted in its own way.
LONGEST_SIDE: Final = 4096
# Pixels read around a region, and how many places before it are tried for the smallest shift.
MARGIN: Final = 8
# Undoing a shift of 0.3 makes errors of rounding six times as large, smaller ones less; larger ones
# only come with levels less than 1.7 times as coarse as level 0, and are left.
_LARGEST_SHIFT = 0.3
_NO_SHIFT = 1e-9
_SMALLEST_TERM = 1e-3


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin reading, along one axis.

    Attributes
    ----------
    nearest
        Place of the pixel wanted, in level-0 pixels, rounded.
    level0
        Place to ask for, in level-0 pixels.
    lead
        Pixels of the level from there to the first one wanted; negative where that one lies before
        the slide, and 0 where `nearest` will do.
    shift
        How far beyond a whole pixel of the level `level0` lies, in pixels of the level; 0 where
        there is nothing to undo.
    """

    nearest: int
    level0: int
    lead: int
    shift: float


def nearest_start(position: int, downsample: float) -> Start:
    """Find where to read from so that the level's pixel nearest to a place can be had.

    Parameters
    ----------
    position
        In level-0 pixels.
    downsample
        Of the level.
    """
    pixel = round(position / downsample)
    nearest = round(pixel * downsample)
    if abs(nearest / downsample - pixel) < _NO_SHIFT:
        return Start(nearest, nearest, 0, 0.0)
    if pixel < 2 * MARGIN:
        # OpenSlide rounds negative places in its own way.
        return Start(nearest, 0, pixel, 0.0)
    leads = np.arange(MARGIN, 2 * MARGIN)
    starts = np.rint((pixel - leads) * downsample)
    shifts = starts / downsample - (pixel - leads)
    best = int(np.abs(shifts).argmin())
    if abs(shifts[best]) > _LARGEST_SHIFT:
        return Start(nearest, nearest, 0, 0.0)
    return Start(nearest, int(starts[best]), int(leads[best]), float(shifts[best]))


def unshifted(pixels: NDArray[np.uint8], shift_x: float, shift_y: float) -> NDArray[np.uint8]:
    """Undo linear interpolation at places a fixed part of a pixel beyond whole ones.

    With p' = (1 - a) p[i] + a p[i + 1], p[i] = (p'[i] - a p[i + 1]) / (1 - a), and so forth: a
    geometric series, cut off where its terms fall below 0.001.

    Parameters
    ----------
    pixels
        (h, w, 3). Within `MARGIN` of the side that the shift points to, the result is not exact.
    shift_x, shift_y
        Of the places, in pixels, within 0.3.
    """
    along, across = _series(shift_x), _series(shift_y)
    exact = cv2.sepFilter2D(pixels, cv2.CV_32F, along, across)
    return np.asarray(np.rint(exact).clip(0, 255), np.uint8)


def _series(shift: float) -> NDArray[np.float64]:
    """Weights of the pixels around one, as many before as behind it."""
    part = abs(shift)
    terms = (-part / (1 - part)) ** np.arange(MARGIN) / (1 - part)
    terms = terms[np.abs(terms) >= _SMALLEST_TERM]
    before = np.zeros(len(terms) - 1)
    return np.concatenate([before, terms] if shift > 0 else [terms[::-1], before])
