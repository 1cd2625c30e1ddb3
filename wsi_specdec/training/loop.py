"""One epoch of training."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from wsi_specdec.errors import ConfigError
from wsi_specdec.progress import Ticker
from wsi_specdec.training.feed import Feed
from wsi_specdec.training.optimiser import learning_rate
from wsi_specdec.training.sampling import Groups, draw_epoch
from wsi_specdec.training.seeds import Stream, torch_seed
from wsi_specdec.training.task import REPORTED, Task, train_step

# Looking at a number makes the CPU wait for an accelerator, so it is not done at every step.
_LOOK_EVERY = 20


@dataclass(frozen=True, slots=True)
class Position:
    """How far an epoch has come.

    Attributes
    ----------
    step
        Steps taken.
    totals
        Sums over them of what `train_step` reports, (4,).
    seconds
        Seconds they took, also in processes that were ended before.
    """

    step: int = 0
    totals: Tensor = field(default_factory=lambda: torch.zeros(REPORTED))
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Means over the steps of an epoch so far."""

    loss: float
    cross_entropy: float
    logit_penalty: float
    mean_abs_logit: float
    lr: float
    tiles_per_s: float


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who is told of an epoch's advance.

    Attributes
    ----------
    tick
        Shows it to the user.
    note
        Text in front of its numbers, and behind them.
    on_step
        Called after each step, and may keep a checkpoint.
    on_look
        Called with the step, counted over all epochs, and the means, now and then.
    """

    tick: Ticker
    note: tuple[str, str]
    on_step: Callable[[Position], None]
    on_look: Callable[[int, Reading], None]


def train_epoch(task: Task, feed: Feed, epoch: int, start: Position, watchers: Watchers) -> Reading:
    """Train on one epoch's batches, or on those that are left of it.

    Parameters
    ----------
    epoch
        Counted from 0.
    start
        Where an ended process left the epoch.

    Raises
    ------
    ConfigError
        If the loss is no longer finite.
    """
    config = task.config
    order = draw_epoch(Groups.of(feed.source.tiles), config, epoch)
    task.module.train()
    totals = start.totals.to(task.device)
    began = time.monotonic() - start.seconds
    before = epoch * len(order)

    def reading(steps: int) -> Reading:
        means = (totals / max(1, steps)).tolist()
        check_finite(np.float32(means[0]), "loss", config.lr)
        rate = steps * len(order[0]) / max(1e-9, time.monotonic() - began)
        lr = learning_rate(before + max(0, steps - 1), len(order), config)
        loss, base, penalty, logit = means
        return Reading(loss, base, penalty, logit, lr, round(rate, 1))

    with closing(feed.batches(order, start.step, seed=config.seed, epoch=epoch)) as ready:
        for step, batch in enumerate(ready, start.step):
            # Dropout and the like draw from the global generator.
            torch.manual_seed(torch_seed(config.seed, Stream.DROPOUT, epoch, step, task.ranks.rank))
            lr = learning_rate(before + step, len(order), config)
            totals += train_step(task, batch, lr)
            if task.average is not None:
                task.average.after_step(before + step, config)
            note = ""
            if step % _LOOK_EVERY == 0:
                now = reading(step + 1)
                watchers.on_look(before + step, now)
                note = _note(watchers.note, now)
            watchers.tick(note=note)
            watchers.on_step(Position(step + 1, totals, time.monotonic() - began))
    return reading(len(order))


def check_finite(values: np.ndarray | np.floating, name: str, lr: float) -> None:
    """Refuse numbers that are not finite.

    Raises
    ------
    ConfigError
        Naming them, and the learning rate.
    """
    if not np.isfinite(values).all():
        msg = f"the training diverged (a {name} is not finite): lower the lr, now {lr}"
        raise ConfigError(msg)


def _note(around: tuple[str, str], now: Reading) -> str:
    numbers = (
        f"loss {now.loss:.3f} |logit| {now.mean_abs_logit:.2f} {now.tiles_per_s:.0f} patches/s"
    )
    return " ".join(part for part in (around[0], numbers, around[1]) if part)
