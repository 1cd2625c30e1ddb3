"""Directories of a TIFF, read in bounded memory whatever a damaged file claims.

Only what direct access to tiles needs is read, as numpy arrays: a gigapixel slide has tens of
thousands of offsets.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

IMAGE_WIDTH: Final = 256
IMAGE_LENGTH: Final = 257
BITS_PER_SAMPLE: Final = 258
COMPRESSION: Final = 259
PHOTOMETRIC: Final = 262
FILL_ORDER: Final = 266
STRIP_OFFSETS: Final = 273
ORIENTATION: Final = 274
SAMPLES_PER_PIXEL: Final = 277
STRIP_BYTE_COUNTS: Final = 279
PLANAR_CONFIGURATION: Final = 284
PREDICTOR: Final = 317
TILE_WIDTH: Final = 322
TILE_LENGTH: Final = 323
TILE_OFFSETS: Final = 324
TILE_BYTE_COUNTS: Final = 325
SUB_DIRECTORIES: Final = 330
SAMPLE_FORMAT: Final = 339
JPEG_TABLES: Final = 347

_READ: Final = frozenset(value for name, value in list(globals().items()) if name.isupper())
_TYPES: Final = {1: "u1", 3: "u2", 4: "u4", 7: "u1", 13: "u4", 16: "u8", 18: "u8"}
# Offsets of eight million tiles, half a terapixel; a damaged count may claim anything.
_MAX_VALUE_BYTES = 1 << 26
_MAX_DIRECTORIES = 1024

Tags = Mapping[int, NDArray[np.uint64]]


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a classic or a big TIFF writes its numbers."""

    order: str
    offset: str
    number_of_entries: str

    def bytes_of(self, kind: str) -> int:
        return np.dtype(kind).itemsize


def read_directories(path: Path) -> list[Tags]:
    """Read all directories of a TIFF, those of reduced images that hang below others included.

    Returns
    -------
    list of Mapping[int, uint64 (n,)]
        The values of each directory's tags, those that this module names.

    Raises
    ------
    ValueError
        If the file is no TIFF, or a directory lies outside it or is not as the format says.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        layout, first = _read_header(file)
        return list(_walk(file, size, layout, first))


def _read_header(file: BinaryIO) -> tuple[_Layout, int]:
    start = file.read(16)
    orders = {b"II": "<", b"MM": ">"}
    order = orders.get(start[:2])
    if order is None or len(start) < 8:
        msg = "it is no TIFF"
        raise ValueError(msg)
    version = int(np.frombuffer(start, f"{order}u2", 1, 2)[0])
    if version == 42:
        return _Layout(order, "u4", "u2"), int(np.frombuffer(start, f"{order}u4", 1, 4)[0])
    if version == 43:
        return _Layout(order, "u8", "u8"), int(np.frombuffer(start, f"{order}u8", 1, 8)[0])
    msg = f"it is a TIFF of the unknown version {version}"
    raise ValueError(msg)


def _walk(file: BinaryIO, size: int, layout: _Layout, first: int) -> Iterator[Tags]:
    """Yield each directory once, in the order of the chain, those below one right after it."""
    waiting = [first]
    seen: set[int] = set()
    while waiting:
        position = waiting.pop()
        # One that hangs below another may also be the next of its neighbour.
        if position == 0 or position in seen:
            continue
        if len(seen) == _MAX_DIRECTORIES:
            msg = f"it has more than {_MAX_DIRECTORIES:,} directories"
            raise ValueError(msg)
        seen.add(position)
        tags, following = _read_directory(file, size, layout, position)
        waiting.append(following)
        waiting += reversed([int(below) for below in tags.get(SUB_DIRECTORIES, ())])
        yield tags


def _read_directory(file: BinaryIO, size: int, layout: _Layout, position: int) -> tuple[Tags, int]:
    order, word = layout.order, layout.bytes_of(layout.offset)
    number = layout.bytes_of(layout.number_of_entries)
    entry = np.dtype(
        [("tag", f"{order}u2"), ("type", f"{order}u2"), ("count", order + layout.offset),
         ("value", f"V{word}")]
    )  # fmt: skip
    head = _read(file, size, position, number)
    n_entries = int(np.frombuffer(head, order + layout.number_of_entries)[0])
    body = _read(file, size, position + number, n_entries * entry.itemsize + word)
    tags: dict[int, NDArray[np.uint64]] = {}
    for tag, kind, count, value in np.frombuffer(body, entry, n_entries).tolist():
        if tag in _READ and kind in _TYPES:
            dtype = np.dtype(order + _TYPES[kind])
            length = count * dtype.itemsize
            if length > word:
                where = int(np.frombuffer(value, order + layout.offset)[0])
                value = _read(file, size, where, length)  # noqa: PLW2901 - the value proper
            tags[tag] = np.frombuffer(value, dtype, count).astype(np.uint64)
    following = int(np.frombuffer(body[-word:], order + layout.offset)[0])
    return tags, following


def _read(file: BinaryIO, size: int, position: int, length: int) -> bytes:
    if length > _MAX_VALUE_BYTES or position + length > size:
        msg = f"{length:,} bytes at {position:,} of a directory lie outside it ({size:,} bytes)"
        raise ValueError(msg)
    file.seek(position)
    return file.read(length)
