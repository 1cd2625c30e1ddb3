"""Patches per second of training: from the store, from memory, and from a folder of JPEG files."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.training_data import Work, constant_batch, feed_for, files_of
from benchmarks.training_steps import synchronise
from wsi_specdec.models import standardise
from wsi_specdec.training import TrainingData
from wsi_specdec.training.augment import augment
from wsi_specdec.training.feed import Feed
from wsi_specdec.training.loop import Position, Watchers, train_epoch
from wsi_specdec.training.optimiser import apply_step
from wsi_specdec.training.task import Batch, Task, train_step

NETWORK = "network alone, one batch"
LIMIT = "step, one batch in memory"
STORE = "store, decoded anew"
CACHED = "store, tiles kept in memory"
FOLDER = "ImageFolder and DataLoader"
_LR = 1e-4


@dataclass(frozen=True)
class Way:
    """A way to train: `epoch` takes the steps of one epoch."""

    name: str
    epoch: Callable[[], object]


def ways(work: Work, task: Task, data: TrainingData, workers: int, stack: ExitStack) -> list[Way]:
    """Set up all ways; they train one network, one after the other."""
    batch = constant_batch(work, data, task.device)
    feeds = {
        name: stack.enter_context(feed_for(task, data, cached=name == CACHED))
        for name in (STORE, CACHED)
    }
    loader = folder_loader(work, task, data, workers)
    return [
        Way(NETWORK, lambda: _network_alone(work, task, batch)),
        Way(LIMIT, lambda: [train_step(task, batch, _LR) for _ in range(work.steps)]),
        *(Way(name, _epochs(task, feed)) for name, feed in feeds.items()),
        Way(FOLDER, lambda: _from_folder(work, task, loader)),
    ]


def rates(
    work: Work, found: list[Way], device: torch.device, rounds: int
) -> dict[str, list[float]]:
    """Patches per second of each way in each round, their order drawn anew in every round.

    One more round goes before them: it starts workers, fills caches and chooses algorithms.
    """
    rng = np.random.default_rng(0)
    taken: dict[str, list[float]] = {way.name: [] for way in found}
    for number in range(rounds + 1):
        for place in rng.permutation(len(found)).tolist():
            way = found[place]
            synchronise(device)
            started = time.perf_counter()
            way.epoch()
            synchronise(device)
            if number:
                rate = work.steps * work.batch / (time.perf_counter() - started)
                taken[way.name].append(rate)
    return taken


def folder_loader(
    work: Work, task: Task, data: TrainingData, workers: int
) -> "DataLoader[tuple[Tensor, Tensor]]":
    """Load the JPEG files as is usual: each is decoded and augmented by itself in a worker.

    Its transforms are those of the settings' defaults: the square's symmetries, light, contrast.
    """
    light = task.config.augment.colour
    transform = v2.Compose(
        [
            v2.PILToTensor(),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomApply([v2.Lambda(_transposed)], p=0.5),
            v2.ColorJitter(brightness=light.brightness, contrast=light.contrast),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(task.spec.mean, task.spec.std),
        ]
    )
    folder: Any = ImageFolder(str(files_of(data)), transform)
    return DataLoader(
        folder,
        batch_size=work.batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=task.device.type == "cuda",
    )


def plain_step(task: Task, pixels: Tensor, label: Tensor) -> None:
    """Take the network's step on pixels that are ready for it."""
    low = task.config.precision == "bfloat16"
    task.optimiser.zero_grad()
    with torch.autocast(task.device.type, dtype=torch.bfloat16, enabled=low):
        logits = task.network(pixels)
    torch.autograd.backward(task.loss(logits, label).loss)
    apply_step(task.optimiser, task.config, _LR)


def _network_alone(work: Work, task: Task, batch: Batch) -> None:
    pixels = standardise(augment(batch.tiles, task.config, batch.keys), task.spec)
    for _ in range(work.steps):
        plain_step(task, pixels, batch.label)


def _epochs(task: Task, feed: Feed) -> Callable[[], object]:
    numbers = count()
    watchers = Watchers(_ignore, ("", ""), _ignore, _ignore)
    return lambda: train_epoch(task, feed, next(numbers), Position(), watchers)


def _from_folder(work: Work, task: Task, loader: "DataLoader[tuple[Tensor, Tensor]]") -> None:
    batches: Iterator[tuple[Tensor, Tensor]] = islice(loader, work.steps)
    for tiles, label in batches:
        pixels = tiles.to(task.device, non_blocking=True, memory_format=torch.channels_last)
        plain_step(task, pixels, label.to(task.device, non_blocking=True))


def _transposed(image: Tensor) -> Tensor:
    return image.transpose(-1, -2)


def _ignore(*_: object, **__: object) -> None:
    """Tell nobody."""
