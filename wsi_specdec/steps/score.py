"""`score`: tiles of a run directory, or of slides as they are read."""

from collections.abc import Sequence
from pathlib import Path

from wsi_specdec.cohort import read_slides
from wsi_specdec.config import RunnerConfig, ScoreConfig, TileConfig
from wsi_specdec.keys import PREVIEWS_DIR, STAIN_DIR
from wsi_specdec.runner import LedgerSummary
from wsi_specdec.scoring import Members, StoreSource, cut_for, score_sources
from wsi_specdec.steps.folder import run_dir
from wsi_specdec.store import open_stores
from wsi_specdec.tiling import SlideSource


def score_folder(
    tiles: Path,
    models: Sequence[Path],
    out: Path,
    config: ScoreConfig,
    runner: RunnerConfig | None = None,
) -> LedgerSummary:
    """Score every store of a run directory, as `wsi-specdec score --tiles` does."""
    tiles = tiles.absolute()
    sources = [StoreSource(store) for store in open_stores(tiles).values()]
    return score_sources(sources, models, out, config, run_dir(tiles) / STAIN_DIR, runner)


def score_slides(
    slides: Path,
    models: Sequence[Path],
    out: Path,
    tile: TileConfig,
    config: ScoreConfig,
    runner: RunnerConfig | None = None,
) -> LedgerSummary:
    """Score slides without storing their tiles, as `wsi-specdec score --slides` does.

    Tiles are those that `tile` cuts, of the models' size and resolution; previews of the tissue
    masks go to `out`.

    Raises
    ------
    ManifestError, LeakError
        If there are no such slides.
    ModelError
        If a model cannot be read, or `tile` asks for another resolution than a model takes.
    """
    cut = cut_for(Members.of(models), tile)
    found = read_slides([slides])
    sources = [SlideSource.of(slide, cut, out / PREVIEWS_DIR) for slide in found]
    return score_sources(sources, models, out, config, out / STAIN_DIR, runner)
