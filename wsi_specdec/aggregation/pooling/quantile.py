"""A quantile of the tiles."""

from typing import ClassVar, Self

import numpy as np

from wsi_specdec.aggregation.pooling.base import SimplePooler
from wsi_specdec.aggregation.tiles import SlideTiles
from wsi_specdec.config import AggregateConfig, Pooling
from wsi_specdec.config.base import Fraction


class Quantile(SimplePooler):
    """The `q`-quantile, linear between neighbours (Hyndman and Fan 1996, type 7).

    Like the mean of the highest tiles, but their share counts instead of their number.
    """

    method: ClassVar[Pooling] = "quantile"
    q: Fraction

    @classmethod
    def from_settings(cls, config: AggregateConfig) -> Self:
        """Take `quantile`."""
        return cls(q=config.quantile)

    def pool(self, tiles: SlideTiles) -> float:
        """Return the quantile."""
        return float(np.quantile(tiles.probabilities, self.q))
