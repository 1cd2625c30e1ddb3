"""JPEG streams as Aperio's scanners write them: tables apart, RGB, no marker that says so."""

from collections.abc import Iterator

import imagecodecs
import numpy as np
from numpy.typing import NDArray

# That of the source, whose tiles then are as large as the scanner made them.
QUALITY = 30
# Second bytes of markers.
_TABLES = {0xDB, 0xC4}
_FRAME = 0xC0
_SCAN = 0xDA

Image = NDArray[np.uint8]


def abbreviated(pixels: Image) -> bytes:
    """Encode RGB pixels as Aperio does: no tables, and nothing that tells the colours."""
    pieces = [seg for seg in _segments(_encoded(pixels)) if seg[1] in {_FRAME, _SCAN}]
    return b"\xff\xd8" + b"".join(map(_renamed, pieces))


def _renamed(segment: bytes) -> bytes:
    """Name the components 0, 1, 2, as Aperio does, rather than R, G, B."""
    renamed = bytearray(segment)
    first, step = (10, 3) if segment[1] == _FRAME else (5, 2)
    renamed[first : first + 3 * step : step] = bytes((0, 1, 2))
    return bytes(renamed)


def jpeg_tables(pixels: Image) -> bytes:
    """Return the tables that all tiles share, for the TIFF tag JPEGTables."""
    kept = [seg for seg in _segments(_encoded(pixels)) if seg[1] in _TABLES]
    return b"\xff\xd8" + b"".join(kept) + b"\xff\xd9"


def _encoded(pixels: Image) -> bytes:
    encoded = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(pixels),
        level=QUALITY,
        colorspace="RGB",
        outcolorspace="RGB",
        subsampling="444",
        optimize=False,
    )
    return bytes(encoded)


def _segments(jpeg: bytes) -> Iterator[bytes]:
    """Split a JPEG after its first marker; the last piece is the scan with all that follows."""
    start = 2
    while jpeg[start + 1] != _SCAN:
        end = start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big")
        yield jpeg[start:end]
        start = end
    yield jpeg[start:]
