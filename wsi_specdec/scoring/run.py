"""Scores the tiles of many slides, one Parquet file a slide."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from wsi_specdec.config import RunnerConfig, ScoreConfig
from wsi_specdec.files import remove_partials
from wsi_specdec.models import check_fits
from wsi_specdec.provenance import provenance
from wsi_specdec.runner import Ledger, LedgerSummary, Outcome, Task, run_over_slides
from wsi_specdec.scoring.ensemble import Members
from wsi_specdec.scoring.local import Ended, score_here
from wsi_specdec.scoring.sources import StoreSource, TileSource
from wsi_specdec.scoring.spread import Ranks
from wsi_specdec.scoring.work import Work
from wsi_specdec.scoring.worker import Job, score_job
from wsi_specdec.store import TileStore, embeddings_folder

Models = Path | Sequence[Path]


def score_stores(
    stores: Mapping[str, TileStore],
    model: Models,
    out: Path,
    config: ScoreConfig,
    stain_dir: Path,
) -> None:
    """Score the tiles of every store in this process; slides already scored are passed over.

    A slide counts as scored if its file was made by models of the same weights, preprocessing,
    stain target and temperature, with the same settings, from the same store.

    Parameters
    ----------
    stores
        Slide id to tile store; one of no tiles gets a file without rows.
    model
        The model's folder, or those of several that score together.
    out
        Folder of `<slide_id>.parquet`: `x`, `y`, `logit_<class>` and the calibrated
        `prob_<class>`. Embeddings, where `config` wants them, go to `embeddings/` beside it.
    stain_dir
        Where the slides' stain profiles are kept.

    Raises
    ------
    ModelError
        If a model cannot be loaded, or a store's tile size or mpp is not the model's. Nothing
        is scored then.
    StoreError
        If a store is damaged; slides scored until then are kept.
    """
    work = _work(model, out, config, stain_dir)
    sources = [StoreSource(store) for store in stores.values()]
    _check_stores(sources, work.members)
    for ended in score_here(sources, work, Ranks()):
        if ended.error is not None:
            raise ended.error


def score_sources(
    sources: Sequence[TileSource],
    models: Models,
    out: Path,
    config: ScoreConfig,
    stain_dir: Path,
    runner: RunnerConfig | None = None,
) -> LedgerSummary:
    """Score slides, wherever their tiles come from; one that fails costs itself alone.

    Slides are scored one after the other in this process, or in each of those that `torchrun`
    started a share of them; or, where `runner` names a Dask scheduler, each in a process of the
    cluster's workers. `out` gets a ledger of what became of each.

    Parameters
    ----------
    sources
        The slides, of unique ids.
    models, out, config, stain_dir
        As for `score_stores`.
    runner
        Scheduler, threads and limits of a cluster's workers.

    Raises
    ------
    ModelError
        If a model cannot be loaded, or a store does not fit it.
    ConfigError
        If another process is scoring into `out`, or no scheduler answers.
    """
    ranks = Ranks.here()
    work = _work(models, out, ranks.placed(config), stain_dir)
    _check_stores([source for source in sources if isinstance(source, StoreSource)], work.members)
    if runner is not None and runner.scheduler is not None:
        return _on_cluster(sources, work, runner)
    with _ledger(out, ranks) as ledger:
        own = []
        for ended in score_here(ranks.share(sources), work, ranks):
            _record(ledger, ended)
            # Errors may not cross to other processes.
            own.append(replace(ended, error=None))
        everyone = ranks.gathered(own)
        for ended in everyone[len(own) :] if ranks.first else ():
            _record(ledger, ended)
    outcomes = {ended.outcome.slide_id: ended.outcome for ended in everyone}
    path = None if ledger is None else ledger.path
    return LedgerSummary.of((outcomes[source.slide_id] for source in sources), path)


def _on_cluster(sources: Sequence[TileSource], work: Work, runner: RunnerConfig) -> LedgerSummary:
    threads = runner.threads or 1
    with _ledger(work.out, Ranks()) as ledger:
        assert ledger is not None
        tasks = [
            Task(source.slide_id, Job(source, work, threads), work.digest()) for source in sources
        ]
        return run_over_slides(score_job, tasks, ledger=ledger, runner=runner, title="score slides")


@contextmanager
def _ledger(out: Path, ranks: Ranks) -> Iterator[Ledger | None]:
    """Open the ledger in the first process alone, once what a killed run left is removed."""
    if not ranks.first:
        yield None
        return
    with Ledger(out) as ledger:
        if ranks.count == 1:
            for folder in (out, embeddings_folder(out)):
                if folder.is_dir():
                    remove_partials(folder)
        yield ledger


def _record(ledger: Ledger | None, ended: Ended) -> None:
    """Write a row, or keep the former one where the result was there already."""
    if ledger is None:
        return
    own, former = ended.outcome, ledger.get(ended.outcome.slide_id)
    if ended.reused and former is not None and _same(own) == _same(former):
        return
    ledger.append(own, ended.trace)
    ledger.refresh()


def _same(outcome: Outcome) -> tuple[object, ...]:
    return outcome.state, outcome.tiles, outcome.params_sha256


def _check_stores(sources: Sequence[StoreSource], members: Members) -> None:
    """Refuse stores that a model was not made for."""
    for source in sources:
        for folder, spec in zip(members.folders, members.specs, strict=True):
            check_fits(spec, source.store, f"the model {folder}")


def _work(models: Models, out: Path, config: ScoreConfig, stain_dir: Path) -> Work:
    members = Members.of(models)
    names = [f"model_{i}" for i in range(1, len(members.hashes) + 1)]
    inputs = zip(names if len(names) > 1 else ["model"], members.hashes, strict=True)
    return Work(members, out.absolute(), config, stain_dir.absolute(), provenance(dict(inputs)))
