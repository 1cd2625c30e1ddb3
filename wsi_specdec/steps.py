"""One stage at a time on the files of a run directory, as the verbs of the command line do."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsi_specdec.aggregation import (
    check_attention,
    fit_aggregator,
    load_aggregator,
    make_calls,
    save_aggregator,
    save_attention,
    save_calls,
)
from wsi_specdec.cohort import (
    cohort_slides,
    fold_slides,
    read_manifest,
    read_slides,
    write_manifest,
)
from wsi_specdec.config import (
    AggregateConfig,
    RunnerConfig,
    ScoreConfig,
    StainConfig,
    TileConfig,
    TrainConfig,
)
from wsi_specdec.errors import ManifestError
from wsi_specdec.files import read_json, sha256_of_file, write_text
from wsi_specdec.intake import refuse_unknown
from wsi_specdec.keys import (
    AGGREGATOR_DIR,
    LEDGER_FILE,
    MANIFEST_FILE,
    PREVIEWS_DIR,
    STAIN_DIR,
    TILES_DIR,
)
from wsi_specdec.provenance import provenance
from wsi_specdec.report import report_config, write_report
from wsi_specdec.runner import LedgerSummary, read_states
from wsi_specdec.scoring import Members, StoreSource, cut_for, score_sources
from wsi_specdec.stain import fit_stores, merge_profiles
from wsi_specdec.stain.target import StainTarget, read_target, write_target
from wsi_specdec.store import open_stores
from wsi_specdec.store.calls import Call
from wsi_specdec.tiling import SlideSource
from wsi_specdec.tiling.restained import (
    Encoding,
    Restained,
    check_restainable,
    restain_stores,
)
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
    stores = open_stores(tiles)
    refuse_unknown(slides, stores, _beside(tiles), manifest)
    return train_searched(stores, slides, out, config, _beside(tiles) / STAIN_DIR)


def fit_target(
    tiles: Path, manifest: Path, split: str, out: Path, config: StainConfig
) -> dict[str, Any]:
    """Fit the target of stain normalisation to the slides of one split; the others are not read.

    Slides' profiles are kept beside the tiles, and read from there by the next call.

    Returns
    -------
    dict
        The content of `out`: `profile`, `settings`, `sha256`, and `made_from` with the status of
        each slide.

    Raises
    ------
    ManifestError
        If no slide of the split has tiles.
    NotEnoughDataError
        If none of the slides has a usable profile.
    ConfigError
        If tiles are stain-normalised already.
    """
    stores = open_stores(tiles)
    slides = cohort_slides(read_manifest(manifest), split)
    chosen = [stores[slide.slide_id] for slide in slides if slide.slide_id in stores]
    if not chosen:
        msg = f"none of the {len(stores)} slides in {tiles} is in the split {split!r} of {manifest}"
        raise ManifestError(msg)
    for store in chosen:
        check_restainable(store)
    profiles = fit_stores(chosen, _beside(tiles) / STAIN_DIR, config)
    target = StainTarget(merge_profiles(list(profiles.values())), config)
    made_from = {
        "split": split,
        "slides": {slide_id: profile.status for slide_id, profile in profiles.items()},
        "provenance": provenance({manifest.name: sha256_of_file(manifest)}, seed=config.seed),
    }
    write_target(out, target, made_from)
    return dict(read_json(out))


def apply_target(
    tiles: Path, target: Path, out: Path, encoding: Encoding, *, overwrite: bool = False
) -> Restained:
    """Write normalised copies of the stores of a run directory, as `stain apply` does.

    The ledger comes along, so that slides without tiles stay explained.

    Raises
    ------
    ConfigError, StoreError, SettingsMismatchError
        As `restain_stores`.
    """
    wanted = read_target(target)
    stores = list(open_stores(tiles).values())
    done = restain_stores(
        stores,
        out,
        wanted,
        encoding,
        stain_dir=_beside(tiles) / STAIN_DIR,
        threads=len(os.sched_getaffinity(0)),
        overwrite=overwrite,
    )
    ledger = _beside(tiles) / LEDGER_FILE
    if ledger.is_file():
        write_text(out / LEDGER_FILE, ledger.read_text(encoding="utf-8"))
    return done


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
    return score_sources(sources, models, out, config, _beside(tiles) / STAIN_DIR, runner)


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


def aggregate_scores(
    scores: Path,
    manifest: Path,
    out: Path,
    config: AggregateConfig,
    *,
    aggregator: Path | None = None,
    ledger: Path | None = None,
    attention: bool = False,
) -> list[Call]:
    """Call every slide of the manifest, with a threshold chosen now or one given.

    Parameters
    ----------
    aggregator
        Folder of an aggregator to apply unchanged; None fits one on `config.fit_on`.
    ledger
        `ledger.csv` that explains slides without scores; None takes that of `scores`, if there is
        one.
    attention
        Whether the tiles' attention is written too, where the pooling is `mil`.
    """
    slides = read_manifest(manifest)
    if ledger is None and (scores / LEDGER_FILE).is_file():
        ledger = scores / LEDGER_FILE
    states = read_states(ledger) if ledger else {}
    loaded = None if aggregator is None else load_aggregator(aggregator)
    if attention:
        check_attention(config.pooling if loaded is None else loaded.pooling)
    if loaded is None:
        fitted = fit_aggregator(scores, slides, config, states=states, provenance=provenance())
        save_aggregator(out / AGGREGATOR_DIR, fitted)
    else:
        fitted = loaded
    calls = make_calls(scores, slides, fitted, states)
    save_calls(out, calls, fitted)
    if attention:
        save_attention(out, scores, calls, fitted)
    return calls


def rebuild_report(folder: Path) -> Path:
    """Write a run's report anew, with the report settings of its config."""
    return write_report(folder, report_config(folder))


def _beside(tiles: Path) -> Path:
    """Return the run directory, given it or its folder of stores."""
    return tiles.parent if tiles.name == TILES_DIR else tiles
