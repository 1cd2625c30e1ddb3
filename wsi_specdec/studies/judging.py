"""From the trainings of a grid to results: each arm at its chosen value, and every value tried."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from wsi_specdec.aggregation import Rule, fit_threshold
from wsi_specdec.config import EvaluateConfig
from wsi_specdec.errors import StoreError
from wsi_specdec.evaluation import PatchRun, PatchTruth, evaluate_patches
from wsi_specdec.keys import VALIDATION
from wsi_specdec.metrics import accuracy, auroc
from wsi_specdec.studies.grid import Choice, Fitted, chosen, read_probabilities, validation_set
from wsi_specdec.studies.sets.prepare import read_truth

Choices = Mapping[tuple[str, str], Choice]
_YOUDEN = Rule("youden")


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One training on one cohort, chosen or not.

    Attributes
    ----------
    setting, value
        What was tried, and the value of this training.
    auroc, accuracy
        On the cohort's images, the latter at this training's own threshold; None where not
        defined.
    selected
        Whether the arm's value is this one, which the validation images chose.
    """

    condition: str
    arm: str
    setting: str
    value: float
    seed: int
    cohort: str
    auroc: float | None
    accuracy: float | None
    selected: bool

    def to_json(self) -> dict[str, Any]:
        """Return the point as a study's `results.json` holds it."""
        return asdict(self)


def truths_of(fitted: Fitted) -> dict[str, PatchTruth]:
    """Return what is known of the images that a training was scored on, validation first."""
    sets = {VALIDATION: _validation(fitted.method.training), **fitted.method.tests}
    return {cohort: _truth(folder) for cohort, folder in sets.items()}


def youden_threshold(fitted: Fitted) -> float:
    """Choose a training's threshold on its validation images (Youden 1950).

    Raises
    ------
    NotEnoughDataError
        If these are not of both classes.
    """
    truth = truths_of(fitted)[VALIDATION]
    known = truth.label >= 0
    scores = read_probabilities(fitted, VALIDATION)
    where = f"the validation set of {fitted.method.training}"
    return fit_threshold(truth.label[known], scores[known], _YOUDEN, where)


def curve_points(fitted: Sequence[Fitted], choices: Choices) -> list[CurvePoint]:
    """Measure every training on every cohort, in the order given.

    Parameters
    ----------
    fitted
        All trainings of a grid.
    choices
        Chosen value by condition and arm, as `grid.choose` gives them.
    """
    points = []
    for each in fitted:
        method, threshold = each.method, youden_threshold(each)
        for cohort, truth in truths_of(each).items():
            known = truth.label >= 0
            labels, scores = truth.label[known], read_probabilities(each, cohort)[known]
            points.append(
                CurvePoint(
                    condition=method.condition,
                    arm=method.arm,
                    setting=method.setting,
                    value=each.value,
                    seed=each.seed,
                    cohort=cohort,
                    auroc=auroc(labels, scores).value,
                    accuracy=accuracy(labels, scores >= threshold).value,
                    selected=choices[method.condition, method.arm].value == each.value,
                )
            )
    return points


def evaluate_conditions(
    fitted: Sequence[Fitted],
    choices: Choices,
    config: EvaluateConfig,
    provenance: Mapping[str, Any],
    cost: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, dict[str, Any]]:
    """Evaluate the arms of each condition at their chosen values.

    Parameters
    ----------
    fitted
        All trainings of a grid; those of other values are left out.
    choices
        Chosen value by condition and arm.
    config, provenance
        As `evaluate_patches` takes them.
    cost
        Of each arm, whatever the condition; arms may be missing.

    Returns
    -------
    The content of `results.json` by condition.

    Raises
    ------
    StoreError
        If arms of a condition were scored on different images.
    ConfigError
        As `evaluate_patches`.
    """
    by_condition: dict[str, dict[str, list[Fitted]]] = defaultdict(lambda: defaultdict(list))
    for each in chosen(fitted, choices):
        by_condition[each.method.condition][each.method.arm].append(each)
    return {
        condition: evaluate_patches(
            {arm: [_run(each) for each in runs] for arm, runs in arms.items()},
            _shared_truths(arms),
            config,
            provenance,
            {arm: _settings(runs[0]) for arm, runs in arms.items()},
            cost,
        )
        for condition, arms in by_condition.items()
    }


def _run(fitted: Fitted) -> PatchRun:
    cohorts = (VALIDATION, *fitted.method.tests)
    scores = {cohort: fitted.scores(cohort) for cohort in cohorts}
    return PatchRun(fitted.seed, scores, youden_threshold(fitted))


def _settings(fitted: Fitted) -> dict[str, Any]:
    return fitted.settings().model_dump(mode="json", exclude={"seed"})


def _shared_truths(arms: Mapping[str, Sequence[Fitted]]) -> dict[str, PatchTruth]:
    """Return the truths of the first arm, which the others share although pixels may differ."""
    first, *others = arms
    truths = truths_of(arms[first][0])
    for arm in others:
        for cohort, truth in truths_of(arms[arm][0]).items():
            same = cohort in truths and (
                truth.image_id == truths[cohort].image_id
                and np.array_equal(truth.label, truths[cohort].label)
            )
            if not same:
                msg = (
                    f"the arms {first} and {arm} were scored on different images of {cohort!r}: "
                    "arms are compared on identical images"
                )
                raise StoreError(msg)
    return truths


@lru_cache(maxsize=512)
def _validation(training: Path) -> Path:
    return validation_set(training)


@lru_cache(maxsize=512)
def _truth(folder: Path) -> PatchTruth:
    found = read_truth(folder)
    return PatchTruth(found.image_id, found.label, found.patient, **found.groups)
