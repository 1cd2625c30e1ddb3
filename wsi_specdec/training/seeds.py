"""Random streams named by what they are for, so that none depends on what was drawn before."""

from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class Stream(IntEnum):
    """What a stream of random numbers is for."""

    WEIGHTS = 0
    ORDER = 1
    AUGMENTATION = 2
    DROPOUT = 3


def generator(seed: int, stream: Stream, *keys: int) -> np.random.Generator:
    """Return the generator of a seed, a stream and for one an epoch and a step."""
    return np.random.default_rng([seed & _MASK, stream, *keys])


def torch_seed(seed: int, stream: Stream, *keys: int) -> int:
    """Return the same as a seed for torch's generators."""
    return int(generator(seed, stream, *keys).integers(1 << 63))


def sample_keys(order: NDArray[np.int64], *, seed: int, epoch: int) -> Tensor:
    """Key of each sample of an epoch, from which its augmentation is drawn.

    It depends on the seed, the epoch, the sample and on how often the sample came before in that
    epoch: not on the batch, the process or the thread that it is met in.

    Parameters
    ----------
    order
        Rows of the training tiles in the order of the epoch, (n,).

    Returns
    -------
    int64, (n,), well mixed.
    """
    start = generator(seed, Stream.AUGMENTATION, epoch).integers(_MASK, dtype=np.uint64)
    repeat = _mixed(_earlier(order).astype(np.uint64) + start)
    return torch.from_numpy(_mixed(order.astype(np.uint64) + repeat).view(np.int64))


def uniforms(keys: Tensor, stream: int, count: int) -> NDArray[np.float64]:
    """Draw `count` numbers in [0, 1) for each key; they depend on key and stream alone.

    Parameters
    ----------
    keys
        int64, (n,), on the CPU.
    stream
        What the numbers are for: those of one stream do not change when another is added.

    Returns
    -------
    float64, (n, count).
    """
    counters = np.arange(1, count + 1, dtype=np.uint64) + np.uint64((stream & 0xFFFFFFFF) << 32)
    start = keys.numpy().view(np.uint64)[:, None]
    bits = _mixed(start + _mixed(counters)[None])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's output function (Steele, Lea & Flood, OOPSLA 2014), of one step onwards."""
    z = values + np.uint64(_GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _earlier(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each entry came before, (n,)."""
    by_value = np.argsort(order, kind="stable")
    _, first, counts = np.unique(order[by_value], return_index=True, return_counts=True)
    earlier = np.empty(len(order), np.int64)
    earlier[by_value] = np.arange(len(order)) - np.repeat(first, counts)
    return earlier
