"""Stain normalisation as a model asks for it: one way for training and for scoring."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.models.spec import ModelSpec
from wsi_specdec.stain import StainProfile, fit_stores, merge_profiles, normalise
from wsi_specdec.store import TileStore


@dataclass(frozen=True, slots=True)
class StainNormaliser:
    """Brings tiles of several slides to one target.

    Attributes
    ----------
    sources
        The slides' profiles, in the order in which their stores are numbered.
    target
        The profile to reach; None leaves tiles as they are.
    """

    sources: tuple[StainProfile, ...] = ()
    target: StainProfile | None = None

    def __call__(
        self, tiles: NDArray[np.uint8], store_index: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        """Normalise each tile by its own slide's profile.

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
        if self.target is None:
            return tiles
        out = np.empty_like(tiles)
        for number in np.unique(store_index):
            chosen = np.flatnonzero(store_index == number)
            out[chosen] = normalise(tiles[chosen], self.sources[number], self.target)
        return out


def stain_target(
    stores: Sequence[TileStore], folder: Path, config: StainConfig
) -> StainProfile | None:
    """Target that a model's stains shall have, from its training slides; None for no method.

    Raises
    ------
    NotEnoughDataError
        If no slide has a usable profile.
    """
    if config.method == "none":
        return None
    return merge_profiles(list(fit_stores(stores, folder, config).values()))


def stain_normaliser(stores: Sequence[TileStore], folder: Path, spec: ModelSpec) -> StainNormaliser:
    """Prepare what brings tiles of `stores` to the model's target.

    Profiles are kept in `folder`, and read from it where they were fitted before.
    """
    if spec.stain_target is None:
        return StainNormaliser()
    profiles = fit_stores(stores, folder, spec.stain)
    sources = tuple(profiles[store.slide_id] for store in stores)
    return StainNormaliser(sources, StainProfile.from_json(spec.stain_target))
