"""Prepares the next batches while the model computes."""

import os
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

import torch

from wsi_specdec.threads import in_order

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetched(
    prepare: Callable[[Item], Result], items: Iterable[Item], depth: int = 2
) -> Generator[Result, None, None]:
    """Yield `prepare(item)` for each item in order, up to `depth` of them made ahead in a thread.

    An error of `prepare` is raised where its result would have come.
    """
    return in_order(prepare, items, threads=1, waiting=depth - 1)


def decode_threads(device: torch.device, processes: int = 1) -> int:
    """Threads to decode with: beside a network on the CPU half the cores, else all of them.

    Parameters
    ----------
    processes
        How many of them share the cores.
    """
    cores = len(os.sched_getaffinity(0)) // processes
    return max(1, cores // 2) if device.type == "cpu" else cores
