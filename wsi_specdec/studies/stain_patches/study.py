"""Spectral decoupling against stain normalisation and stain augmentation, on patches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wsi_specdec.config import ArmConfig, EvaluateConfig, StainPatchesConfig
from wsi_specdec.evaluation import pairs_of
from wsi_specdec.files import read_json, sha256_of_file, write_json
from wsi_specdec.keys import FIGURES_DIR, INTERNAL
from wsi_specdec.provenance import provenance
from wsi_specdec.report.tables import cell_of, title_of_cohort
from wsi_specdec.stain import TileStatus
from wsi_specdec.studies.grid import Fitted, Method, choose, run_grid
from wsi_specdec.studies.judging import evaluate_conditions
from wsi_specdec.studies.outcome import Outcome, outcome_of, write_outcome
from wsi_specdec.studies.pages.figures import curves_figure
from wsi_specdec.studies.pages.page import Picture, Section, standard_sections, write_page
from wsi_specdec.studies.pages.tables import differences_table, table
from wsi_specdec.studies.pages.treatments import draw_arms, draw_differences, tested
from wsi_specdec.studies.sets.files import SET_FILE
from wsi_specdec.studies.sets.prepare import prepare_set
from wsi_specdec.studies.stain_patches.sets import (
    AUGMENTED,
    PLAIN,
    StainedSets,
    measure_seconds,
    treated_sets,
)

_COST_FILE: Final = "stain_seconds.json"


@dataclass(frozen=True, slots=True)
class TreatedArm:
    """An arm on images that were treated in one way.

    Attributes
    ----------
    arm
        Its name is that of the config's arm, and behind `+` that of the treatment.
    images
        Name of the sets of images.
    """

    arm: ArmConfig
    images: str


def run(config: StainPatchesConfig, out: Path, workers: int) -> Path:
    """Run the study: normalise, train, choose, evaluate and draw; called again, resume.

    Returns
    -------
    Path
        The page of figures.

    Raises
    ------
    ConfigError
        If settings do not fit each other or the images, before anything is trained.
    NotEnoughDataError, LeakError, StoreError, SettingsMismatchError
        As `prepare_set`, `treated_sets` and `run_grid`.
    """
    evaluate = compared(config)
    base = prepare_set(config.data, out, workers)
    sets = treated_sets(base, out / "data", config)
    fitted = run_grid(methods_of(config, sets), config.seeds, out, workers)
    choices = choose(fitted)
    seconds = _seconds(base, sets, fitted[0], config, out / _COST_FILE)
    made = provenance({"images": sha256_of_file(base / SET_FILE)}, seed=config.data.seed)
    costs = costs_of(config, sets, seconds)
    conditions = evaluate_conditions(fitted, choices, evaluate, made, costs)
    outcome = outcome_of(config, made, fitted, choices, conditions, notes_of(sets))
    write_outcome(out, outcome)
    results = conditions[""]
    arms = [each.arm.name for each in treated_arms(config)]
    pictures = _draw(results, arms, outcome.curves, out / FIGURES_DIR)
    return write_page(out, outcome, pictures, _sections(outcome, sets, costs))


def _draw(
    results: Mapping[str, Any],
    arms: Sequence[str],
    curves: Sequence[Mapping[str, Any]],
    folder: Path,
) -> list[Picture]:
    draw_arms(results, arms, folder / "arms.png")
    draw_differences(results, folder / "differences.png")
    *inner, last = tested(results)
    others = f", of the {' and '.join(inner)} ones open" if inner else ""
    pictures = [
        Picture(
            folder / "arms.png",
            f"Every arm at its chosen value: means over seeds with intervals, of the {last} "
            f"images filled{others}.",
        ),
        Picture(
            folder / "differences.png",
            f"Differences on the {last} images in percentage points, with intervals, by what "
            "a pair asks. Filled: adjusted p under 0.05.",
        ),
    ]
    if len({(point["arm"], point["value"]) for point in curves}) > len(arms):
        tried = Picture(
            folder / "values.png",
            "Every value that was tried. Validation images chose the starred ones; the others "
            "were not selected.",
        )
        curves_figure(tried.path, curves, "auroc", cohorts=tested(results))
        pictures.append(tried)
    return pictures


def _sections(
    outcome: Outcome, sets: Mapping[str, StainedSets], costs: Mapping[str, Mapping[str, float]]
) -> list[Section]:
    """Return the tables of the page, with calibration and statuses beside the usual ones."""
    made = {section.title: section for section in standard_sections(outcome)}
    results = outcome.conditions[""]
    # Of internal images they are in results.json alone: there is little left to differ by.
    asked = [cohort for cohort in tested(results) if cohort != INTERNAL] or tested(results)
    paired = [
        *made["Differences"].lines[:2],
        *differences_table(outcome.conditions, asked, ("auroc", "accuracy")),
    ]
    told = {
        "Differences": Section("Differences", paired),
        "Calibration": Section("Calibration", calibration_table(results)),
        "Cost": Section("Cost", cost_table(costs)),
        "Notes": Section("Images that could not be normalised", status_table(sets)),
    }
    titles = ("Data", "Results", "Calibration", "Differences", "Chosen values", "Cost", "Notes")
    return [told.get(title) or made[title] for title in titles]


def calibration_table(results: Mapping[str, Any]) -> list[str]:
    """Write Brier score and calibration error of every arm as lines of a Markdown table."""
    rows = []
    for cohort in tested(results):
        for arm, each in results["arms"].items():
            cells = [cell_of(each["cohorts"][cohort]["patch"][name]) for name in ("brier", "ece")]
            told = [f"{cell.value} ({cell.interval})" for cell in cells]
            rows.append([title_of_cohort(cohort), arm, *told])
    return table(["Cohort", "Arm", "Brier score", "Calibration error"], rows, text=2)


def notes_of(sets: Mapping[str, StainedSets]) -> list[str]:
    """Say what became of images in normalisation, method by method."""
    notes = []
    for name, each in sets.items():
        if each.target is None:
            continue
        told = [
            f"{cohort}: "
            + ", ".join(f"{n} {label.replace('_', ' ')}" for label, n in counts.items())
            for cohort, counts in each.statuses.items()
        ]
        notes.append(f"Normalised by {name}, images of {'; '.join(told)}.")
    return notes


def _seconds(
    base: Path,
    sets: Mapping[str, StainedSets],
    fitted: Fitted,
    config: StainPatchesConfig,
    path: Path,
) -> dict[str, float]:
    """Measure the costs once for the images and methods."""
    made_from = {
        "targets": {name: each.target.sha256 for name, each in sets.items() if each.target},
        "timed": config.timed,
    }
    if path.is_file():
        kept = read_json(path)
        if kept["made_from"] == made_from:
            return dict(kept["seconds_per_thousand"])
    seconds = measure_seconds(base, sets, fitted.model, config)
    write_json(path, {"made_from": made_from, "seconds_per_thousand": seconds})
    return seconds


def treated_arms(config: StainPatchesConfig) -> list[TreatedArm]:
    """List every arm of the config on plain, normalised and augmented images."""
    arms = [TreatedArm(arm, PLAIN) for arm in config.arms]
    for method in config.normalisation:
        arms += [TreatedArm(_named(arm, method), method) for arm in config.arms]
    if config.augmented is not None:
        for arm in config.arms:
            named = _named(arm, AUGMENTED).model_copy(update={"augment": config.augmented})
            arms.append(TreatedArm(named, PLAIN))
    return arms


def compared(config: StainPatchesConfig) -> EvaluateConfig:
    """Return how to evaluate, with what the study asks: each arm against the treated baseline.

    Raises
    ------
    ConfigError
        If the baseline is none of the arms, or a pair of the config names what is none.
    """
    names = [each.arm.name for each in treated_arms(config)]
    baseline = config.evaluate.baseline
    treated = [name for name in names if name.startswith(f"{baseline}+")]
    own = [(arm.name, name) for arm in config.arms if arm.name != baseline for name in treated]
    pairs = tuple(dict.fromkeys([*config.evaluate.pairs, *own]))
    pairs_of(names, baseline, pairs)
    return config.evaluate.model_copy(update={"pairs": pairs})


def methods_of(config: StainPatchesConfig, sets: Mapping[str, StainedSets]) -> list[Method]:
    """List what is trained: every arm, on its images."""
    return [
        Method(
            "",
            each.arm.name,
            each.arm.apply(config.train, 0),
            sets[each.images].training,
            sets[each.images].tests,
        )
        for each in treated_arms(config)
    ]


def _named(arm: ArmConfig, treatment: str) -> ArmConfig:
    return arm.model_copy(update={"name": f"{arm.name}+{treatment}"})


def costs_of(
    config: StainPatchesConfig, sets: Mapping[str, StainedSets], seconds: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Say what each arm costs beyond training: the entries `cost` of `results.json`.

    Parameters
    ----------
    seconds
        As `measure_seconds` gives them.

    Returns
    -------
    Of each arm: seconds per thousand images to score, to normalise (of every new image) and to
    augment (at each step of training), and bytes of a second copy of all images.
    """
    costs = {}
    for each in treated_arms(config):
        treatment = each.arm.name.partition("+")[2]
        costs[each.arm.name] = {
            "score_seconds_per_thousand": seconds["score"],
            "normalise_seconds_per_thousand": seconds.get(each.images, 0.0),
            "augment_seconds_per_thousand": seconds[AUGMENTED] if treatment == AUGMENTED else 0.0,
            "extra_bytes": 0 if each.images == PLAIN else sets[each.images].size,
        }
    return costs


def cost_table(costs: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Write the costs of each treatment as lines of a Markdown table."""
    treatments: dict[str, list[str]] = {}
    for arm in costs:
        treatments.setdefault(arm.partition("+")[2], []).append(arm)
    rows = []
    for arms in treatments.values():
        cost = costs[arms[0]]
        moved = cost["normalise_seconds_per_thousand"]
        changed = cost["augment_seconds_per_thousand"]
        share = (moved + changed) / cost["score_seconds_per_thousand"]
        size = f"{cost['extra_bytes'] / 1e6:.1f}"
        rows.append([", ".join(arms), f"{moved:.2f}", f"{changed:.2f}", f"{share:.2f}", size])
    scored = next(iter(costs.values()))["score_seconds_per_thousand"]
    header = ["Arms", "Normalise, s / 1,000", "Augment, s / 1,000", "Times scoring", "Copy, MB"]
    told = (
        f"Scoring takes {scored:.2f} s per 1,000 images. Seconds are of one thread of the machine "
        "that ran the study: compare them with each other alone."
    )
    return [*table(header, rows), "", told]


def status_table(sets: Mapping[str, StainedSets]) -> list[str]:
    """Write what became of images in normalisation as lines of a Markdown table."""
    labels = [status.label for status in TileStatus]
    rows = [
        [name, cohort, *(str(counts[label]) for label in labels)]
        for name, each in sets.items()
        for cohort, counts in each.statuses.items()
    ]
    header = ["Method", "Images", *(label.replace("_", " ").capitalize() for label in labels)]
    return table(header, rows, text=2)
