"""Share of positive tiles."""

from typing import ClassVar, Self

from wsi_specdec.aggregation.pooling.base import SimplePooler
from wsi_specdec.aggregation.tiles import SlideTiles
from wsi_specdec.config import AggregateConfig, Pooling
from wsi_specdec.config.base import Fraction


class FractionAbove(SimplePooler):
    r"""Share of tiles at or above a threshold, :math:`s = \frac{1}{n} \#\{i : p_i \ge t\}`.

    The share of tissue that is positive.
    """

    method: ClassVar[Pooling] = "fraction_above"
    threshold: Fraction

    @classmethod
    def from_settings(cls, config: AggregateConfig) -> Self:
        """Take `tile_threshold`."""
        return cls(threshold=config.tile_threshold)

    def pool(self, tiles: SlideTiles) -> float:
        """Return the share."""
        return float((tiles.probabilities >= self.threshold).mean())
