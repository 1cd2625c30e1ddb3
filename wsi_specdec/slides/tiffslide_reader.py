"""TIFF slides that OpenSlide does not know, read by TiffSlide (tifffile)."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
import tiffslide
from numpy.typing import NDArray

from wsi_specdec.errors import SlideReadError, UnsupportedSlideError
from wsi_specdec.geometry import Box, Size
from wsi_specdec.slides import metadata
from wsi_specdec.slides.base import WHITE, SlideReader, on_white
from wsi_specdec.slides.segments import SegmentReader, check_bounded, is_readable

READER: Final = "tiffslide"
_PREFIX = "tiffslide."
_VENDOR = "tiffslide.vendor"
# Grey and RGB; YCbCr where the codec itself turns it into RGB.
_PHOTOMETRIC = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
_YCBCR = tifffile.PHOTOMETRIC.YCBCR


class _LevelTiffSlide(tiffslide.TiffSlide):
    """Takes locations in pixels of the level, so that rounding is ours alone."""

    def _read_region_loc_transform(self, location: tuple[int, int], level: int) -> tuple[int, int]:
        del level
        return location


class TiffSlideReader(SlideReader):
    """A slide whose layout TiffSlide understands, read strip by strip; see `SlideReader`.

    Raises
    ------
    SlideReadError
        If it is not a TIFF, is truncated, or is laid out as TiffSlide cannot read.
    UnsupportedSlideError
        If its pixels are not 8-bit grey, RGB or RGBA, or its strips too large to decode.
    ResolutionError
        If its mpp is not plausible and none is given.
    """

    def __init__(self, path: Path, given: metadata.MppGiven) -> None:
        self.path = path
        self._segments: list[SegmentReader] = []
        with ExitStack() as undo, _quiet():
            try:
                self._slide = undo.enter_context(_LevelTiffSlide(path))
                self._file = undo.enter_context(path.open("rb", buffering=0))
                properties, levels = self._layout()
            except (UnsupportedSlideError, MemoryError):
                raise
            # tifffile and TiffSlide raise what they like; all of it means the file.
            except Exception as error:
                msg = f"TiffSlide cannot open {path}: {_line(error)}"
                raise SlideReadError(msg) from error
            self.info = metadata.slide_info(properties, READER, levels, path, given)
            undo.pop_all()

    def read_region(self, x: int, y: int, level: int, size: Size) -> NDArray[np.uint8]:
        """Read a region; see `SlideReader.read_region`."""
        out = np.full((size.height, size.width, 3), WHITE, np.uint8)
        downsample, whole = self.info.level_downsamples[level], self.info.level_sizes[level]
        left, top = round(x / downsample), round(y / downsample)
        x0, y0 = max(0, left), max(0, top)
        x1, y1 = min(whole.width, left + size.width), min(whole.height, top + size.height)
        if x0 < x1 and y0 < y1:
            pixels = self._read_inside(level, Box(x0, y0, x1 - x0, y1 - y0))
            out[y0 - top : y1 - top, x0 - left : x1 - left] = pixels
        return out

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        self._slide.close()
        self._file.close()

    def _read_inside(self, level: int, box: Box) -> NDArray[np.uint8]:
        """Read a box wholly inside the level, in its pixels."""
        try:
            if self._segments:
                pixels = self._segments[level].read(box)
            else:
                pixels = self._read_composed(level, box)
        except MemoryError:
            raise
        # tifffile's many decoders raise what they like; all of it means the file.
        except Exception as error:
            msg = (
                f"cannot read {box.width} x {box.height} px of {self.path} at ({box.x}, {box.y}) "
                f"of level {level}: {_line(error)}; the file is corrupt or truncated"
            )
            raise SlideReadError(msg) from error
        if pixels.shape[-1] == 4:
            return on_white(pixels)
        return np.broadcast_to(pixels, (box.height, box.width, 3))

    def _read_composed(self, level: int, box: Box) -> NDArray[np.uint8]:
        """Read through TiffSlide's Zarr view, which lays several pictures out as one slide."""
        pixels: NDArray[Any] = self._slide.read_region(
            (box.x, box.y), level, (box.width, box.height), as_array=True
        )
        return pixels.astype(np.uint8, copy=False)

    def _layout(self) -> tuple[dict[str, str], metadata.Levels]:
        """Check the file's layout, and prepare to read its levels."""
        tiff = self._slide.ts_tifffile
        _check_whole(tiff)
        properties = _properties(self._slide)
        series = tiff.series[self._slide.properties["tiffslide.series-index"]]
        for level in series.levels:
            # Tiles that were never scanned are white in TiffSlide's view, as OpenSlide's are.
            level.keyframe.nodata = WHITE
            _check_pixels(level.keyframe, self.path)
            check_bounded(level.keyframe, self.path)
        composed = self._slide.properties.get("tiffslide.series-composition")
        pages = [page for level in series.levels for page in level.pages]
        if not composed and len(pages) == len(series.levels) and all(map(is_readable, pages)):
            self._segments = [SegmentReader(page, self._file.fileno()) for page in pages]
        return properties, metadata.Levels(
            tuple(Size(width, height) for width, height in self._slide.level_dimensions),
            tuple(float(downsample) for downsample in self._slide.level_downsamples),
        )


def _line(error: Exception) -> str:
    """Return an error's message on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _properties(slide: tiffslide.TiffSlide) -> dict[str, str]:
    """Return the properties as OpenSlide would name them."""
    found = slide.properties
    named = {
        name.replace(_PREFIX, "openslide.", 1): str(value)
        for name, value in found.items()
        if value is not None
    }
    if found.get(_VENDOR) == "aperio" and "tiff.XResolution" in found:
        # TiffSlide took it from a tag that Aperio does not fill in; OpenSlide does not.
        del named[metadata.MPP_X], named[metadata.MPP_Y]
    ndpi = slide.ts_tifffile.pages.first.ndpi_tags or {}
    if "Wavelength" in ndpi:
        named[metadata.NDPI_WAVELENGTH] = str(ndpi["Wavelength"])
    return named


def _check_whole(tiff: Any) -> None:  # noqa: ANN401 - tifffile.TiffFile, which is untyped here
    """Refuse a file that ends before its directories or its pixels do."""
    pages, handle = tiff.pages, tiff.filehandle
    if not len(pages):
        msg = "it is truncated: its first directory lies beyond its end"
        raise ValueError(msg)
    handle.seek(pages.next_page_offset)
    if any(handle.read(tiff.tiff.offsetsize)):
        msg = "it is truncated: a directory lies beyond its end"
        raise ValueError(msg)
    for level in tiff.series[0].levels:
        page = level.keyframe
        ends = zip(page.dataoffsets, page.databytecounts, strict=True)
        if max(offset + length for offset, length in ends) > handle.size:
            msg = "it is truncated: pixels lie beyond its end"
            raise ValueError(msg)


def _check_pixels(page: Any, path: Path) -> None:  # noqa: ANN401 - tifffile.TiffPage, untyped
    if page.dtype != np.uint8 or page.samplesperpixel not in (1, 3, 4):
        msg = (
            f"{path} has {page.samplesperpixel} samples of {page.dtype} per pixel; "
            "only 8-bit grey, RGB and RGBA can be used: convert it"
        )
        raise UnsupportedSlideError(msg)
    converted = page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS
    if page.photometric not in _PHOTOMETRIC and not (converted and page.photometric == _YCBCR):
        kind = getattr(page.photometric, "name", page.photometric)
        msg = f"{path} stores colours as {kind}; only grey, RGB and RGBA can be used: convert it"
        raise UnsupportedSlideError(msg)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the libraries print about a file: ours is the one line."""
    logger = logging.getLogger("tifffile")
    logger.addFilter(_refuse)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeFilter(_refuse)


def _refuse(record: logging.LogRecord) -> bool:
    del record
    return False
