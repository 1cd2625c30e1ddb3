"""Which tiles are good enough to learn from."""

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import TrainConfig
from wsi_specdec.errors import StoreError
from wsi_specdec.store import TileStore


def good_tiles(store: TileStore, config: TrainConfig) -> NDArray[np.bool_]:
    """Tell which tiles have the tissue and the quality that the settings ask for.

    A measure that is not a number meets no bound.

    Returns
    -------
    bool, (N,).

    Raises
    ------
    StoreError
        If the store lacks a measure that is named.
    """
    good: NDArray[np.bool_] = np.ones(store.n_tiles, np.bool_)
    if config.min_tissue > 0:
        good &= store.tissue_fraction >= config.min_tissue
    for name, (low, high) in config.quality.items():
        if name not in store.quality:
            has = ", ".join(store.quality) or "none"
            msg = (
                f"the setting `quality` names {name!r}, which {store.path} lacks (it has {has}); "
                "tile with quality: true, or leave it out"
            )
            raise StoreError(msg)
        values = store.quality[name]
        good &= (values >= (-np.inf if low is None else low)) & (
            values <= (np.inf if high is None else high)
        )
    return good
