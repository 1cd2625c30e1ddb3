"""Tiles whose bytes are read, decoded by whichever thread is free."""

from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.store.reader import TileStore
from wsi_specdec.store.shards import Located


class ReadTile(NamedTuple):
    """A tile's bytes, and where its pixels shall go, (T, T, 3)."""

    store: TileStore
    located: Located
    chunks: list[bytes]
    out: NDArray[np.uint8]


class Decoding:
    """What is read and not yet decoded. After an error nothing more is decoded."""

    def __init__(self) -> None:
        self._ready: SimpleQueue[ReadTile | None] = SimpleQueue()
        self._failed = False

    def add(self, tile: ReadTile) -> None:
        """Add a tile."""
        self._ready.put(tile)

    def close(self, threads: int) -> None:
        """Tell so many threads that no more will come."""
        for _ in range(threads):
            self._ready.put(None)

    def work(self) -> None:
        """Decode until no more will come; to be called by each thread."""
        while (tile := self._ready.get()) is not None:
            self._decode(tile)

    def work_down_to(self, left: int) -> None:
        """Decode until no more than `left` tiles wait; before `close`."""
        with suppress(Empty):
            while self._ready.qsize() > left:
                tile = self._ready.get_nowait()
                assert tile is not None
                self._decode(tile)

    def _decode(self, tile: ReadTile) -> None:
        if self._failed:
            return
        try:
            tile.store.decode(tile.located, tile.out, tile.chunks)
        except BaseException:
            self._failed = True
            raise
