"""Calls and truth in, the content of `results.json` out."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from wsi_specdec.cohort import Slide
from wsi_specdec.config import EvaluateConfig
from wsi_specdec.evaluation.comparisons import compare_arms, pairs_of
from wsi_specdec.evaluation.costs import with_costs
from wsi_specdec.evaluation.gaps import gaps_of
from wsi_specdec.evaluation.localisation import FROC, resample_froc
from wsi_specdec.evaluation.measuring import (
    CALIBRATION,
    GROUPINGS,
    METRICS_OF,
    ByArm,
    grouped,
    measure_arms,
    metrics_json,
)
from wsi_specdec.evaluation.runs import Evaluated, Runs, cohorts_to_evaluate, read_runs
from wsi_specdec.evaluation.units import (
    Stores,
    calibrated_samples,
    called,
    labelled,
    patch_samples,
    patient_samples,
    read_tiles,
    slide_samples,
)
from wsi_specdec.files import write_json
from wsi_specdec.keys import SCHEMA_VERSION
from wsi_specdec.metrics import Measure, Sample, plan_for, resample

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
    resampled: dict[tuple[str, str], ByArm] = {}
    for cohort in names:
        for unit, found in _resample_cohort(judged, cohort, evaluated, stores, config).items():
            resampled[cohort, unit] = found
    measured = {key: measure_arms(arms, config) for key, arms in resampled.items()}
    compared = {key: arms for key, arms in resampled.items() if key[0] not in chosen_on}
    arms = {
        arm: {
            "settings": dict(settings.get(arm, {})),
            "seeds": [run.seed for run in evaluated.runs[arm]],
            "cost": with_costs(cost.get(arm, {}), arm, judged, evaluated, stores),
            "cohorts": {
                cohort: _arm_in_cohort(
                    {unit: measured[cohort, unit][arm] for unit in METRICS_OF},
                    resampled[cohort, "slide"][arm]["auroc"].sample,
                    called(labelled(judged, cohort), evaluated),
                    config,
                )
                for cohort in names
            },
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


def _resample_cohort(
    slides: Sequence[Slide],
    cohort: str,
    evaluated: Evaluated,
    stores: Stores,
    config: EvaluateConfig,
) -> dict[str, ByArm]:
    """Resample each unit's metrics, all arms by one plan, which pairs them."""
    members = sorted(
        (slide for slide in slides if slide.split == cohort), key=lambda slide: slide.slide_id
    )
    truth = labelled(slides, cohort)
    tiles = read_tiles(called(members, evaluated), evaluated, stores)
    samples = {
        "patch": patch_samples(tiles),
        "slide": slide_samples(called(truth, evaluated), evaluated),
        "patient": patient_samples(truth, evaluated),
    }
    found: dict[str, ByArm] = {}
    for unit, by_arm in samples.items():
        plan = plan_for(next(iter(by_arm.values())), config.bootstrap, config.seed)
        resampled = {arm: resample(each, METRICS_OF[unit], plan) for arm, each in by_arm.items()}
        if unit == "slide":
            for arm, each in calibrated_samples(called(truth, evaluated), evaluated).items():
                resampled[arm] |= resample(each, CALIBRATION, plan)
        if unit == "patch":
            lesions = resample_froc(tiles, by_arm, plan, config.detection_reach)
            resampled = {arm: each | {FROC: lesions[arm]} for arm, each in resampled.items()}
        found[unit] = resampled
    return found


def _arm_in_cohort(
    measured: Mapping[str, Mapping[str, Measure]],
    sample: Sample,
    members: Sequence[Slide],
    config: EvaluateConfig,
) -> dict[str, Any]:
    out: dict[str, Any] = {unit: metrics_json(metrics) for unit, metrics in measured.items()}
    names = {column: [getattr(s, column) or "" for s in members] for column in GROUPINGS}
    return out | grouped(sample, names, config)
