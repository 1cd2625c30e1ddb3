"""The processes that `torchrun` starts, each of which scores its share of the slides."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self, TypeVar

from torch import distributed

from wsi_specdec.config import ScoreConfig
from wsi_specdec.errors import ConfigError
from wsi_specdec.models import resolve_device

T = TypeVar("T")

# Those that are done wait for the slowest: if one left with an error, torchrun would end the rest.
_PATIENCE: Final = timedelta(days=7)


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that score together; mostly it is alone.

    Attributes
    ----------
    rank, count
        Its number, and how many there are.
    local, beside
        Its number on this machine, and how many are there.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    beside: int = 1

    @classmethod
    def here(cls) -> Self:
        """Read what `torchrun` says of this process."""
        defaults = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
        return cls(*(int(os.environ.get(name, value)) for name, value in defaults.items()))

    @property
    def first(self) -> bool:
        """Whether this is the process that keeps the ledger."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """Every `count`-th item, beginning with number `rank`."""
        return list(items[self.rank :: self.count])

    def placed(self, config: ScoreConfig) -> ScoreConfig:
        """Return the settings with this process's own device.

        Raises
        ------
        ConfigError
            If one device is named for several processes.
        """
        device = resolve_device(config.device)
        if self.count == 1 or device.type == "cpu":
            return config
        if ":" in config.device:
            msg = f"processes that score together take a device each: give 'auto', not {device}"
            raise ConfigError(msg)
        return config.model_copy(update={"device": f"{device.type}:{self.local}"})

    def gathered(self, own: Sequence[T]) -> list[T]:
        """Return what all processes have to say, in each of them; they wait for one another."""
        if self.count == 1:
            return list(own)
        if not distributed.is_initialized():
            distributed.init_process_group("gloo", timeout=_PATIENCE)
        parts: list[list[T] | None] = [None] * self.count
        distributed.all_gather_object(parts, list(own))
        with suppress(RuntimeError):
            distributed.destroy_process_group()
        return [item for part in parts for item in part or ()]


def is_first_process() -> bool:
    """Whether this is the process, of those that `torchrun` started, that speaks for all."""
    return Ranks.here().first
