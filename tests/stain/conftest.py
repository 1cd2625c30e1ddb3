"""Mixtures of two stains whose vectors are known, and real tissue."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.geometry import Size
from wsi_specdec.slides import open_slide

Image = NDArray[np.uint8]
Mixture = Callable[..., Image]
TILE = 256


def unit(*rows: tuple[float, float, float]) -> NDArray[np.float64]:
    matrix = np.array(rows)
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True))


@pytest.fixture(scope="session")
def vectors() -> NDArray[np.float64]:
    """Haematoxylin and eosin as they lie in many slides, (2, 3)."""
    return unit((0.65, 0.70, 0.29), (0.20, 0.92, 0.34))


@pytest.fixture(scope="session")
def mixture(vectors: NDArray[np.float64]) -> Mixture:
    """Pixels (n, 3) of two stains, many of them nearly pure, with sensor noise."""

    def make(
        strengths: tuple[float, float] = (1.5, 1.2),
        *,
        stains: NDArray[np.float64] | None = None,
        n: int = 20_000,
        seed: int = 0,
        noise: float = 1.0,
    ) -> Image:
        rng = np.random.default_rng(seed)
        amounts = rng.beta(0.5, 0.5, (n, 2)) * strengths
        pure = rng.random((n, 2)) < 0.2
        amounts[pure] = np.minimum(amounts, 0.01)[pure]
        density = amounts @ (vectors if stains is None else stains)
        intensity = 240 * np.exp(-density) - 1 + rng.normal(0, noise, (n, 3))
        return np.clip(np.rint(intensity), 0, 255).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def tissue_tiles() -> Image:
    """Tiles (n, 256, 256, 3) of a real slide, those full of tissue."""
    path = Path(__file__).parents[1] / "data" / "CMU-1-Small-Region.svs"
    with open_slide(path) as slide:
        image = slide.read_region(0, 0, 0, Size(2048, 2816))
    tiles = image.reshape(11, TILE, 8, TILE, 3).swapaxes(1, 2).reshape(-1, TILE, TILE, 3)
    rich = (tiles.mean(axis=-1) < 215).mean(axis=(1, 2)) > 0.6
    return np.ascontiguousarray(tiles[rich])
