"""Chance that any tile is positive."""

from typing import Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsi_specdec.aggregation.pooling.base import SimplePooler
from wsi_specdec.aggregation.tiles import SlideTiles
from wsi_specdec.config import AggregateConfig, Pooling
from wsi_specdec.config.base import Positive


class NoisyOr(SimplePooler):
    r"""Chance that any tile is positive were all independent, :math:`s = 1 - \prod_i (1-q_i)^e`.

    :math:`q_i = \max(0, (p_i - l) / (1 - l))` takes away the leak `l`, the probability that a tile
    has for no reason (Pearl 1988, section 4.3; Henrion 1989), and `e` is the exponent.

    Tiles are not independent and there are many: 100,000 tiles of 0.001 give 1 - e^-100, which is
    1 to the last bit, so that with `e` = 1 and `l` = 0 large slides cannot be told apart. A leak
    near what negative tiles have, or an exponent near 1 / (tiles that say the same), undoes this.
    """

    method: ClassVar[Pooling] = "noisy_or"
    exponent: Positive
    leak: Annotated[float, Field(ge=0, lt=1)]

    @classmethod
    def from_settings(cls, config: AggregateConfig) -> Self:
        """Take `noisy_or_exponent` and `noisy_or_leak`."""
        return cls(exponent=config.noisy_or_exponent, leak=config.noisy_or_leak)

    def pool(self, tiles: SlideTiles) -> float:
        """Return the chance."""
        return noisy_or(tiles.probabilities, self.exponent, self.leak)


def noisy_or(probabilities: NDArray[np.float64], exponent: float, leak: float) -> float:
    """Compute it from logarithms: neither small probabilities nor long products are lost."""
    own = np.clip((probabilities - leak) / (1 - leak), 0, 1)
    # A tile of 1 has the logarithm -inf, and the slide the score 1.
    with np.errstate(divide="ignore"):
        missed = exponent * np.sort(np.log1p(-own)).sum()
    return float(-np.expm1(missed))
