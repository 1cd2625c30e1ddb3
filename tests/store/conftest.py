from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray
from wsi_specdec.store import TileStore, TileStoreWriter, open_store

Tiles = NDArray[np.uint8]


def smooth_tiles(n: int, size: int, seed: int = 0) -> Tiles:
    """Make tiles that JPEG keeps nearly as they are: (n, size, size, 3)."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(40, 215, (n, 2, 2, 3))
    t = np.linspace(0, 1, size)
    rows = corners[:, :1] * (1 - t)[None, :, None, None] + corners[:, 1:] * t[None, :, None, None]
    left, right = rows[:, :, :1], rows[:, :, 1:]
    mixed = left * (1 - t)[None, None, :, None] + right * t[None, None, :, None]
    return np.rint(mixed).astype(np.uint8)


class MakeStore(Protocol):
    def __call__(
        self,
        tiles: Tiles,
        *,
        codec: Literal["jpeg", "lossless"] = "lossless",
        name: str = "slide",
        chunk_size: int | None = None,
        attributes: Mapping[str, Any] | None = None,
        batch: int = 5,
    ) -> TileStore: ...


@pytest.fixture
def make_tiles() -> Callable[[int, int], Tiles]:
    return smooth_tiles


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    def make(
        tiles: Tiles,
        *,
        codec: Literal["jpeg", "lossless"] = "lossless",
        name: str = "slide",
        chunk_size: int | None = None,
        attributes: Mapping[str, Any] | None = None,
        batch: int = 5,
    ) -> TileStore:
        n, size = tiles.shape[:2]
        path = tmp_path / "tiles" / f"{name}.zarr"
        given = {"slide_id": name, "tile_size_level0_px": 2 * size, "mpp": 0.5}
        with TileStoreWriter(
            path,
            n_tiles=n,
            tile_size=size,
            codec=codec,
            attributes={**given, **(attributes or {})},
            chunk_size=chunk_size,
        ) as writer:
            for start in range(0, n, batch):
                writer.append(tiles[start : start + batch])
            numbers = np.arange(n)
            writer.finish(
                coords=np.column_stack([numbers * size, numbers * 0]),
                tissue_fraction=numbers / max(n, 1),
                label=numbers % 2,
                quality={"blur": numbers.astype(float)},
            )
        return open_store(path)

    return make
