"""Mean over all tiles."""

from typing import ClassVar, Self

from wsi_specdec.aggregation.pooling.base import SimplePooler
from wsi_specdec.aggregation.tiles import SlideTiles
from wsi_specdec.config import AggregateConfig, Pooling


class Mean(SimplePooler):
    r"""Mean probability, :math:`s = \frac{1}{n} \sum_i p_i`.

    For findings that fill the tissue; a small focus drowns in a large slide.
    """

    method: ClassVar[Pooling] = "mean"

    @classmethod
    def from_settings(cls, config: AggregateConfig) -> Self:  # noqa: ARG003
        """Take no parameters."""
        return cls()

    def pool(self, tiles: SlideTiles) -> float:
        """Return the mean."""
        return float(tiles.probabilities.mean())
