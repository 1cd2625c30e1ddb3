"""The compressed tiles of a TIFF level, read without the slide's library.

Bytes are read for many tiles at a time; decoding is by imagecodecs, without the GIL, so threads
help. Pixels are those that the level's reader gives.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import SlideReadError
from wsi_specdec.files import open_for
from wsi_specdec.geometry import Size
from wsi_specdec.slides.encoded_jpeg import (
    EOI,
    SOI,
    JpegForm,
    check_scan,
    checked_end,
    completed,
    count_markers,
)

Compression = Literal["jpeg", "jpeg2000", "lzw", "deflate", "none"]

# Tiles apart by less are read in one call, and so are as many as this holds.
_GAP_BYTES = 1 << 16
_READ_BYTES = 1 << 23
# No codec makes a tile larger than twice its pixels; a damaged table may claim anything.
_SLACK_BYTES = 1 << 16
_HORIZONTAL: Final = 2
# Start of a JPEG 2000 codestream: SOC, then SIZ.
_J2K_START: Final = b"\xff\x4f\xff\x51"

Buffer = bytes | memoryview


@dataclass(frozen=True, eq=False)
class EncodedLevel:
    """Direct access to the compressed tiles of one level. Cheap to hold, and picklable.

    Tiles are named by their index in row-major order: row * `columns` + column. The file stays
    open from the first reading until this is let go of.

    Attributes
    ----------
    path
        The slide's file.
    level
        Which of the reader's levels.
    size
        Size of the level in pixels; tiles of the last column and row reach past it.
    tile
        Size of every tile in pixels.
    columns, rows
        Number of tiles each way.
    offsets, counts
        uint64, (rows, columns): where each tile lies in the file, and its bytes; a tile of none
        is missing, and left to the slide's reader.
    compression
        How tiles are compressed.
    predictor
        2 where samples are stored as differences from the left, else 1.
    form
        How JPEG streams become complete; None for other compressions.
    """

    path: Path
    level: int
    size: Size
    tile: Size
    columns: int
    rows: int
    offsets: NDArray[np.uint64]
    counts: NDArray[np.uint64]
    compression: Compression
    predictor: int = 1
    form: JpegForm | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def quality(self) -> int | None:
        """Return libjpeg's quality nearest to the tiles' tables; None where they are not JPEG."""
        return None if self.form is None else self.form.quality

    @property
    def jpeg_form(self) -> JpegForm:
        """How streams become complete.

        Raises
        ------
        ValueError
            If the level is not of JPEGs.
        """
        if self.form is None:
            msg = f"level {self.level} of {self.path} holds {self.compression}, not JPEG"
            raise ValueError(msg)
        return self.form

    def missing(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which tiles, (n,), hold no bytes."""
        gone: NDArray[np.bool_] = self.counts.ravel()[indices] == 0
        return gone

    def read(self, indices: NDArray[np.int64]) -> list[memoryview]:
        """Read the bytes of tiles, (n,), as they lie in the file, neighbours in one go.

        Raises
        ------
        SlideReadError
            If a tile lies outside the file or claims to be larger than it can be.
        """
        views: list[memoryview] = [memoryview(b"")] * len(indices)
        for part in self._parts(indices):
            for number, begin, end in part.places():
                views[number] = part.data[begin:end]
        return views

    def read_jpegs(self, indices: NDArray[np.int64]) -> list[bytes]:
        """Read JPEG tiles, (n,), as complete files: tables merged, colours marked, scans untouched.

        They are not decoded: their headers, their ends and that no marker stands within the scan
        are checked, which is where decoders give up; other damage they show as wrong pixels.

        Raises
        ------
        SlideReadError
            If a tile is damaged there, or as `read`.
        ValueError
            If the level is not of JPEGs.
        """
        prefix = self.jpeg_form.prefix
        return [prefix + stream for stream in self.read_streams(indices)]

    def read_streams(self, indices: NDArray[np.int64]) -> list[memoryview]:
        """Read JPEG tiles, (n,), without their first marker: with `jpeg_form.prefix` each is whole.

        Raises as `read_jpegs`.
        """
        start = SOI + self.jpeg_form.head
        usual = count_markers(start + EOI, [0], [len(start) + 2])[0]
        streams: list[memoryview] = [memoryview(b"")] * len(indices)
        for part in self._parts(indices):
            is_usual = count_markers(part.data, part.begins, part.ends) == usual
            for (number, begin, end), fits in zip(part.places(), is_usual.tolist(), strict=True):
                view = part.data[begin:end]
                if fits and view[: len(start)] == start and bytes(view[-2:]) == EOI:
                    streams[number] = view[2:]
                else:
                    streams[number] = view[2 : self._checked_end(view, int(indices[number]))]
        return streams

    def read_jpeg(self, column: int, row: int) -> bytes:
        """Read one JPEG tile as a complete file; see `read_jpegs`."""
        return self.read_jpegs(np.array([row * self.columns + column]))[0]

    def decode(self, column: int, row: int) -> NDArray[np.uint8]:
        """Read and decode one tile: uint8, (tile.height, tile.width, 3), RGB.

        Raises
        ------
        SlideReadError
            If it is damaged.
        """
        index = row * self.columns + column
        return self.decode_bytes(self.read(np.array([index]))[0], index)

    def decode_bytes(self, data: Buffer, index: int) -> NDArray[np.uint8]:
        """Decode the bytes that `read` gave for a tile: uint8, (tile.height, tile.width, 3), RGB.

        Raises
        ------
        SlideReadError
            If they are damaged.
        """
        try:
            if self.form is not None:
                pixels = imagecodecs.jpeg8_decode(
                    completed(bytes(data), self.form), outcolorspace="RGB"
                )
            else:
                pixels = self._decode_plain(bytes(data))
        # imagecodecs' errors, one type for each codec, share RuntimeError alone.
        except (RuntimeError, ValueError) as error:
            raise self._damaged(index, error) from error
        pixels = np.asarray(pixels)
        if pixels.dtype != np.uint8 or pixels.shape != (self.tile.height, self.tile.width, 3):
            raise self._damaged(index, ValueError(f"it decodes to {pixels.dtype} {pixels.shape}"))
        return pixels

    def _parts(self, indices: NDArray[np.int64]) -> Iterator["_Part"]:
        """Read neighbours in one go; each tile, (n,), is in one of the parts."""
        starts, counts = self._located(indices)
        order = np.argsort(starts, kind="stable")
        ends = starts + counts
        for first, last in _reads(starts[order], ends[order]):
            numbers = order[first : last + 1]
            base, stop = int(starts[numbers[0]]), int(ends[numbers].max())
            data = memoryview(_pread(self._file.descriptor, base, stop - base, self.path))
            yield _Part(data, numbers, starts[numbers] - base, ends[numbers] - base)

    @cached_property
    def _file(self) -> "_File":
        try:
            descriptor = open_for(self, self.path)
        except OSError as error:
            msg = f"cannot read the slide {self.path}: {error.strerror}"
            raise SlideReadError(msg) from error
        return _File(descriptor, os.fstat(descriptor).st_size)

    def _checked_end(self, data: Buffer, index: int) -> int:
        stream = bytes(data)
        try:
            end = checked_end(stream, self.jpeg_form)
            check_scan(stream[:end])
        except ValueError as error:
            raise self._damaged(index, error) from error
        return end

    def _decode_plain(self, data: bytes) -> NDArray[np.uint8]:
        shape = (self.tile.height, self.tile.width, 3)
        if self.compression == "jpeg2000":
            # Looked at first, since the decoder sets aside whatever a damaged header claims.
            width, height = (int.from_bytes(data[at : at + 4]) for at in (8, 12))
            if data[:4] != _J2K_START or (width, height) != (self.tile.width, self.tile.height):
                msg = "it is no JPEG 2000 of the tile's size"
                raise ValueError(msg)
            return np.asarray(imagecodecs.jpeg2k_decode(data))
        length = self.tile.area * 3
        if self.compression == "deflate":
            data = bytes(imagecodecs.zlib_decode(data, out=length))
        elif self.compression == "lzw":
            data = bytes(imagecodecs.lzw_decode(data, out=length))
        pixels = np.frombuffer(data, np.uint8, length).reshape(shape)
        if self.predictor == _HORIZONTAL:
            return np.cumsum(pixels, axis=1, dtype=np.uint8)
        return pixels

    def _located(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Offsets and counts, (n,), of tiles that can be where the tables say."""
        offsets, counts = self.offsets.ravel()[indices], self.counts.ravel()[indices]
        size = np.uint64(self._file.size)
        limit = np.uint64(6 * self.tile.area + _SLACK_BYTES)
        # In this order, since the sum of two damaged numbers may wrap round.
        wrong = (counts > limit) | (offsets > size) | (offsets + counts > size)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            msg = f"it claims {counts[at]:,} bytes at {offsets[at]:,}; the file has {size:,}"
            raise self._damaged(int(indices[at]), ValueError(msg))
        return offsets.astype(np.int64), counts.astype(np.int64)

    def _damaged(self, index: int, error: Exception) -> SlideReadError:
        row, column = divmod(index, self.columns)
        return SlideReadError(
            f"cannot read the file's tile in column {column}, row {row} of level {self.level} of "
            f"{self.path}: {error}; the file is corrupt or truncated"
        )


class _File(NamedTuple):
    """An open file, and its bytes when it was opened."""

    descriptor: int
    size: int


@dataclass(frozen=True, eq=False)
class _Part:
    """Bytes read in one go, and which of the tiles asked for lie where in them; arrays are (n,)."""

    data: memoryview
    numbers: NDArray[np.int64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]

    def places(self) -> Iterable[tuple[int, int, int]]:
        return zip(self.numbers.tolist(), self.begins.tolist(), self.ends.tolist(), strict=True)


def _reads(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Sequence[tuple[int, int]]:
    """Group tiles sorted by where they start into reads: first and last of each."""
    if not len(starts):
        return []
    apart = np.flatnonzero(starts[1:] - ends[:-1] > _GAP_BYTES) + 1
    groups = []
    for group in np.split(np.arange(len(starts)), apart):
        # Long runs are cut by where their tiles start.
        part = (starts[group] - starts[group[0]]) // _READ_BYTES
        pieces = np.split(group, np.flatnonzero(np.diff(part)) + 1)
        groups += [(int(piece[0]), int(piece[-1])) for piece in pieces]
    return groups


def _pread(descriptor: int, offset: int, length: int, path: Path) -> bytes:
    """Read so many bytes, or raise."""
    try:
        data = os.pread(descriptor, length, offset)
        while len(data) < length:
            more = os.pread(descriptor, length - len(data), offset + len(data))
            if not more:
                msg = f"{path} ended while it was read; the file is truncated"
                raise SlideReadError(msg)
            data += more
    except OSError as error:
        if isinstance(error, SlideReadError):
            raise
        msg = f"cannot read the slide {path}: {error.strerror}"
        raise SlideReadError(msg) from error
    return data
