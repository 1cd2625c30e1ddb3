"""From models and tiles, of stores or of slides, to tile scores and embeddings."""

from wsi_specdec.scoring.ensemble import Members, cut_for
from wsi_specdec.scoring.run import score_sources, score_stores
from wsi_specdec.scoring.sources import StoreSource, TileSource, TileStream
from wsi_specdec.scoring.spread import is_first_process

__all__ = [
    "Members",
    "StoreSource",
    "TileSource",
    "TileStream",
    "cut_for",
    "is_first_process",
    "score_sources",
    "score_stores",
]
