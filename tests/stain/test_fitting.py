"""Profiles of stores: bounded samples, kept as JSON, fitted again when anything changed."""

from pathlib import Path

import numpy as np
import pytest

from wsi_specdec.config import StainConfig
from wsi_specdec.stain import fit_store, fit_stores, profile_path
from wsi_specdec.store import TileStore, TileStoreWriter, open_store

CONFIG = StainConfig(method="macenko", max_pixels=5000)


def make_store(folder: Path, slide_id: str, n_tiles: int, params: str = "a") -> TileStore:
    rng = np.random.default_rng(n_tiles)
    vectors = np.array([[0.65, 0.70, 0.29], [0.20, 0.92, 0.34]])
    amounts = rng.beta(0.5, 0.5, (n_tiles, 32, 32, 2)) * (1.5, 1.2)
    tiles = np.clip(240 * np.exp(-(amounts @ vectors)), 0, 255).astype(np.uint8)
    path = folder / f"{slide_id}.zarr"
    attributes = {
        "slide_id": slide_id,
        "tile_size_level0_px": 32,
        "params_sha256": params,
        "slide_fingerprint": "f",
    }
    with TileStoreWriter(
        path, n_tiles=n_tiles, tile_size=32, codec="lossless", attributes=attributes
    ) as writer:
        if n_tiles:
            writer.append(tiles)
        coords = np.stack([np.arange(n_tiles) * 32, np.zeros(n_tiles)], axis=1).astype(np.int64)
        writer.finish(
            coords, np.ones(n_tiles, np.float32), np.full(n_tiles, -1, np.int16), quality={}
        )
    return open_store(path)


def test_the_sample_is_bounded_and_the_same_each_time(tmp_path: Path) -> None:
    store = make_store(tmp_path, "a", 20)
    profile = fit_store(store, CONFIG)
    assert profile.status == "ok"
    assert profile.n_pixels <= CONFIG.max_pixels
    assert fit_store(store, CONFIG) == profile
    assert fit_store(store, CONFIG.model_copy(update={"seed": 1})) != profile


def test_an_empty_store_has_a_profile_that_says_so(tmp_path: Path) -> None:
    assert fit_store(make_store(tmp_path, "a", 0), CONFIG).status == "too_little_tissue"


@pytest.mark.parametrize("change", ["nothing", "settings", "store"])
def test_profiles_are_fitted_again_only_when_something_changed(tmp_path: Path, change: str) -> None:
    folder = tmp_path / "stain"
    first = fit_stores([make_store(tmp_path, "a", 20)], folder, CONFIG)
    path = profile_path(folder, "a", CONFIG)
    before = path.stat().st_mtime_ns
    config, params = CONFIG, "a"
    if change == "settings":
        config = CONFIG.model_copy(update={"seed": 1})
    if change == "store":
        params = "b"
    again = fit_stores([make_store(tmp_path, "a", 20, params)], folder, config)
    assert (path.stat().st_mtime_ns == before) == (change != "store")
    assert (again == first) == (change != "settings")


def test_arms_of_other_settings_do_not_refit_each_other(tmp_path: Path) -> None:
    store, folder = make_store(tmp_path, "a", 20), tmp_path / "stain"
    by_tile = CONFIG.model_copy(update={"fit": "tile"})
    arms = [
        CONFIG,
        CONFIG.model_copy(update={"method": "vahadane"}),
        CONFIG.model_copy(update={"angle_percentile": 2.0}),
    ]
    found = [fit_stores([store], folder, config) for config in (*arms, by_tile)]
    # What the profile is used for is no part of the fit.
    assert found[3] == found[0]
    assert found[2] != found[0]
    made = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert set(made) == {profile_path(folder, "a", config) for config in arms}
    assert len(made) == 3
    assert [fit_stores([store], folder, config) for config in (*arms, by_tile)] == found
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == made
