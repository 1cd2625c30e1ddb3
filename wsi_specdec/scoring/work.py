"""What a run of scoring is told to do, and what of it is done already."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wsi_specdec.config import ScoreConfig
from wsi_specdec.errors import StoreError
from wsi_specdec.files import sha256_of
from wsi_specdec.keys import MPP_LEVEL0, N_TILES, STRIDE_LEVEL0, TILE_SIZE_LEVEL0
from wsi_specdec.runner import TaskResult
from wsi_specdec.scoring.ensemble import Members, precision_of
from wsi_specdec.scoring.sources import TileSource
from wsi_specdec.store import (
    embeddings_folder,
    embeddings_path,
    read_embeddings_metadata,
    read_scores_metadata,
    scores_path,
)

REASON: Final = "reason"
DTYPE: Final = "embeddings_dtype"


@dataclass(frozen=True)
class Work:
    """What is the same for all slides of a run. Crosses process boundaries.

    Attributes
    ----------
    members
        The models.
    out
        Folder of scores.
    config
        Settings.
    stain_dir
        Where slides' stain profiles are kept.
    provenance
        What this run is made with.
    """

    members: Members
    out: Path
    config: ScoreConfig
    stain_dir: Path
    provenance: Mapping[str, Any]

    def scores(self, source: TileSource) -> Path:
        """Where a slide's scores go."""
        return scores_path(self.out, source.slide_id)

    def embeddings(self, source: TileSource) -> Path:
        """Where a slide's embeddings go, if they are wanted."""
        return embeddings_path(embeddings_folder(self.out), source.slide_id)

    def made_from(self, source: TileSource) -> dict[str, Any]:
        """Name everything that a slide's scores depend on."""
        return {**source.identity(), **self._settings()}

    def digest(self) -> str:
        """SHA-256 of all that shapes the scores but for the slides, for the ledger."""
        return sha256_of(self._settings())

    def _settings(self) -> dict[str, Any]:
        config = self.config
        return {
            **self.members.described(config.symmetries),
            "settings": {
                "precision": precision_of(config),
                "symmetries": config.symmetries,
                "min_tissue": config.min_tissue,
                "quality": {name: list(bounds) for name, bounds in config.quality.items()},
            },
        }

    def scored(self, source: TileSource) -> TaskResult | None:
        """Return the result of a former run, None where there is none or it is of other things."""
        path = self.scores(source)
        if not path.is_file():
            return None
        wanted = self.made_from(source)
        try:
            kept = read_scores_metadata(path)
            if self.config.embeddings:
                wanted[DTYPE] = self.config.embeddings_dtype
                if read_embeddings_metadata(self.embeddings(source)) != kept:
                    return None
        except StoreError:
            # Damaged, or not there: scored anew.
            return None
        same = all(kept.get(name) == value for name, value in wanted.items())
        return result_of(kept, reused=True) if same else None

    def clear(self, source: TileSource) -> None:
        """Remove what is of another model or other settings.

        Should this run fail, it must not pass for its result.
        """
        self.scores(source).unlink(missing_ok=True)
        shutil.rmtree(self.embeddings(source), ignore_errors=True)


def result_of(metadata: Mapping[str, Any], *, reused: bool = False) -> TaskResult:
    """Turn the metadata of a file of scores into what became of the slide."""
    n_tiles = int(metadata[N_TILES])
    reason = str(metadata.get(REASON, ""))
    return TaskResult("done" if n_tiles else "empty", reason, n_tiles, reused=reused)


def geometry(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Where tiles lie on the slide, from a store's attributes.

    Returns
    -------
    dict
        Side of a tile and the way to the next one in level-0 px (that of the side where none is
        stated), and µm per level-0 pixel, None where unknown.
    """
    size = attributes[TILE_SIZE_LEVEL0]
    stride, side = attributes.get("stride_px"), attributes.get("tile_size_px")
    return {
        TILE_SIZE_LEVEL0: size,
        STRIDE_LEVEL0: size * stride / side if stride and side else size,
        MPP_LEVEL0: attributes.get(MPP_LEVEL0),
    }
