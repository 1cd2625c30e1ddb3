"""From stores and a manifest to a model's folder; the same call resumes."""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wsi_specdec.cohort import Slide
from wsi_specdec.config import TrainConfig
from wsi_specdec.files import remove_partials, sha256_of_file
from wsi_specdec.keys import AUGMENTATIONS_FILE, CHECKPOINT_DIR, MODEL_FILE, WEIGHTS_FILE
from wsi_specdec.models import save_model
from wsi_specdec.models.spec import read_spec
from wsi_specdec.progress import console
from wsi_specdec.provenance import provenance
from wsi_specdec.store import TileStore
from wsi_specdec.store.filters import good_tiles
from wsi_specdec.training.augment import preview_augmentations
from wsi_specdec.training.card import write_card
from wsi_specdec.training.checkpoint import check_settings, load_best
from wsi_specdec.training.data import TrainingData, choose_tiles
from wsi_specdec.training.feed import Feed
from wsi_specdec.training.fit import Fitting, OnEpoch, Row
from wsi_specdec.training.outputs import write_curves
from wsi_specdec.training.ranks import Ranks, joined
from wsi_specdec.training.setup import (
    binding_settings,
    check_enough,
    make_spec,
    make_task,
    open_sources,
    reproducible,
)
from wsi_specdec.training.source import TileSource
from wsi_specdec.training.temperature import fit_temperature
from wsi_specdec.training.validation import best_epoch, measure, validation_logits

_SHOWN_TILES = 6


def train(
    stores: Mapping[str, TileStore],
    slides: Sequence[Slide],
    out: Path,
    config: TrainConfig,
    stain_dir: Path,
    *,
    on_epoch: OnEpoch | None = None,
) -> Path:
    """Train a classifier of tiles; called again, resume it from its checkpoint.

    A resumed run ends in the weights of an uninterrupted one, bit for bit on a CPU with as many
    threads. A finished one is returned at once. Started by `torchrun`, several processes train
    one model together: each computes its share of every batch, and the first writes.

    Parameters
    ----------
    stores
        Slide id to tile store; slides without one are passed over.
    slides
        The manifest: `train` is learned from, `validation` gives AUROC and the temperature.
    out
        The model's folder: `weights.safetensors`, `model.json`, `augmentations.png`,
        `history.csv`, `curves.png`, `MODEL_CARD.md`, `tensorboard/`, and `checkpoint/` until it
        is finished.
    stain_dir
        Where the slides' stain profiles are kept.
    on_epoch
        Called with the row of `history.csv` once an epoch is safely written.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    ManifestError, LeakError, NotEnoughDataError
        If the manifest does not give tiles of every class to learn from.
    SettingsMismatchError
        If `out` was trained with other settings or on other tiles.
    ModelError
        If the architecture, its weights or the device are not to be had, or stores differ in
        tile size or mpp.
    ConfigError
        If settings contradict each other, or the loss diverges.
    """
    good = partial(good_tiles, config=config)
    data = choose_tiles(stores, slides, config.labels, config.classes, good)
    settings = binding_settings(config, data)
    with joined(config.device) as (ranks, device):
        check_enough(config, data, ranks)
        if _is_finished(out, settings):
            return out
        cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(cuda), reproducible(device, config):
            _train(data, settings, out, config, stain_dir, (ranks, device, on_epoch or _ignore))
    return out


def _train(
    data: TrainingData,
    settings: dict[str, Any],
    out: Path,
    config: TrainConfig,
    stain_dir: Path,
    here: tuple[Ranks, torch.device, OnEpoch],
) -> None:
    ranks, device, on_epoch = here
    if ranks.first:
        for folder in (out, out / CHECKPOINT_DIR):
            remove_partials(folder)
    spec = ranks.first_then_all(lambda: make_spec(data, config, stain_dir))
    task = make_task(spec, config, data, device, ranks)
    with open_sources(data, spec, config, stain_dir, task) as (source, validation):
        if ranks.first and config.pictures:
            _preview(source, config, out / AUGMENTATIONS_FILE)
        feed = Feed(source, device, ranks, config.prefetch)
        fitting = Fitting(task, feed, validation, out, settings, on_epoch)
        fitting.run()
        ranks.agreed(lambda: _finish(fitting, _described(settings, data)))


def _preview(source: TileSource, config: TrainConfig, path: Path) -> None:
    """Show what augmentation does to a few tiles, before hours are spent on it."""
    if not path.is_file():
        rows = np.linspace(0, len(source.tiles) - 1, min(_SHOWN_TILES, len(source.tiles)))
        preview_augmentations(source.read(rows.astype(np.int64)), config, path)


def _is_finished(out: Path, settings: Mapping[str, Any]) -> bool:
    if not (out / MODEL_FILE).is_file():
        return False
    spec, weights_sha256 = read_spec(out)
    check_settings(spec.training.get("settings", {}), settings, out)
    weights = out / WEIGHTS_FILE
    return weights.is_file() and sha256_of_file(weights) == weights_sha256


def _finish(fitting: Fitting, described: dict[str, Any]) -> None:
    """Calibrate, write the model, last of all `model.json`, and drop the checkpoint."""
    task, out, history = fitting.task, fitting.out, fitting.history
    kept = len(history) - 1
    if task.config.keep == "best":
        kept = best_epoch(history, task.config.monitor)
        load_best(out, kept, task.judged)
    temperature, metrics = _calibrated(fitting, history[kept])
    training = described | {
        "metrics": metrics,
        "epochs": {"trained": len(history), "kept": kept + 1},
    }
    spec = task.spec.model_copy(update={"temperature": temperature, "training": training})
    if task.config.pictures:
        write_curves(out, history)
    write_card(out, spec)
    save_model(out, task.judged, spec)
    shutil.rmtree(out / CHECKPOINT_DIR, ignore_errors=True)


def _calibrated(fitting: Fitting, row: Row) -> tuple[float, dict[str, float | None]]:
    """Temperature of the kept weights, and their metrics."""
    metrics: dict[str, float | None] = {
        "auroc": row["val_auroc"],
        "cross_entropy": row["val_cross_entropy"],
    }
    if fitting.validation is None:
        console().print("no validation tiles: the model is not calibrated", style="yellow")
        return 1.0, metrics
    logits = validation_logits(fitting.task, fitting.validation)
    label = fitting.validation.tiles.label
    temperature = fit_temperature(logits, label)
    calibrated = measure(logits, label, temperature)["val_cross_entropy"]
    return temperature, metrics | {"cross_entropy_calibrated": calibrated}


def _described(settings: dict[str, Any], data: TrainingData) -> dict[str, Any]:
    """Describe the training for the model's own keeping."""
    return {
        "settings": settings,
        "data": {"label_source": data.label_source, **data.counts()},
        "provenance": provenance(settings["tiles"], settings["seed"]),
    }


def _ignore(row: Row) -> None:
    """Do nothing at the end of an epoch."""
