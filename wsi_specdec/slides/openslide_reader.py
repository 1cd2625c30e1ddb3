"""Slides that OpenSlide reads: Aperio, Hamamatsu, Leica, MIRAX, Philips, DICOM, tiled TIFF..."""

from pathlib import Path
from typing import Final

import numpy as np
import openslide
from numpy.typing import NDArray

from wsi_specdec.errors import SlideReadError
from wsi_specdec.geometry import Size
from wsi_specdec.slides import metadata
from wsi_specdec.slides.base import WHITE, SlideInfo, SlideReader, check_decodable, on_white
from wsi_specdec.slides.whole_pixels import LONGEST_SIDE, MARGIN, nearest_start, unshifted

READER: Final = "openslide"
# Formats whose levels OpenSlide draws as one grid of tiles, so that all pixels are shifted alike.
_PLAIN_GRIDS: Final = frozenset({"aperio", "generic-tiff", "philips", "dicom"})


class OpenSlideReader(SlideReader):
    """A slide read by OpenSlide; see `SlideReader`.

    Raises
    ------
    SlideReadError
        If OpenSlide cannot open it.
    UnsupportedSlideError
        If its tiles are too large to decode.
    ResolutionError
        If its mpp is not plausible and none is given.
    """

    def __init__(self, path: Path, given: metadata.MppGiven) -> None:
        self.path = path
        self._closed = False
        try:
            self._slide = openslide.OpenSlide(path)
        except openslide.OpenSlideError as error:
            msg = f"OpenSlide cannot open {path}: {error}"
            raise SlideReadError(msg) from error
        try:
            self.info = _info(self._slide, path, given)
        except (KeyError, openslide.OpenSlideError) as error:
            # A slide that turns out to be corrupt loses its properties as they are read.
            self.close()
            msg = f"OpenSlide cannot read the properties of {path}; the file is corrupt"
            raise SlideReadError(msg) from error
        except BaseException:
            self.close()
            raise

    def read_region(self, x: int, y: int, level: int, size: Size) -> NDArray[np.uint8]:
        """Read a region; see `SlideReader.read_region`.

        Where a level's downsample is not whole, OpenSlide interpolates between the level's pixels.
        Of common formats, and up to 4,000 px a side, that is undone to within 3 grey levels; else
        a shift of up to half a level-0 pixel remains.
        """
        downsample = self.info.level_downsamples[level]
        left, top = nearest_start(x, downsample), nearest_start(y, downsample)
        wide = Size(left.lead + size.width + MARGIN, top.lead + size.height + MARGIN)
        alike = self.info.vendor in _PLAIN_GRIDS and max(wide.width, wide.height) <= LONGEST_SIDE
        if not alike or not (left.lead or top.lead):
            return self._read(left.nearest, top.nearest, level, size)
        out = np.full((size.height, size.width, 3), WHITE, np.uint8)
        if min(wide.width, wide.height) > MARGIN:
            pixels = self._read(left.level0, top.level0, level, wide)
            pixels = unshifted(pixels, left.shift, top.shift)
            inside = pixels[max(0, top.lead) : -MARGIN, max(0, left.lead) : -MARGIN]
            out[-inside.shape[0] :, -inside.shape[1] :] = inside
        return out

    def _read(self, x: int, y: int, level: int, size: Size) -> NDArray[np.uint8]:
        """Read as OpenSlide does, x and y in level-0 pixels."""
        try:
            image = self._slide.read_region((x, y), level, (size.width, size.height))
        except openslide.OpenSlideError as error:
            msg = (
                f"cannot read {size.width} x {size.height} px of {self.path} at ({x}, {y}), level "
                f"{level}: {error}; the file is corrupt or truncated"
            )
            raise SlideReadError(msg) from error
        return on_white(np.asarray(image))

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        if not self._closed:
            self._closed = True
            self._slide.close()


def _info(slide: openslide.OpenSlide, path: Path, given: metadata.MppGiven) -> SlideInfo:
    properties = dict(slide.properties)
    sizes = tuple(Size(width, height) for width, height in slide.level_dimensions)
    for level in range(len(sizes)):
        _check_tiles(properties, level, path)
    levels = metadata.Levels(sizes, tuple(slide.level_downsamples))
    return metadata.slide_info(properties, READER, levels, path, given)


def _check_tiles(properties: dict[str, str], level: int, path: Path) -> None:
    """Refuse tiles too large to decode in one piece."""
    width, height = (
        int(properties.get(f"openslide.level[{level}].tile-{side}", 0))
        for side in ("width", "height")
    )
    check_decodable(Size(width, height), "tiles", path)
