"""Chooses λ, or the weight decay, on validation tiles: a stated grid at a stated budget."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wsi_specdec.cohort import Slide, cohort_slides
from wsi_specdec.config import SearchedSetting, TrainConfig
from wsi_specdec.errors import NotEnoughDataError
from wsi_specdec.files import atomic_path, read_json, sha256_of_file, write_json
from wsi_specdec.keys import (
    CHECKPOINT_DIR,
    MODEL_FILE,
    SEARCH_DIR,
    SEARCH_FILE,
    SEARCH_PLOT_FILE,
    TRAIN,
    VALIDATION,
    WEIGHTS_FILE,
)
from wsi_specdec.models import ModelSpec
from wsi_specdec.models.spec import read_spec, write_spec
from wsi_specdec.progress import console
from wsi_specdec.store import TileStore
from wsi_specdec.store.filters import good_tiles
from wsi_specdec.training.card import write_card
from wsi_specdec.training.checkpoint import check_settings, load_checkpoint
from wsi_specdec.training.data import TrainingData, choose_tiles
from wsi_specdec.training.fit import OnEpoch
from wsi_specdec.training.ranks import is_first
from wsi_specdec.training.run import train
from wsi_specdec.training.setup import binding_settings

# Means that differ by less are of the same AUROCs, added in another order.
_DIGITS = 12
_INK, _INK_2 = "#1f4e79", "#b5541c"


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of a search: the value it was done with, its seed, and its AUROC."""

    value: float
    seed: int
    auroc: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What was tried of a setting, and what came of it.

    Attributes
    ----------
    epochs
        Of each training, at most.
    label_source
        Whether the AUROC is by the tiles' own labels ("tile") or by those of their slides.
    trials
        By value, then seed.
    """

    setting: SearchedSetting
    epochs: int
    label_source: str
    trials: tuple[Trial, ...]

    @property
    def means(self) -> dict[float, float]:
        """Value to the mean of its AUROCs over the seeds."""
        return mean_auroc(self.trials)

    @property
    def value(self) -> float:
        """The chosen value."""
        return best_value(self.trials)

    @property
    def at_edge(self) -> bool:
        """Whether the chosen value is the first or the last of the grid."""
        values = list(self.means)
        return self.value in (values[0], values[-1])

    def to_json(self) -> dict[str, Any]:
        """Describe the search: what `search.json` and the model's `training` hold."""
        values, seeds = list(self.means), sorted({trial.seed for trial in self.trials})
        return {
            "setting": self.setting,
            "values": values,
            "seeds": seeds,
            "epochs": self.epochs,
            "trainings": len(self.trials),
            "split": VALIDATION,
            "metric": "tile AUROC",
            "label_source": self.label_source,
            "rule": "highest mean over the seeds; of equal ones the smallest value",
            "trials": [
                {
                    "folder": f"{SEARCH_DIR}/{trial_name(self.setting, trial.value, trial.seed)}",
                    "value": trial.value,
                    "seed": trial.seed,
                    "auroc": trial.auroc,
                }
                for trial in self.trials
            ],
            "means": list(self.means.values()),
            "chosen": self.value,
            "at_edge": self.at_edge,
        }


def mean_auroc(trials: Sequence[Trial]) -> dict[float, float]:
    """Value to the mean of its AUROCs, from the lowest value to the highest."""
    values = sorted({trial.value for trial in trials})
    of_value = {v: [trial.auroc for trial in trials if trial.value == v] for v in values}
    return {v: round(math.fsum(found) / len(found), _DIGITS) for v, found in of_value.items()}


def best_value(trials: Sequence[Trial]) -> float:
    """Value of the highest mean AUROC over its seeds; of equal ones the smallest penalty."""
    means = mean_auroc(trials)
    return min(means, key=lambda value: (-means[value], value))


def trial_name(setting: str, value: float, seed: int) -> str:
    """Name the folder of one training of a search.

    >>> trial_name("sd_coef", 0.01, 0)
    'sd_coef-0.01-seed-0'
    """
    return f"{setting}-{value!r}-seed-{seed}"


def train_searched(
    stores: Mapping[str, TileStore],
    slides: Sequence[Slide],
    out: Path,
    config: TrainConfig,
    stain_dir: Path,
    *,
    on_epoch: OnEpoch | None = None,
) -> Path:
    """Train as `train` does, once a setting that is `auto` was chosen; called again, resume.

    Each value of the grid is trained with each seed, in `<out>/search/<trial>/`, a model's folder
    like any other: a finished one is kept, an interrupted one goes on from its checkpoint. The
    value of the highest AUROC on the tiles of the split `validation` is taken; slides of other
    splits are not even handed on. Where the model's own training was among the trials it is taken
    from there, else it is done last.

    Parameters
    ----------
    stores, slides, out, stain_dir, on_epoch
        As of `train`; `on_epoch` is called in every training.
    config
        With `sd_coef` or `weight_decay` "auto", and `search`; without, this is `train`.

    Returns
    -------
    Path
        `out`, which also holds `search.json` and `search.png` where something was searched.

    Raises
    ------
    NotEnoughDataError
        If the validation tiles are not of two classes.
    SettingsMismatchError
        If `out`, or the folder of a trial, was trained with other settings or on other tiles.
    ManifestError, LeakError, ModelError, ConfigError
        As `train` does.
    """
    setting = config.searched
    if setting is None:
        return train(stores, slides, out, config, stain_dir, on_epoch=on_epoch)
    good = partial(good_tiles, config=config)
    data = choose_tiles(stores, slides, config.labels, config.classes, good)
    _check(data, setting, out, config)
    choice = _search(stores, slides, out, config, stain_dir, on_epoch, setting)
    fixed = config.model_copy(update={setting: choice.value})
    twin = out / SEARCH_DIR / trial_name(setting, choice.value, config.seed)
    reused = fixed == trial_settings(config, choice.value, config.seed)
    if not reused:
        train(stores, slides, out, fixed, stain_dir, on_epoch=on_epoch)
    if is_first():
        _describe(twin if reused else out, out, choice)
    return out


def _search(
    stores: Mapping[str, TileStore],
    slides: Sequence[Slide],
    out: Path,
    config: TrainConfig,
    stain_dir: Path,
    on_epoch: OnEpoch | None,
    setting: SearchedSetting,
) -> Choice:
    """Do what is left of the trials, and write what came of them."""
    seen = [*cohort_slides(slides, TRAIN), *cohort_slides(slides, VALIDATION)]
    of_seen = {s.slide_id: stores[s.slide_id] for s in seen if s.slide_id in stores}
    trials, asked = [], plan(config)
    for number, (value, seed) in enumerate(asked, 1):
        name = trial_name(setting, value, seed)
        console().rule(f"search {number}/{len(asked)}: {name}", style="dim")
        folder, settings = out / SEARCH_DIR / name, trial_settings(config, value, seed)
        train(of_seen, seen, folder, settings, stain_dir, on_epoch=on_epoch)
        told = read_spec(folder)[0].training
        trials.append(Trial(value, seed, float(told["metrics"]["auroc"])))
    source = str(told["data"]["label_source"])
    choice = Choice(setting, config.search.epochs or config.epochs, source, tuple(trials))
    _tell(choice)
    if is_first():
        _write(out, choice)
    return choice


def _write(out: Path, choice: Choice) -> None:
    found = choice.to_json()
    path = out / SEARCH_FILE
    if not path.is_file() or read_json(path) != found:
        write_sweep(out / SEARCH_PLOT_FILE, choice)
        write_json(path, found)


def plan(config: TrainConfig) -> list[tuple[float, int]]:
    """List the trainings of a search: each value with each seed, all of one budget.

    The seeds are that of the training itself and those that follow on it.
    """
    if config.searched is None:
        return []
    seeds = range(config.seed, config.seed + config.search.seeds)
    return [(value, seed) for value in config.search.values(config.searched) for seed in seeds]


def trial_settings(config: TrainConfig, value: float, seed: int) -> TrainConfig:
    """Return the settings of one training of a search."""
    changes = {"seed": seed, "epochs": config.search.epochs or config.epochs}
    return config.model_copy(update={str(config.searched): value} | changes)


def _check(data: TrainingData, setting: SearchedSetting, out: Path, config: TrainConfig) -> None:
    """Refuse before hours of work what would be refused after them."""
    if len(np.unique(data.validation.label)) < 2:
        msg = (
            f"`{setting}: auto` compares values by the AUROC of validation tiles, for which the "
            "manifest's split 'validation' needs tiles of two classes at least"
        )
        raise NotEnoughDataError(msg)
    kept = _kept_settings(out)
    if kept is None:
        return
    asked = binding_settings(trial_settings(config, 0.0, config.seed), data)
    asked["epochs"] = config.epochs
    if (out / SEARCH_FILE).is_file():
        # What an earlier search came to may change, as when the grid was widened.
        asked[setting] = kept.get(setting)
    else:
        asked[setting] = "auto"
    check_settings(kept, asked, out)


def _kept_settings(out: Path) -> Mapping[str, Any] | None:
    """Return what the model in a folder was, or is being, trained with."""
    if (out / MODEL_FILE).is_file():
        found: Mapping[str, Any] = read_spec(out)[0].training.get("settings", {})
        return found
    checkpoint = load_checkpoint(out)
    return None if checkpoint is None else checkpoint.settings


def _describe(source: Path, out: Path, choice: Choice) -> None:
    """Bring a trained model from `source` to `out` and let it tell of the search."""
    spec, weights_sha256 = read_spec(source)
    told = spec.model_copy(update={"training": spec.training | {"search": choice.to_json()}})
    if _holds(out, told, weights_sha256):
        return
    if source != out:
        for path in sorted(source.iterdir()):
            if path.name not in (MODEL_FILE, CHECKPOINT_DIR):
                _copy(path, out / path.name)
        shutil.rmtree(out / CHECKPOINT_DIR, ignore_errors=True)
    write_card(out, told)
    write_spec(out, told, weights_sha256)


def _holds(out: Path, spec: ModelSpec, weights_sha256: str) -> bool:
    if not ((out / MODEL_FILE).is_file() and (out / WEIGHTS_FILE).is_file()):
        return False
    kept = read_spec(out) == (spec, weights_sha256)
    return kept and sha256_of_file(out / WEIGHTS_FILE) == weights_sha256


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        if source.is_dir():
            shutil.copytree(source, temporary)
        else:
            shutil.copyfile(source, temporary)


def _tell(choice: Choice) -> None:
    means = ", ".join(f"{value:g}: {auroc:.4f}" for value, auroc in choice.means.items())
    console().print(f"{choice.setting} {choice.value:g} chosen by validation AUROC ({means})")
    if choice.at_edge:
        beyond = f"a better one may lie beyond: widen search.{choice.setting}s"
        console().print(f"it is at the edge of the grid, and {beyond}", style="yellow")


def write_sweep(path: Path, choice: Choice) -> None:
    """Draw `search.png`: the AUROC of each training by its value, and the chosen value."""
    from matplotlib.figure import Figure

    means = choice.means
    figure = Figure(figsize=(5.2, 3.4), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.axvline(choice.value, color=_INK_2, lw=1, ls=":")
    axes.plot(
        [trial.value for trial in choice.trials],
        [trial.auroc for trial in choice.trials],
        ".",
        color=_INK,
        alpha=0.5,
        label="one training",
    )
    axes.plot(list(means), list(means.values()), "o-", color=_INK, label="mean over the seeds")
    axes.plot(choice.value, means[choice.value], "*", ms=15, color=_INK_2, label="chosen")
    lowest = min(value for value in means if value > 0)
    # Zero has a place too, where it was tried.
    axes.set_xscale("log") if min(means) > 0 else axes.set_xscale("symlog", linthresh=lowest)
    axes.set_xlabel(f"λ ({choice.setting})" if choice.setting == "sd_coef" else "weight decay")
    axes.set_ylabel("tile AUROC, validation")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
