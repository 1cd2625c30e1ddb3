"""The processes that train together, as `torchrun` starts them; mostly there is one."""

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from wsi_specdec.errors import ConfigError
from wsi_specdec.models import resolve_device

T = TypeVar("T")

# The others wait while the first validates and writes. torchrun ends all where one fails.
_PATIENCE: Final = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Ranks:
    """A process among those that train together.

    Attributes
    ----------
    rank
        Its number; the first, 0, alone validates and writes.
    count
        How many there are.
    beside
        How many of them are on this machine.
    """

    rank: int = 0
    count: int = 1
    beside: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that validates and writes."""
        return self.rank == 0

    def share(self, rows: NDArray[np.int64]) -> slice:
        """Part of a batch that this process computes."""
        bounds = [len(rows) * i // self.count for i in range(self.count + 1)]
        return slice(bounds[self.rank], bounds[self.rank + 1])

    def summed(self, values: Tensor) -> Tensor:
        """Sum a tensor over the processes, in place."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def agreed(self, decide: Callable[[], T]) -> T:
        """Let the first process decide, and tell the others."""
        told: list[T | None] = [decide() if self.first else None]
        if self.count > 1:
            distributed.broadcast_object_list(told, src=0, device=torch.device("cpu"))
        decided: T = told[0]  # type: ignore[assignment]
        return decided

    def first_then_all(self, make: Callable[[], T]) -> T:
        """Make something in the first process, then in the others, which find its files."""
        made = make() if self.first else None
        self.agreed(lambda: None)
        return make() if made is None else made


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, torch.device]]:
    """Join the processes that `torchrun` started; yield this one's place and its device.

    They talk over NCCL on CUDA, each process with the device of its local number, and over Gloo
    on the CPU. A process that was started otherwise is alone.

    Raises
    ------
    ConfigError
        If one device is named for several processes.
    ModelError
        If the device does not exist.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks(), resolve_device(device)
        return
    own = own_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if own.type == "cuda":
        torch.cuda.set_device(own)
    # Once a process: a second group would find the first one's addresses in torchrun's store.
    if not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)
        atexit.register(distributed.destroy_process_group)
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    try:
        yield Ranks(distributed.get_rank(), count, beside), own
    except BaseException:
        # The others may never come, and torchrun ends them.
        atexit.unregister(distributed.destroy_process_group)
        raise


def is_first() -> bool:
    """Whether this process is the one of `torchrun`'s that writes; one that is alone is."""
    return os.environ.get("RANK", "0") == "0"


def own_device(name: str, local_rank: int) -> torch.device:
    """Device of one of several processes on a machine.

    Raises
    ------
    ConfigError
        If one device is named for all.
    """
    device = resolve_device(name)
    if device.type == "cpu":
        return device
    if ":" in name:
        msg = f"processes that train together take a device each: give 'auto', not {name!r}"
        raise ConfigError(msg)
    return resolve_device(f"{device.type}:{local_rank}")
