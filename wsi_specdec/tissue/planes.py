"""An overview's optical density, as a few planes of one byte a pixel.

Worked out strip by strip: all that is kept of a pixel is four bytes, whatever its image's size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

# Steps of `Planes.signal` per square root of optical density: 255 stands for an OD of 1.6.
ROOT_SCALE: Final = 200.0
# `Planes.pink` is PINK_ZERO + PINK_SCALE * OD, within 0 and 255: an OD of 0.06 either way.
PINK_ZERO: Final = 128.0
PINK_SCALE: Final = 2000.0

BLACK: Final = 1
COLD_INK: Final = 2
RED: Final = 4
PADDING: Final = 8

_STRIP_PX = 1 << 15
_GLASS_SAMPLE_PX = 1 << 19
_SMOOTHING_PX = 0.7
# Rows of its neighbours that smoothing of a strip looks at.
_HALO_PX = 4

# Glass: bright in every channel, and a peak of the histogram. Pure white is taken for padding
# where such a peak lies below it.
_GLASS_MIN = 200
_GLASS_PEAK_WIDTH = 3
_GLASS_PEAK_SHARE = 0.02

# Haematoxylin and eosin absorb green most; blue and green ink absorb red most.
_COLD_EXCESS = 0.05
_COLD_EXCESS_SHARE = 0.06
# Red ink absorbs green and blue, and hardly any red. Of tissue only blood comes near.
_RED_EXCESS = 0.45
# Near 0, or dark and grey where dark tissue is violet.
_BLACK = 25
_DARK_GREY = 60
_MAX_GREY_SPREAD = 12


@dataclass(frozen=True, slots=True)
class Planes:
    """What is measured of each pixel, (h, w) uint8 each, against the slide's own glass.

    Attributes
    ----------
    signal
        Square root of max(OD) - min(OD) / 2 over the channels, times `ROOT_SCALE`.
    pink
        Green's OD less the mean of red's and blue's, see `PINK_ZERO` and `PINK_SCALE`.
    flags
        Bits: `BLACK`, `COLD_INK` (blue or green), `RED` (ink or blood), `PADDING` (pure white
        where glass is not).
    """

    signal: Bytes
    pink: Bytes
    flags: Bytes

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width."""
        return self.flags.shape

    def flagged(self, flag: int) -> Bytes:
        """Where a flag is set, (h, w) 0 or 1."""
        flagged = self.flags & np.uint8(flag)
        np.minimum(flagged, 1, out=flagged)
        return flagged


def blurred(cells: Bytes, sigma: float) -> NDArray[np.float32]:
    """Blur a coarse plane, (rows, columns), by a Gaussian of `sigma` cells."""
    grid = cells.astype(np.float32)
    return np.asarray(cv2.GaussianBlur(grid, (0, 0), sigma, dst=grid), np.float32)


def measure(image: Bytes) -> Planes:
    """Measure an image, (h, w, 3) uint8 RGB, smoothed a little."""
    glass = glass_levels(image)
    values = np.maximum(np.arange(256, dtype=np.float64), 1)
    tables = np.log10(glass[:, None] / values).astype(np.float32)
    planes = Planes(*(np.empty(image.shape[:2], np.uint8) for _ in range(3)))
    for rows in _strips(image):
        channels = cv2.split(_smoothed(image, rows))
        red, green, blue = (
            np.asarray(cv2.LUT(channel, table), np.float32)
            for channel, table in zip(channels, tables, strict=True)
        )
        planes.signal[rows] = _signal(red, green, blue)
        planes.pink[rows] = _pink(red, green, blue)
        planes.flags[rows] = _dark_or_white(image[rows], glass) | _inks(red, green, blue)
    return planes


def glass_levels(image: Bytes) -> NDArray[np.float64]:
    """Value of unstained glass in each channel, (3,); 255 where no glass is to be seen."""
    height, width = image.shape[:2]
    sample = np.ascontiguousarray(image[:: max(1, height * width // _GLASS_SAMPLE_PX)])
    bright = cv2.inRange(sample, (_GLASS_MIN,) * 3, (255,) * 3)
    counts = [
        np.asarray(cv2.calcHist([sample], [channel], bright, [256], [0, 256]), np.float64).ravel()
        for channel in range(3)
    ]
    least = _GLASS_PEAK_SHARE * sample.shape[0] * width
    return np.array([_peak(channel, least) for channel in counts])


def _peak(counts: NDArray[np.float64], least: float) -> float:
    peak = int(counts[:255].argmax())
    nearby = counts[max(0, peak - _GLASS_PEAK_WIDTH) : min(255, peak + _GLASS_PEAK_WIDTH + 1)]
    return float(peak) if nearby.sum() >= least else 255.0


def _strips(image: Bytes) -> Iterator[slice]:
    height, width = image.shape[:2]
    step = max(1, _STRIP_PX // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _smoothed(image: Bytes, rows: slice) -> Bytes:
    top = max(0, rows.start - _HALO_PX)
    smooth = cv2.GaussianBlur(image[top : rows.stop + _HALO_PX], (0, 0), _SMOOTHING_PX)
    return np.asarray(smooth[rows.start - top : rows.stop - top], np.uint8)


def _signal(
    red: NDArray[np.float32], green: NDArray[np.float32], blue: NDArray[np.float32]
) -> Bytes:
    # What is brighter than glass absorbs nothing.
    highest = np.maximum(cv2.max(cv2.max(red, green), blue), 0)
    lowest = np.maximum(cv2.min(cv2.min(red, green), blue), 0)
    root = cv2.sqrt(cv2.addWeighted(highest, 1, lowest, -0.5, 0))
    return np.asarray(cv2.convertScaleAbs(root, alpha=ROOT_SCALE), np.uint8)


def _pink(red: NDArray[np.float32], green: NDArray[np.float32], blue: NDArray[np.float32]) -> Bytes:
    others = cv2.addWeighted(red, -PINK_SCALE / 2, blue, -PINK_SCALE / 2, PINK_ZERO)
    level = cv2.scaleAdd(green, PINK_SCALE, others)
    return np.asarray(cv2.convertScaleAbs(np.maximum(level, 0)), np.uint8)


def _inks(red: NDArray[np.float32], green: NDArray[np.float32], blue: NDArray[np.float32]) -> Bytes:
    excess = red - green
    cold = (excess > _COLD_EXCESS) & (excess > _COLD_EXCESS_SHARE * (red + green + blue))
    warm = cv2.min(green, blue) - red > _RED_EXCESS
    flags: Bytes = cold * np.uint8(COLD_INK) | warm * np.uint8(RED)
    return flags


def _dark_or_white(strip: Bytes, glass: NDArray[np.float64]) -> Bytes:
    red, green, blue = cv2.split(strip)
    highest = cv2.max(cv2.max(red, green), blue)
    lowest = cv2.min(cv2.min(red, green), blue)
    grey = highest - lowest <= _MAX_GREY_SPREAD
    black = (highest < _BLACK) | (grey & (highest < _DARK_GREY))
    padding = (lowest == 255) & bool(glass.min() < 255)
    flags: Bytes = black * np.uint8(BLACK) | padding * np.uint8(PADDING)
    return flags
