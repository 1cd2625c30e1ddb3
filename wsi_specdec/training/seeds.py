"""Random streams named by what they are for, so that none depends on what was drawn before."""

from enum import IntEnum

import numpy as np

_MASK = (1 << 64) - 1


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
