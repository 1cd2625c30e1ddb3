"""Every arm with every value of its grid and every seed: trained, scored, and one value chosen.

Trainings are those of `training`, scores those of `scoring`; what is added is that many are made
at a time, and that the value of an arm is chosen over all its seeds.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide, read_manifest
from wsi_specdec.config import ScoreConfig, TrainConfig
from wsi_specdec.errors import ConfigError, StoreError
from wsi_specdec.keys import LOGIT_PREFIX, MANIFEST_FILE, MODEL_DIR, SCORES_DIR, VALIDATION
from wsi_specdec.models import load_spec
from wsi_specdec.scoring import score_stores
from wsi_specdec.store import TileStore, open_stores, read_scores, scores_path
from wsi_specdec.store.calls import positive_scores
from wsi_specdec.store.schema import SLIDE_ID
from wsi_specdec.studies.pool import in_processes
from wsi_specdec.studies.sets.prepare import derive_set, open_set, unchanged
from wsi_specdec.training import train
from wsi_specdec.training.search import Trial, best_value, mean_auroc

TRAININGS_DIR: Final = "trainings"
# Means of no setting: the arm has nothing to choose.
_NOTHING: Final = "fixed"


@dataclass(frozen=True, slots=True)
class Method:
    """One arm under one condition.

    Attributes
    ----------
    condition
        Name of the condition, which is a folder's name; empty where there is one alone.
    arm
        Name of the arm.
    train
        Its settings: `sd_coef` or `weight_decay` is "auto" where its value is to be chosen from
        the grid of `train.search`.
    training
        The set whose images of the splits `train` and `validation` are learned from.
    tests
        Cohort to the set whose images, all of them, are scored.
    """

    condition: str
    arm: str
    train: TrainConfig
    training: Path
    tests: Mapping[str, Path]

    @property
    def setting(self) -> str:
        """Name of the setting that is chosen."""
        return self.train.searched or _NOTHING

    @property
    def values(self) -> tuple[float, ...]:
        """Values that are tried: one alone where there is nothing to choose."""
        searched = self.train.searched
        return (0.0,) if searched is None else self.train.search.values(searched)


@dataclass(frozen=True, slots=True)
class Fitted:
    """One training, and what it says of every test set.

    Attributes
    ----------
    value
        Of the setting that is chosen.
    folder
        Holds `model/` and `scores/<cohort>.parquet`.
    """

    method: Method
    value: float
    seed: int
    folder: Path

    @property
    def model(self) -> Path:
        """The model's folder."""
        return self.folder / MODEL_DIR

    @property
    def scores_dir(self) -> Path:
        """The folder of scores."""
        return self.folder / SCORES_DIR

    def scores(self, cohort: str) -> Path:
        """Scores of a cohort, `validation` or a test set: a row for each image, in its order."""
        return scores_path(self.scores_dir, cohort)

    def settings(self) -> TrainConfig:
        """Return what it was trained with."""
        changes = {"seed": self.seed, "pictures": False, "tensorboard": False}
        searched = self.method.train.searched
        chosen = {} if searched is None else {searched: self.value}
        return self.method.train.model_copy(update=changes | chosen)


@dataclass(frozen=True, slots=True)
class Choice:
    """The value chosen for an arm under a condition.

    Attributes
    ----------
    means
        Value to the mean over the seeds of the AUROC on the validation images.
    at_edge
        Whether it is the first or last of several values.
    """

    setting: str
    value: float
    means: Mapping[float, float]

    @property
    def at_edge(self) -> bool:
        """Whether a better value may lie beyond the grid."""
        values = sorted(self.means)
        return len(values) > 1 and self.value in (values[0], values[-1])


def run_grid(
    methods: Sequence[Method], seeds: Sequence[int], out: Path, workers: int
) -> list[Fitted]:
    """Train every method with every value and seed, and score its sets; called again, resume.

    Parameters
    ----------
    methods
        Of different names within a condition.
    seeds
        Of the trainings, the same for every method.
    out
        The study's folder; what is made lies in
        `trainings/<condition>/<arm>/<setting>-<value>/seed-<k>/`.
    workers
        Processes at a time.

    Returns
    -------
    By method, value and seed.

    Raises
    ------
    ConfigError
        If two methods have one name.
    NotEnoughDataError, StoreError, ManifestError, ModelError, SettingsMismatchError
        As `training.train` and `scoring.score_stores`.
    """
    names = [(method.condition, method.arm) for method in methods]
    if len(set(names)) != len(names):
        msg = f"the arms of a condition must have different names, got {names}"
        raise ConfigError(msg)
    for training in dict.fromkeys(method.training for method in methods):
        validation_set(training)
    fitted = [
        Fitted(method, value, seed, _folder(out, method, value, seed))
        for method in methods
        for value in method.values
        for seed in seeds
    ]
    in_processes(_fit, fitted, workers, "train and score")
    return fitted


def choose(fitted: Sequence[Fitted]) -> dict[tuple[str, str], Choice]:
    """Choose the value of each arm under each condition by its validation images alone.

    The highest mean AUROC over the seeds; of equal ones the smallest value.

    Returns
    -------
    By condition and arm.
    """
    trials: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    settings = {}
    for each in fitted:
        key = (each.method.condition, each.method.arm)
        auroc = load_spec(each.model).training["metrics"]["auroc"]
        trials[key].append(Trial(each.value, each.seed, float(auroc)))
        settings[key] = each.method.setting
    return {
        key: Choice(settings[key], best_value(found), MappingProxyType(mean_auroc(found)))
        for key, found in trials.items()
    }


def chosen(fitted: Sequence[Fitted], choices: Mapping[tuple[str, str], Choice]) -> list[Fitted]:
    """Return the trainings with the chosen value of their arm and condition."""
    return [
        each
        for each in fitted
        if choices[each.method.condition, each.method.arm].value == each.value
    ]


def read_probabilities(fitted: Fitted, cohort: str) -> NDArray[np.float64]:
    """Read the calibrated probability of the positive class of each image: (n,).

    Raises
    ------
    StoreError
        If there are no scores of the cohort, or they are of more than two classes.
    """
    return np.asarray(positive_scores(fitted.scores(cohort))[1], np.float64)


def read_logits(fitted: Fitted, cohort: str) -> NDArray[np.float32]:
    """Read the logits of each image: (n, outputs).

    Raises
    ------
    StoreError
        If there are no scores of the cohort.
    """
    table = read_scores(fitted.scores(cohort))
    columns = [name for name in table.columns if name.startswith(LOGIT_PREFIX)]
    return np.asarray(table[columns].to_numpy(np.float32))


def validation_set(training: Path) -> Path:
    """Return the set of a training set's validation images, made where it is missing.

    Raises
    ------
    NotEnoughDataError
        If it has none.
    """
    out = training.with_name(f"{training.name}-validation")
    return derive_set(training, out, unchanged, splits=(VALIDATION,), params={})


def _fit(fitted: Fitted) -> None:
    method = fitted.method
    stores, slides = _learned(method.training)
    train(stores, slides, fitted.model, fitted.settings(), fitted.folder)
    sets = {VALIDATION: validation_set(method.training), **method.tests}
    named = {cohort: _named(folder, cohort) for cohort, folder in sets.items()}
    score = ScoreConfig(device=method.train.device)
    score_stores(named, fitted.model, fitted.scores_dir, score, fitted.folder)


@lru_cache(maxsize=2)
def _learned(folder: Path) -> tuple[dict[str, TileStore], list[Slide]]:
    """Open the images of a set one by one, once for all trainings of a process."""
    return open_stores(folder), read_manifest(folder / MANIFEST_FILE)


def _named(folder: Path, cohort: str) -> TileStore:
    """Open a set's store under the name of the cohort, after which its scores are named."""
    store = open_set(folder)
    if not store.n_tiles:
        msg = f"{store.path} holds no images, so nothing can be said of {cohort}"
        raise StoreError(msg)
    return replace(store, attributes=MappingProxyType({**store.attributes, SLIDE_ID: cohort}))


def _folder(out: Path, method: Method, value: float, seed: int) -> Path:
    tried = _NOTHING if method.train.searched is None else f"{method.setting}-{value!r}"
    return out / TRAININGS_DIR / method.condition / method.arm / tried / f"seed-{seed}"
