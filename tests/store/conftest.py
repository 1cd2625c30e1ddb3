from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.store import TileStore, TileStoreWriter, open_store

Tiles = NDArray[np.uint8]


@pytest.fixture
def make_tiles() -> Callable[[int, int], Tiles]:
    """Smooth tiles (n, size, size, 3), which JPEG keeps nearly as they are."""

    def make(n: int, size: int) -> Tiles:
        rng = np.random.default_rng(n)
        t = np.linspace(0, 1, size)
        down = np.multiply.outer(rng.uniform(-80, 80, (n, 3)), t)[:, :, :, None]
        across = np.multiply.outer(rng.uniform(-80, 80, (n, 3)), t)[:, :, None, :]
        tiles = np.rint(128 + (down + across) / 2).astype(np.uint8).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(tiles)

    return make


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., TileStore]:
    """Write `tiles` in batches of `batch` and open the store; tile i lies at x = i * size."""

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
