"""Stains normalised while tiles are written: a slide's profile first, then tile by tile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig, TileConfig, differences
from wsi_specdec.errors import ConfigError
from wsi_specdec.files import write_json
from wsi_specdec.stain import (
    StainProfile,
    TileStatus,
    fit_pixels,
    normalise,
    normalise_each,
    profile_path,
    sample_pixels,
    tile_status,
)
from wsi_specdec.stain.target import StainTarget, described, read_target

Image = NDArray[np.uint8]

_EACH_TILE = "each_tile"


@dataclass(frozen=True, slots=True)
class TileNormaliser:
    """Brings one slide's tiles to a target. Several threads may call it at once.

    Attributes
    ----------
    target
        What is reached.
    source
        The slide's profile; None fits one to every tile by itself.
    """

    target: StainTarget
    source: StainProfile | None

    def __call__(self, tiles: Sequence[Image]) -> tuple[list[Image], NDArray[np.float32]]:
        """Normalise tiles, (T, T, 3) each.

        Returns
        -------
        tiles, statuses
            New arrays, and the code of each one's `TileStatus`, float32 (n,).
        """
        profile = self.target.profile
        together = np.stack(tiles)
        if self.source is None:
            changed, statuses = normalise_each(together, profile, self.target.settings)
        else:
            changed = normalise(together, self.source, profile)
            statuses = tile_status(together, self.source, profile)
        return list(changed), statuses.astype(np.float32)

    @property
    def applied(self) -> dict[str, Any]:
        """The store's attribute `stain_applied`."""
        if self.source is None:
            return described(self.target, _EACH_TILE)
        return described(self.target, TileStatus.of(self.source.status).label)

    @property
    def warning(self) -> str:
        """Why the slide's tiles are not normalised; empty where they are."""
        if self.source is None or self.source.status == "ok":
            return ""
        why = TileStatus.of(self.source.status).label.replace("_", " ")
        return f"stains are not normalised: {why} ({self.source.n_pixels:,} tissue pixels sampled)"

    def write_profile(self, folder: Path, slide_id: str, made_from: dict[str, Any]) -> None:
        """Keep the slide's profile beside those of `fit_stores`, which never takes it for its own.

        That one would speak of the pixels as they are now.
        """
        if self.source is not None:
            kept = {"settings_sha256": self.target.settings.digest(), **made_from}
            values = {"profile": self.source.to_json(), "made_from": kept}
            write_json(profile_path(folder, slide_id, self.target.settings), values)


def fit_normaliser(
    config: TileConfig, read: Callable[[NDArray[np.int64]], Image], n_tiles: int
) -> TileNormaliser | None:
    """Fit a slide's profile to tiles that are about to be written, as to those of a store.

    Parameters
    ----------
    config
        Names the target.
    read
        Takes rising numbers of tiles (k,) and returns them, (k, T, T, 3).
    n_tiles
        How many there are.

    Returns
    -------
    TileNormaliser or None
        None where `config` does not normalise.

    Raises
    ------
    ConfigError
        As `target_of`.
    """
    target = target_of(config)
    if target is None:
        return None
    if target.settings.fit == "tile":
        return TileNormaliser(target, None)
    pixels = sample_pixels(read, n_tiles, config.tile_size, target.settings)
    return TileNormaliser(target, fit_pixels(pixels, target.settings))


def target_of(config: TileConfig) -> StainTarget | None:
    """Read the target that `config` names, None where stains are left as they are.

    Raises
    ------
    ConfigError
        If the file cannot be used, or the target was fitted by other settings than those of
        `config`: then slides' profiles would not go with it.
    """
    if config.stain_target is None:
        return None
    target = read_target(config.stain_target)
    check_settings(target, config.stain, config.stain_target)
    return target


def check_settings(target: StainTarget, settings: StainConfig, path: Path) -> None:
    """Refuse to fit slides by other settings than their target.

    Raises
    ------
    ConfigError
        Naming those that differ.
    """
    fitted, asked = (s.model_dump(mode="json") for s in (target.settings, settings))
    differing = differences(fitted, asked, "stain.")
    if differing:
        msg = (
            f"the target {path} was fitted with other settings: {'; '.join(differing)}; give those "
            "of the target, or fit another one with `wsi-specdec stain fit`"
        )
        raise ConfigError(msg)
