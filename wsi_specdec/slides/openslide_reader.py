"""Slides that OpenSlide reads: Aperio, Hamamatsu, Leica, MIRAX, Philips, DICOM, tiled TIFF..."""

from pathlib import Path
from typing import Final

import numpy as np
import openslide
from numpy.typing import NDArray

from wsi_specdec.errors import SlideReadError
from wsi_specdec.geometry import Size
from wsi_specdec.slides import metadata
from wsi_specdec.slides.base import SlideInfo, SlideReader, on_white

READER: Final = "openslide"


class OpenSlideReader(SlideReader):
    """A slide read by OpenSlide; see `SlideReader`.

    Raises
    ------
    SlideReadError
        If OpenSlide cannot open it.
    ResolutionError
        If its mpp is not plausible and none is given.
    """

    def __init__(self, path: Path, mpp: float | None, mpp_source: str) -> None:
        self.path = path
        self._closed = False
        try:
            self._slide = openslide.OpenSlide(path)
        except openslide.OpenSlideError as error:
            msg = f"OpenSlide cannot open {path}: {error}"
            raise SlideReadError(msg) from error
        try:
            self.info = _info(self._slide, path, mpp, mpp_source)
        except BaseException:
            self.close()
            raise

    def read_region(self, x: int, y: int, level: int, size: Size) -> NDArray[np.uint8]:
        """Read a region; see `SlideReader.read_region`."""
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


def _info(slide: openslide.OpenSlide, path: Path, mpp: float | None, mpp_source: str) -> SlideInfo:
    properties = dict(slide.properties)
    vendor = properties.get(openslide.PROPERTY_NAME_VENDOR, metadata.GENERIC)
    sizes = tuple(Size(width, height) for width, height in slide.level_dimensions)
    found = metadata.resolve_mpp(properties, vendor, path, mpp, mpp_source)
    return SlideInfo(
        vendor=vendor,
        reader=READER,
        level_sizes=sizes,
        level_downsamples=tuple(slide.level_downsamples),
        mpp=found.mpp,
        mpp_source=found.source,
        objective_power=metadata.objective_power(properties),
        scanner=metadata.scanner(properties),
        bounds=metadata.bounds(properties, sizes[0]),
        fluorescence=metadata.is_fluorescence(properties),
    )
