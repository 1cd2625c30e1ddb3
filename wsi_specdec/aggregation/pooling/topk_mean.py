"""Mean of the highest tiles."""

from typing import ClassVar, Self

import numpy as np

from wsi_specdec.aggregation.pooling.base import SimplePooler
from wsi_specdec.aggregation.tiles import SlideTiles
from wsi_specdec.config import AggregateConfig, Pooling
from wsi_specdec.config.base import Count


class TopkMean(SimplePooler):
    r"""Mean of the `k` highest, :math:`s = \frac{1}{k} \sum_{i=n-k+1}^{n} p_{(i)}`.

    All tiles where there are fewer than `k`. As sensitive as the maximum, but one odd tile is not
    enough.
    """

    method: ClassVar[Pooling] = "topk_mean"
    k: Count

    @classmethod
    def from_settings(cls, config: AggregateConfig) -> Self:
        """Take `top_k`."""
        return cls(k=config.top_k)

    def pool(self, tiles: SlideTiles) -> float:
        """Return the mean of the highest."""
        values = tiles.probabilities
        first = max(0, values.size - self.k)
        # Sorted, so that the order of the tiles does not change the last bit of the sum.
        return float(np.sort(np.partition(values, first)[first:]).mean())
