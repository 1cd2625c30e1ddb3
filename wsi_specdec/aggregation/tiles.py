"""What a slide's score is made of: its tiles' probabilities, places and embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.keys import MODEL_HASH, MPP_LEVEL0, STRIDE_LEVEL0, TILE_SIZE_LEVEL0
from wsi_specdec.store.calls import positive_scores
from wsi_specdec.store.embeddings import (
    embeddings_folder,
    embeddings_path,
    read_embeddings,
    read_embeddings_metadata,
)
from wsi_specdec.store.scores import read_scores_metadata


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid that tiles lie on.

    Attributes
    ----------
    tile_size, stride
        Side of a tile and distance of neighbours, level-0 px.
    mpp
        µm per level-0 px.
    """

    tile_size: float
    stride: float
    mpp: float

    @property
    def tile_mm2(self) -> float:
        """Area that a tile stands for: where tiles overlap, what it shares is counted once."""
        side_mm = min(self.tile_size, self.stride) * self.mpp / 1000
        return side_mm * side_mm


@dataclass(frozen=True, slots=True, eq=False)
class SlideTiles:
    """A slide's scored tiles.

    Attributes
    ----------
    probabilities
        (n,) float64, of any class but the first.
    coords
        (n, 2) int64, x and y of the top-left corners in level-0 px.
    source
        The file of scores; messages name it, and embeddings lie beside its folder.
    metadata
        That of the file.
    """

    probabilities: NDArray[np.float64]
    coords: NDArray[np.int64]
    source: Path
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def grid(self) -> Grid:
        """The grid that the tiles lie on.

        Raises
        ------
        StoreError
            If the file does not state it.
        """
        names = (TILE_SIZE_LEVEL0, STRIDE_LEVEL0, MPP_LEVEL0)
        missing = [name for name in names if name not in self.metadata]
        if missing:
            msg = (
                f"{self.source} does not say {', '.join(missing)}, which areas are measured by: "
                "run `wsi-specdec score` again, or choose another pooling"
            )
            raise StoreError(msg)
        values = [self.metadata[name] for name in names]
        if not all(isinstance(value, int | float) and value > 0 for value in values):
            msg = (
                f"{self.source} states no size in µm ({MPP_LEVEL0} is {values[2]}), which areas "
                "are measured by: tile with --slide-mpp and score again, or choose another pooling"
            )
            raise StoreError(msg)
        return Grid(*map(float, values))

    def embeddings(self) -> NDArray[np.float32]:
        """Read the tiles' embeddings, (n, D), in the order of the tiles.

        Raises
        ------
        StoreError
            If they are missing, or of another model or other tiles than the scores.
        """
        path = embeddings_path(embeddings_folder(self.source.parent), self.source.stem)
        rows = read_embeddings(path)
        model = read_embeddings_metadata(path).get(MODEL_HASH)
        if model != self.metadata.get(MODEL_HASH) or len(rows) != len(self.probabilities):
            msg = (
                f"{path} is not of the same model and tiles as {self.source}: "
                "run `wsi-specdec score` again with embeddings: true"
            )
            raise StoreError(msg)
        return rows


def read_tiles(source: Path) -> SlideTiles:
    """Read a file of tile scores.

    Raises
    ------
    StoreError
        If it is missing or damaged.
    ModelError
        If it holds values that are no probabilities.
    """
    coords, probabilities = positive_scores(source)
    return SlideTiles(probabilities, coords, source, read_scores_metadata(source))
