"""Shard files: zarr v3's `sharding_indexed`, written and read without a zarr call per tile.

A shard is the chunks' bytes, then the index: little-endian uint64 (offset, length) of each chunk
in row-major order, all ones where there is none, then the index's crc32c.
"""

import os
import resource
import weakref
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError

_EMPTY: Final = np.uint64(2**64 - 1)
_CRC_BYTES: Final = 4


class ShardWriter:
    """Writes one shard as its chunks come; the index follows when it is closed cleanly."""

    def __init__(self, path: Path, n_chunks: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._index = np.full((n_chunks, 2), _EMPTY, "<u8")
        self._written = 0
        self._offset = 0

    def append(self, chunks: Sequence[bytes]) -> None:
        """Add the next chunks, in order."""
        for chunk in chunks:
            self._file.write(chunk)
            self._index[self._written] = self._offset, len(chunk)
            self._written += 1
            self._offset += len(chunk)

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
                self._file.write(data + _crc32c(data))


class Shard:
    """One open shard file and its index. Closed when the last user lets go of it."""

    def __init__(self, path: Path, n_chunks: int) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            msg = f"cannot open the shard {path}: {error.strerror}; tile the slide again"
            raise StoreError(msg) from error
        weakref.finalize(self, os.close, self._fd).atexit = False
        self.path = path
        self.index = _read_index(self._fd, path, n_chunks)

    def read(self, chunk: int) -> bytes:
        """Return one chunk's bytes.

        Raises
        ------
        StoreError
            If the shard does not hold it.
        """
        offset, length = (int(value) for value in self.index[chunk])
        data = b"" if offset == _EMPTY else os.pread(self._fd, length, offset)
        if not data or len(data) != length:
            msg = (
                f"the shard {self.path} is damaged: chunk {chunk} is missing; tile the slide again"
            )
            raise StoreError(msg)
        return data


def _max_open() -> int:
    """Leave most file descriptors to the rest of the process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1024 if soft == resource.RLIM_INFINITY else max(8, min(1024, soft // 4))


@lru_cache(maxsize=_max_open())
def open_shard(owner: int, path: Path, n_chunks: int) -> Shard:
    """Open a shard, or return it where it is among those used last.

    Parameters
    ----------
    owner
        Number of the opened store, so that a store written anew is never read from old handles.
    path
        The shard file.
    n_chunks
        Entries in its index.

    Raises
    ------
    StoreError
        If the file is missing, truncated or its index is damaged.
    """
    del owner
    return Shard(path, n_chunks)


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
