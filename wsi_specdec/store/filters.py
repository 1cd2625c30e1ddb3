"""Which tiles are good enough to learn from, or to score."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import ScoreConfig, TrainConfig
from wsi_specdec.errors import StoreError


class Measured(Protocol):
    """Tiles of one slide and what was measured of them: a store, or tiles without one."""

    @property
    def slide_id(self) -> str:
        """Id of the slide."""

    @property
    def n_tiles(self) -> int:
        """Number of tiles, N."""

    @property
    def tissue_fraction(self) -> NDArray[np.float32]:
        """Share of tissue in each tile: float32, (N,)."""

    @property
    def quality(self) -> Mapping[str, NDArray[np.float32]]:
        """Measures by name: float32, (N,) each."""


def good_tiles(tiles: Measured, config: TrainConfig | ScoreConfig) -> NDArray[np.bool_]:
    """Tell which tiles have the tissue and the quality that the settings ask for.

    A measure that is not a number meets no bound.

    Returns
    -------
    bool, (N,).

    Raises
    ------
    StoreError
        If a measure that is named was not taken.
    """
    good: NDArray[np.bool_] = np.ones(tiles.n_tiles, np.bool_)
    if config.min_tissue > 0:
        good &= tiles.tissue_fraction >= config.min_tissue
    measures = tiles.quality if config.quality else {}
    for name, (low, high) in config.quality.items():
        if name not in measures:
            has = ", ".join(measures) or "none"
            msg = (
                f"the setting `quality` names {name!r}, which the tiles of {tiles.slide_id} lack "
                f"(they have {has}); tile with quality: true, or leave it out"
            )
            raise StoreError(msg)
        values = measures[name]
        good &= values >= (-np.inf if low is None else low)
        good &= values <= (np.inf if high is None else high)
    return good
