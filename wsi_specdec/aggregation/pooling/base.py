"""What every pooling is: a frozen record of its parameters that turns tiles into one score."""

from abc import abstractmethod
from typing import Any, ClassVar, Self

from wsi_specdec.aggregation.tiles import SlideTiles
from wsi_specdec.config import AggregateConfig, Pooling, StageConfig


class Pooler(StageConfig):
    """A pooling with its parameters, which are its fields.

    The score is in [0, 1], rises with the evidence for the positive class, and does not depend on
    the order of the tiles.
    """

    method: ClassVar[Pooling]

    def __call__(self, tiles: SlideTiles) -> float | None:
        """Return the slide's score; None where it has no tiles."""
        return self.pool(tiles) if tiles.probabilities.size else None

    @abstractmethod
    def pool(self, tiles: SlideTiles) -> float:
        """Return the score of one tile or more."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as plain JSON; `load_pooler` takes them."""
        return self.model_dump(mode="json")


class SimplePooler(Pooler):
    """A pooling whose parameters are settings, so that nothing is learned."""

    @classmethod
    @abstractmethod
    def from_settings(cls, config: AggregateConfig) -> Self:
        """Take the parameters from the settings."""
