"""The deep-zoom pyramid of a slide: which tile shows what, and how its pixels are averaged.

Level 0 of this pyramid is one tile that shows the whole slide, each next level has twice the
resolution, and the last has the slide's own level-0 pixels; deep-zoom images (DZI) count likewise.
Tiles count from the slide's corner, not from that of its scanned area, so that coordinates are
level-0 pixels everywhere.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.geometry import Box, Size
from wsi_specdec.slides import SlideReader

Image = NDArray[np.uint8]
Overview = tuple[Image, float]

# Longest side of the picture that the coarsest tiles are cut from.
OVERVIEW_PX = 2048
# More pixels each way than this for one pixel of a tile are not read at once.
_MAX_RATIO = 8
# Levels whose downsample is rounded (4.0003) count as what they are meant to be.
_TOLERANCE = 1.01


@dataclass(frozen=True, slots=True)
class Place:
    """A tile of the pyramid: its level (0 is the coarsest), column and row."""

    level: int
    column: int
    row: int


@dataclass(frozen=True, slots=True)
class Pyramid:
    """The levels of a slide of `level0` pixels, in square tiles of `tile` pixels."""

    level0: Size
    tile: int

    @property
    def top(self) -> int:
        """The finest level, which has the slide's own pixels."""
        longest = max(self.level0.width, self.level0.height)
        return max(0, math.ceil(math.log2(longest / self.tile)))

    def scale(self, level: int) -> int:
        """Level-0 pixels for one pixel of a level, each way."""
        return 1 << (self.top - level)

    def holds(self, place: Place) -> bool:
        """Whether there is such a tile."""
        if not 0 <= place.level <= self.top:
            return False
        step = self.tile * self.scale(place.level)
        return 0 <= place.column * step < self.level0.width and (
            0 <= place.row * step < self.level0.height
        )

    def box(self, place: Place) -> Box:
        """Return what a tile shows, in level-0 pixels; at the right and the bottom cut off."""
        step = self.tile * self.scale(place.level)
        x, y = place.column * step, place.row * step
        width, height = self.level0.width - x, self.level0.height - y
        return Box(x, y, min(step, width), min(step, height))

    def size(self, place: Place) -> Size:
        """Size of a tile in its own pixels; only those at the right and the bottom are smaller."""
        box = self.box(place)
        return Size(box.width, box.height).scaled(self.scale(place.level))


def render(
    reader: SlideReader, pyramid: Pyramid, place: Place, overview: Callable[[], Overview]
) -> Image:
    """Read one tile, averaged over the area of each of its pixels.

    The coarsest level of the slide that is fine enough is read; no more than some 4 million
    pixels at once, whatever levels the slide has.

    Parameters
    ----------
    place
        A tile that the pyramid holds.
    overview
        Gives the whole slide at low resolution, no side above `OVERVIEW_PX`, and its downsample;
        called where no level of the slide is coarse enough.

    Returns
    -------
    uint8, (height, width, 3), RGB.

    Raises
    ------
    SlideReadError
        If the file turns out to be corrupt or truncated.
    """
    scale = pyramid.scale(place.level)
    downsamples = reader.info.level_downsamples
    usable = [level for level, d in enumerate(downsamples) if d <= scale * _TOLERANCE]
    source = max(usable, key=lambda level: downsamples[level], default=0)
    ratio = scale / downsamples[source]
    if ratio <= _MAX_RATIO * _TOLERANCE:
        return _read(reader, pyramid, place, source)
    whole, downsample = overview()
    if downsample <= scale * _TOLERANCE:
        return _cut(whole, downsample, pyramid, place)
    return _joined(reader, pyramid, place, overview)


def _read(reader: SlideReader, pyramid: Pyramid, place: Place, source: int) -> Image:
    """Read a tile from one of the slide's levels."""
    box, size = pyramid.box(place), pyramid.size(place)
    ratio = pyramid.scale(place.level) / reader.info.level_downsamples[source]
    wanted = Size(max(1, round(size.width * ratio)), max(1, round(size.height * ratio)))
    return _resized(reader.read_region(box.x, box.y, source, wanted), size)


def _cut(whole: Image, downsample: float, pyramid: Pyramid, place: Place) -> Image:
    """Cut a tile out of a picture of the whole slide."""
    box = pyramid.box(place)
    spans = []
    for start, length, limit in (
        (box.y, box.height, whole.shape[0]),
        (box.x, box.width, whole.shape[1]),
    ):
        first = min(round(start / downsample), limit - 1)
        last = min(max(round((start + length) / downsample), first + 1), limit)
        spans.append(slice(first, last))
    return _resized(whole[spans[0], spans[1]], pyramid.size(place))


def _joined(
    reader: SlideReader, pyramid: Pyramid, place: Place, overview: Callable[[], Overview]
) -> Image:
    """Average the up to four tiles of the next finer level that make up this one."""
    finer = [
        [Place(place.level + 1, 2 * place.column + i, 2 * place.row + j) for i in (0, 1)]
        for j in (0, 1)
    ]
    rows = [
        np.concatenate(
            [render(reader, pyramid, at, overview) for at in row if pyramid.holds(at)], axis=1
        )
        for row in finer
        if pyramid.holds(row[0])
    ]
    return _resized(np.concatenate(rows), pyramid.size(place))


def _resized(pixels: Image, size: Size) -> Image:
    if pixels.shape[:2] == (size.height, size.width):
        return pixels
    fitted = cv2.resize(pixels, (size.width, size.height), interpolation=cv2.INTER_AREA)
    return np.asarray(fitted, np.uint8)
