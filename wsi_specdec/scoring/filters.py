"""Which tiles of a slide are scored."""

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import ScoreConfig
from wsi_specdec.errors import StoreError
from wsi_specdec.scoring.sources import TileStream


def chosen_rows(stream: TileStream, config: ScoreConfig) -> NDArray[np.int64]:
    """Return the numbers of the tiles with the tissue and quality asked for, (n,), rising.

    A measure that is not a number meets no bound.

    Raises
    ------
    StoreError
        If a measure that is named was not taken.
    """
    good: NDArray[np.bool_] = np.ones(stream.n_tiles, np.bool_)
    if config.min_tissue > 0:
        good &= stream.tissue_fraction >= config.min_tissue
    measures = stream.quality if config.quality else {}
    for name, (low, high) in config.quality.items():
        if name not in measures:
            has = ", ".join(measures) or "none"
            msg = (
                f"the setting `quality` of score names {name!r}, which the tiles of "
                f"{stream.slide_id} lack (they have {has}); tile with quality: true, or leave it "
                "out"
            )
            raise StoreError(msg)
        values = measures[name]
        good &= values >= (-np.inf if low is None else low)
        good &= values <= (np.inf if high is None else high)
    return np.flatnonzero(good)
