"""Profiles of whole slides, from their tile stores, kept as JSON."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.files import read_json, write_json
from wsi_specdec.progress import progress
from wsi_specdec.stain.macenko import fit_macenko
from wsi_specdec.stain.profile import StainProfile
from wsi_specdec.store import TileStore

_MAX_TILES = 400


def fit_store(store: TileStore, config: StainConfig) -> StainProfile:
    """Fit one slide's profile to pixels sampled over all its tiles (bounded, seeded)."""
    return fit_macenko(_sample_pixels(store, config), config)


def fit_stores(
    stores: Sequence[TileStore], folder: Path, config: StainConfig
) -> dict[str, StainProfile]:
    """Fit every slide's profile, or read it where it was fitted with the same settings.

    Returns
    -------
    dict
        Slide id to profile. Each is kept as `<folder>/<slide_id>.<method>.json`.
    """
    profiles: dict[str, StainProfile] = {}
    with progress("stain profiles", len(stores)) as tick:
        for store in stores:
            profiles[store.slide_id] = _fit_or_read(store, folder, config)
            tick()
    return profiles


def profile_path(folder: Path, slide_id: str, method: str) -> Path:
    """Where a slide's profile is kept."""
    return folder / f"{slide_id}.{method}.json"


def _fit_or_read(store: TileStore, folder: Path, config: StainConfig) -> StainProfile:
    path = profile_path(folder, store.slide_id, config.method)
    made_from = {
        "settings_sha256": config.digest(),
        "store_params_sha256": store.attributes.get("params_sha256"),
        "slide_fingerprint": store.attributes.get("slide_fingerprint"),
    }
    if path.is_file():
        kept = read_json(path)
        if kept["made_from"] == made_from:
            return StainProfile.from_json(kept["profile"])
    profile = fit_store(store, config)
    write_json(path, {"profile": profile.to_json(), "made_from": made_from})
    return profile


def _sample_pixels(store: TileStore, config: StainConfig) -> NDArray[np.uint8]:
    """Pixels (n, 3) of up to `_MAX_TILES` tiles, at most `config.max_pixels` in all."""
    rng = np.random.default_rng(config.seed)
    n_tiles = min(store.n_tiles, _MAX_TILES)
    if n_tiles == 0:
        return np.empty((0, 3), dtype=np.uint8)
    chosen = np.sort(rng.choice(store.n_tiles, n_tiles, replace=False))
    per_tile = min(store.tile_size**2, -(-config.max_pixels // n_tiles))
    samples = []
    for start in range(0, n_tiles, 64):
        tiles = store.read(chosen[start : start + 64])
        flat = tiles.reshape(len(tiles), -1, 3)
        where = rng.integers(0, flat.shape[1], size=(len(tiles), per_tile, 1))
        samples.append(np.take_along_axis(flat, where, axis=1).reshape(-1, 3))
    return np.concatenate(samples)[: config.max_pixels]
