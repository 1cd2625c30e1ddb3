"""Does a model learn the tissue, or a mark that goes with the class: docs/studies/shortcuts.md."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from wsi_specdec.config import SpuriousConfig
from wsi_specdec.evaluation import pairs_of
from wsi_specdec.files import sha256_of_file, write_json
from wsi_specdec.keys import SCHEMA_VERSION
from wsi_specdec.provenance import provenance
from wsi_specdec.studies.grid import Fitted, Method, choose, chosen, run_grid
from wsi_specdec.studies.judging import evaluate_conditions
from wsi_specdec.studies.outcome import outcome_of, write_outcome
from wsi_specdec.studies.pages.page import write_page
from wsi_specdec.studies.sets.files import SET_FILE, open_set
from wsi_specdec.studies.sets.prepare import prepare_set, read_truth
from wsi_specdec.studies.spurious.features import Probed, describe_features, see_all
from wsi_specdec.studies.spurious.figures import draw_study
from wsi_specdec.studies.spurious.sets import (
    INDEPENDENT,
    Condition,
    carriers,
    mark_sets,
)
from wsi_specdec.studies.spurious.tables import sections_of

FEATURES_FILE: Final = "features.json"
_NOTES: Final = (
    (
        "The cohorts internal, external-independent and external-reversed are the same images, "
        "which carry the mark as in training, independently of the class, and the other way round."
    ),
    "Values were chosen on validation images that carry the mark as those of training do.",
)


def run(config: SpuriousConfig, out: Path, workers: int) -> Path:
    """Run the study: mark, train, choose, evaluate, probe, draw; called again, resume.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ConfigError
        If settings do not fit each other or the images, before anything is trained.
    NotEnoughDataError, LeakError, StoreError, SettingsMismatchError
        As `prepare_set`, `mark_sets`, `run_grid` and `describe_features`.
    """
    pairs_of([arm.name for arm in config.arms], config.evaluate.baseline, config.evaluate.pairs)
    base = prepare_set(config.data, out, workers)
    conditions = mark_sets(config, base, out)
    fitted = run_grid(methods_of(config, conditions), config.seeds, out, workers)
    choices = choose(fitted)
    made = provenance({"images": sha256_of_file(base / SET_FILE)}, seed=config.data.seed)
    evaluated = evaluate_conditions(fitted, choices, config.evaluate, made)
    outcome = outcome_of(config, made, fitted, choices, evaluated, _NOTES)
    features = describe_models(config, conditions, chosen(fitted, choices), workers)
    told = {"schema_version": SCHEMA_VERSION, "provenance": made, "conditions": features}
    write_json(out / FEATURES_FILE, told)
    write_outcome(out, outcome)
    pictures = draw_study(out, config, base, outcome.to_json(), features)
    return write_page(out, outcome, pictures, sections_of(outcome, features))


def methods_of(config: SpuriousConfig, conditions: Sequence[Condition]) -> list[Method]:
    """List what is trained: every arm under every condition, on classes named as the images' are.

    Raises
    ------
    StoreError
        If a set is not whole.
    """
    classes = tuple(open_set(conditions[0].training).attributes["classes"])
    train = config.train.model_copy(update={"classes": classes})
    return [
        Method(
            condition=condition.name,
            arm=arm.name,
            train=arm.apply(train, 0),
            training=condition.training,
            tests=condition.tests,
        )
        for condition in conditions
        for arm in config.arms
    ]


def describe_models(
    config: SpuriousConfig, conditions: Sequence[Condition], models: Sequence[Fitted], workers: int
) -> dict[str, Any]:
    """Describe what the models hold of class and mark, on the images where these are independent.

    Parameters
    ----------
    models
        Those of the chosen values: of each arm and condition one of each seed.
    workers
        Processes at a time.

    Returns
    -------
    By the condition's name, what `describe_features` returns.
    """
    jobs = [(each.model, each.method.tests[INDEPENDENT]) for each in models]
    seen: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for each, found in zip(models, see_all(jobs, workers, config.train.device), strict=True):
        seen[each.method.condition][each.method.arm].append(found)
    return {
        condition.name: describe_features(
            seen[condition.name],
            _probed(condition.tests[INDEPENDENT], config.data.seed),
            config.evaluate,
        )
        for condition in conditions
    }


def _probed(folder: Path, seed: int) -> Probed:
    truth = read_truth(folder)
    return Probed(
        label=truth.label,
        mark=carriers(truth, 0.5, seed),
        patient=np.unique(np.array(truth.patient), return_inverse=True)[1].astype(np.int64),
    )
