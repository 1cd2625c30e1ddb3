"""The sample of a slide is bounded, seeded, and the same from wherever tiles are read."""

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.stain import sample_indices, sample_pixels

TILE = 8


def tiles_of(n: int) -> NDArray[np.uint8]:
    """Tiles whose pixels tell which tile and which pixel they are."""
    tiles = np.zeros((n, TILE * TILE, 3), np.uint8)
    tiles[..., 0] = np.arange(n)[:, None] % 256
    tiles[..., 1] = np.arange(TILE * TILE)
    tiles[..., 2] = np.arange(n)[:, None] // 256
    return tiles.reshape(n, TILE, TILE, 3)


@pytest.mark.parametrize("n", [1, 7, 400, 1000])
def test_every_chosen_tile_gives_as_many_pixels(n: int) -> None:
    config = StainConfig(max_pixels=4000, max_tiles=300)
    tiles = tiles_of(n)
    chosen = sample_indices(n, config)
    assert chosen.dtype == np.int64
    assert len(chosen) == min(n, 300)
    assert (np.diff(chosen) > 0).all()
    pixels = sample_pixels(tiles.__getitem__, n, TILE, config)
    per_tile = min(TILE * TILE, -(-4000 // len(chosen)))
    assert len(pixels) == min(4000, per_tile * len(chosen))
    numbers, counts = np.unique(
        pixels[:, 0].astype(int) + 256 * pixels[:, 2].astype(int), return_counts=True
    )
    assert set(numbers) <= set(chosen)
    assert counts.max() == per_tile
    assert np.unique(pixels[:, 1]).size > TILE * TILE // 3


def test_reads_are_rising_and_bounded_and_the_seed_decides() -> None:
    tiles, asked = tiles_of(500), []

    def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        asked.append(indices)
        return tiles[indices]

    config = StainConfig(max_pixels=5000)
    pixels = sample_pixels(read, 500, TILE, config)
    assert max(map(len, asked)) <= 64
    assert np.array_equal(np.concatenate(asked), sample_indices(500, config))
    assert np.array_equal(pixels, sample_pixels(tiles.__getitem__, 500, TILE, config))
    other = StainConfig(max_pixels=5000, seed=1)
    assert not np.array_equal(pixels, sample_pixels(tiles.__getitem__, 500, TILE, other))


def test_no_tiles_are_not_read() -> None:
    def read(_: NDArray[np.int64]) -> NDArray[np.uint8]:
        raise AssertionError

    assert sample_pixels(read, 0, TILE, StainConfig()).shape == (0, 3)
