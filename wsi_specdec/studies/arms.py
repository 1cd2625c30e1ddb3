"""One arm of a comparison with one seed: train, score, aggregate."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from wsi_specdec.aggregation import fit_aggregator, make_calls, save_aggregator, save_calls
from wsi_specdec.cohort import Slide
from wsi_specdec.config import ArmConfig, PipelineConfig, TrainConfig
from wsi_specdec.errors import SettingsMismatchError
from wsi_specdec.files import read_json, write_json
from wsi_specdec.keys import (
    AGGREGATOR_DIR,
    ARMS_DIR,
    CALLS_FILE,
    COST_FILE,
    MODEL_DIR,
    SCORES_DIR,
    TRAIN,
)
from wsi_specdec.models import load_spec
from wsi_specdec.progress import console
from wsi_specdec.provenance import provenance
from wsi_specdec.scoring import score_stores
from wsi_specdec.store import TileStore
from wsi_specdec.studies.pool import in_processes
from wsi_specdec.training import train_searched


@dataclass(frozen=True, slots=True)
class Cohort:
    """What every arm works on, alike.

    Attributes
    ----------
    slides
        The manifest, with a split for each slide.
    stores
        Slide id to tile store, of the slides that were tiled.
    states
        Slide id to its state in the ledger.
    stain_dir
        Where the slides' stain profiles are kept.
    """

    slides: Sequence[Slide]
    stores: Mapping[str, TileStore]
    states: Mapping[str, str]
    stain_dir: Path


@dataclass(frozen=True, slots=True)
class ArmRun:
    """One arm with one seed, and where its files lie."""

    arm: ArmConfig
    seed: int
    folder: Path

    @classmethod
    def within(cls, out: Path, arm: ArmConfig, seed: int) -> "ArmRun":
        """Place the run in the run directory `out`."""
        return cls(arm, seed, out / ARMS_DIR / arm.name / f"seed-{seed}")

    @property
    def model(self) -> Path:
        """The model's folder."""
        return self.folder / MODEL_DIR

    @property
    def scores(self) -> Path:
        """The folder of tile scores."""
        return self.folder / SCORES_DIR

    @property
    def calls(self) -> Path:
        """The slide calls."""
        return self.folder / CALLS_FILE

    @property
    def cost(self) -> Path:
        """Seconds that each stage took."""
        return self.folder / COST_FILE


def run_arms(
    runs: Sequence[ArmRun], cohort: Cohort, config: PipelineConfig, *, overwrite: bool = False
) -> None:
    """Run arms, `config.parallel` of them at a time; of several, each has one thread.

    Each writes into its own folder alone. What arms share must be there: the stores and, so that
    no two fit the same, the profiles in `cohort.stain_dir`.

    Raises
    ------
    SettingsMismatchError
        As `run_arm`.
    WorkerError
        If a process is killed.
    """
    if config.parallel == 1:
        for run in runs:
            console().rule(f"{run.arm.name}, seed {run.seed}", style="dim")
            run_arm(run, cohort, config, overwrite=overwrite)
        return
    one = partial(run_arm, cohort=cohort, config=config, overwrite=overwrite)
    in_processes(one, runs, config.parallel, "train, score and call")


def run_arm(
    run: ArmRun, cohort: Cohort, config: PipelineConfig, *, overwrite: bool = False
) -> None:
    """Train, score and call; each stage skips what it has done with the same settings.

    Raises
    ------
    SettingsMismatchError
        If the arm was trained with other settings and `overwrite` is not set.
    """
    settings = run.arm.apply(config.train, run.seed)
    with timed(run.cost, "train"):
        try:
            train_searched(cohort.stores, cohort.slides, run.model, settings, cohort.stain_dir)
        except SettingsMismatchError:
            if not overwrite:
                raise
            shutil.rmtree(run.folder)
            train_searched(cohort.stores, cohort.slides, run.model, settings, cohort.stain_dir)
    judged = [s for s in cohort.slides if s.split not in (None, TRAIN)]
    # What learns from embeddings learns from those of the training slides.
    embeddings = config.aggregate.needs_embeddings
    wanted = [s for s in cohort.slides if s.split == TRAIN] + judged if embeddings else judged
    stores = {s.slide_id: cohort.stores[s.slide_id] for s in wanted if s.slide_id in cohort.stores}
    score = config.score.model_copy(update={"embeddings": config.score.embeddings or embeddings})
    with timed(run.cost, "score"):
        score_stores(stores, run.model, run.scores, score, cohort.stain_dir)
    aggregator = fit_aggregator(
        run.scores,
        wanted,
        config.aggregate,
        states=cohort.states,
        provenance=provenance(seed=run.seed),
    )
    save_aggregator(run.folder / AGGREGATOR_DIR, aggregator)
    known = {slide.slide_id for slide in cohort.slides}
    calls = make_calls(run.scores, judged, aggregator, cohort.states, known=known)
    save_calls(run.folder, calls, aggregator)


def arm_settings(runs: Sequence[ArmRun], train: TrainConfig) -> dict[str, Any]:
    """Return an arm's settings, alike in all its seeds.

    One that was searched (`auto`) is what the search came to: a list where seeds differ.
    """
    applied = runs[0].arm.apply(train, 0)
    settings: dict[str, Any] = applied.model_dump(mode="json", exclude={"seed"})
    name = applied.searched
    if name is not None:
        chosen = [load_spec(run.model).training["settings"][name] for run in runs]
        settings[name] = chosen[0] if len(set(chosen)) == 1 else chosen
    return settings


def read_cost(path: Path) -> dict[str, float]:
    """Seconds by stage, as `timed` kept them; none where there is no such file."""
    kept: dict[str, float] = read_json(path) if path.is_file() else {}
    return kept


@contextmanager
def timed(path: Path, stage: str) -> Iterator[None]:
    """Add the block's seconds to the file, so that a resumed run counts every part."""
    started = time.monotonic()
    try:
        yield
    finally:
        seconds = read_cost(path)
        seconds[stage] = round(seconds.get(stage, 0.0) + time.monotonic() - started, 3)
        write_json(path, seconds)
