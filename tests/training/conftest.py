from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide
from wsi_specdec.config import TrainConfig
from wsi_specdec.store import TileStore, TileStoreWriter, open_store

SIZE = 32


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are slowed by threads, and on a busy machine by much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Cohort:
    folder: Path
    slides: list[Slide]
    stores: dict[str, TileStore]


def easy_tiles(looks: NDArray[np.int64], seed: int, size: int) -> NDArray[np.uint8]:
    """Noisy tiles, by `looks` pink, purple or blue: (n, size, size, 3)."""
    rng = np.random.default_rng(seed)
    colours = np.array([[220.0, 150.0, 180.0], [150.0, 90.0, 170.0], [90.0, 120.0, 210.0]])[looks]
    noise = rng.normal(0, 25, (len(looks), size, size, 3))
    shade = rng.normal(0, 15, (len(looks), 1, 1, 1))
    tiles: NDArray[np.uint8] = np.clip(colours[:, None, None] + noise + shade, 0, 255).astype(
        np.uint8
    )
    return tiles


def write_store(
    folder: Path,
    name: str,
    label: Sequence[int] | NDArray[np.int64],
    size: int = SIZE,
    mpp: float = 0.5,
) -> TileStore:
    n = len(label)
    path = folder / "tiles" / f"{name}.zarr"
    attributes = {"slide_id": name, "tile_size_level0_px": size, "mpp": mpp}
    with TileStoreWriter(
        path, n_tiles=n, tile_size=size, codec="lossless", attributes=attributes
    ) as writer:
        writer.append(
            easy_tiles(np.maximum(np.asarray(label, np.int64), 0), sum(map(ord, name)), size)
        )
        writer.finish(np.zeros((n, 2), np.int64), np.ones(n), np.asarray(label), {})
    return open_store(path)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., TileStore]:
    return partial(write_store, tmp_path)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Six training and four validation slides of sixteen tiles, every second with tumour."""
    folder = tmp_path_factory.mktemp("cohort")
    slides, stores = [], {}
    for number in range(10):
        name = f"s{number}"
        label = np.zeros(16, np.int64)
        if number % 2:
            label[:6] = 1
        stores[name] = write_store(folder, name, label)
        split = "train" if number < 6 else "validation"
        slides.append(Slide(name, Path(f"{name}.svs"), f"p{number}", number % 2, split))
    return Cohort(folder, slides, stores)


@pytest.fixture
def cohort(written: Cohort) -> Cohort:
    return replace(written, slides=list(written.slides), stores=dict(written.stores))


@pytest.fixture
def config() -> TrainConfig:
    return TrainConfig(
        model="test_resnet", epochs=3, batch_size=16, lr=3e-3, sd_coef=0.01, pictures=False
    )
