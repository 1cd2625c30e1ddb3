"""What a training is made of: the model's description, the network, the readers of tiles."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from wsi_specdec.config import TrainConfig
from wsi_specdec.errors import ConfigError, ModelError, NotEnoughDataError
from wsi_specdec.files import sha256_of_file
from wsi_specdec.keys import WEIGHTS_FILE
from wsi_specdec.losses import SpectralDecoupling
from wsi_specdec.models import (
    ModelSpec,
    build_classifier,
    check_fits,
    decode_threads,
    init_weights,
    normalisation,
    stain_normaliser,
    stain_target,
    stains_in_tiles,
)
from wsi_specdec.stain import StainProfile
from wsi_specdec.training.averaging import Average
from wsi_specdec.training.data import TileSet, TrainingData
from wsi_specdec.training.optimiser import make_optimiser
from wsi_specdec.training.ranks import Ranks
from wsi_specdec.training.sampling import Groups, epoch_length
from wsi_specdec.training.seeds import Stream, torch_seed
from wsi_specdec.training.source import TileSource, size_in_mb
from wsi_specdec.training.task import Task, balanced_weights

# They change how a training runs and what it reports, not what it learns but for rounding.
_WITHOUT_EFFECT: Final = frozenset(
    {
        "cache_mb",
        "channels_last",
        "checkpoint_minutes",
        "compile",
        "deterministic",
        "device",
        "prefetch",
        "search",
        "tensorboard",
        "pictures",
    }
)
Sources = tuple[TileSource, TileSource | None]


def binding_settings(config: TrainConfig, data: TrainingData) -> dict[str, Any]:
    """All that decides what is learned, as JSON.

    Raises
    ------
    ConfigError
        If two settings contradict each other.
    ModelError
        If there are no weights to start from where `init` says.
    """
    _check_settings(config)
    settings = config.model_dump(mode="json", exclude=set(_WITHOUT_EFFECT))
    if config.init is not None:
        source = config.init / WEIGHTS_FILE if config.init.is_dir() else config.init
        if not source.is_file():
            msg = f"there are no weights to start from at {source}; name a .safetensors file"
            raise ModelError(msg)
        settings["init"] = sha256_of_file(source)
    tiles = {"train": data.train.digest(), "validation": data.validation.digest()}
    return settings | {"tiles": tiles}


def _check_settings(config: TrainConfig) -> None:
    if config.init is not None and config.pretrained:
        msg = "a model starts from `init` or from timm's weights (`pretrained`), not from both"
        raise ConfigError(msg)
    if config.class_weights == "balanced" and config.balance_classes:
        msg = (
            "`class_weights: balanced` and `balance_classes` correct the same imbalance twice: "
            "set balance_classes to false, or leave the weights out"
        )
        raise ConfigError(msg)
    # Raise where they are still to be searched.
    _ = config.penalty, config.decay
    for name in ("class_weights", "sd_coef", "sd_gamma"):
        value = getattr(config, name)
        if isinstance(value, tuple) and len(value) != len(config.classes):
            msg = f"`{name}` has {len(value)} numbers for {len(config.classes)} classes"
            raise ConfigError(msg)


def check_enough(config: TrainConfig, data: TrainingData, ranks: Ranks) -> None:
    """Refuse data that the settings cannot be followed on.

    Raises
    ------
    ConfigError
        If a step has fewer tiles than parts.
    NotEnoughDataError
        If epochs are to be compared on validation tiles that do not allow it.
    """
    length = epoch_length(Groups.of(data.train), config.max_tiles_per_slide)
    tiles, parts = min(config.batch_size, length), ranks.count * config.accumulate
    if tiles < parts:
        msg = (
            f"a step of {tiles} tiles cannot be cut into {config.accumulate} parts in each of "
            f"{ranks.count} processes: raise batch_size, or lower accumulate"
        )
        raise ConfigError(msg)
    if config.keep == "last" and config.patience is None:
        return
    needed = 2 if config.monitor == "val_auroc" else 1
    if len(set(data.validation.label.tolist())) < needed:
        asked = "`keep: best`" if config.keep == "best" else "`patience`"
        msg = (
            f"{asked} compares epochs by {config.monitor}, for which the manifest's split "
            f"'validation' needs tiles of {needed} classes at least"
        )
        raise NotEnoughDataError(msg)


def make_spec(data: TrainingData, config: TrainConfig, stain_dir: Path) -> ModelSpec:
    """Describe the model; fit the training slides' stains where it normalises them.

    Raises
    ------
    ModelError
        If the architecture is unknown, or stores differ in tile size or mpp.
    ConfigError
        If stains of stores that are normalised already shall be normalised once more.
    """
    first = data.train.stores[0]
    every = (*data.train.stores, *data.validation.stores)
    mpp = next((store.mpp for store in every if store.mpp is not None), None)
    mean, std = normalisation(config.model, pretrained=config.pretrained, init=config.init)
    spec = ModelSpec(
        arch=config.model,
        arch_args=config.model_args,
        classes=config.classes,
        tile_size=first.tile_size,
        mpp=mpp,
        mean=mean,
        std=std,
        stain=config.stain,
    )
    for store in every:
        check_fits(spec, store, f"a model of the tiles of {first.path}")
    target = stain_target(data.train.stores, stain_dir, config.stain)
    if target is None:
        return spec
    described = {"stain": target.settings, "stain_target": target.profile.to_json()}
    return spec.model_copy(update=described)


@contextmanager
def open_sources(
    data: TrainingData, spec: ModelSpec, config: TrainConfig, stain_dir: Path, task: Task
) -> Iterator[Sources]:
    """Open readers of the training tiles and, in the first process, of the validation tiles."""
    ranks = task.ranks
    room = config.cache_mb / ranks.beside

    def open_source(tiles: TileSet) -> TileSource:
        nonlocal room
        cached = size_in_mb(tiles) <= room
        room -= size_in_mb(tiles) if cached else 0
        normaliser = stain_normaliser(tiles.stores, stain_dir, spec)
        threads = decode_threads(task.device, ranks.beside)
        profiles = _augmented_stains(tiles, spec, config, stain_dir)
        source = TileSource(tiles, normaliser, threads, cached=cached, profiles=profiles)
        stack.callback(source.close)
        return source

    with ExitStack() as stack:
        train = ranks.first_then_all(lambda: open_source(data.train))
        judges = ranks.first and len(data.validation) > 0
        yield train, open_source(data.validation) if judges else None


def _augmented_stains(
    tiles: TileSet, spec: ModelSpec, config: TrainConfig, stain_dir: Path
) -> tuple[StainProfile | None, ...] | None:
    """Profiles of the stores' tiles, where these are augmented by their own."""
    jitter = config.augment.stain
    if jitter.vectors == "standard" or jitter.probability == 0:
        return None
    return stains_in_tiles(tiles.stores, stain_dir, spec)


def make_task(
    spec: ModelSpec,
    config: TrainConfig,
    data: TrainingData,
    device: torch.device,
    ranks: Ranks,
) -> Task:
    """Build the network with the weights it starts from, its optimiser and its loss."""
    torch.manual_seed(torch_seed(config.seed, Stream.WEIGHTS))
    module = build_classifier(spec, pretrained=config.pretrained)
    if config.init is not None:
        init_weights(module, config.init)
    module = module.to(device)
    if config.channels_last:
        module = module.to(memory_format=torch.channels_last)
    if ranks.count > 1 and device.type == "cuda":
        from timm.layers.norm_act import convert_sync_batchnorm

        # torch's own would lose the activations that timm fuses into these layers.
        module = convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
    class_weights = _class_weights(config, data)
    loss = SpectralDecoupling(config.penalty, config.sd_gamma, class_weights=class_weights)
    return Task(
        module=module,
        network=_as_called(module, config, device, ranks),
        optimiser=make_optimiser(module, config),
        loss=loss.to(device),
        class_weights=class_weights,
        average=Average.of(module, config) if ranks.first else None,
        spec=spec,
        config=config,
        device=device,
        ranks=ranks,
    )


def _as_called(
    module: nn.Module, config: TrainConfig, device: torch.device, ranks: Ranks
) -> nn.Module:
    called = module
    if ranks.count > 1:
        ids = [device] if device.type == "cuda" else None
        called = DistributedDataParallel(called, device_ids=ids)
    # The network itself stays as it is: it is judged as scoring will call it.
    return cast("nn.Module", torch.compile(called)) if config.compile else called


def _class_weights(config: TrainConfig, data: TrainingData) -> tuple[float, ...] | None:
    if config.class_weights == "none":
        return None
    if config.class_weights == "balanced":
        return tuple(balanced_weights(data.train.label, len(config.classes)))
    return config.class_weights


@contextmanager
def reproducible(device: torch.device, config: TrainConfig) -> Iterator[None]:
    """Let torch take algorithms that give the same numbers each time, or else the fastest ones."""
    asked = config.deterministic
    wanted = device.type == "cpu" if asked == "auto" else asked
    before: Mapping[str, Any] = {
        "mode": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
    }
    # Not a plain variable but a property of its module.
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    benchmark = torch.backends.cudnn.benchmark
    if wanted and device.type == "cuda":
        # cuBLAS asks for it, before its first call.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        torch.use_deterministic_algorithms(wanted)
        memory.fill_uninitialized_memory = False
        torch.backends.cudnn.benchmark = not wanted
        yield
    finally:
        torch.use_deterministic_algorithms(**before)
        memory.fill_uninitialized_memory = filled
        torch.backends.cudnn.benchmark = benchmark
