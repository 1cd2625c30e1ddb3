from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wsi_specdec.models import ModelSpec
from wsi_specdec.store import TileStore, TileStoreWriter, open_store


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are slowed by threads, and on a busy machine by much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class MakeStore(Protocol):
    def __call__(
        self, name: str, tiles: NDArray[np.uint8], mpp: float | None = 0.5
    ) -> TileStore: ...


class MakeSpec(Protocol):
    def __call__(self, **changes: object) -> ModelSpec: ...


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    def make(name: str, tiles: NDArray[np.uint8], mpp: float | None = 0.5) -> TileStore:
        n, size = tiles.shape[:2]
        path = tmp_path / "tiles" / f"{name}.zarr"
        attributes = {"slide_id": name, "tile_size_level0_px": size, "mpp": mpp}
        with TileStoreWriter(
            path, n_tiles=n, tile_size=size, codec="lossless", attributes=attributes
        ) as writer:
            writer.append(tiles)
            writer.finish(np.zeros((n, 2), np.int64), np.ones(n), np.full(n, -1), {})
        return open_store(path)

    return make


@pytest.fixture
def make_spec() -> MakeSpec:
    def make(**changes: object) -> ModelSpec:
        values: dict[str, object] = {
            "arch": "test_resnet",
            "tile_size": 32,
            "mpp": 0.5,
            "mean": (0.5, 0.4, 0.3),
            "std": (0.2, 0.25, 0.3),
        }
        return ModelSpec.model_validate(values | changes)

    return make
