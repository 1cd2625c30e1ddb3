"""TIFF slides that OpenSlide does not know, read by TiffSlide (tifffile)."""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import tiffslide
from numpy.typing import NDArray

from wsi_specdec.errors import SlideReadError, UnsupportedSlideError
from wsi_specdec.geometry import Size
from wsi_specdec.slides import metadata
from wsi_specdec.slides.base import WHITE, SlideInfo, SlideReader, on_white

READER: Final = "tiffslide"
_PREFIX = "tiffslide."
_VENDOR = "tiffslide.vendor"


class _LevelTiffSlide(tiffslide.TiffSlide):
    """Takes locations in pixels of the level, so that rounding is ours alone."""

    def _read_region_loc_transform(self, location: tuple[int, int], level: int) -> tuple[int, int]:
        del level
        return location


class TiffSlideReader(SlideReader):
    """A slide read by TiffSlide; see `SlideReader`.

    Raises
    ------
    SlideReadError
        If it is not a TIFF, is truncated, or is laid out as TiffSlide cannot read.
    UnsupportedSlideError
        If its pixels are not 8-bit grey, RGB or RGBA.
    ResolutionError
        If its mpp is not plausible and none is given.
    """

    def __init__(self, path: Path, mpp: float | None, mpp_source: str) -> None:
        self.path = path
        with _quiet():
            try:
                self._slide = _LevelTiffSlide(path)
            except Exception as error:
                msg = f"TiffSlide cannot open {path}: {error}"
                raise SlideReadError(msg) from error
            try:
                self.info = self._read_info(mpp, mpp_source)
            except BaseException:
                self._slide.close()
                raise

    def read_region(self, x: int, y: int, level: int, size: Size) -> NDArray[np.uint8]:
        """Read a region; see `SlideReader.read_region`."""
        out = np.full((size.height, size.width, 3), WHITE, np.uint8)
        downsample, whole = self.info.level_downsamples[level], self.info.level_sizes[level]
        left, top = math.floor(x / downsample), math.floor(y / downsample)
        x0, y0 = max(0, left), max(0, top)
        x1, y1 = min(whole.width, left + size.width), min(whole.height, top + size.height)
        if x0 < x1 and y0 < y1:
            pixels = self._read_inside(x0, y0, level, Size(x1 - x0, y1 - y0))
            out[y0 - top : y1 - top, x0 - left : x1 - left] = pixels
        return out

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        self._slide.close()

    def _read_inside(self, x: int, y: int, level: int, size: Size) -> NDArray[np.uint8]:
        """Read a region wholly inside the level; x, y in pixels of the level."""
        try:
            pixels: NDArray[Any] = self._slide.read_region(
                (x, y), level, (size.width, size.height), as_array=True
            )
        except MemoryError:
            raise
        # tifffile and its many decoders raise what they like; all of it means the file.
        except Exception as error:
            msg = (
                f"cannot read {size.width} x {size.height} px of {self.path} at ({x}, {y}) of "
                f"level {level}: {error}; the file is corrupt or truncated"
            )
            raise SlideReadError(msg) from error
        pixels = pixels.astype(np.uint8, copy=False)
        if pixels.shape[-1] == 4:
            return on_white(pixels)
        return np.broadcast_to(pixels, (size.height, size.width, 3))

    def _read_info(self, mpp: float | None, mpp_source: str) -> SlideInfo:
        try:
            _check_whole(self._slide.ts_tifffile)
            _fill_white(self._slide.ts_tifffile)
            properties = _properties(self._slide)
            sizes = tuple(Size(w, h) for w, h in self._slide.level_dimensions)
            downsamples = tuple(float(d) for d in self._slide.level_downsamples)
            _check_pixels(self._slide, self.path)
        except (UnsupportedSlideError, MemoryError):
            raise
        except Exception as error:
            msg = f"TiffSlide cannot open {self.path}: {error}"
            raise SlideReadError(msg) from error
        vendor = self._slide.properties.get(_VENDOR) or metadata.GENERIC
        found = metadata.resolve_mpp(properties, vendor, self.path, mpp, mpp_source)
        return SlideInfo(
            vendor=vendor,
            reader=READER,
            level_sizes=sizes,
            level_downsamples=downsamples,
            mpp=found.mpp,
            mpp_source=found.source,
            objective_power=metadata.objective_power(properties),
            scanner=metadata.scanner(properties),
            bounds=metadata.bounds(properties, sizes[0]),
            fluorescence=metadata.is_fluorescence(properties),
        )


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
        del named["openslide.mpp-x"], named["openslide.mpp-y"]
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


def _fill_white(tiff: Any) -> None:  # noqa: ANN401 - as above
    """Let tiles that were never scanned be white, as OpenSlide's are."""
    for level in tiff.series[0].levels:
        level.keyframe.nodata = WHITE


def _check_pixels(slide: tiffslide.TiffSlide, path: Path) -> None:
    page = slide.ts_tifffile.series[slide.properties["tiffslide.series-index"]].keyframe
    if page.dtype != np.uint8 or page.samplesperpixel not in (1, 3, 4):
        msg = (
            f"{path} has {page.samplesperpixel} samples of {page.dtype} per pixel; "
            "only 8-bit grey, RGB and RGBA can be used: convert it"
        )
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
