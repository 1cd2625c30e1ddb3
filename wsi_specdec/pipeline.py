"""Run the stages of a config in order, skipping what is already done."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsi_specdec.aggregation import (
    load_aggregator,
    make_calls,
    save_calls,
)
from wsi_specdec.cohort import read_slides, write_manifest
from wsi_specdec.config import (
    AnyConfig,
    DemoConfig,
    PipelineConfig,
    ProcessConfig,
    TileConfig,
    differences,
    dump_config,
    load_config,
)
from wsi_specdec.demo import compose_cohort
from wsi_specdec.errors import ConfigError, SettingsMismatchError
from wsi_specdec.evaluation import SeedRun, evaluate, pairs_of, write_results
from wsi_specdec.files import sha256_of_file, write_json, write_text
from wsi_specdec.intake import listed, required, stores_of, take_in, with_classes, with_splits
from wsi_specdec.keys import (
    AGGREGATOR_DIR,
    AGGREGATOR_FILE,
    CALL_COLUMNS,
    CALLS_FILE,
    CONFIG_FILE,
    COST_FILE,
    MANIFEST_FILE,
    PROVENANCE_FILE,
    RESULTS_FILE,
    SCORES_DIR,
    SITES_FILE,
    SITES_PAGE_FILE,
    STAIN_DIR,
    WEIGHTS_FILE,
)
from wsi_specdec.models import load_spec
from wsi_specdec.progress import console
from wsi_specdec.provenance import provenance
from wsi_specdec.report import write_report
from wsi_specdec.runner import LedgerSummary, read_states
from wsi_specdec.scoring import score_stores
from wsi_specdec.stain import fit_stores
from wsi_specdec.store.calls import Call
from wsi_specdec.studies import ArmRun, Cohort, arm_settings, read_cost, run_arms, timed
from wsi_specdec.studies.composed_slides import write_slides_page
from wsi_specdec.studies.joined import join_folds, joined_page
from wsi_specdec.studies.sites import Column, leave_one_out, share_tiles
from wsi_specdec.tiling import tile_slides

# Settings that may change between two runs into one folder: they add to it, or cost little to redo.
_FREE_SETTINGS = {
    "aggregate",
    "arms",
    "data",
    "evaluate",
    "manifest",
    "out",
    "parallel",
    "report",
    "runner",
    "score",
    "seeds",
    "slides",
}


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished run.

    Attributes
    ----------
    out
        Its directory.
    tiling
        What became of each slide, or image.
    report
        The report's path.
    results
        The content of `results.json`; None where no truth is known.
    calls
        Slide calls; empty for a comparison, whose calls lie beside each arm.
    joined
        What `join_folds` makes of a comparison that leaves sites out; `report` is then its page.
    of_images
        Whether it was on packed images.
    """

    out: Path
    tiling: LedgerSummary
    report: Path
    results: dict[str, Any] | None = None
    calls: Sequence[Call] = ()
    joined: dict[str, Any] | None = None
    of_images: bool = False


def run(config: AnyConfig, *, overwrite: bool = False) -> Finished:
    """Run any pipeline file's config."""
    if isinstance(config, DemoConfig):
        return run_demo(config, overwrite=overwrite)
    if isinstance(config, ProcessConfig):
        return run_process(config, overwrite=overwrite)
    return run_pipeline(config, overwrite=overwrite)


def run_demo(config: DemoConfig, *, overwrite: bool = False) -> Finished:
    """Compose the built-in cohort and run its pipeline on it."""
    out = required(config.pipeline.out, "out")
    compose_cohort(out, config.cohort)
    inner = config.pipeline.model_copy(update={"manifest": out / MANIFEST_FILE})
    done = run_pipeline(inner, overwrite=overwrite)
    if config.cohort.external_centres and done.results is not None:
        write_slides_page(out, done.results, config)
    return done


def run_pipeline(config: PipelineConfig, *, overwrite: bool = False) -> Finished:
    """Take labelled slides, or images that are packed, to results.

    They are tiled or packed, then comes every arm with every seed, then evaluation and report.
    With `config.leave_out` this is done for each site, or scanner, in turn, by `run_folds`.

    Raises
    ------
    SettingsMismatchError
        If the run directory was made with other settings; the message lists them.
    ManifestError
        If a split that the run needs has no slides, or labels are missing.
    """
    if config.leave_out is not None:
        return run_folds(config, config.leave_out, overwrite=overwrite)
    out = required(config.out, "out")
    slides = listed(config)
    # Asked for before hours of work, not after.
    pairs_of([arm.name for arm in config.arms], config.evaluate.baseline, config.evaluate.pairs)
    slides = with_splits(slides, config)
    config = with_classes(config)
    _claim(out, config, overwrite=overwrite)
    slides, taken = take_in(slides, config, overwrite=overwrite)
    # Once more: packing may have told whose images they are.
    slides = with_splits(slides, config)
    write_manifest(slides, out / MANIFEST_FILE)
    made_with = _made_with(config, out)
    write_json(out / PROVENANCE_FILE, made_with)

    stores = stores_of(slides, out, images=config.of_images)
    cohort = Cohort(slides, stores, read_states(out), out / STAIN_DIR)
    _fit_stains(config, cohort)
    runs = {arm.name: [ArmRun.within(out, arm, s) for s in config.seeds] for arm in config.arms}
    every = [arm_run for of_arm in runs.values() for arm_run in of_arm]
    run_arms(every, cohort, config, overwrite=overwrite)
    results = evaluate(
        {name: [_seed_run(r, config) for r in of_arm] for name, of_arm in runs.items()},
        slides=slides,
        stores=cohort.stores,
        config=config.evaluate,
        provenance=made_with,
        settings={name: arm_settings(of_arm, config.train) for name, of_arm in runs.items()},
        cost={name: _cost(of_arm, config, cohort.stain_dir) for name, of_arm in runs.items()},
    )
    write_results(out / RESULTS_FILE, results)
    _write_all_calls(runs, out / CALLS_FILE)
    report = write_report(out, config.report)
    return Finished(out, taken, report, results, of_images=config.of_images)


def run_folds(config: PipelineConfig, column: Column, *, overwrite: bool = False) -> Finished:
    """Compare with each site, or scanner, left out in turn, and join what is found outside.

    Raises
    ------
    ManifestError, LeakError, NotEnoughDataError
        If the manifest's slides cannot be dealt to folds.
    SettingsMismatchError
        As `run_pipeline`.
    """
    out = required(config.out, "out")
    slides = listed(config)
    folds = leave_one_out(slides, column, config.splits, config.seeds[0])
    # Asked for before hours of work, not after.
    pairs_of([arm.name for arm in config.arms], config.evaluate.baseline, config.evaluate.pairs)
    for fold in folds:
        with_splits(fold.slides, config)
    config = with_classes(config)
    _claim(out, config, overwrite=overwrite)
    slides, taken = take_in(slides, config, overwrite=overwrite)
    folds = leave_one_out(slides, column, config.splits, config.seeds[0])
    changes: dict[str, Any] = {"leave_out": None, "dataset": None, "data": None}
    if config.of_images:
        changes |= {"pack": None, "packed": out}
    found = []
    for fold in folds:
        console().rule(f"{column} {fold.site} left out", style="dim")
        folder = fold.folder(out)
        if not config.of_images:
            share_tiles(out, fold)
        write_manifest(fold.slides, folder / MANIFEST_FILE)
        title = f"{config.report.title}: {column} {fold.site} left out"
        report = config.report.model_copy(update={"title": title})
        placed = {"out": folder, "manifest": folder / MANIFEST_FILE, "report": report}
        done = run_pipeline(config.model_copy(update=changes | placed), overwrite=overwrite)
        found.append((fold, done.results or {}))
    joined = join_folds(found, column, config.evaluate.confidence)
    write_json(out / SITES_FILE.format(column), joined)
    page = out / SITES_PAGE_FILE.format(column)
    write_text(page, joined_page(joined))
    return Finished(out, taken, page, joined=joined)


def run_process(config: ProcessConfig, *, overwrite: bool = False) -> Finished:
    """Take a folder of unseen slides to calls with a trained model.

    Raises
    ------
    ModelError
        If the model's folder is incomplete.
    ConfigError
        If there is no aggregator beside the model and none is given.
    """
    out = required(config.out, "out")
    source = required(config.slides, "slides")
    model = required(config.model, "model")
    spec = load_spec(model)
    aggregator = load_aggregator(_aggregator_folder(config.aggregator, model))
    slides = read_slides([source])
    _claim(out, config, overwrite=overwrite)
    tile = TileConfig(
        mpp=spec.mpp,
        tile_size=spec.tile_size,
        slide_mpp=config.slide_mpp,
        min_tissue=config.min_tissue,
        reader=config.reader,
        tissue=config.tissue,
    )
    write_manifest(slides, out / MANIFEST_FILE)
    inputs = {WEIGHTS_FILE: sha256_of_file(model / WEIGHTS_FILE)}
    write_json(out / PROVENANCE_FILE, provenance(inputs))
    tiling = tile_slides(slides, out, tile, config.runner, overwrite=overwrite)
    stores = stores_of(slides, out)
    embeddings = config.score.embeddings or aggregator.needs_embeddings
    score = config.score.model_copy(update={"embeddings": embeddings})
    score_stores(stores, model, out / SCORES_DIR, score, out / STAIN_DIR)
    calls = make_calls(out / SCORES_DIR, slides, aggregator, read_states(out))
    save_calls(out, calls, aggregator)
    return Finished(out, tiling, write_report(out, config.report), calls=calls)


def _made_with(config: PipelineConfig, out: Path) -> dict[str, Any]:
    """Say what a run is made with; of images in a folder, the manifest that packing made."""
    given = config.manifest
    manifest = out / MANIFEST_FILE if given is None or given.is_dir() else given
    return provenance({manifest.name: sha256_of_file(manifest)}, seed=config.seeds[0])


def _claim(out: Path, config: PipelineConfig | ProcessConfig, *, overwrite: bool) -> None:
    """Write the resolved config into `out`, refusing a folder of other settings."""
    path = out / CONFIG_FILE
    if path.is_file() and not overwrite:
        differing = differences(_binding(load_config(path)), _binding(config))
        if differing:
            msg = (
                f"{out} was made with other settings: {'; '.join(differing)}. "
                "Choose another --out, or --overwrite to redo it"
            )
            raise SettingsMismatchError(msg)
    write_text(path, dump_config(config))


def _binding(config: AnyConfig) -> dict[str, Any]:
    """Return the settings that a run directory is bound to."""
    return config.model_dump(mode="json", exclude=_FREE_SETTINGS)


def _fit_stains(config: PipelineConfig, cohort: Cohort) -> None:
    """Fit the profiles once, before the arms that share them."""
    settings = {arm.apply(config.train, 0).stain for arm in config.arms}
    for stain in sorted(settings, key=lambda s: s.method):
        if stain.method != "none":
            with timed(cohort.stain_dir / COST_FILE, stain.method):
                fit_stores(list(cohort.stores.values()), cohort.stain_dir, stain)


def _seed_run(run_: ArmRun, config: PipelineConfig) -> SeedRun:
    return SeedRun(run_.seed, run_.calls, run_.scores, config.aggregate.fitted_on)


def _cost(runs: Sequence[ArmRun], config: PipelineConfig, stain_dir: Path) -> dict[str, float]:
    """Mean seconds a seed by stage, and those of the stain profiles that an arm's seeds share."""
    costs = [read_cost(run_.cost) for run_ in runs]
    mean = {
        f"{stage}_seconds": round(sum(cost[stage] for cost in costs) / len(costs), 3)
        for stage in ("train", "score")
    }
    method = runs[0].arm.apply(config.train, 0).stain.method
    fitted = read_cost(stain_dir / COST_FILE).get(method)
    return mean if fitted is None else {"stain_seconds": fitted, **mean}


def _write_all_calls(runs: Mapping[str, Sequence[ArmRun]], path: Path) -> None:
    """Put the calls of every arm and seed into one table, cell by cell as they stand."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("arm", "seed", *CALL_COLUMNS))
    for name, of_arm in runs.items():
        for arm_run in of_arm:
            with arm_run.calls.open(encoding="utf-8", newline="") as handle:
                _, *rows = csv.reader(handle)
            writer.writerows([name, arm_run.seed, *row] for row in rows)
    write_text(path, table.getvalue())


def _aggregator_folder(given: Path | None, model: Path) -> Path:
    folder = given or model.resolve().parent / AGGREGATOR_DIR
    if not (folder / AGGREGATOR_FILE).is_file():
        msg = (
            f"no {AGGREGATOR_FILE} in {folder}: make one with `wsi-specdec aggregate --fit-on`, "
            "or name its folder with --aggregator"
        )
        raise ConfigError(msg)
    return folder
