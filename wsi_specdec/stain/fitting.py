"""Profiles of whole slides, from their tile stores, kept as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsi_specdec.config import StainConfig
from wsi_specdec.files import read_json, write_json
from wsi_specdec.progress import progress
from wsi_specdec.stain.methods import fit_pixels
from wsi_specdec.stain.profile import StainProfile
from wsi_specdec.stain.sampling import sample_pixels
from wsi_specdec.store import TileStore


def fit_store(store: TileStore, config: StainConfig) -> StainProfile:
    """Fit one slide's profile to pixels sampled over all its tiles (bounded, seeded)."""
    return fit_pixels(sample_pixels(store.read, store.n_tiles, store.tile_size, config), config)


def fit_stores(
    stores: Sequence[TileStore], folder: Path, config: StainConfig
) -> dict[str, StainProfile]:
    """Fit every slide's profile, or read it where it was fitted with the same settings.

    Returns
    -------
    dict
        Slide id to profile. Each is kept at `profile_path`.
    """
    paths = {s.slide_id: profile_path(folder, s.slide_id, config) for s in stores}
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


def profile_path(folder: Path, slide_id: str, config: StainConfig) -> Path:
    """Where a slide's profile is kept: a file for each of the settings by which it is fitted."""
    return folder / f"{slide_id}.{config.method}.{_settings_sha256(config)[:8]}.json"


def _settings_sha256(config: StainConfig) -> str:
    """Hash of the settings that shape a slide's profile: `fit` only says what it is used for."""
    return config.model_copy(update={"fit": "slide"}).digest()


def _made_from(store: TileStore, config: StainConfig) -> dict[str, Any]:
    """Everything a profile depends on."""
    return {
        "settings_sha256": _settings_sha256(config),
        "store_params_sha256": store.attributes.get("params_sha256"),
        "slide_fingerprint": store.attributes.get("slide_fingerprint"),
    }


def _read_kept(path: Path, made_from: Mapping[str, Any]) -> StainProfile | None:
    """Return the profile of a former run, None where there is none or it is of other settings."""
    if not path.is_file():
        return None
    kept = read_json(path)
    return StainProfile.from_json(kept["profile"]) if kept["made_from"] == made_from else None
