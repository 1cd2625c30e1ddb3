"""Sets of images with and without stain normalisation, and what normalising them costs."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig, StainPatchesConfig, TrainConfig
from wsi_specdec.errors import ConfigError, NotEnoughDataError
from wsi_specdec.files import read_json, sha256_of_file, write_json
from wsi_specdec.keys import TRAIN, VALIDATION
from wsi_specdec.models import Predictor, count_statuses, load_model
from wsi_specdec.stain import (
    StainProfile,
    fit_pixels,
    merge_profiles,
    normalise_each,
    sample_pixels,
)
from wsi_specdec.stain.target import (
    StainTarget,
    applied_target,
    described,
    read_target,
    write_target,
)
from wsi_specdec.store import TileStore
from wsi_specdec.studies.sets.files import SET_FILE, open_set
from wsi_specdec.studies.sets.prepare import derive_set, read_truth, unchanged
from wsi_specdec.training.augment import augment

# How images are left as they are, but for augmentation; also a folder's name.
PLAIN: Final = "plain"
AUGMENTED: Final = "augmented"
TARGET_FILE: Final = "target.json"
_STATUS_FILE: Final = "stain_status.json"
_LEARNED: Final = (TRAIN, VALIDATION)
_TRAINING: Final = "training"
# Measurements of which the fastest counts: what else runs on the machine slows the others.
_ROUNDS: Final = 3
# Images that are normalised, augmented or scored at a time.
_BATCH: Final = 32
_STAINS: Final = StainConfig(method="macenko")

Tiles = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class StainedSets:
    """The images of the study, treated in one way.

    Attributes
    ----------
    name
        Method of normalisation, or `plain`.
    training
        Set of the images that are learned from and validated on.
    tests
        Cohort to its set.
    target
        What stains were brought to; None where they were left.
    statuses
        Cohort (`training` for the first set) to the number of images of each status.
    size
        Bytes on disk.
    """

    name: str
    training: Path
    tests: Mapping[str, Path]
    target: StainTarget | None
    statuses: Mapping[str, Mapping[str, int]]
    size: int


def treated_sets(base: Path, out: Path, config: StainPatchesConfig) -> dict[str, StainedSets]:
    """Make the sets of images as they are and normalised by each method, or find them made.

    Parameters
    ----------
    base
        The set with all images.
    out
        Folder of the sets: `<name>/training`, `<name>/<cohort>`, and `<name>/target.json`.

    Raises
    ------
    ConfigError
        If the images are normalised already.
    NotEnoughDataError
        If none of the references has usable stains.
    """
    if applied_target(open_set(base).attributes) is not None:
        msg = f"the images of {base} are stain-normalised already: take them as they are in slides"
        raise ConfigError(msg)
    sets = {PLAIN: _treated(base, out / PLAIN, PLAIN, None)}
    for method in config.normalisation:
        settings = config.train.stain.model_copy(update={"method": method, "fit": "tile"})
        target = _target(base, out / method / TARGET_FILE, settings, config)
        sets[method] = _treated(base, out / method, method, target)
    return sets


def reference_rows(base: Path, count: int, seed: int) -> NDArray[np.int64]:
    """Draw training images that make the target: rising rows, (n,), n at most `count`."""
    rows = np.flatnonzero(np.array(read_truth(base).split) == TRAIN)
    rng = np.random.default_rng(seed)
    return np.sort(rng.permutation(rows)[:count]).astype(np.int64)


def fit_target(store: TileStore, rows: NDArray[np.int64], settings: StainConfig) -> StainTarget:
    """Fit a profile to each of some images, and take the mean of them all as the target.

    As `stain.merge_profiles` does for the slides of a cohort: images whose stains cannot be found
    count for nothing.

    Raises
    ------
    NotEnoughDataError
        If none has a usable profile.
    """
    profiles: list[StainProfile] = []
    for part in _parts(rows):
        profiles += [fit_pixels(tile.reshape(-1, 3), settings) for tile in store.read(part)]
    return StainTarget(merge_profiles(profiles), settings)


@dataclass(frozen=True, slots=True)
class Normaliser:
    """Brings each image to a target by a profile of its own: a change of `derive_set`.

    Attributes
    ----------
    target
        What is reached.
    statuses
        Filled as images come: their row to their `TileStatus`.
    """

    target: StainTarget
    statuses: dict[int, int] = field(default_factory=dict)

    def __call__(self, tiles: Tiles, rows: NDArray[np.int64]) -> Tiles:
        """Return new pixels; images whose stains cannot be found stay as they are."""
        changed, found = normalise_each(tiles, self.target.profile, self.target.settings)
        self.statuses.update(zip(rows.tolist(), found.tolist(), strict=True))
        return changed


def measure_seconds(
    base: Path, sets: Mapping[str, StainedSets], model: Path, config: StainPatchesConfig
) -> dict[str, float]:
    """Measure seconds per thousand images, each with one thread of this machine's CPU.

    Parameters
    ----------
    model
        A trained model, which scores.

    Returns
    -------
    Each method of normalisation to what finding and moving stains takes, `augmented` to what its
    augmentation takes beyond that of `train`, and `score` to what the network takes.
    """
    store = open_set(base)
    rows = np.unique(np.linspace(0, len(store) - 1, min(config.timed, len(store))).astype(np.int64))
    tiles = store.read(rows)
    module, spec = load_model(model, "cpu")
    works: dict[str, Callable[[Tiles], object]] = {
        "score": lambda part: Predictor(module, spec)(torch.from_numpy(part)),
        "_plain": partial(_augmented, train=config.train),
    }
    if config.augmented is not None:
        train = config.train.model_copy(update={"augment": config.augmented})
        works[AUGMENTED] = partial(_augmented, train=train)
    for name, each in sets.items():
        if each.target is not None:
            works[name] = partial(
                normalise_each, target=each.target.profile, config=each.target.settings
            )
    seconds = _fastest(works, tiles)
    plain = seconds.pop("_plain")
    if AUGMENTED in seconds:
        seconds[AUGMENTED] = max(0.0, seconds[AUGMENTED] - plain)
    return {name: round(1000 * found / len(tiles), 4) for name, found in seconds.items()}


def _target(
    base: Path, path: Path, settings: StainConfig, config: StainPatchesConfig
) -> StainTarget:
    """Fit the target, or read it where it was fitted to the same images by the same settings."""
    made_from = {
        "set_sha256": sha256_of_file(base / SET_FILE),
        "references": config.references,
        "seed": config.data.seed,
    }
    if path.is_file() and read_json(path)["made_from"] == made_from:
        kept = read_target(path)
        if kept.settings == settings:
            return kept
    rows = reference_rows(base, config.references, config.data.seed)
    target = fit_target(open_set(base), rows, settings)
    write_target(path, target, made_from)
    return target


def _treated(base: Path, folder: Path, name: str, target: StainTarget | None) -> StainedSets:
    split = np.array(read_truth(base).split)
    tested = sorted(set(split.tolist()) - set(_LEARNED))
    made, statuses = {}, {}
    for group, members in {_TRAINING: _LEARNED, **{name: (name,) for name in tested}}.items():
        change = None if target is None else Normaliser(target)
        made[group] = derive_set(
            base,
            folder / group,
            change or unchanged,
            splits=members,
            params={"stain": PLAIN if target is None else target.sha256},
            stain_applied=None if target is None else described(target, "each_tile"),
        )
        if change is not None:
            rows = np.flatnonzero(np.isin(split, members))
            statuses[group] = _statuses(base, rows, made[group], change)
    size = sum(_bytes(path) for path in made.values())
    training = made.pop(_TRAINING)
    return StainedSets(name, training, made, target, statuses, size)


def _statuses(
    base: Path, rows: NDArray[np.int64], made: Path, change: Normaliser
) -> dict[str, int]:
    """Count what became of a set's images; kept beside them for when the set is there already."""
    path = made / _STATUS_FILE
    if len(change.statuses) < len(rows):
        if path.is_file():
            return dict(read_json(path))
        store = open_set(base)
        for part in _parts(rows):
            change(store.read(part), part)
    counts = count_statuses(np.array([change.statuses[row] for row in rows.tolist()], np.uint8))
    write_json(path, counts)
    return counts


def _augmented(tiles: Tiles, *, train: TrainConfig) -> object:
    return augment(torch.from_numpy(tiles), train, torch.arange(len(tiles)))


def _fastest(works: Mapping[str, Callable[[Tiles], object]], tiles: Tiles) -> dict[str, float]:
    """Seconds that each work takes for all tiles with one thread, the fastest of some rounds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds: dict[str, float] = {}
    try:
        for work in works.values():
            # What is compiled is compiled now.
            work(tiles[:_BATCH])
        for _ in range(_ROUNDS):
            for name, work in works.items():
                started = time.perf_counter()
                for start in range(0, len(tiles), _BATCH):
                    work(tiles[start : start + _BATCH])
                took = time.perf_counter() - started
                seconds[name] = min(took, seconds.get(name, took))
    finally:
        torch.set_num_threads(threads)
    return seconds


def _parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]


def _bytes(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


def training_stains(base: Path, instead: str) -> StainProfile:
    """Fit one profile to the training images of a set together.

    Parameters
    ----------
    instead
        What to do where that fails, for the message.

    Raises
    ------
    NotEnoughDataError
        If it cannot be fitted.
    """
    store = open_set(base)
    rows = np.flatnonzero(np.array(read_truth(base).split) == TRAIN)
    pixels = sample_pixels(lambda i: store.read(rows[i]), len(rows), store.tile_size, _STAINS)
    own = fit_pixels(pixels, _STAINS)
    if own.status != "ok":
        msg = (
            f"the stains of the training images in {base} cannot be fitted ({own.status}): "
            f"{instead}"
        )
        raise NotEnoughDataError(msg)
    return own
