"""Which levels of a slide can be read tile by tile, and the slide's fingerprint by their tables."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.files import fingerprint
from wsi_specdec.geometry import Size
from wsi_specdec.slides import encoded_directory as tiff
from wsi_specdec.slides.base import SlideReader
from wsi_specdec.slides.encoded import Compression, EncodedLevel
from wsi_specdec.slides.encoded_directory import Tags, read_directories
from wsi_specdec.slides.encoded_jpeg import JpegForm, form_of

# Formats whose levels are the TIFF's tiles side by side. Others overlap them (Leica, Ventana,
# Trestle), cut them from one large JPEG (Hamamatsu), or are no TIFF.
_PLAIN_VENDORS: Final = frozenset({"aperio", "generic-tiff", "philips"})
# 33003, Aperio's JPEG 2000 of YCbCr, is left to the reader: its rounding of colours is its own.
_COMPRESSIONS: Final[dict[int, Compression]] = {
    1: "none", 5: "lzw", 7: "jpeg", 8: "deflate", 32946: "deflate", 33005: "jpeg2000",
}  # fmt: skip
_RGB, _YCBCR = 2, 6
_PREDICTORS = (1, 2)


class _NotDirectError(Exception):
    """A level cannot be read directly; the message is the reason."""


def encoded_level(reader: SlideReader, level: int) -> EncodedLevel | None:
    """Find the compressed tiles of a level; None where they are not what the reader would show.

    That is so unless the file is a TIFF of Aperio's, Philips' or no maker's, and exactly one of
    its directories has the level's size, tiles, and 8-bit RGB or YCbCr in a compression that is
    decoded exactly.
    """
    return locate_encoded(reader, level)[0]


def locate_encoded(reader: SlideReader, level: int) -> tuple[EncodedLevel | None, str]:
    """As `encoded_level`, with the reason why there is none, else an empty one."""
    try:
        return _locate(reader, level), ""
    except _NotDirectError as error:
        return None, str(error)
    except (ValueError, OSError) as error:
        return None, f"its TIFF directories cannot be used: {error}"


def slide_fingerprint(path: Path, *, full: bool = False) -> str:
    """Identify a slide by its size, first and last MiB and, of a TIFF, where its tiles lie.

    A scanner's files of one size may share both ends; tiles compressed to the same lengths
    throughout do not happen by chance. The whole file is hashed instead if `full`.
    """
    ends = fingerprint(path, full=full)
    if full:
        return ends
    digest = hashlib.sha256(ends.encode())
    try:
        directories = read_directories(path)
    except ValueError:
        return ends
    for tags in directories:
        for name in (tiff.TILE_OFFSETS, tiff.TILE_BYTE_COUNTS, tiff.STRIP_OFFSETS,
                     tiff.STRIP_BYTE_COUNTS):  # fmt: skip
            digest.update(tags.get(name, np.empty(0, np.uint64)).astype("<u8").tobytes())
    return f"{ends.partition('-')[0]}-{digest.hexdigest()}"


def _locate(reader: SlideReader, level: int) -> EncodedLevel:
    vendor = reader.info.vendor
    if vendor not in _PLAIN_VENDORS:
        msg = f"{vendor} slides are read by their library alone"
        raise _NotDirectError(msg)
    size = reader.info.level_sizes[level]
    matching = [tags for tags in read_directories(reader.path) if _is_tiled(tags, size)]
    if len(matching) != 1:
        msg = f"{len(matching)} of its TIFF directories are tiled and of level {level}'s size"
        raise _NotDirectError(msg)
    (tags,) = matching
    compression = _check_pixels(tags)
    tile = Size(_one(tags, tiff.TILE_WIDTH), _one(tags, tiff.TILE_LENGTH))
    columns, rows = -(-size.width // tile.width), -(-size.height // tile.height)
    offsets, counts = _tables(tags, columns, rows)
    found = EncodedLevel(
        path=reader.path,
        level=level,
        size=size,
        tile=tile,
        columns=columns,
        rows=rows,
        offsets=offsets,
        counts=counts,
        compression=compression,
        predictor=_one(tags, tiff.PREDICTOR, 1),
    )
    if compression != "jpeg":
        return found
    return replace(found, form=_form(found, tags))


def _is_tiled(tags: Tags, size: Size) -> bool:
    sides = (_one(tags, tiff.IMAGE_WIDTH), _one(tags, tiff.IMAGE_LENGTH))
    tile = (_one(tags, tiff.TILE_WIDTH), _one(tags, tiff.TILE_LENGTH))
    return sides == (size.width, size.height) and min(tile) > 0


def _check_pixels(tags: Tags) -> Compression:
    """Return the compression of 8-bit RGB or YCbCr that is decoded as the reader does."""
    code, colours = _one(tags, tiff.COMPRESSION, 1), _one(tags, tiff.PHOTOMETRIC)
    compression = _COMPRESSIONS.get(code)
    if compression is None:
        msg = f"its tiles' compression (TIFF's number {code}) is not decoded directly"
        raise _NotDirectError(msg)
    bits = tags.get(tiff.BITS_PER_SAMPLE)
    plain = {
        tiff.SAMPLES_PER_PIXEL: 3,
        tiff.PLANAR_CONFIGURATION: 1,
        tiff.ORIENTATION: 1,
        tiff.FILL_ORDER: 1,
        tiff.SAMPLE_FORMAT: 1,
    }
    usual = all(_one(tags, name, 1) == value for name, value in plain.items())
    is_colour = colours == _RGB or (colours == _YCBCR and compression == "jpeg")
    if not (usual and is_colour and bits is not None and (bits == 8).all()):
        msg = "its pixels are not plain 8-bit colour"
        raise _NotDirectError(msg)
    if _one(tags, tiff.PREDICTOR, 1) not in (_PREDICTORS if compression != "jpeg" else (1,)):
        msg = "its predictor is not decoded directly"
        raise _NotDirectError(msg)
    return compression


def _tables(tags: Tags, columns: int, rows: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Offsets and byte counts, (rows, columns)."""
    tables = [
        tags.get(name, np.empty(0, np.uint64))
        for name in (tiff.TILE_OFFSETS, tiff.TILE_BYTE_COUNTS)
    ]
    if any(len(table) != rows * columns for table in tables):
        msg = f"its tables of tiles do not hold {columns} x {rows} of them"
        raise _NotDirectError(msg)
    return tables[0].reshape(rows, columns), tables[1].reshape(rows, columns)


def _form(level: EncodedLevel, tags: Tags) -> JpegForm:
    there = np.flatnonzero(level.counts.ravel())
    if not len(there):
        msg = "all its tiles are missing"
        raise _NotDirectError(msg)
    sample = bytes(level.read(there[:1])[0])
    tables = tags.get(tiff.JPEG_TABLES, np.empty(0, np.uint64)).astype(np.uint8).tobytes()
    is_rgb = _one(tags, tiff.PHOTOMETRIC) == _RGB
    try:
        return form_of(sample, tables, level.tile, is_rgb=is_rgb)
    except ValueError as error:
        raise _NotDirectError(str(error)) from error


def _one(tags: Tags, name: int, default: int = 0) -> int:
    values = tags.get(name)
    return default if values is None or not len(values) else int(values[0])
