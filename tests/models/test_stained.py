from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.errors import NotEnoughDataError
from wsi_specdec.models import ModelSpec, stain_normaliser, stain_target
from wsi_specdec.stain import fit_store, merge_profiles, normalise
from wsi_specdec.store import TileStore

MakeSpec = Callable[..., ModelSpec]
MakeStore = Callable[..., TileStore]
MACENKO = StainConfig(method="macenko")


def stained(seed: int, eosin: tuple[float, float, float], n: int = 6) -> NDArray[np.uint8]:
    """Tiles (n, 32, 32, 3) of two stains in random amounts, by Beer and Lambert's law."""
    rng = np.random.default_rng(seed)
    vectors = np.array([[0.65, 0.70, 0.29], eosin])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    amounts = rng.gamma(1.5, 0.5, (n, 32, 32, 2))
    tiles: NDArray[np.uint8] = np.clip(240 * np.exp(-(amounts @ vectors)), 0, 255).astype(np.uint8)
    return tiles


def test_each_tile_is_normalised_by_its_own_slide(
    make_spec: MakeSpec, make_store: MakeStore, tmp_path: Path
) -> None:
    tiles = [stained(0, (0.07, 0.99, 0.11)), stained(1, (0.3, 0.9, 0.3))]
    stores = [make_store(f"s{i}", t) for i, t in enumerate(tiles)]
    profiles = [fit_store(store, MACENKO) for store in stores]
    target = stain_target(stores, tmp_path / "stain", MACENKO)
    assert target == merge_profiles(profiles)
    spec = make_spec(stain=MACENKO, stain_target=target.to_json())
    normaliser = stain_normaliser(stores, tmp_path / "stain", spec)
    order = np.array([1, 0, 0, 1])
    mixed = np.stack([tiles[number][i] for i, number in enumerate(order)])
    out = normaliser(mixed, order)
    for i, number in enumerate(order):
        expected = normalise(mixed[i], profiles[number], target)
        np.testing.assert_array_equal(out[i], expected)
        assert (expected != mixed[i]).any()


def test_a_slide_without_a_usable_profile_neither_counts_nor_changes(
    make_spec: MakeSpec, make_store: MakeStore, tmp_path: Path
) -> None:
    glass = np.full((2, 32, 32, 3), 235, np.uint8)
    stores = [make_store("glass", glass), make_store("tissue", stained(0, (0.07, 0.99, 0.11)))]
    target = stain_target(stores, tmp_path / "stain", MACENKO)
    assert target is not None
    assert target.n_pixels == fit_store(stores[1], MACENKO).n_pixels
    spec = make_spec(stain=MACENKO, stain_target=target.to_json())
    out = stain_normaliser(stores, tmp_path / "stain", spec)(glass, np.zeros(2, np.int64))
    np.testing.assert_array_equal(out, glass)
    with pytest.raises(NotEnoughDataError):
        stain_target(stores[:1], tmp_path / "stain", MACENKO)


def test_without_a_target_tiles_stay_as_they_are(
    make_spec: MakeSpec, make_store: MakeStore, tmp_path: Path
) -> None:
    tiles = stained(0, (0.07, 0.99, 0.11))
    store = make_store("s", tiles)
    assert stain_target([store], tmp_path / "stain", StainConfig()) is None
    out = stain_normaliser([store], tmp_path / "stain", make_spec())(tiles, np.zeros(6, np.int64))
    assert out is tiles
    assert not (tmp_path / "stain").exists()
