"""Profiles of whole slides, from their tile stores, kept as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
    paths = {s.slide_id: profile_path(folder, s.slide_id, config.method) for s in stores}
    kept = {s.slide_id: _read_kept(paths[s.slide_id], _made_from(s, config)) for s in stores}
    missing = [store for store in stores if kept[store.slide_id] is None]
    if missing:
        with progress("stain profiles", len(missing)) as tick:
            for store in missing:
                profile = fit_store(store, config)
                content = {"profile": profile.to_json(), "made_from": _made_from(store, config)}
                write_json(paths[store.slide_id], content)
                kept[store.slide_id] = profile
                tick()
    return {slide_id: profile for slide_id, profile in kept.items() if profile is not None}


def profile_path(folder: Path, slide_id: str, method: str) -> Path:
    """Where a slide's profile is kept."""
    return folder / f"{slide_id}.{method}.json"


def _made_from(store: TileStore, config: StainConfig) -> dict[str, Any]:
    """Everything a profile depends on."""
    return {
        "settings_sha256": config.digest(),
        "store_params_sha256": store.attributes.get("params_sha256"),
        "slide_fingerprint": store.attributes.get("slide_fingerprint"),
    }


def _read_kept(path: Path, made_from: Mapping[str, Any]) -> StainProfile | None:
    """Return the profile of a former run, None where there is none or it is of other settings."""
    if not path.is_file():
        return None
    kept = read_json(path)
    return StainProfile.from_json(kept["profile"]) if kept["made_from"] == made_from else None


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
