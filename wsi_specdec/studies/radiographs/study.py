"""COVID-19 in chest radiographs: spectral decoupling, strong augmentation, lung fields.

Training, scoring and evaluation are those of slides; a radiograph is a slide of one tile.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from wsi_specdec.config import ArmConfig, RadiographsConfig, StudyData
from wsi_specdec.errors import ConfigError
from wsi_specdec.evaluation import pairs_of
from wsi_specdec.files import sha256_of_file, write_json
from wsi_specdec.keys import FIGURES_DIR
from wsi_specdec.provenance import provenance
from wsi_specdec.studies.grid import Fitted, Method, choose, chosen, run_grid
from wsi_specdec.studies.judging import evaluate_conditions
from wsi_specdec.studies.outcome import outcome_of, write_outcome
from wsi_specdec.studies.pages.figures import difference_figure
from wsi_specdec.studies.pages.page import Picture, write_page
from wsi_specdec.studies.radiographs.attribution import (
    Explained,
    Shown,
    choose_shown,
    explain_all,
    summarise,
)
from wsi_specdec.studies.radiographs.figures import draw_maps, draw_results
from wsi_specdec.studies.radiographs.listing import list_collections
from wsi_specdec.studies.radiographs.sets import (
    IMAGE,
    RegionSets,
    count_fields,
    find_fields,
    region_sets,
)
from wsi_specdec.studies.radiographs.tables import chest_sections
from wsi_specdec.studies.sets.files import SET_FILE
from wsi_specdec.studies.sets.prepare import prepare_set

ATTRIBUTION_FILE: Final = "attribution.json"
STRONG: Final = "strong"


@dataclass(frozen=True, slots=True)
class ChestArm:
    """An arm, and which region of images it is shown.

    Attributes
    ----------
    arm
        Its name is that of the settings' arm, and behind `+` what is added to it.
    region
        `image` or `lungs`.
    """

    arm: ArmConfig
    region: str


def run(config: RadiographsConfig, out: Path, workers: int) -> Path:
    """Run the study: cut, train, choose, evaluate, explain and draw; called again, resume.

    Returns
    -------
    Path
        The page of figures.

    Raises
    ------
    ConfigError
        If settings do not fit each other, or captum is missing, before anything is trained.
    ManifestError
        If the folder of collections is another one.
    NotEnoughDataError, LeakError, StoreError, SettingsMismatchError
        As `prepare_set`, `region_sets` and `run_grid`.
    """
    arms = chest_arms(config)
    names = [each.arm.name for each in arms]
    pairs_of(names, config.evaluate.baseline, config.evaluate.pairs)
    _check_captum(config)
    base = prepare_set(_listed(config.data, out), out, workers)
    fields = find_fields(base, out / "data" / "fields.npz")
    regions = {each.name: each for each in region_sets(config, base, fields, out / "data")}
    fitted = run_grid(_methods(config, arms, regions), config.seeds, out, workers)
    choices = choose(fitted)
    made = provenance({"images": sha256_of_file(base / SET_FILE)}, seed=config.data.seed)
    conditions = evaluate_conditions(fitted, choices, config.evaluate, made, {})
    outcome = outcome_of(config, made, fitted, choices, conditions, _notes(config))
    write_outcome(out, outcome)
    pictures = _draw_results(conditions[""], names, out)
    explained: dict[str, Any] = {"shares": [], "differences": []}
    if config.explained:
        explained, picture = _explain(config, arms, regions, chosen(fitted, choices), out, workers)
        pictures.append(picture)
    counts = count_fields(fields, base)
    write_json(out / ATTRIBUTION_FILE, {"fields": counts, **explained})
    return write_page(out, outcome, pictures, chest_sections(outcome, counts, explained))


def chest_arms(config: RadiographsConfig) -> list[ChestArm]:
    """List the arms: each of the settings', by what it is shown and how it is augmented.

    >>> [each.arm.name for each in chest_arms(RadiographsConfig())][2:]
    ['wd+strong', 'sd+strong', 'wd+lungs', 'sd+lungs', 'wd+strong-lungs', 'sd+strong-lungs']
    """
    arms = []
    for region in config.regions:
        for augment in (None, config.strong) if config.strong is not None else (None,):
            added = [STRONG] * (augment is not None) + [region] * (region != IMAGE)
            changes: dict[str, Any] = {} if augment is None else {"augment": augment}
            for arm in config.arms:
                name = f"{arm.name}+{'-'.join(added)}" if added else arm.name
                arms.append(ChestArm(arm.model_copy(update={"name": name, **changes}), region))
    return arms


def _listed(data: StudyData, out: Path) -> StudyData:
    """Replace a folder of collections by a file that lists their images."""
    if not isinstance(data.source, Path) or data.source.suffix.lower() == ".csv":
        return data
    listing = list_collections(data.source, out / "data" / "images.csv")
    return data.model_copy(update={"source": listing})


def _methods(
    config: RadiographsConfig, arms: Sequence[ChestArm], regions: Mapping[str, RegionSets]
) -> list[Method]:
    return [
        Method(
            "",
            each.arm.name,
            each.arm.apply(config.train, 0),
            regions[each.region].training,
            regions[each.region].tests,
        )
        for each in arms
    ]


def _explain(
    config: RadiographsConfig,
    arms: Sequence[ChestArm],
    regions: Mapping[str, RegionSets],
    fitted: Sequence[Fitted],
    out: Path,
    workers: int,
) -> tuple[dict[str, Any], Picture]:
    """Compute what each arm's chosen models go by, compare arms of one region, and draw it."""
    of_region = {name: _shown(each, config) for name, each in regions.items()}
    shown = {each.arm.name: of_region[each.region] for each in arms}
    by_arm: dict[str, list[Explained]] = defaultdict(list)
    found = explain_all(fitted, shown, config.steps, workers)
    for each, explained in zip(fitted, found, strict=True):
        by_arm[each.method.arm].append(explained)
    region = {each.arm.name: each.region for each in arms}
    pairs = [
        (pair.arm, pair.baseline)
        for pair in pairs_of(list(region), config.evaluate.baseline, config.evaluate.pairs)
        if region[pair.arm] == region[pair.baseline]
    ]
    path = out / FIGURES_DIR / "attribution.png"
    draw_maps(by_arm, shown, config.train.classes, path)
    caption = (
        "What networks go by: absolute attribution, the mean over images and trainings, each "
        "picture by its own brightest point. The line is where at least half of the images have "
        "lung fields."
    )
    return summarise(by_arm, shown, pairs, config.evaluate), Picture(path, caption)


def _shown(region: RegionSets, config: RadiographsConfig) -> list[Shown]:
    return [
        each
        for cohort, folder in region.tests.items()
        for each in choose_shown(cohort, folder, region.fields[cohort], config.explained)
    ]


def _draw_results(results: Mapping[str, Any], arms: Sequence[str], out: Path) -> list[Picture]:
    """Draw every arm on every cohort, and the differences where there are both classes."""
    figures = out / FIGURES_DIR
    draw_results(results, arms, figures / "arms.png")
    pictures = [
        Picture(
            figures / "arms.png",
            "Every arm on every cohort, by what its classes allow, with intervals over trainings "
            "and patients. Cohorts are never pooled.",
        )
    ]
    if any(row["metric"] == "auroc" and row["delta"] is not None for row in results["differences"]):
        difference_figure(figures / "differences.png", {"": results}, "auroc")
        pictures.append(
            Picture(figures / "differences.png", "Differences of arms in AUROC, with intervals.")
        )
    return pictures


def _notes(config: RadiographsConfig) -> list[str]:
    apart = (
        "Where a cohort has one class, only its sensitivity or its specificity is given; no AUROC "
        "is taken across collections."
    )
    if not config.explained:
        return [apart]
    maps = (
        f"Attribution: integrated gradients from the mean training image, {config.steps} points; "
        f"at most {config.explained} images of a cohort, as many of each class."
    )
    return [apart, maps]


def _check_captum(config: RadiographsConfig) -> None:
    if config.explained and find_spec("captum") is None:
        msg = (
            "attribution maps are computed by captum, which is not installed: pip install "
            "'wsi-specdec[attribution]', or leave them out by --set explained=0"
        )
        raise ConfigError(msg)
