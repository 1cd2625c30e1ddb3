"""From a model and tile stores to tile scores."""

from wsi_specdec.scoring.run import score_stores

__all__ = ["score_stores"]
