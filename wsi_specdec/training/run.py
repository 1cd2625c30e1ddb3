"""From stores and a manifest to a model's folder; the same call resumes."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from wsi_specdec.cohort import Slide
from wsi_specdec.config import TrainConfig
from wsi_specdec.errors import ConfigError, ModelError
from wsi_specdec.files import remove_partials, sha256_of_file
from wsi_specdec.keys import CHECKPOINT_DIR, MODEL_FILE, WEIGHTS_FILE
from wsi_specdec.losses import SpectralDecoupling
from wsi_specdec.models import (
    ModelSpec,
    build_classifier,
    check_fits,
    decode_threads,
    init_weights,
    normalisation,
    resolve_device,
    save_model,
    stain_normaliser,
    stain_target,
)
from wsi_specdec.models.spec import read_spec
from wsi_specdec.progress import console, progress
from wsi_specdec.provenance import provenance
from wsi_specdec.store import TileStore
from wsi_specdec.training.checkpoint import check_settings, load_checkpoint, save_checkpoint
from wsi_specdec.training.data import TileSet, TrainingData, choose_tiles
from wsi_specdec.training.loop import Task, train_epoch, validation_logits
from wsi_specdec.training.optimiser import make_optimiser
from wsi_specdec.training.outputs import write_card, write_curves, write_history
from wsi_specdec.training.sampling import steps_per_epoch
from wsi_specdec.training.seeds import Stream, torch_seed
from wsi_specdec.training.source import TileSource, size_in_mb
from wsi_specdec.training.temperature import cross_entropy, fit_temperature

Row = dict[str, Any]
OnEpoch = Callable[[Row], None]

# They change how fast a training runs, not what it learns.
_WITHOUT_EFFECT = frozenset({"device", "cache_mb"})


def train(
    stores: Mapping[str, TileStore],
    slides: Sequence[Slide],
    out: Path,
    config: TrainConfig,
    stain_dir: Path,
    *,
    on_epoch: OnEpoch | None = None,
) -> Path:
    """Train a classifier of tiles; called again, resume it after its last whole epoch.

    A resumed run ends in the weights of an uninterrupted one, bit for bit on a CPU with as many
    threads. A finished one is returned at once.

    Parameters
    ----------
    stores
        Slide id to tile store; slides without one are passed over.
    slides
        The manifest: `train` is learned from, `validation` gives AUROC and the temperature.
    out
        The model's folder: `weights.safetensors`, `model.json`, `history.csv`, `curves.png`,
        `MODEL_CARD.md`, and `checkpoint/` until it is finished.
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
        If the manifest does not give tiles of both classes to learn from.
    SettingsMismatchError
        If `out` was trained with other settings or on other tiles.
    ModelError
        If the architecture, its weights or the device are not to be had, or stores differ in
        tile size or mpp.
    ConfigError
        If the loss diverges.
    """
    data = choose_tiles(stores, slides, config.labels)
    settings = _settings(config, data)
    if _is_finished(out, settings):
        return out
    for folder in (out, out / CHECKPOINT_DIR):
        remove_partials(folder)
    spec = _make_spec(data, config, stain_dir)
    device = resolve_device(config.device)
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda), _sources(data, spec, config, stain_dir, device) as sources:
        task = _make_task(spec, config, device)
        history = _fit(task, sources, out, settings, on_epoch or _ignore)
        _finish(task, sources[1], out, history, spec, _described(settings, data))
    return out


def _settings(config: TrainConfig, data: TrainingData) -> dict[str, Any]:
    """All that decides what is learned, as JSON."""
    if config.init is not None and config.pretrained:
        msg = "a model starts from `init` or from timm's weights (`pretrained`), not from both"
        raise ConfigError(msg)
    settings = config.model_dump(mode="json", exclude=set(_WITHOUT_EFFECT))
    if config.init is not None:
        source = config.init / WEIGHTS_FILE if config.init.is_dir() else config.init
        if not source.is_file():
            msg = f"there are no weights to start from at {source}; name a .safetensors file"
            raise ModelError(msg)
        settings["init"] = sha256_of_file(source)
    tiles = {"train": data.train.digest(), "validation": data.validation.digest()}
    return settings | {"tiles": tiles}


def _is_finished(out: Path, settings: Mapping[str, Any]) -> bool:
    if not (out / MODEL_FILE).is_file():
        return False
    spec, weights_sha256 = read_spec(out)
    check_settings(spec.training.get("settings", {}), settings, out)
    weights = out / WEIGHTS_FILE
    return weights.is_file() and sha256_of_file(weights) == weights_sha256


def _make_spec(data: TrainingData, config: TrainConfig, stain_dir: Path) -> ModelSpec:
    first = data.train.stores[0]
    every = (*data.train.stores, *data.validation.stores)
    mpp = next((store.mpp for store in every if store.mpp is not None), None)
    mean, std = normalisation(config.model, pretrained=config.pretrained, init=config.init)
    spec = ModelSpec(
        arch=config.model,
        arch_args=config.model_args,
        tile_size=first.tile_size,
        mpp=mpp,
        mean=mean,
        std=std,
        stain=config.stain,
    )
    for store in every:
        check_fits(spec, store, f"a model trained on {first.path}")
    target = stain_target(data.train.stores, stain_dir, config.stain)
    return spec.model_copy(update={"stain_target": target.to_json() if target else None})


@contextmanager
def _sources(
    data: TrainingData,
    spec: ModelSpec,
    config: TrainConfig,
    stain_dir: Path,
    device: torch.device,
) -> Iterator[tuple[TileSource, TileSource | None]]:
    """Readers of the training and, if there are any, of the validation tiles."""
    room = config.cache_mb

    def open_source(tiles: TileSet) -> TileSource:
        nonlocal room
        cached = size_in_mb(tiles) <= room
        room -= size_in_mb(tiles) if cached else 0
        normaliser = stain_normaliser(tiles.stores, stain_dir, spec)
        source = TileSource(tiles, normaliser, decode_threads(device), cached=cached)
        stack.callback(source.close)
        return source

    with ExitStack() as stack:
        train = open_source(data.train)
        yield train, open_source(data.validation) if len(data.validation) else None


def _make_task(spec: ModelSpec, config: TrainConfig, device: torch.device) -> Task:
    torch.manual_seed(torch_seed(config.seed, Stream.WEIGHTS))
    module = build_classifier(spec, pretrained=config.pretrained)
    if config.init is not None:
        init_weights(module, config.init)
    module = module.to(device).to(memory_format=torch.channels_last)
    loss = SpectralDecoupling(config.sd_coef, config.sd_gamma).to(device)
    return Task(module, make_optimiser(module, config), loss, spec, config, device)


def _fit(
    task: Task,
    sources: tuple[TileSource, TileSource | None],
    out: Path,
    settings: Mapping[str, Any],
    on_epoch: OnEpoch,
) -> list[Row]:
    """Train what is left of the epochs; return a row for each."""
    source, validation = sources
    history: list[Row] = []
    checkpoint = load_checkpoint(out)
    if checkpoint is not None:
        check_settings(checkpoint.settings, settings, out)
        checkpoint.restore(task.module, task.optimiser)
        history = checkpoint.history
    epochs = task.config.epochs
    steps = steps_per_epoch(len(source.tiles), task.config.batch_size)
    with progress("train", epochs * steps) as tick:
        tick(len(history) * steps)
        for epoch in range(len(history), epochs):
            started = time.monotonic()
            auroc = history[-1]["val_auroc"] if history else None
            note = f"epoch {epoch + 1}/{epochs}" + (f" AUROC {auroc:.3f}" if auroc else "")
            means = train_epoch(task, source, epoch, tick, note)
            rate = steps * task.config.batch_size / (time.monotonic() - started)
            row = {"epoch": epoch + 1, **asdict(means), "tiles_per_s": round(rate, 1)}
            history.append(row | _validate(task, validation))
            save_checkpoint(out, task.module, task.optimiser, settings, history)
            write_history(out, history)
            on_epoch(history[-1])
    return history


def _validate(task: Task, source: TileSource | None) -> Row:
    if source is None:
        return {"val_auroc": None, "val_cross_entropy": None}
    logits = validation_logits(task, source)[:, 0]
    return _metrics(logits, source.tiles.label, temperature=1.0)


def _metrics(
    logits: NDArray[np.float32], label: NDArray[np.int64], temperature: float
) -> dict[str, float | None]:
    both = len(np.unique(label)) == 2
    return {
        "val_auroc": float(roc_auc_score(label, logits)) if both else None,
        "val_cross_entropy": cross_entropy(logits, label, temperature),
    }


def _finish(
    task: Task,
    validation: TileSource | None,
    out: Path,
    history: list[Row],
    spec: ModelSpec,
    described: dict[str, Any],
) -> None:
    """Calibrate, write the model, last of all `model.json`, and drop the checkpoint."""
    temperature = 1.0
    metrics: dict[str, float | None] = _last_metrics(history)
    if validation is None:
        console().print("no validation tiles: the model is not calibrated", style="yellow")
    else:
        logits = validation_logits(task, validation)[:, 0]
        temperature = fit_temperature(logits, validation.tiles.label)
        calibrated = _metrics(logits, validation.tiles.label, temperature)
        metrics["cross_entropy_calibrated"] = calibrated["val_cross_entropy"]
    training = described | {"metrics": metrics}
    spec = spec.model_copy(update={"temperature": temperature, "training": training})
    write_curves(out, history)
    write_card(out, spec)
    save_model(out, task.module, spec)
    shutil.rmtree(out / CHECKPOINT_DIR, ignore_errors=True)


def _last_metrics(history: list[Row]) -> dict[str, float | None]:
    last = history[-1]
    return {"auroc": last["val_auroc"], "cross_entropy": last["val_cross_entropy"]}


def _described(settings: dict[str, Any], data: TrainingData) -> dict[str, Any]:
    """Describe the training for the model's own keeping."""
    return {
        "settings": settings,
        "data": {"label_source": data.label_source, **data.counts()},
        "provenance": provenance(settings["tiles"], settings["seed"]),
    }


def _ignore(row: Row) -> None:
    """Do nothing at the end of an epoch."""
