"""Reads tiles of many stores at once, in threads."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.store.reader import TileStore


class BatchReader:
    """Decodes batches of tiles drawn from several stores. Safe to fork and to pickle.

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
        """End the threads; the next read starts them anew."""
        if self._pool is not None and self._pool_pid == os.getpid():
            self._pool.shutdown()
        self._pool = None

    def read(self, store_index: ArrayLike, tile_index: ArrayLike) -> NDArray[np.uint8]:
        """Decode a batch.

        Parameters
        ----------
        store_index, tile_index
            Position in `stores` and tile number within it, (n,) each.

        Returns
        -------
        uint8, (n, tile_size, tile_size, 3), in the order asked for.

        Raises
        ------
        IndexError
            If a store or a tile does not exist.
        StoreError
            If the two lengths differ, or a shard is damaged.
        """
        owners = np.asarray(store_index, np.int64).reshape(-1)
        numbers = np.asarray(tile_index, np.int64).reshape(-1)
        if len(owners) != len(numbers):
            msg = f"{len(owners)} store numbers do not go with {len(numbers)} tile numbers"
            raise StoreError(msg)
        if len(owners) and not 0 <= owners.min() <= owners.max() < len(self.stores):
            msg = f"store numbers must be 0 to {len(self.stores) - 1}"
            raise IndexError(msg)
        size = self.stores[0].tile_size
        out = np.empty((len(numbers), size, size, 3), np.uint8)
        order = np.lexsort((numbers, owners))
        # A part a thread, neighbours together: fewer switches than a task a tile.
        parts = [part for part in np.array_split(order, self.threads) if len(part)]
        fill = partial(self._fill, owners, numbers, out)
        if len(parts) <= 1:
            list(map(fill, parts))
        else:
            list(self._threads().map(fill, parts))
        return out

    def _fill(
        self,
        owners: NDArray[np.int64],
        numbers: NDArray[np.int64],
        out: NDArray[np.uint8],
        part: NDArray[np.intp],
    ) -> None:
        for position in part:
            store = self.stores[owners[position]]
            store.read_into(int(numbers[position]), out[position])

    def _threads(self) -> ThreadPoolExecutor:
        """Threads of this very process: those of a forked parent are not here."""
        if self._pool is None or self._pool_pid != os.getpid():
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="tiles")
            self._pool_pid = os.getpid()
        return self._pool
