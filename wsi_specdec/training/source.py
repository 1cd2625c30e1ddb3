"""Reads labelled tiles, stain-normalised, from their stores or from memory."""

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.models import StainNormaliser
from wsi_specdec.stain import StainProfile
from wsi_specdec.store import BatchReader
from wsi_specdec.training.augment import Stains
from wsi_specdec.training.data import TileSet


class TileSource:
    """Tiles of a `TileSet` by row. For one thread at a time.

    Parameters
    ----------
    tiles
        Which tiles.
    normaliser
        Brings each tile to the model's stains; its sources are those of `tiles.stores`.
    threads
        Threads that decode.
    cached
        Keep every tile in memory once it was read.
    profiles
        Whose stains the tiles of each store have once they are read, for augmentation; None
        leaves it to the standard ones.
    """

    def __init__(
        self,
        tiles: TileSet,
        normaliser: StainNormaliser,
        threads: int,
        *,
        cached: bool,
        profiles: tuple[StainProfile | None, ...] | None = None,
    ) -> None:
        self.tiles = tiles
        self._normaliser = normaliser
        self._profiles = profiles
        self._reader = BatchReader(tiles.stores, threads)
        self._cache = np.empty(_shape(tiles), np.uint8) if cached else None
        self._filled = np.zeros(len(tiles), bool)

    def close(self) -> None:
        """End the reader's threads."""
        self._reader.close()

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read tiles: uint8, (n, T, T, 3), in the order of `rows`."""
        if self._cache is None:
            return self._decode(rows)
        missing = np.unique(rows[~self._filled[rows]])
        if len(missing):
            self._cache[missing] = self._decode(missing)
            self._filled[missing] = True
        return self._cache[rows]

    def stains(self, rows: NDArray[np.int64]) -> Stains | None:
        """Whose stains the tiles of `rows` have."""
        if self._profiles is None:
            return None
        return Stains(self._profiles, self.tiles.store_index[rows])

    def _decode(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        owners = self.tiles.store_index[rows]
        tiles = self._reader.read(owners, self.tiles.tile_index[rows])
        return self._normaliser(tiles, owners)


def size_in_mb(tiles: TileSet) -> float:
    """MiB that the decoded tiles take."""
    return float(np.prod(_shape(tiles), dtype=np.float64)) / (1 << 20)


def _shape(tiles: TileSet) -> tuple[int, int, int, int]:
    size = tiles.stores[0].tile_size
    return len(tiles), size, size, 3
