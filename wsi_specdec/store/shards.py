"""Shard files: zarr v3's `sharding_indexed`, written and read without a zarr call per tile.

A shard is the chunks' bytes, then the index: little-endian uint64 (offset, length) of each chunk
in row-major order, all ones where there is none, then the index's crc32c.
"""

import os
import resource
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.files import open_for
from wsi_specdec.store.schema import shard_name

_EMPTY: Final = 2**64 - 1
_CRC_BYTES: Final = 4
# Linux' bound on the buffers of one gathering write.
_PIECES_A_CALL: Final = 1024


class ShardWriter:
    """Writes one shard as its chunks come; the index follows when it is closed cleanly.

    Chunks lie in the file in the order in which they come, whichever they are.
    """

    def __init__(self, path: Path, n_chunks: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb", buffering=0)
        self._index = np.full((n_chunks, 2), _EMPTY, "<u8")
        self._offset = 0

    def put(
        self,
        numbers: NDArray[np.int64],
        chunks: Sequence[bytes | memoryview],
        prefix: bytes = b"",
    ) -> None:
        """Add chunks, (n,) numbers of the shard's own, each with `prefix` in front of it."""
        lengths = np.fromiter(map(len, chunks), np.uint64, len(chunks)) + np.uint64(len(prefix))
        self._index[numbers, 0] = np.uint64(self._offset) + lengths.cumsum() - lengths
        self._index[numbers, 1] = lengths
        pieces = [piece for chunk in chunks for piece in (prefix, chunk)] if prefix else chunks
        for start in range(0, len(pieces), _PIECES_A_CALL):
            _write_all(self._file.fileno(), pieces[start : start + _PIECES_A_CALL])
        self._offset += int(lengths.sum())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            if kind is None:
                data = self._index.tobytes()
                _write_all(self._file.fileno(), [data, _crc32c(data)])


class Shard:
    """One open shard file and its index. Closed when the last user lets go of it."""

    def __init__(self, path: Path, n_chunks: int) -> None:
        try:
            self._fd = open_for(self, path)
        except OSError as error:
            msg = f"cannot open the shard {path}: {error.strerror}; tile the slide again"
            raise StoreError(msg) from error
        self.path = path
        self.index = _read_index(self._fd, path, n_chunks)

    def locate(self, first: NDArray[np.int64], count: int) -> list["Located"]:
        """Find, for each of `first`, the bytes of `count` chunks from there on."""
        ranges = self.index[first[:, None] + np.arange(count)]  # (n, count, 2)
        ends = ranges.sum(axis=-1)
        neighbours = (ends[:, :-1] == ranges[:, 1:, 0]).all(axis=1)
        rows = zip(first.tolist(), ranges.tolist(), neighbours.tolist(), strict=True)
        return [Located(self, *row) for row in rows]

    def read(self, located: "Located") -> list[bytes]:
        """Return the bytes of each chunk.

        Raises
        ------
        StoreError
            If the shard does not hold them.
        """
        _, first, ranges, neighbours = located
        if len(ranges) == 1 or not neighbours:
            return [self._pread(at, length, first + i) for i, (at, length) in enumerate(ranges)]
        # One call for neighbours, since each gives up the GIL and waits for it again.
        start = ranges[0][0]
        data = self._pread(start, sum(ranges[-1]) - start, first)
        return [data[at - start : at - start + length] for at, length in ranges]

    def will_need(self, located: "Located") -> None:
        """Ask the system to bring the bytes into its cache, without waiting for them."""
        start = located.ranges[0][0]
        if start != _EMPTY and located.neighbours:
            length = sum(located.ranges[-1]) - start
            os.posix_fadvise(self._fd, start, length, os.POSIX_FADV_WILLNEED)

    def _pread(self, offset: int, length: int, chunk: int) -> bytes:
        data = b"" if offset == _EMPTY else os.pread(self._fd, length, offset)
        if not data or len(data) != length:
            msg = (
                f"the shard {self.path} is damaged: chunk {chunk} is missing; tile the slide again"
            )
            raise StoreError(msg)
        return data


def _write_all(descriptor: int, pieces: Sequence[bytes | memoryview]) -> None:
    """Write pieces one after another; a call may take only part of what it is given."""
    written = os.writev(descriptor, pieces)
    if written < sum(map(len, pieces)):
        rest = memoryview(b"".join(pieces))[written:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]


class Located(NamedTuple):
    """Where some chunks that follow one another lie in a shard.

    Attributes
    ----------
    shard
        The shard, which stays open as long as this is kept.
    first
        Number of the first chunk.
    ranges
        Offset and length of each.
    neighbours
        Whether their bytes follow one another, too.
    """

    shard: Shard
    first: int
    ranges: list[list[int]]
    neighbours: bool


def _max_open() -> int:
    """Leave most file descriptors to the rest of the process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1024 if soft == resource.RLIM_INFINITY else max(8, min(1024, soft // 4))


MAX_OPEN: Final = _max_open()


@lru_cache(maxsize=MAX_OPEN)
def open_shard(owner: int, folder: str, number: int, n_chunks: int) -> Shard:
    """Open a shard, or return it where it is among those used last.

    Parameters
    ----------
    owner
        Number of the opened store, so that a store written anew is never read from old handles.
    folder, number
        The array's folder, and which of its shards.
    n_chunks
        Entries in a shard's index.

    Raises
    ------
    StoreError
        If the file is missing, truncated or its index is damaged.
    """
    del owner
    return Shard(Path(folder) / shard_name(number), n_chunks)


def _read_index(fd: int, path: Path, n_chunks: int) -> NDArray[np.uint64]:
    length = 16 * n_chunks
    start = os.fstat(fd).st_size - length - _CRC_BYTES
    data = os.pread(fd, length + _CRC_BYTES, start) if start >= 0 else b""
    if len(data) != length + _CRC_BYTES or _crc32c(data[:length]) != data[length:]:
        msg = (
            f"the shard {path} is truncated or damaged: its index is invalid; tile the slide again"
        )
        raise StoreError(msg)
    return np.frombuffer(data, "<u8", 2 * n_chunks).reshape(n_chunks, 2).astype(np.uint64)


def _crc32c(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(_CRC_BYTES, "little")
