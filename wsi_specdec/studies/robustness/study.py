"""Models trained on clean images, tested on shifted ones: docs/studies/robustness.md."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from wsi_specdec.config import RobustnessConfig
from wsi_specdec.evaluation import pairs_of
from wsi_specdec.files import sha256_of_file, write_json
from wsi_specdec.keys import INTERNAL, SCHEMA_VERSION
from wsi_specdec.metrics import Sample, plan_for
from wsi_specdec.provenance import provenance
from wsi_specdec.studies.grid import Fitted, Method, choose, chosen, read_probabilities, run_grid
from wsi_specdec.studies.judging import (
    Choices,
    evaluate_conditions,
    truths_of,
    youden_threshold,
)
from wsi_specdec.studies.outcome import outcome_of, write_outcome
from wsi_specdec.studies.pages.page import write_page
from wsi_specdec.studies.robustness.figures import draw_shifts
from wsi_specdec.studies.robustness.measures import CLEAN, Cells, describe_arms, measure_cells
from wsi_specdec.studies.robustness.sets import ShiftSet, shift_sets
from wsi_specdec.studies.robustness.tables import sections_of
from wsi_specdec.studies.sets.files import SET_FILE
from wsi_specdec.studies.sets.prepare import prepare_set

SHIFTS_FILE: Final = "shifts.json"
_NOTES: Final = (
    "Models saw clean images alone in training, and values were chosen on clean validation images.",
    "The cohorts external-<shift>-<strength> are the images of the cohort internal, shifted.",
    (
        "Shifts are made by a program. They say what a model bears, one at a time, and not how it "
        "fares in another hospital, where several come together."
    ),
)


def run(config: RobustnessConfig, out: Path, workers: int) -> Path:
    """Run the study: shift, train, choose, evaluate, draw; called again, resume.

    Parameters
    ----------
    out
        Gets `results.json`, with the clean test images, and `shifts.json`, with the shifted ones.
    workers
        Processes at a time.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ConfigError
        If settings do not fit each other or the images, before anything is trained.
    NotEnoughDataError, LeakError, StoreError, SettingsMismatchError
        As `prepare_set`, `shift_sets` and `run_grid`.
    """
    pairs_of([arm.name for arm in config.arms], config.evaluate.baseline, config.evaluate.pairs)
    base = prepare_set(config.data, out, workers)
    clean, sets = shift_sets(config, base, out)
    fitted = run_grid(_methods(config, base, clean, sets), config.seeds, out, workers)
    choices = choose(fitted)
    made = provenance({"images": sha256_of_file(base / SET_FILE)}, seed=config.data.seed)
    evaluated = evaluate_conditions(_on_clean(fitted), choices, config.evaluate, made)
    outcome = outcome_of(config, made, fitted, choices, evaluated, _NOTES)
    found = describe_shifts(config, fitted, choices, sets)
    told = {"schema_version": SCHEMA_VERSION, "provenance": made, **found}
    write_json(out / SHIFTS_FILE, told)
    write_outcome(out, outcome)
    pictures = draw_shifts(out, outcome.to_json(), found, clean, sets)
    return write_page(out, outcome, pictures, sections_of(outcome, found))


def describe_shifts(
    config: RobustnessConfig, fitted: Sequence[Fitted], choices: Choices, sets: Sequence[ShiftSet]
) -> dict[str, Any]:
    """Describe how the arms, at their chosen values, bear the shifts.

    Returns
    -------
    As `measures.describe_arms`.
    """
    places = {(each.shift, each.strength): each.cohort for each in sets}
    places = {(CLEAN, 0): INTERNAL, **places}
    by_arm: dict[str, list[Fitted]] = defaultdict(list)
    for each in chosen(fitted, choices):
        by_arm[each.method.arm].append(each)
    samples = {arm: _samples(runs, places) for arm, runs in by_arm.items()}
    evaluate = config.evaluate
    first = samples[config.arms[0].name][CLEAN, 0]
    plan = plan_for(first, evaluate.bootstrap, evaluate.seed)
    cells: dict[str, Cells] = {arm: measure_cells(own, plan) for arm, own in samples.items()}
    baseline = evaluate.baseline if evaluate.baseline in cells else config.arms[0].name
    pairs = pairs_of(list(cells), evaluate.baseline, evaluate.pairs)
    return describe_arms(cells, baseline, pairs, evaluate.confidence)


def _methods(
    config: RobustnessConfig, base: Path, clean: Path, sets: Sequence[ShiftSet]
) -> list[Method]:
    tests = {INTERNAL: clean, **{each.cohort: each.folder for each in sets}}
    return [
        Method("", arm.name, arm.apply(config.train, 0), training=base, tests=tests)
        for arm in config.arms
    ]


def _on_clean(fitted: Sequence[Fitted]) -> list[Fitted]:
    """Leave out the shifted sets, whose intervals are those of `describe_shifts`."""
    return [
        replace(each, method=replace(each.method, tests={INTERNAL: each.method.tests[INTERNAL]}))
        for each in fitted
    ]


def _samples(
    runs: Sequence[Fitted], places: Mapping[tuple[str, int], str]
) -> dict[tuple[str, int], Sample]:
    """Read what an arm's models say of each set, called by their own thresholds."""
    truth = truths_of(runs[0])[INTERNAL]
    known = np.flatnonzero(truth.label >= 0)
    owners = np.array([truth.patient[row] for row in known], np.str_)
    _, patients = np.unique(owners, return_inverse=True)
    labels = truth.label[known].astype(np.int64)
    thresholds = np.array([youden_threshold(run) for run in runs])[:, None]
    samples = {}
    for place, cohort in places.items():
        scores = np.stack([read_probabilities(run, cohort)[known] for run in runs])
        calls = (scores >= thresholds).astype(np.int64)
        samples[place] = Sample(labels, patients.astype(np.int64), scores, calls)
    return samples
