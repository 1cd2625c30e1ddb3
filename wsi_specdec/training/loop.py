"""One epoch of training, and one look at the validation tiles."""

from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wsi_specdec.config import TrainConfig
from wsi_specdec.errors import ConfigError
from wsi_specdec.losses import LossParts, SpectralDecoupling
from wsi_specdec.models import ModelSpec, predict_logits, prefetched, standardise
from wsi_specdec.progress import Ticker
from wsi_specdec.training.augment import augment
from wsi_specdec.training.optimiser import learning_rate
from wsi_specdec.training.sampling import epoch_batches
from wsi_specdec.training.seeds import Stream, generator, torch_seed
from wsi_specdec.training.source import TileSource

# Looking at a number makes the CPU wait for an accelerator, so it is not done at every step.
_NOTE_EVERY = 20
_VALIDATION_BATCH = 256

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained, with what, and how."""

    module: nn.Module
    optimiser: torch.optim.Optimizer
    loss: SpectralDecoupling
    spec: ModelSpec
    config: TrainConfig
    device: torch.device

    def forward(self, tiles: Tensor, label: Tensor, rng: np.random.Generator) -> "StepParts":
        """Augment a batch, run the network and compute the loss."""
        pixels = standardise(augment(tiles, self.config, rng), self.spec)
        low = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=low):
            logits = self.module(pixels)
        return StepParts(self.loss(logits, label), logits.detach().float().abs().mean())


@dataclass(frozen=True, slots=True)
class StepParts:
    """The parts of the loss, and the mean |logit|."""

    loss: LossParts
    mean_abs_logit: Tensor

    def stacked(self) -> Tensor:
        """All four as one tensor without a gradient."""
        return torch.stack([*(part.detach() for part in self.loss), self.mean_abs_logit])


@dataclass(frozen=True, slots=True)
class EpochMeans:
    """Means over the steps of an epoch."""

    loss: float
    cross_entropy: float
    logit_penalty: float
    mean_abs_logit: float
    lr: float


def train_epoch(task: Task, source: TileSource, epoch: int, tick: Ticker, note: str) -> EpochMeans:
    """Train on one epoch's batches, read ahead while the network computes.

    Parameters
    ----------
    epoch
        Counted from 0.
    tick, note
        Called after each step, with `note` before the step's numbers.

    Raises
    ------
    ConfigError
        If the loss is no longer finite.
    """
    config = task.config
    label = source.tiles.label
    batches = epoch_batches(
        label, config.batch_size, balance=config.balance_classes, seed=config.seed, epoch=epoch
    )

    def read(rows: NDArray[np.int64]) -> Batch:
        return source.read(rows), label[rows]

    # Dropout and the like draw from the global generator.
    torch.manual_seed(torch_seed(config.seed, Stream.DROPOUT, epoch))
    task.module.train()
    totals = torch.zeros(4, device=task.device)
    lr = 0.0
    with closing(prefetched(read, batches)) as ready:
        for step, batch in enumerate(ready):
            lr = learning_rate(epoch * len(batches) + step, len(batches), config)
            rng = generator(config.seed, Stream.AUGMENTATION, epoch, step)
            totals += train_step(task, batch, lr, rng).stacked()
            tick(note=_note(note, totals / (step + 1)) if step % _NOTE_EVERY == 0 else "")
    loss, cross_entropy, penalty, logit = (totals / len(batches)).tolist()
    _check_finite(np.float32(loss), "loss", task)
    return EpochMeans(loss, cross_entropy, penalty, logit, lr)


def train_step(task: Task, batch: Batch, lr: float, rng: np.random.Generator) -> StepParts:
    """Take one step of the optimiser at the learning rate `lr`."""
    tiles, label = (torch.from_numpy(array).to(task.device) for array in batch)
    for group in task.optimiser.param_groups:
        group["lr"] = lr
    parts = task.forward(tiles, label, rng)
    task.optimiser.zero_grad()
    torch.autograd.backward(parts.loss.loss)
    task.optimiser.step()
    return parts


def validation_logits(task: Task, source: TileSource) -> NDArray[np.float32]:
    """Logits of every tile, (n, outputs), as scoring computes them.

    Raises
    ------
    ConfigError
        If one is not finite.
    """
    rows = np.arange(len(source.tiles))
    starts = range(0, len(rows), _VALIDATION_BATCH)
    parts = (rows[start : start + _VALIDATION_BATCH] for start in starts)
    with closing(prefetched(source.read, parts)) as ready:
        logits = [predict_logits(task.module, task.spec, tiles, task.device) for tiles in ready]
    together = np.concatenate(logits)
    _check_finite(together, "logit of a validation tile", task)
    return together


def _check_finite(values: NDArray[np.float32] | np.float32, name: str, task: Task) -> None:
    if not np.isfinite(values).all():
        msg = f"the training diverged (a {name} is not finite): lower the lr, now {task.config.lr}"
        raise ConfigError(msg)


def _note(prefix: str, means: Tensor) -> str:
    loss, _, _, logit = means.tolist()
    return f"{prefix} loss {loss:.3f} |logit| {logit:.2f}"
