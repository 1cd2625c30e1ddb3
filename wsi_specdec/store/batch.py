"""Reads tiles of many stores at once, in threads."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.store.buffers import Buffers
from wsi_specdec.store.decoding import Decoding, ReadTile
from wsi_specdec.store.reader import TileStore
from wsi_specdec.store.shards import MAX_OPEN, Located

# Bytes that may wait to be decoded before the thread that reads them decodes, too.
_AHEAD_BYTES: Final = 1 << 24
# What takes longer was not in the system's cache.
_COLD_SECONDS = 0.001

_Job = tuple[TileStore, Located, NDArray[np.uint8]]


class BatchReader:
    """Decodes batches of tiles drawn from several stores. Safe to fork and to pickle.

    Memory of batches that nothing refers to any longer is used again by the next ones.

    Parameters
    ----------
    stores
        Stores whose tiles have one size.
    threads
        Threads that read and decode.

    Raises
    ------
    StoreError
        If there is no store, or two differ in tile size.
    """

    def __init__(self, stores: Sequence[TileStore], threads: int) -> None:
        if not stores:
            msg = "a batch reader needs at least one store"
            raise StoreError(msg)
        first = stores[0]
        for store in stores:
            if store.tile_size != first.tile_size:
                msg = (
                    f"stores differ in tile size: {first.path} has {first.tile_size} px and "
                    f"{store.path} has {store.tile_size} px; tile all slides with one size"
                )
                raise StoreError(msg)
        self.stores = tuple(stores)
        self.threads = max(1, threads)
        self._buffers = Buffers()
        self._pool: ThreadPoolExecutor | None = None
        self._pool_pid = 0

    def __reduce__(
        self,
    ) -> tuple[Callable[..., "BatchReader"], tuple[tuple[TileStore, ...], int]]:
        return type(self), (self.stores, self.threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads and let memory go; the next read starts anew."""
        if self._pool is not None and self._pool_pid == os.getpid():
            self._pool.shutdown()
        self._pool = None
        self._buffers = Buffers()

    def read(
        self,
        store_index: ArrayLike,
        tile_index: ArrayLike,
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Decode a batch.

        Parameters
        ----------
        store_index, tile_index
            Position in `stores` and tile number within it, (n,) each.
        out
            uint8, (n, tile_size, tile_size, 3), C-contiguous, to decode into: pinned memory, for
            one. Its content is undefined if an error is raised.

        Returns
        -------
        uint8, (n, tile_size, tile_size, 3), in the order asked for; `out` where it was given.

        Raises
        ------
        IndexError
            If a store or a tile does not exist.
        StoreError
            If the two lengths differ, `out` does not fit, or a shard is damaged.
        """
        owners = np.asarray(store_index, np.int64).reshape(-1)
        numbers = np.asarray(tile_index, np.int64).reshape(-1)
        if len(owners) != len(numbers):
            msg = f"{len(owners)} store numbers do not go with {len(numbers)} tile numbers"
            raise StoreError(msg)
        if len(owners) and not 0 <= owners.min() <= owners.max() < len(self.stores):
            msg = f"store numbers must be 0 to {len(self.stores) - 1}"
            raise IndexError(msg)
        shape = (len(numbers), *self.stores[0].layout.shape[1:])
        batch = self._buffers.take(shape) if out is None else _checked(out, shape)
        # In the order of the files, so that a spinning or remote disk reads forwards.
        order = np.lexsort((numbers, owners))
        for start in range(0, len(order), MAX_OPEN):
            part = order[start : start + MAX_OPEN]
            self._fill(self._jobs(owners[part], numbers[part], part, batch))
        return batch

    def _jobs(
        self,
        owners: NDArray[np.int64],
        numbers: NDArray[np.int64],
        positions: NDArray[np.intp],
        batch: NDArray[np.uint8],
    ) -> list[_Job]:
        """Prepare all that needs the GIL before the threads start, lest they wait for it."""
        jobs: list[_Job] = []
        for owner in np.unique(owners).tolist():
            store, chosen = self.stores[owner], owners == owner
            located = store.locate(numbers[chosen])
            outs = [batch[position] for position in positions[chosen].tolist()]
            jobs += [(store, *pair) for pair in zip(located, outs, strict=True)]
        return jobs

    def _fill(self, jobs: list[_Job]) -> None:
        """Decode in all threads what this one reads: who only decodes hardly waits for the GIL."""
        decoding = Decoding()
        threads = min(self.threads, len(jobs))
        futures = [self._threads().submit(decoding.work) for _ in range(threads - 1)]
        try:
            try:
                _read(jobs, decoding, threads)
            finally:
                decoding.close(threads)
            decoding.work()
        finally:
            # No thread may write once the batch has left our hands.
            wait(futures)
        for future in futures:
            future.result()

    def _threads(self) -> ThreadPoolExecutor:
        """Threads of this very process: those of a forked parent are not here."""
        if self._pool is None or self._pool_pid != os.getpid():
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="tiles")
            self._pool_pid = os.getpid()
        return self._pool


def _read(jobs: Sequence[_Job], decoding: Decoding, threads: int) -> None:
    """Read the bytes of all; where they are many, decode most of them before reading on."""
    ahead, cold = 0, False
    for number, (store, located, out) in enumerate(jobs):
        started = time.perf_counter()
        chunks = located.shard.read(located)
        if not cold and time.perf_counter() - started > _COLD_SECONDS:
            # The others are fetched meanwhile, all at once.
            cold = True
            for _, later, _ in jobs[number + 1 :]:
                later.shard.will_need(later)
        decoding.add(ReadTile(store, located, chunks, out))
        ahead += sum(map(len, chunks))
        if ahead > _AHEAD_BYTES:
            ahead = 0
            decoding.work_down_to(2 * threads)


def _checked(out: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
        msg = f"out must be C-contiguous uint8 of shape {shape}, got {out.dtype} {out.shape}"
        raise StoreError(msg)
    return out
