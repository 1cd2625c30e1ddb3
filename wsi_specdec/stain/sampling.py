"""Which of a slide's pixels a profile is fitted to: the same from a store as while tiling."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig

# Tiles held in memory at a time.
_AT_A_TIME: Final = 64


def sample_indices(n_tiles: int, config: StainConfig) -> NDArray[np.int64]:
    """Choose the tiles of a slide that pixels are sampled from.

    Returns
    -------
    NDArray[np.int64]
        Rising numbers of at most `config.max_tiles` of the `n_tiles` tiles, each at most once.
    """
    chosen = min(n_tiles, config.max_tiles)
    rng = np.random.default_rng(config.seed)
    return np.sort(rng.choice(n_tiles, chosen, replace=False)).astype(np.int64)


def sample_pixels(
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    n_tiles: int,
    tile_size: int,
    config: StainConfig,
) -> NDArray[np.uint8]:
    """Sample pixels over a whole slide: as many of each chosen tile, drawn with replacement.

    Parameters
    ----------
    read
        Takes rising numbers of tiles (k,), at most 64, and returns them: (k, T, T, 3) uint8.
    n_tiles, tile_size
        Of the slide; T, in pixels.
    config
        Bounds and the seed: equal settings draw the same pixels of the same tiles.

    Returns
    -------
    NDArray[np.uint8]
        (n, 3), n at most `config.max_pixels`.
    """
    chosen = sample_indices(n_tiles, config)
    if not len(chosen):
        return np.empty((0, 3), dtype=np.uint8)
    rng = np.random.default_rng((config.seed, n_tiles))
    area = tile_size**2
    per_tile = min(area, -(-config.max_pixels // len(chosen)))
    samples = []
    for start in range(0, len(chosen), _AT_A_TIME):
        tiles = read(chosen[start : start + _AT_A_TIME]).reshape(-1, area, 3)
        where = rng.integers(0, area, size=(len(tiles), per_tile, 1))
        samples.append(np.take_along_axis(tiles, where, axis=1).reshape(-1, 3))
    return np.concatenate(samples)[: config.max_pixels]
