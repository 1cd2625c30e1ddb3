"""One stage at a time on the files of a run directory, as the verbs of the command line do."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from wsi_specdec.aggregation import (
    fit_aggregator,
    load_aggregator,
    make_calls,
    save_aggregator,
)
from wsi_specdec.cohort import Slide, fold_slides, read_manifest, write_manifest
from wsi_specdec.config import (
    AggregateConfig,
    DemoConfig,
    ScoreConfig,
    TrainConfig,
    load_config,
)
from wsi_specdec.errors import ManifestError
from wsi_specdec.keys import (
    AGGREGATOR_DIR,
    CALLS_FILE,
    CONFIG_FILE,
    LEDGER_FILE,
    MANIFEST_FILE,
    STAIN_DIR,
    TILES_DIR,
)
from wsi_specdec.provenance import provenance
from wsi_specdec.report import write_report
from wsi_specdec.runner import read_states
from wsi_specdec.scoring import score_stores
from wsi_specdec.store import TileStore, find_stores, open_store
from wsi_specdec.store.calls import Call, write_calls
from wsi_specdec.training import train_searched


def train_model(
    tiles: Path,
    manifest: Path,
    out: Path,
    config: TrainConfig,
    *,
    fold: tuple[int, int] | None = None,
) -> Path:
    """Train on the stores of a run directory, as `wsi-specdec train` does.

    With `fold`, (i, k), the i-th of k folds of patients validates, the others train, and `out`
    gets the manifest that says so.

    Raises
    ------
    ManifestError
        If the manifest labels a slide that was never tiled.
    """
    slides = read_manifest(manifest)
    if fold is not None:
        slides = fold_slides(slides, *fold)
        write_manifest(slides, out / MANIFEST_FILE)
    stores = _open_stores(tiles)
    _refuse_unknown(slides, stores, tiles, manifest)
    return train_searched(stores, slides, out, config, _beside(tiles) / STAIN_DIR)


def score_folder(tiles: Path, model: Path, out: Path, config: ScoreConfig) -> None:
    """Score every store of a run directory, as `wsi-specdec score` does."""
    score_stores(_open_stores(tiles), model, out, config, _beside(tiles) / STAIN_DIR)


def aggregate_scores(
    scores: Path,
    manifest: Path,
    out: Path,
    config: AggregateConfig,
    *,
    aggregator: Path | None = None,
    ledger: Path | None = None,
) -> list[Call]:
    """Call every scored slide, with a threshold chosen now or one given.

    Parameters
    ----------
    aggregator
        Folder of an aggregator to apply unchanged; None fits one on `config.fit_on`.
    ledger
        `ledger.csv` that explains slides without scores.
    """
    slides = read_manifest(manifest)
    states = read_states(ledger) if ledger else {}
    if aggregator is None:
        fitted = fit_aggregator(scores, slides, config, states=states, provenance=provenance())
        save_aggregator(out / AGGREGATOR_DIR, fitted)
    else:
        fitted = load_aggregator(aggregator)
    calls = make_calls(scores, slides, fitted, states)
    write_calls(out / CALLS_FILE, calls)
    return calls


def rebuild_report(folder: Path) -> Path:
    """Write a run's report anew, with the report settings of its config."""
    config = load_config(folder / CONFIG_FILE)
    whole = config.pipeline if isinstance(config, DemoConfig) else config
    return write_report(folder, whole.report)


def _open_stores(tiles: Path) -> dict[str, TileStore]:
    return {slide_id: open_store(path) for slide_id, path in find_stores(tiles).items()}


def _beside(tiles: Path) -> Path:
    """Return the run directory, given it or its folder of stores."""
    return tiles.parent if tiles.name == TILES_DIR else tiles


def _refuse_unknown(
    slides: Sequence[Slide], stores: Mapping[str, TileStore], tiles: Path, manifest: Path
) -> None:
    path = _beside(tiles) / LEDGER_FILE
    explained = read_states(path) if path.is_file() else {}
    unknown = [
        s.slide_id for s in slides if s.slide_id not in stores and s.slide_id not in explained
    ]
    if unknown:
        msg = (
            f"{manifest} has slides that are not in {tiles}: {', '.join(unknown[:10])}; "
            "tile them, or take them out of the manifest"
        )
        raise ManifestError(msg)
