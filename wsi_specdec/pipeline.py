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
from wsi_specdec.cohort import (
    Slide,
    assign_splits,
    evaluated_cohorts,
    read_manifest,
    read_slides,
    write_manifest,
)
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
from wsi_specdec.errors import ConfigError, ManifestError, SettingsMismatchError
from wsi_specdec.evaluation import SeedRun, evaluate, pairs_of, write_results
from wsi_specdec.files import sha256_of_file, write_json, write_text
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
    STAIN_DIR,
    TRAIN,
    VALIDATION,
    WEIGHTS_FILE,
)
from wsi_specdec.models import load_spec
from wsi_specdec.progress import console
from wsi_specdec.provenance import provenance
from wsi_specdec.report import write_report
from wsi_specdec.runner import LedgerSummary, read_states
from wsi_specdec.scoring import score_stores
from wsi_specdec.stain import fit_stores
from wsi_specdec.store import TileStore, open_store, store_path
from wsi_specdec.store.calls import Call
from wsi_specdec.studies import ArmRun, Cohort, arm_settings, read_cost, run_arm, timed
from wsi_specdec.tiling import tile_slides

# Settings that may change between two runs into one folder: they add to it, or cost little to redo.
_FREE_SETTINGS = {
    "aggregate",
    "arms",
    "evaluate",
    "manifest",
    "out",
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
        What became of each slide.
    report
        The report's path.
    results
        The content of `results.json`; None where no truth is known.
    calls
        Slide calls; empty for a comparison, whose calls lie beside each arm.
    """

    out: Path
    tiling: LedgerSummary
    report: Path
    results: dict[str, Any] | None = None
    calls: Sequence[Call] = ()


def run(config: AnyConfig, *, overwrite: bool = False) -> Finished:
    """Run any pipeline file's config."""
    if isinstance(config, DemoConfig):
        return run_demo(config, overwrite=overwrite)
    if isinstance(config, ProcessConfig):
        return run_process(config, overwrite=overwrite)
    return run_pipeline(config, overwrite=overwrite)


def run_demo(config: DemoConfig, *, overwrite: bool = False) -> Finished:
    """Compose the built-in cohort and run its pipeline on it."""
    out = _required(config.pipeline.out, "out")
    compose_cohort(out, config.cohort)
    inner = config.pipeline.model_copy(update={"manifest": out / MANIFEST_FILE})
    return run_pipeline(inner, overwrite=overwrite)


def run_pipeline(config: PipelineConfig, *, overwrite: bool = False) -> Finished:
    """Take labelled slides to results: tile, then every arm and seed, then evaluate and report.

    Raises
    ------
    SettingsMismatchError
        If the run directory was made with other settings; the message lists them.
    ManifestError
        If a split that the run needs has no slides, or labels are missing.
    """
    out = _required(config.out, "out")
    manifest = _required(config.manifest, "manifest")
    # Asked for before hours of work, not after.
    pairs_of([arm.name for arm in config.arms], config.evaluate.baseline)
    slides = _with_splits(read_manifest(manifest), config)
    _claim(out, config, overwrite=overwrite)
    write_manifest(slides, out / MANIFEST_FILE)
    made_with = provenance({manifest.name: sha256_of_file(manifest)}, seed=config.seeds[0])
    write_json(out / PROVENANCE_FILE, made_with)

    tiling = tile_slides(slides, out, config.tile, config.runner, overwrite=overwrite)
    cohort = Cohort(slides, _stores(slides, out), read_states(out), out / STAIN_DIR)
    _fit_stains(config, cohort)
    runs = {arm.name: [ArmRun.within(out, arm, s) for s in config.seeds] for arm in config.arms}
    for name, of_arm in runs.items():
        for arm_run in of_arm:
            console().rule(f"{name}, seed {arm_run.seed}", style="dim")
            run_arm(arm_run, cohort, config, overwrite=overwrite)
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
    return Finished(out, tiling, write_report(out, config.report), results)


def run_process(config: ProcessConfig, *, overwrite: bool = False) -> Finished:
    """Take a folder of unseen slides to calls with a trained model.

    Raises
    ------
    ModelError
        If the model's folder is incomplete.
    ConfigError
        If there is no aggregator beside the model and none is given.
    """
    out = _required(config.out, "out")
    source = _required(config.slides, "slides")
    model = _required(config.model, "model")
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
    stores = _stores(slides, out)
    embeddings = config.score.embeddings or aggregator.needs_embeddings
    score = config.score.model_copy(update={"embeddings": embeddings})
    score_stores(stores, model, out / SCORES_DIR, score, out / STAIN_DIR)
    calls = make_calls(out / SCORES_DIR, slides, aggregator, read_states(out))
    save_calls(out, calls, aggregator)
    return Finished(out, tiling, write_report(out, config.report), calls=calls)


def _required(path: Path | None, name: str) -> Path:
    if path is None:
        msg = f"the setting '{name}' is missing: give it in the config or as a flag"
        raise ConfigError(msg)
    return path


def _with_splits(slides: Sequence[Slide], config: PipelineConfig) -> list[Slide]:
    """Fill in splits where no slide has one, and check that the needed ones are there."""
    if not any(slide.split for slide in slides):
        slides = assign_splits(slides, config.splits, seed=config.seeds[0])
    for needed in (TRAIN, VALIDATION):
        if not any(slide.split == needed for slide in slides):
            msg = f"no slide of the manifest is in the split {needed!r}; set the column 'split'"
            raise ManifestError(msg)
    if not evaluated_cohorts(slides):
        msg = "no slide of the manifest is in a test split ('internal', 'external', …)"
        raise ManifestError(msg)
    unlabelled = [s.slide_id for s in slides if s.split not in (None, TRAIN) and s.label is None]
    if unlabelled:
        msg = f"slides to be evaluated have no label: {', '.join(unlabelled[:10])}"
        raise ManifestError(msg)
    return list(slides)


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


def _stores(slides: Sequence[Slide], out: Path) -> dict[str, TileStore]:
    paths = {slide.slide_id: store_path(out, slide.slide_id) for slide in slides}
    return {slide_id: open_store(path) for slide_id, path in paths.items() if path.is_dir()}


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
