"""Stain normalisation as a model asks for it: one way for training and for scoring.

A model has a target or none. Where it is applied is of no matter: tiles of a store that was
normalised to that very target are taken as they are, those of a store as it is in the slide are
normalised as they are read. Any other store is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.errors import ConfigError, ModelError
from wsi_specdec.models.spec import ModelSpec
from wsi_specdec.stain import (
    StainProfile,
    TileStatus,
    fit_pixels,
    fit_stores,
    merge_profiles,
    normalise,
    normalise_each,
    sample_pixels,
)
from wsi_specdec.stain.target import StainTarget, applied_status, applied_target
from wsi_specdec.store import TileStore

Tiles = NDArray[np.uint8]
# `TileStatus` of each tile.
Statuses = NDArray[np.uint8]
Step = Callable[[Tiles], tuple[Tiles, Statuses]]

# What stains are fitted by where none are normalised, for augmentation alone.
_FITTED_BY: Final = "macenko"
_WITH_VECTORS: Final = ("macenko", "vahadane")
# Statuses of slides whose tiles were left as they are.
_LEFT: Final = (TileStatus.TOO_LITTLE_TISSUE.label, TileStatus.DEGENERATE.label)


class Stream(Protocol):
    """One slide's tiles, wherever they come from."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """As a tile store names them."""
        ...

    @property
    def n_tiles(self) -> int:
        """How many there are."""
        ...

    @property
    def tile_size(self) -> int:
        """Their side in pixels."""
        ...

    def read(self, indices: NDArray[np.int64]) -> Tiles:
        """Return tiles, (n, T, T, 3), by their numbers."""
        ...


@dataclass(frozen=True, slots=True)
class StainNormaliser:
    """Brings tiles of several slides to one target.

    Attributes
    ----------
    steps
        What is done to the tiles of each store, in the order in which the stores are numbered;
        none where there is no target.
    """

    steps: tuple[Step, ...] = ()

    def __call__(self, tiles: Tiles, store_index: NDArray[np.int64]) -> Tiles:
        """Normalise each tile as its own slide's are.

        Parameters
        ----------
        tiles
            uint8, (n, T, T, 3).
        store_index
            Number of each tile's store, (n,).

        Returns
        -------
        uint8, (n, T, T, 3): a new array, or `tiles` itself where there is no target.
        """
        return self.with_statuses(tiles, store_index)[0]

    def with_statuses(self, tiles: Tiles, store_index: NDArray[np.int64]) -> tuple[Tiles, Statuses]:
        """Normalise tiles, and tell of each what became of it: `TileStatus` codes, uint8 (n,).

        They are those of the profiles that tiles were normalised by: of the tile's own where each
        is fitted by itself, else of its slide's.
        """
        statuses = np.zeros(len(tiles), np.uint8)
        if not self.steps:
            return tiles, statuses
        out = np.empty_like(tiles)
        for number in np.unique(store_index):
            chosen = np.flatnonzero(store_index == number)
            out[chosen], statuses[chosen] = self.steps[number](tiles[chosen])
        return out, statuses


def stain_target(
    stores: Sequence[TileStore], folder: Path, config: StainConfig
) -> StainTarget | None:
    """Target that a model's stains shall have; None for none.

    That of its training stores where they are normalised already, else, if `config` names a
    method, one fitted to them.

    Raises
    ------
    ConfigError
        If stores that are normalised already shall be normalised once more, or only some of them
        are, or to different targets.
    NotEnoughDataError
        If no slide has a usable profile.
    """
    targets = [applied_target(store.attributes) for store in stores]
    first = next((target for target in targets if target is not None), None)
    if first is None:
        if config.method == "none":
            return None
        return StainTarget(
            merge_profiles(list(fit_stores(stores, folder, config).values())), config
        )
    for store, target in zip(stores, targets, strict=True):
        if target != first:
            raise ConfigError(_mixed(stores, targets, store, target))
    if config.method != "none":
        msg = (
            f"the tiles of {stores[0].path} are stain-normalised already (by {first.profile.method}"
            f"): set stain.method to none, or train on the tiles as they are in the slides"
        )
        raise ConfigError(msg)
    return first


def target_of(spec: ModelSpec) -> StainTarget | None:
    """Return the target of a model, None where it takes tiles as they are in the slides."""
    if spec.stain_target is None:
        return None
    return StainTarget(StainProfile.from_json(spec.stain_target), spec.stain)


def stain_normaliser(stores: Sequence[TileStore], folder: Path, spec: ModelSpec) -> StainNormaliser:
    """Prepare what brings tiles of `stores` to the model's target.

    Profiles are kept in `folder`, and read from it where they were fitted before.

    Raises
    ------
    ModelError
        If a store is normalised, but not to the model's target.
    """
    target = target_of(spec)
    stored = [applied_target(store.attributes) for store in stores]
    for store, found in zip(stores, stored, strict=True):
        if found is not None and found != target:
            raise ModelError(_other_stains(str(store.path), found, target))
    if target is None:
        return StainNormaliser()
    plain = [store for store, found in zip(stores, stored, strict=True) if found is None]
    by_slide = target.settings.fit == "slide"
    profiles = fit_stores(plain, folder, target.settings) if by_slide else {}
    return StainNormaliser(
        tuple(_step(store.attributes, target, profiles.get(store.slide_id)) for store in stores)
    )


def stream_normaliser(stream: Stream, spec: ModelSpec) -> StainNormaliser:
    """Prepare what brings one slide's tiles to the model's target, whoever reads them.

    As `stain_normaliser` does for a store, from the same tiles and pixels; nothing is kept.

    Raises
    ------
    ModelError
        If the tiles are normalised, but not to the model's target.
    """
    target = target_of(spec)
    found = applied_target(stream.attributes)
    if found is not None and found != target:
        raise ModelError(_other_stains(str(stream.attributes.get("slide_id")), found, target))
    if target is None:
        return StainNormaliser()
    source = None
    if found is None and target.settings.fit == "slide":
        pixels = sample_pixels(stream.read, stream.n_tiles, stream.tile_size, target.settings)
        source = fit_pixels(pixels, target.settings)
    return StainNormaliser((_step(stream.attributes, target, source),))


def stains_in_tiles(
    stores: Sequence[TileStore], folder: Path, spec: ModelSpec
) -> tuple[StainProfile | None, ...]:
    """Profiles that the tiles of a model's stores have as the model sees them.

    The target's where tiles are normalised, else each slide's own; None where a slide has no
    usable one, or the method knows no stain vectors.
    """
    target = target_of(spec)
    method = _FITTED_BY if target is None or target.settings.fit == "tile" else spec.stain.method
    settings = spec.stain.model_copy(update={"method": method, "fit": "slide"})
    plain = [store for store in stores if applied_target(store.attributes) is None]
    fitted = fit_stores(plain, folder, settings) if method in _WITH_VECTORS else {}
    return tuple(_seen(store, target, fitted.get(store.slide_id)) for store in stores)


def _seen(
    store: TileStore, target: StainTarget | None, own: StainProfile | None
) -> StainProfile | None:
    """Return the profile that a store's tiles have once they went through the normaliser."""
    if applied_target(store.attributes) is not None:
        moved = applied_status(store.attributes) not in _LEFT
    else:
        moved = own is not None and own.status == "ok"
    seen = own if target is None else target.profile
    usable = moved and seen is not None and seen.method in _WITH_VECTORS
    return seen if usable else None


def _step(attributes: Mapping[str, Any], target: StainTarget, source: StainProfile | None) -> Step:
    if applied_target(attributes) is not None:
        label = applied_status(attributes)
        status = TileStatus[label.upper()] if label in _LEFT else TileStatus.NORMALISED
        return partial(_as_stored, status=status)
    if source is None:
        return partial(_each, target=target)
    return partial(_by_slide, source=source, target=target)


def _as_stored(tiles: Tiles, *, status: TileStatus) -> tuple[Tiles, Statuses]:
    return tiles, np.full(len(tiles), status, np.uint8)


def _by_slide(tiles: Tiles, *, source: StainProfile, target: StainTarget) -> tuple[Tiles, Statuses]:
    changed = normalise(tiles, source, target.profile)
    return changed, np.full(len(tiles), TileStatus.of(source.status), np.uint8)


def _each(tiles: Tiles, *, target: StainTarget) -> tuple[Tiles, Statuses]:
    return normalise_each(tiles, target.profile, target.settings)


def count_statuses(statuses: Statuses) -> dict[str, int]:
    """Count `TileStatus` codes by their names, for what is written beside scores."""
    counts = np.bincount(statuses, minlength=len(TileStatus))
    return {status.label: int(counts[status]) for status in TileStatus}


def _mixed(
    stores: Sequence[TileStore],
    targets: Sequence[StainTarget | None],
    store: TileStore,
    target: StainTarget | None,
) -> str:
    normalised = next(
        s for s, found in zip(stores, targets, strict=True) if found is not None and s is not store
    )
    how = "as in the slide" if target is None else "stain-normalised to another target"
    return (
        f"training tiles differ in their stains: those of {normalised.path} are normalised, and "
        f"those of {store.path} are {how}; tile all slides with one stain_target, or with none"
    )


def _other_stains(name: str, found: StainTarget, target: StainTarget | None) -> str:
    if target is None:
        takes = "takes tiles as they are in the slides"
    else:
        takes = f"takes tiles normalised to the target {target.sha256[:12]}"
    return (
        f"the model {takes}, and those of {name} are stain-normalised to the target "
        f"{found.sha256[:12]}; score the tiles as they are in the slides: the model normalises "
        "them itself where it needs to"
    )
