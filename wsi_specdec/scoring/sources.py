"""Where the tiles of a slide come from: a store, or whatever else can give them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.store import BatchReader, TileStore, open_store


class TileStream(Protocol):
    """A slide's tiles, opened. One thread at a time reads.

    Attributes
    ----------
    attributes
        As a tile store names them: `slide_id`, `tile_size_level0_px`, `stride_px`, …
    tile_size, n_tiles, mpp
        Side of the tiles in pixels, their number, and µm per pixel, where known.
    path
        Of the store or the slide.
    reason
        Why there are none, or what to be wary of.
    """

    @property
    def slide_id(self) -> str: ...  # noqa: D102
    @property
    def attributes(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def tile_size(self) -> int: ...  # noqa: D102
    @property
    def n_tiles(self) -> int: ...  # noqa: D102
    @property
    def mpp(self) -> float | None: ...  # noqa: D102
    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102

    @property
    def coords(self) -> NDArray[np.int64]:
        """Top-left corners x, y in level-0 pixels, (N, 2)."""
        ...

    @property
    def tissue_fraction(self) -> NDArray[np.float32]:
        """Share of each tile that is tissue, (N,)."""
        ...

    @property
    def quality(self) -> Mapping[str, NDArray[np.float32]]:
        """Measures of each tile by name, (N,) each; they may be measured only now."""
        ...

    def order(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of tiles, (n,), in the order in which they are best read."""
        ...

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return tiles, (n, T, T, 3), in the order asked for."""
        ...

    def close(self) -> None:
        """Let go of files and threads."""
        ...


class TileSource(Protocol):
    """A slide whose tiles can be had. Crosses process boundaries, so it must be picklable."""

    @property
    def slide_id(self) -> str:
        """The slide's id."""
        ...

    @property
    def n_tiles(self) -> int | None:
        """Number of tiles, where that is known before it is opened."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return, as plain JSON, all that its tiles depend on; cheap, nothing is opened."""
        ...

    def open(self, threads: int) -> TileStream:
        """Open it, to be read with so many threads."""
        ...


@dataclass(frozen=True)
class StoreSource:
    """The tiles of a tile store."""

    store: TileStore

    @classmethod
    def at(cls, path: Path) -> "StoreSource":
        """Open the store of a path; the path may be relative, the source is not.

        Raises
        ------
        StoreError
            If there is no complete store.
        """
        return cls(open_store(path.absolute()))

    @property
    def slide_id(self) -> str:
        """The slide's id."""
        return self.store.slide_id

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        return self.store.n_tiles

    def identity(self) -> dict[str, Any]:
        """Return the slide, and what made its store."""
        names = ("params_sha256", "slide_fingerprint")
        made_by = {name: self.store.attributes.get(name) for name in names}
        return {"slide_id": self.slide_id, **made_by, "tiles_in_store": self.store.n_tiles}

    def open(self, threads: int) -> "StoreStream":
        """Open it, to be read with so many threads."""
        return StoreStream(self.store, threads)


class StoreStream:
    """An opened store as a `TileStream`."""

    def __init__(self, store: TileStore, threads: int) -> None:
        self.store = store
        self._reader = BatchReader([store], threads)
        self.slide_id = store.slide_id
        self.attributes = store.attributes
        self.tile_size = store.tile_size
        self.n_tiles = store.n_tiles
        self.mpp = store.mpp
        self.path = store.path
        self.reason = ""

    @property
    def coords(self) -> NDArray[np.int64]:
        """Top-left corners x, y in level-0 pixels, (N, 2)."""
        return self.store.coords

    @property
    def tissue_fraction(self) -> NDArray[np.float32]:
        """Share of each tile that is tissue, (N,)."""
        return self.store.tissue_fraction

    @property
    def quality(self) -> Mapping[str, NDArray[np.float32]]:
        """Measures of each tile by name, (N,) each."""
        return self.store.quality

    def order(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows as they are: a store is read forwards."""
        return rows

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return tiles, (n, T, T, 3), in the order asked for."""
        return self._reader.read(np.zeros(len(indices), np.int64), indices)

    def close(self) -> None:
        """End the threads."""
        self._reader.close()
