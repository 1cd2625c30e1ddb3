"""The strips or tiles of one TIFF level, each decoded when a region first needs it.

Decoding one at a time bounds memory by the region and one strip or tile, and a small cache spares
neighbouring regions from decoding a wide strip again. TiffSlide's own reading, through Zarr, has
neither: of an uncompressed file in one strip it would read the whole picture for every region.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.geometry import Box, Size
from wsi_specdec.slides.base import WHITE, check_decodable

_CACHE_BYTES: Final = 64 * 2**20
# Threads decode segments up to this size at the same time, larger ones in turn.
_LARGE_BYTES: Final = _CACHE_BYTES // 8

# tifffile is untyped: pages are `Any`.
Page = Any


def check_bounded(page: Page, path: Path) -> None:
    """Refuse a page whose strips or tiles are too large to decode in one piece.

    Raises
    ------
    UnsupportedSlideError
        Naming the remedy; uncompressed pixels in one piece are read by rows and never refused.
    """
    if not page.is_final:
        check_decodable(_segment_size(page), "tiles" if page.is_tiled else "strips", path)


def is_readable(page: Page) -> bool:
    """Tell whether a page is one picture of interleaved samples, as `SegmentReader` needs it."""
    planes, depth, *_ = page.keyframe.shaped
    return bool(planes == 1 and depth == 1)


class SegmentReader:
    """Reads regions of one level of a TIFF. Threads may share it.

    Parameters
    ----------
    page
        tifffile's page: 8-bit samples, interleaved; see `is_readable`.
    file
        Descriptor of the open file.
    """

    def __init__(self, page: Page, file: int) -> None:
        self._page, self._file = page, file
        _, _, self._height, self._width, self._samples = page.keyframe.shaped
        self._segment = _segment_size(page.keyframe)
        self._nbytes = self._segment.area * self._samples
        self._cached: OrderedDict[int, NDArray[np.uint8] | None] = OrderedDict()
        self._lock = threading.Lock()
        self._turn = threading.Lock() if self._nbytes > _LARGE_BYTES else nullcontext()
        self._decode = _decoder(page)

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Read a box that lies wholly inside the level, in its pixels.

        Returns
        -------
        uint8, (height, width, samples); what was never stored is white.
        """
        out = np.full((box.height, box.width, self._samples), WHITE, np.uint8)
        if self._page.keyframe.is_final:
            self._read_rows(box, out)
            return out
        for index, left, top in self._touched(box):
            if (pixels := self._segment_pixels(index)) is not None:
                _paste(pixels, Box(left, top, pixels.shape[1], pixels.shape[0]), out, box)
        return out

    def _read_rows(self, box: Box, out: NDArray[np.uint8]) -> None:
        """Read each row's own bytes of uncompressed pixels that lie in one piece."""
        start = self._page.dataoffsets[0]
        for row in range(box.height):
            pixel = (box.y + row) * self._width + box.x
            data = self._bytes(start + pixel * self._samples, box.width * self._samples)
            out[row] = np.frombuffer(data, np.uint8).reshape(box.width, self._samples)

    def _touched(self, box: Box) -> Iterator[tuple[int, int, int]]:
        """Yield index, left and top of the segments that a box touches."""
        step = self._segment
        columns = -(-self._width // step.width)
        for row in range(box.y // step.height, (box.y + box.height - 1) // step.height + 1):
            for column in range(box.x // step.width, (box.x + box.width - 1) // step.width + 1):
                yield row * columns + column, column * step.width, row * step.height

    def _segment_pixels(self, index: int) -> NDArray[np.uint8] | None:
        """Return a segment, (h, w, samples), from the cache or the file; None if never stored."""
        with self._turn:
            with self._lock:
                if index in self._cached:
                    self._cached.move_to_end(index)
                    return self._cached[index]
                # Room is made first, so that an old large segment is gone before a new one comes.
                while self._cached and (len(self._cached) + 1) * self._nbytes > _CACHE_BYTES:
                    self._cached.popitem(last=False)
            offset, length = self._page.dataoffsets[index], self._page.databytecounts[index]
            pixels = self._decode(self._bytes(offset, length), index) if offset and length else None
            with self._lock:
                self._cached[index] = pixels
            return pixels

    def _bytes(self, offset: int, length: int) -> bytes:
        data = os.pread(self._file, length, offset)
        if len(data) < length:
            msg = "pixels lie beyond its end"
            raise ValueError(msg)
        return data


def _decoder(page: Page) -> Callable[[bytes, int], NDArray[np.uint8]]:
    """Return a function from a segment's bytes and index to its pixels, (h, w, samples)."""
    key, options = page.keyframe, {}
    if page.jpegtables is not None or key.jpegheader is not None:
        options = {"jpegtables": page.jpegtables, "jpegheader": key.jpegheader}

    def decode(data: bytes, index: int) -> NDArray[np.uint8]:
        # (depth, h, w, samples), depth 1
        pixels: NDArray[np.uint8] = key.decode(data, index, **options)[0][0]
        return pixels

    return decode


def _segment_size(page: Page) -> Size:
    if page.is_tiled:
        return Size(page.tilewidth, page.tilelength)
    return Size(page.imagewidth, min(page.rowsperstrip, page.imagelength))


def _paste(pixels: NDArray[np.uint8], at: Box, out: NDArray[np.uint8], box: Box) -> None:
    """Copy what segment `at` and region `box` share."""
    x0, y0 = max(at.x, box.x), max(at.y, box.y)
    x1, y1 = min(at.x + at.width, box.x + box.width), min(at.y + at.height, box.y + box.height)
    if x0 < x1 and y0 < y1:
        shared = pixels[y0 - at.y : y1 - at.y, x0 - at.x : x1 - at.x]
        out[y0 - box.y : y1 - box.y, x0 - box.x : x1 - box.x] = shared
