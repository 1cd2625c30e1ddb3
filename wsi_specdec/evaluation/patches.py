"""Results of images that are called one by one, such as patches and radiographs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import EvaluateConfig
from wsi_specdec.errors import ConfigError, ManifestError, StoreError
from wsi_specdec.evaluation.comparisons import compare_arms, pairs_of
from wsi_specdec.evaluation.gaps import gaps_of
from wsi_specdec.evaluation.measuring import (
    GROUPINGS,
    KAPPA,
    METRICS_OF,
    ByArm,
    grouped,
    measure_arms,
    metrics_json,
    resample_grades,
)
from wsi_specdec.evaluation.runs import check_seeds
from wsi_specdec.keys import INTERNAL, SCHEMA_VERSION, UNKNOWN_LABEL, VALIDATION
from wsi_specdec.metrics import Difference, Measure, Resampled, Sample, compare, plan_for, resample
from wsi_specdec.store.calls import ClassScores, class_scores

UNIT = "patch"
# Of groups of images: the metrics whose intervals take no resamples, since groups can be many.
_OF_GROUPS = ("auroc", "sensitivity", "specificity", "balanced_accuracy", "accuracy")
_SOME_SHARED = "no interval: some patients are in both cohorts"
_METRICS = ("auroc", "balanced_accuracy", "accuracy")
# What is compared instead where all images are of one class, by that class.
_ONE_CLASS = {0: "specificity", 1: "sensitivity"}


@dataclass(frozen=True, slots=True, eq=False)
class PatchTruth:
    """A cohort's images, in the order of their store.

    Attributes
    ----------
    image_id
        Name of each of n images.
    label
        int64, (n,): 0, 1, …, or `UNKNOWN_LABEL`; such an image is in no metric. All but 0 are
        positive, and grades to kappa.
    patient
        Whose image each is.
    site, scanner, view
        Groups of each image, empty where not known.
    """

    image_id: tuple[str, ...]
    label: NDArray[np.int64]
    patient: tuple[str, ...]
    site: tuple[str, ...]
    scanner: tuple[str, ...]
    view: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PatchRun:
    """One trained model of one arm, and what it said of the images of each cohort.

    Attributes
    ----------
    seed
        The seed it was trained with.
    scores
        A file of tile scores for each cohort, a row per image of its `PatchTruth`, whose `x` is
        the image's number.
    threshold
        An image is called positive at or above this probability of any class but the first, in
        every cohort.
    fitted_on
        The cohort on which the threshold was chosen; None where it was fixed.
    """

    seed: int
    scores: Mapping[str, Path]
    threshold: float
    fitted_on: str | None = VALIDATION


def evaluate_patches(
    runs: Mapping[str, Sequence[PatchRun]],
    truths: Mapping[str, PatchTruth],
    config: EvaluateConfig,
    provenance: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
    cost: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Measure every arm on the images of every cohort, and compare arms with the baseline.

    As `evaluate` does for slides, with intervals over seeds and patients: the units are images,
    `slide` and `patient` are empty. Where a cohort's images are all of one class, sensitivity or
    specificity is compared too, since AUROC and balanced accuracy are then null. Gaps to a cohort
    that holds the images of `internal` once more, changed, are paired by patient.

    Parameters
    ----------
    runs
        The runs of each arm, one of each seed.
    truths
        The images of each cohort, `validation` among them where thresholds were chosen there.
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
        If there are no arms or no cohorts, arms differ in seeds, the baseline is none of several,
        or a run has no scores of a cohort.
    ManifestError
        If what is known of a cohort's images is not of equally many images.
    StoreError, ModelError
        If scores are damaged, or not of the cohort's images.
    """
    pairs = pairs_of(list(runs), config.baseline, config.pairs)
    ordered = {arm: sorted(each, key=lambda run: run.seed) for arm, each in runs.items()}
    check_seeds({arm: [run.seed for run in each] for arm, each in ordered.items()})
    if not truths:
        msg = "there is nothing to evaluate: no cohort is given"
        raise ConfigError(msg)
    cohorts = {name: _cohort(name, truth) for name, truth in truths.items()}
    resampled = {
        (name, UNIT): _resample(ordered, cohort, config) for name, cohort in cohorts.items()
    }
    measured = {key: measure_arms(arms, config) for key, arms in resampled.items()}
    chosen_on = {run.fitted_on for each in ordered.values() for run in each}
    return {
        "schema_version": SCHEMA_VERSION,
        "gaps": gaps_of(measured, list(cohorts), _Shared(cohorts, resampled, config.confidence)),
        "provenance": dict(provenance),
        "cohorts": {name: _describe(cohort, name in chosen_on) for name, cohort in cohorts.items()},
        "arms": {
            arm: {
                "settings": dict(settings.get(arm, {})),
                "seeds": [run.seed for run in each],
                "cost": dict(cost.get(arm, {})),
                "cohorts": {
                    name: _arm_in_cohort(
                        measured[name, UNIT][arm],
                        _sample(resampled[name, UNIT][arm]),
                        cohort,
                        config,
                    )
                    for name, cohort in cohorts.items()
                },
            }
            for arm, each in ordered.items()
        },
        "differences": [
            row
            for key, arms in resampled.items()
            if key[0] not in chosen_on
            for row in compare_arms({key: arms}, pairs, config.confidence, _compared(arms))
        ],
    }


def _arm_in_cohort(
    measured: Mapping[str, Measure], sample: Sample, cohort: "_Cohort", config: EvaluateConfig
) -> dict[str, Any]:
    groups = grouped(sample, cohort.groups, config, _OF_GROUPS)
    return {UNIT: metrics_json(measured), "slide": {}, "patient": {}, **groups}


@dataclass(frozen=True, slots=True, eq=False)
class _Cohort:
    """The labelled of a cohort's `count` images: their numbers, labels, patients and groups.

    `labels` are 0 or 1, `grades` as given; `names` are the patients in the order of their codes,
    `patients`.
    """

    name: str
    count: int
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    grades: NDArray[np.int64]
    patients: NDArray[np.int64]
    names: NDArray[np.str_]
    groups: Mapping[str, list[str]]


def _cohort(name: str, truth: PatchTruth) -> _Cohort:
    count = len(truth.label)
    columns = {column: getattr(truth, column) for column in ("image_id", "patient", *GROUPINGS)}
    if wrong := [column for column, values in columns.items() if len(values) != count]:
        msg = f"the cohort {name!r} has {count} labels, but not as many of {', '.join(wrong)}"
        raise ManifestError(msg)
    rows = np.flatnonzero(truth.label != UNKNOWN_LABEL)
    of_row = np.array([truth.patient[row] for row in rows], dtype=np.str_)
    names, patients = np.unique(of_row, return_inverse=True)
    grades = truth.label[rows].astype(np.int64)
    return _Cohort(
        name=name,
        count=count,
        rows=rows,
        labels=(grades > 0).astype(np.int64),
        grades=grades,
        patients=patients.astype(np.int64),
        names=names,
        groups={column: [columns[column][row] for row in rows] for column in GROUPINGS},
    )


def _describe(cohort: _Cohort, chosen_on: bool) -> dict[str, Any]:
    return {
        "images": len(cohort.rows),
        "patients": len(cohort.names),
        "positives": int((cohort.labels == 1).sum()),
        "threshold_chosen_here": chosen_on,
    }


@dataclass(frozen=True, slots=True)
class _Shared:
    """Gaps to cohorts that share patients with the internal one, which independence forbids."""

    cohorts: Mapping[str, _Cohort]
    resampled: Mapping[tuple[str, str], ByArm]
    confidence: float

    def __call__(self, cohort: str, arm: str, metric: str) -> Difference | None:
        """Compare patient by patient; without an interval if only some of them are shared."""
        inside, outside = self.cohorts[INTERNAL], self.cohorts[cohort]
        if not np.isin(outside.names, inside.names).any():
            return None
        ends = [self.resampled[name, UNIT][arm][metric] for name in (cohort, INTERNAL)]
        # One seed, and as many patients, make one plan of both.
        found = compare(ends[0], ends[1], self.confidence) if _alike(inside, outside) else None
        if found is not None:
            return replace(found, test=f"{found.test}, paired by patient")
        there, here = (end.value for end in ends)
        delta = None if there is None or here is None else there - here
        reason = ends[0].undefined or ends[1].undefined or _SOME_SHARED
        return Difference(delta, None, None, None, "none", reason)


def _alike(one: _Cohort, other: _Cohort) -> bool:
    """Whether two cohorts are images of the same patients and labels, in one order."""
    return (
        np.array_equal(one.names, other.names)
        and np.array_equal(one.patients, other.patients)
        and np.array_equal(one.labels, other.labels)
    )


def _resample(
    runs: Mapping[str, Sequence[PatchRun]], cohort: _Cohort, config: EvaluateConfig
) -> ByArm:
    """Resample the metrics of every arm's probabilities and calls by one plan, which pairs arms."""
    samples, graded, classes = {}, {}, int(cohort.grades.max(initial=1)) + 1
    for arm, each in runs.items():
        read = [_read(run, cohort) for run in each]
        scores = np.stack([found.positive for found in read])
        thresholds = np.array([run.threshold for run in each])
        calls = (scores >= thresholds[:, None]).astype(np.int64)
        samples[arm] = Sample(cohort.labels, cohort.patients, scores, calls)
        grades = np.stack([found.grades for found in read])
        graded[arm] = Sample(cohort.grades, cohort.patients, scores, grades)
        classes = max([classes, *(len(found.names) for found in read)])
    plan = plan_for(next(iter(samples.values())), config.bootstrap, config.seed)
    kappa = resample_grades(graded, classes, plan)
    return {
        arm: resample(sample, METRICS_OF[UNIT], plan) | {KAPPA: kappa[arm]}
        for arm, sample in samples.items()
    }


def _read(run: PatchRun, cohort: _Cohort) -> ClassScores:
    """Read what a run says of a cohort's labelled images, in the order of the store."""
    if cohort.name not in run.scores:
        msg = f"the run with seed {run.seed} has no scores of {cohort.name!r}: score its images"
        raise ConfigError(msg)
    path = run.scores[cohort.name]
    found = class_scores(path)
    order = np.argsort(found.coords[:, 0], kind="stable")
    if not np.array_equal(found.coords[order, 0], np.arange(cohort.count)):
        msg = (
            f"the scores in {path} are of {len(found.coords)} images that are not the "
            f"{cohort.count} of {cohort.name!r}; score them again"
        )
        raise StoreError(msg)
    kept = order[cohort.rows]
    return ClassScores(found.coords[kept], found.probabilities[kept], found.names)


def _sample(metrics: Mapping[str, Resampled]) -> Sample:
    return metrics["accuracy"].sample


def _compared(arms: ByArm) -> list[tuple[str, str]]:
    classes = np.unique(_sample(next(iter(arms.values()))).labels).tolist()
    alone = [_ONE_CLASS[classes[0]]] if len(classes) == 1 else []
    return [(UNIT, metric) for metric in (*_METRICS, *alone)]
