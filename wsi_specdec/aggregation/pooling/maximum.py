"""The highest tile."""

from typing import ClassVar, Self

from wsi_specdec.aggregation.pooling.base import SimplePooler
from wsi_specdec.aggregation.tiles import SlideTiles
from wsi_specdec.config import AggregateConfig, Pooling


class Maximum(SimplePooler):
    r"""Highest probability, :math:`s = \max_i p_i`.

    One tile decides: the most sensitive, and it rises with the number of tiles even where none is
    positive.
    """

    method: ClassVar[Pooling] = "max"

    @classmethod
    def from_settings(cls, config: AggregateConfig) -> Self:  # noqa: ARG003
        """Take no parameters."""
        return cls()

    def pool(self, tiles: SlideTiles) -> float:
        """Return the highest."""
        return float(tiles.probabilities.max())
