"""Area of the largest positive focus."""

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsi_specdec.aggregation.pooling.base import SimplePooler
from wsi_specdec.aggregation.tiles import Grid, SlideTiles
from wsi_specdec.config import AggregateConfig, Pooling
from wsi_specdec.config.base import Fraction, Positive

# Tiles touch by their sides or their corners.
_EIGHT = np.ones((3, 3), dtype=bool)


class ConnectedArea(SimplePooler):
    r"""Area A of the largest connected positive focus, :math:`s = A / (A + A_{1/2})`.

    The score orders slides as their areas do, and A = A½ · s / (1 - s) gives the mm² back.
    Scattered false positives do not add up, as they do in the share of positive tiles.
    """

    method: ClassVar[Pooling] = "connected_area"
    threshold: Fraction
    half_mm2: Positive

    @classmethod
    def from_settings(cls, config: AggregateConfig) -> Self:
        """Take `tile_threshold` and `area_half_mm2`."""
        return cls(threshold=config.tile_threshold, half_mm2=config.area_half_mm2)

    def pool(self, tiles: SlideTiles) -> float:
        """Return the score of the area."""
        area = connected_area(tiles.probabilities, tiles.coords, tiles.grid, self.threshold)
        return area / (area + self.half_mm2)


def connected_area(
    probabilities: NDArray[np.float64], coords: NDArray[np.int64], grid: Grid, threshold: float
) -> float:
    """Measure the largest set of tiles at or above `threshold` that touch, 8-connected, in mm².

    Parameters
    ----------
    probabilities, coords
        (n,) and (n, 2), level-0 px.
    grid
        The tiles' grid. Tiles that lie off it, as those of other programs may, are taken to the
        nearest place on it, and two at one place count once.
    """
    positive = coords[probabilities >= threshold]
    if not len(positive):
        return 0.0
    cells = np.rint((positive - coords.min(axis=0)) / grid.stride).astype(np.int64)
    cells -= cells.min(axis=0)
    mask = np.zeros(cells.max(axis=0) + 1, dtype=bool)
    mask[cells[:, 0], cells[:, 1]] = True
    labels, _ = ndimage.label(mask, structure=_EIGHT)
    return int(np.bincount(labels.ravel())[1:].max()) * grid.tile_mm2
