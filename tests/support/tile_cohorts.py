"""Stores of tiles that are told apart by their colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide
from wsi_specdec.store import TileStore, TileStoreWriter, open_store

SIZE = 32


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
