"""Calls and truth in, the content of `results.json` out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from wsi_specdec.cohort import Slide
from wsi_specdec.config import EvaluateConfig
from wsi_specdec.evaluation.comparisons import compare_arms, pairs_of
from wsi_specdec.evaluation.costs import with_costs
from wsi_specdec.evaluation.embedded import robustness_of
from wsi_specdec.evaluation.gaps import gaps_of
from wsi_specdec.evaluation.localisation import FROC, resample_froc
from wsi_specdec.evaluation.measuring import (
    CALIBRATION,
    GROUPINGS,
    KAPPA,
    METRICS_OF,
    ByArm,
    grouped,
    groups_json,
    measure_arms,
    metrics_json,
    resample_grades,
)
from wsi_specdec.evaluation.runs import Evaluated, Runs, cohorts_to_evaluate, read_runs
from wsi_specdec.evaluation.units import (
    Stores,
    Tiles,
    calibrated_samples,
    called,
    grade_samples,
    labelled,
    patch_samples,
    patient_samples,
    read_tiles,
    slide_samples,
)
from wsi_specdec.files import write_json
from wsi_specdec.keys import SCHEMA_VERSION, VALIDATION
from wsi_specdec.metrics import Measure, plan_for, resample

_SCHEMA = "results.schema.json"


def evaluate(
    runs: Runs,
    slides: Sequence[Slide],
    stores: Stores,
    config: EvaluateConfig,
    provenance: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
    cost: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Measure every arm on every cohort, and compare arms with the baseline.

    Tiles, slides and patients without a known label are in no metric, and neither are slides
    without a call: `n` says how many were. Cohorts are `validation` and every test cohort; the
    one that the threshold was chosen on is marked, and arms are not compared on it.

    Parameters
    ----------
    runs
        The runs of each arm, one of each seed.
    slides
        The manifest.
    stores
        Tile stores by slide, for the labels of tiles.
    config
        Resamples, confidence, baseline and seed.
    provenance
        What the results were made with.
    settings, cost
        What sets each arm apart, and what it took; arms may be missing.

    Returns
    -------
    The content of `results.json`, as `results_schema` describes it.

    Raises
    ------
    ConfigError
        If there are no arms, they differ in seeds, or the baseline is none of several.
    ManifestError
        If runs did not call identical slides.
    StoreError
        If a run's scores are not of the tiles in the stores.
    NotEnoughDataError
        If the manifest names no cohort to evaluate on.
    """
    pairs = pairs_of(list(runs), config.baseline, config.pairs)
    names = cohorts_to_evaluate(slides)
    judged = [slide for slide in slides if slide.split in names]
    evaluated = read_runs(runs, judged)
    chosen_on = {run.fitted_on for each in evaluated.runs.values() for run in each}
    found = {name: _cohort(judged, name, evaluated, stores, config) for name in names}
    measured = {
        (k, unit): arms for k, each in found.items() for unit, arms in each.measured.items()
    }
    compared = {
        (name, unit): arms
        for name, each in found.items()
        for unit, arms in each.resampled.items()
        if name not in chosen_on
    }
    tested = called([slide for slide in judged if slide.split != VALIDATION], evaluated)
    robustness = robustness_of(tested, evaluated, stores, config)
    arms = {
        arm: {
            "settings": dict(settings.get(arm, {})),
            "seeds": [run.seed for run in evaluated.runs[arm]],
            "cost": with_costs(cost.get(arm, {}), arm, judged, evaluated, stores),
            "robustness": robustness[arm],
            "cohorts": {name: _arm_in_cohort(each, arm, config) for name, each in found.items()},
        }
        for arm in evaluated.runs
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "gaps": gaps_of(measured, names),
        "provenance": dict(provenance),
        "cohorts": {name: _describe(judged, name, name in chosen_on) for name in names},
        "arms": arms,
        "differences": compare_arms(compared, pairs, config.confidence),
    }


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Write `results.json` atomically."""
    write_json(path, results)


def results_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of `results.json`, which ships with the package."""
    text = files("wsi_specdec.evaluation").joinpath(_SCHEMA).read_text(encoding="utf-8")
    return dict(json.loads(text))


def _describe(slides: Sequence[Slide], cohort: str, chosen_on: bool) -> dict[str, Any]:
    members = labelled(slides, cohort)
    return {
        "slides": len(members),
        "patients": len({slide.patient_id for slide in members}),
        "positives": sum(slide.label == 1 for slide in members),
        "threshold_chosen_here": chosen_on,
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Cohort:
    """What is known of a cohort.

    Attributes
    ----------
    called
        Its labelled slides that have a call.
    resampled, measured
        By unit, arm and metric.
    tile_groups
        By arm, the entries `patch_…`: metrics of the tiles of each site and scanner.
    """

    called: Sequence[Slide]
    resampled: Mapping[str, ByArm]
    measured: Mapping[str, Mapping[str, Mapping[str, Measure]]]
    tile_groups: Mapping[str, Mapping[str, Any]]


def _cohort(
    slides: Sequence[Slide],
    name: str,
    evaluated: Evaluated,
    stores: Stores,
    config: EvaluateConfig,
) -> _Cohort:
    """Resample each unit's metrics, all arms by one plan, which pairs them."""
    members = sorted((s for s in slides if s.split == name), key=lambda slide: slide.slide_id)
    tiles = read_tiles(called(members, evaluated), evaluated, stores)
    truth = labelled(slides, name)
    kept = called(truth, evaluated)
    samples = {
        "slide": slide_samples(kept, evaluated),
        "patient": patient_samples(truth, evaluated),
    }
    found: dict[str, ByArm] = {"patch": _resample_tiles(tiles, config)}
    for unit, by_arm in samples.items():
        plan = plan_for(next(iter(by_arm.values())), config.bootstrap, config.seed)
        resampled = {arm: resample(each, METRICS_OF[unit], plan) for arm, each in by_arm.items()}
        if unit == "slide":
            for arm, each in calibrated_samples(kept, evaluated).items():
                resampled[arm] |= resample(each, CALIBRATION, plan)
        found[unit] = resampled
    measured = {unit: measure_arms(arms, config) for unit, arms in found.items()}
    return _Cohort(kept, found, measured, _tile_groups(tiles, config))


def _resample_tiles(tiles: Tiles, config: EvaluateConfig) -> ByArm:
    """Resample the metrics of tiles, lesions and grades, all by one plan."""
    samples = patch_samples(tiles)
    plan = plan_for(next(iter(samples.values())), config.bootstrap, config.seed)
    lesions = resample_froc(tiles, samples, plan, config.detection_reach)
    grades = resample_grades(grade_samples(tiles), tiles.classes, plan)
    return {
        arm: resample(each, METRICS_OF["patch"], plan) | {FROC: lesions[arm], KAPPA: grades[arm]}
        for arm, each in samples.items()
    }


def _tile_groups(tiles: Tiles, config: EvaluateConfig) -> dict[str, dict[str, Any]]:
    """Measure the tiles of each site and scanner: the entries `patch_…` of every arm."""
    groups: dict[str, dict[str, dict[str, dict[str, Measure]]]] = {
        arm: {column: {} for column in GROUPINGS} for arm in tiles.scores
    }
    for column in GROUPINGS:
        names = sorted({getattr(slide, column) for slide in tiles.slides} - {None, ""})
        for name in names if len(names) > 1 else ():
            found = measure_arms(_resample_tiles(tiles.of(column, name), config), config)
            for arm, measures in found.items():
                groups[arm][column][name] = measures
    return {
        arm: {f"patch_{key}": value for key, value in groups_json(each).items()}
        for arm, each in groups.items()
    }


def _arm_in_cohort(cohort: _Cohort, arm: str, config: EvaluateConfig) -> dict[str, Any]:
    out: dict[str, Any] = {
        unit: metrics_json(metrics[arm]) for unit, metrics in cohort.measured.items()
    }
    names = {column: [getattr(s, column) or "" for s in cohort.called] for column in GROUPINGS}
    of_slides = cohort.resampled["slide"][arm]
    calibrated = of_slides["brier"].sample if "brier" in of_slides else None
    groups = grouped(of_slides["auroc"].sample, names, config, calibrated=calibrated)
    return out | groups | dict(cohort.tile_groups[arm])
