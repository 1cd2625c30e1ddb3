"""What a study found, on disk: `results.json` of the study, and one of each of its conditions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from wsi_specdec.config import (
    RadiographsConfig,
    RobustnessConfig,
    SpuriousConfig,
    StainPatchesConfig,
)
from wsi_specdec.errors import RunDirectoryError
from wsi_specdec.evaluation import results_schema, write_results
from wsi_specdec.files import read_json
from wsi_specdec.keys import RESULTS_FILE, SCHEMA_VERSION
from wsi_specdec.studies.grid import Choice, Fitted
from wsi_specdec.studies.judging import Choices, CurvePoint, curve_points

CONDITIONS_DIR: Final = "conditions"
_SCHEMA: Final = "study.schema.json"
ImageStudy = SpuriousConfig | RobustnessConfig | StainPatchesConfig | RadiographsConfig


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a study found.

    Attributes
    ----------
    study
        Its kind, such as `spurious`.
    title
        What it is called.
    config
        Its settings.
    provenance
        What it was made with.
    seeds
        Of its trainings.
    conditions
        Content of `results.json` by condition; the name is empty where there is one alone.
    choices
        Condition, arm, setting, chosen `value`, `at_edge` and `means` (value and AUROC of each
        that was tried) of every arm under every condition.
    curves
        As `CurvePoint.to_json` gives them.
    notes
        What a reader must know, a sentence each.
    """

    study: str
    title: str
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    seeds: tuple[int, ...]
    conditions: Mapping[str, Mapping[str, Any]]
    choices: Sequence[Mapping[str, Any]] = ()
    curves: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return it as `results.json` of the study holds it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "study": self.study,
            "title": self.title,
            "config": dict(self.config),
            "provenance": dict(self.provenance),
            "seeds": list(self.seeds),
            "conditions": dict(self.conditions),
            "choices": [dict(each) for each in self.choices],
            "curves": [dict(each) for each in self.curves],
            "notes": list(self.notes),
        }


def outcome_of(
    config: ImageStudy,
    made: Mapping[str, Any],
    fitted: Sequence[Fitted],
    choices: Choices,
    conditions: Mapping[str, Mapping[str, Any]],
    notes: Sequence[str],
) -> Outcome:
    """Put together what a study of images found.

    Parameters
    ----------
    made
        What it was made with.
    fitted, choices
        All its trainings, and the values chosen.
    conditions
        As `evaluate_conditions` gives them.
    """
    return Outcome(
        study=config.kind,
        title=config.title,
        config=config.model_dump(mode="json"),
        provenance=made,
        seeds=config.seeds,
        conditions=conditions,
        choices=choices_json(choices),
        curves=curves_json(curve_points(fitted, choices)),
        notes=notes,
    )


def choices_json(choices: Mapping[tuple[str, str], Choice]) -> list[dict[str, Any]]:
    """Return chosen values, as `grid.choose` gives them, in the form of `Outcome.choices`."""
    return [
        {
            "condition": condition,
            "arm": arm,
            "setting": choice.setting,
            "value": choice.value,
            "at_edge": choice.at_edge,
            "means": [
                {"value": value, "auroc": mean} for value, mean in sorted(choice.means.items())
            ],
        }
        for (condition, arm), choice in choices.items()
    ]


def curves_json(points: Sequence[CurvePoint]) -> list[dict[str, Any]]:
    """Return the points in the form of `Outcome.curves`."""
    return [point.to_json() for point in points]


def write_outcome(out: Path, outcome: Outcome) -> Path:
    """Write `results.json` of a study, and `conditions/<name>/results.json` of each condition.

    Each file is replaced in one go, that of the study last.

    Returns
    -------
    Path
        `results.json` of the study.
    """
    for name, results in outcome.conditions.items():
        write_results(condition_folder(out, name) / RESULTS_FILE, results)
    path = out / RESULTS_FILE
    write_results(path, outcome.to_json())
    return path


def condition_folder(out: Path, name: str) -> Path:
    """Return where the results of a condition lie."""
    return out / CONDITIONS_DIR / name


def read_outcome(out: Path) -> Outcome:
    """Read `results.json` of a study.

    Raises
    ------
    RunDirectoryError
        If it is missing, damaged, or not that of a study.
    """
    path = out / RESULTS_FILE
    try:
        found = read_json(path)
        return Outcome(
            study=found["study"],
            title=found["title"],
            config=found["config"],
            provenance=found["provenance"],
            seeds=tuple(found["seeds"]),
            conditions=found["conditions"],
            choices=found["choices"],
            curves=found["curves"],
            notes=found["notes"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path} holds no results of a study ({error!r}): run `wsi-specdec study` again"
        raise RunDirectoryError(msg) from error


def study_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a study's `results.json`.

    It ships with the package, and refers to that of `results.json`, which is put into it here.
    """
    text = files("wsi_specdec.evaluation").joinpath(_SCHEMA).read_text(encoding="utf-8")
    schema = dict(json.loads(text))
    of_condition = {**results_schema(), "$id": "results.schema.json"}
    return {**schema, "$defs": {**schema["$defs"], "results": of_condition}}
