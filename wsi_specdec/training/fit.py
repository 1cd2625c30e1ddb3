"""The epochs of a training: train, validate, keep a checkpoint, stop in time."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from wsi_specdec.progress import Ticker, progress
from wsi_specdec.training.checkpoint import (
    check_settings,
    drop_worse,
    load_checkpoint,
    save_best,
    save_checkpoint,
)
from wsi_specdec.training.events import Events, events
from wsi_specdec.training.feed import Feed
from wsi_specdec.training.loop import Position, Watchers, train_epoch
from wsi_specdec.training.outputs import write_history
from wsi_specdec.training.sampling import Groups, epoch_length, steps_per_epoch
from wsi_specdec.training.source import TileSource
from wsi_specdec.training.task import Task
from wsi_specdec.training.validation import best_epoch, has_stalled, validate

Row = dict[str, Any]
OnEpoch = Callable[[Row], None]


@dataclass
class Fitting:
    """A training under way; `history` has a row for each epoch that is done."""

    task: Task
    feed: Feed
    validation: TileSource | None
    out: Path
    settings: Mapping[str, Any]
    on_epoch: OnEpoch
    history: list[Row] = field(default_factory=list)
    saved: float = field(default_factory=time.monotonic)

    @cached_property
    def steps(self) -> int:
        """Steps in an epoch."""
        config = self.task.config
        groups = Groups.of(self.feed.source.tiles)
        return steps_per_epoch(epoch_length(groups, config.max_tiles_per_slide), config.batch_size)

    def run(self) -> list[Row]:
        """Train what is left of the epochs; return a row for each.

        Raises
        ------
        SettingsMismatchError
            If the folder holds a checkpoint of other settings.
        ConfigError
            If the training diverges.
        """
        start = self._resume()
        config, first = self.task.config, self.task.ranks.first
        done = len(self.history) * self.steps + start.step
        wanted = config.tensorboard and first
        with (
            _shown(config.epochs * self.steps, shown=first) as tick,
            events(self.out, done, wanted=wanted) as write,
        ):
            tick(done)
            while len(self.history) < config.epochs and not self._stalled():
                self._epoch(start, tick, write)
                start = Position()
        return self.history

    def _resume(self) -> Position:
        checkpoint = load_checkpoint(self.out)
        if checkpoint is None:
            return Position()
        check_settings(checkpoint.settings, self.settings, self.out)
        checkpoint.restore(self.task)
        self.history = checkpoint.history
        return checkpoint.position

    def _stalled(self) -> bool:
        config = self.task.config
        return has_stalled(self.history, config.monitor, config.patience)

    def _epoch(self, start: Position, tick: Ticker, write: Events) -> None:
        task, number = self.task, len(self.history)
        watchers = Watchers(
            tick,
            self._note(),
            self._save_in_time,
            lambda step, reading: write("train", asdict(reading), step),
        )
        reading = train_epoch(task, self.feed, number, start, watchers)
        if task.average is not None:
            task.average.after_epoch(number, task.config)
        # The first process alone validates.
        validated = task.ranks.agreed(lambda: validate(task, self.validation))
        self.history.append({"epoch": number + 1, **asdict(reading), **validated})
        if task.ranks.first:
            self._keep()
            write("validation", validated, (number + 1) * self.steps)
            self.on_epoch(self.history[-1])

    def _keep(self) -> None:
        """Write the epoch's end; what it refers to first, what nothing refers to any more last."""
        best = best_epoch(self.history, self.task.config.monitor)
        keeps_best = self.task.config.keep == "best"
        if keeps_best and best == len(self.history) - 1:
            save_best(self.out, best, self.task.judged)
        self._save(Position())
        if keeps_best:
            drop_worse(self.out, best)
        write_history(self.out, self.history)

    def _save_in_time(self, position: Position) -> None:
        # An epoch's last step is followed by the epoch's own checkpoint.
        due = time.monotonic() - self.saved >= 60 * self.task.config.checkpoint_minutes
        if due and self.task.ranks.first and position.step < self.steps:
            self._save(position)

    def _save(self, position: Position) -> None:
        save_checkpoint(self.out, self.task, self.settings, self.history, position)
        self.saved = time.monotonic()

    def _note(self) -> tuple[str, str]:
        auroc = self.history[-1]["val_auroc"] if self.history else None
        epoch = f"epoch {len(self.history) + 1}/{self.task.config.epochs}"
        return epoch, "" if auroc is None else f"AUROC {auroc:.3f}"


@contextmanager
def _shown(steps: int, *, shown: bool) -> Iterator[Ticker]:
    if shown:
        with progress("train", steps) as tick:
            yield tick
    else:
        yield _ignore


def _ignore(advance: int = 1, note: str = "") -> None:
    """Show nothing."""
