"""PNG and JPEG pictures as slides of one level."""

import threading
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Exif
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from wsi_specdec.errors import SlideReadError, UnsupportedSlideError
from wsi_specdec.geometry import Box, Size
from wsi_specdec.slides import metadata
from wsi_specdec.slides.base import WHITE, SlideReader, check_decodable, on_white

READER: Final = "image"
_PNG_START: Final = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH_AT: Final = 24
_JPEG_START: Final = b"\xff\xd8\xff"
_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = 1
_MICROMETRES_PER_INCH: Final = 25_400.0
# What a Pillow mode becomes before it is read; others cannot be used.
_MODES: Final = {"1": "L", "L": "L", "LA": "RGBA", "P": "RGBA", "RGB": "RGB", "RGBA": "RGBA"}


class _Header(NamedTuple):
    """A picture that is not decoded yet, its format, and what it states."""

    file: BinaryIO
    image: ImageFile
    vendor: str
    bits: int
    orientation: int
    dpi: tuple[float, float] | None


class PlainReader(SlideReader):
    """A PNG or JPEG picture; see `SlideReader`.

    It is decoded whole when a region is first read, and kept: 4 bytes per pixel. Its size is taken
    from the header, so nothing too large is ever decoded.

    Raises
    ------
    SlideReadError
        If it is neither PNG nor JPEG, or its header is corrupt.
    UnsupportedSlideError
        If it has more than 2**27 pixels, is not 8-bit grey, palette, RGB or RGBA, or has an EXIF
        orientation that says to turn it: viewers differ in whether they do, and masks and
        coordinates would not fit.
    ResolutionError
        If its pixels are not square and no mpp is given.
    """

    def __init__(self, path: Path, given: metadata.MppGiven) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._decoded = False
        header = _read_header(path)
        self._file, self._image = header.file, header.image
        try:
            _check(header, path)
            levels = metadata.Levels((Size(*self._image.size),), (1.0,))
            self.info = metadata.slide_info(_properties(header), READER, levels, path, given)
        except BaseException:
            self._file.close()
            raise

    def read_region(self, x: int, y: int, level: int, size: Size) -> NDArray[np.uint8]:
        """Read a region; see `SlideReader.read_region`."""
        if level != 0:
            msg = f"{self.path} has one level, not level {level}"
            raise IndexError(msg)
        out = np.full((size.height, size.width, 3), WHITE, np.uint8)
        whole = self.info.level_sizes[0]
        x0, y0 = max(0, x), max(0, y)
        x1, y1 = min(whole.width, x + size.width), min(whole.height, y + size.height)
        if x0 < x1 and y0 < y1:
            box = Box(x0, y0, x1 - x0, y1 - y0)
            out[y0 - y : y1 - y, x0 - x : x1 - x] = self._read_inside(box)
        return out

    def close(self) -> None:
        """Let go of the file and its pixels; a second time does nothing."""
        self._image.close()
        self._file.close()

    def _read_inside(self, box: Box) -> NDArray[np.uint8]:
        """Read a box wholly inside the picture."""
        with self._lock:
            if not self._decoded:
                self._decode()
        part = self._image.crop((box.x, box.y, box.x + box.width, box.y + box.height))
        # A PNG may also name one colour, or palette entries, that are transparent.
        mode = "RGBA" if "transparency" in self._image.info else _MODES[self._image.mode]
        pixels = np.asarray(part.convert(mode))
        if mode == "RGBA":
            return on_white(pixels)
        return np.broadcast_to(
            pixels.reshape(box.height, box.width, -1), (box.height, box.width, 3)
        )

    def _decode(self) -> None:
        try:
            self._image.load()
        except MemoryError:
            raise
        # Pillow's decoders raise what they like; all of it means the file.
        except Exception as error:
            msg = f"cannot read {self.path}: {error}; the file is corrupt or truncated"
            raise SlideReadError(msg) from error
        self._decoded = True


def _read_header(path: Path) -> _Header:
    """Read all but the pixels; the file is left open."""
    with ExitStack() as undo:
        try:
            file = undo.enter_context(path.open("rb"))
            start = file.read(_PNG_DEPTH_AT + 1)
            file.seek(0)
            header = _parse(file, start)
        except MemoryError:
            raise
        # Pillow's parsers raise what they like; all of it means the file.
        except Exception as error:
            msg = f"{path} is corrupt or truncated: {error}; copy it again"
            raise SlideReadError(msg) from error
        if header is None:
            msg = f"{path} is neither PNG nor JPEG: leave out --reader image"
            raise SlideReadError(msg)
        undo.pop_all()
    return header


def _parse(file: BinaryIO, start: bytes) -> _Header | None:
    """Parse a picture's header; None if it is neither PNG nor JPEG."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Not `Image.open`: only these two parsers may see the file, and the limit is ours.
        if start.startswith(_PNG_START):
            image: ImageFile = PngImageFile(file)
            vendor, bits = metadata.PNG, start[_PNG_DEPTH_AT]
        elif start.startswith(_JPEG_START):
            image = JpegImageFile(file)
            vendor, bits = metadata.JPEG, 8
        else:
            return None
        # Not `getexif`: of a PNG it would decode the pixels first.
        exif = Exif()
        exif.load(image.info.get("exif", b""))
        orientation = exif.get(_ORIENTATION, _UPRIGHT)
        return _Header(file, image, vendor, bits, orientation, image.info.get("dpi"))


def _check(header: _Header, path: Path) -> None:
    """Refuse what is too large, of other pixels, or turned."""
    check_decodable(Size(*header.image.size), "one piece", path)
    if header.image.mode not in _MODES or header.bits > 8:
        msg = (
            f"{path} has {header.bits}-bit pixels of kind {header.image.mode}; only 8-bit grey, "
            "palette, RGB and RGBA can be used: convert it"
        )
        raise UnsupportedSlideError(msg)
    if header.orientation != _UPRIGHT:
        msg = (
            f"{path} has the EXIF orientation {header.orientation}, which some programs obey and "
            "some do not: write it upright and without that tag"
        )
        raise UnsupportedSlideError(msg)


def _properties(header: _Header) -> dict[str, str]:
    """Return format, and mpp by the density that PNG pHYs, JFIF or EXIF state with a unit."""
    stated = {metadata.VENDOR: header.vendor}
    if header.dpi is not None and min(header.dpi) > 0:
        x, y = (str(_MICROMETRES_PER_INCH / float(value)) for value in header.dpi)
        stated |= {metadata.MPP_X: x, metadata.MPP_Y: y}
    return stated
