"""The order of an epoch: which tiles, in which batches."""

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.training.seeds import Stream, generator


def steps_per_epoch(n_tiles: int, batch_size: int) -> int:
    """Count the batches of an epoch: whole ones, or the single one there is."""
    return max(1, n_tiles // batch_size)


def epoch_batches(
    label: NDArray[np.int64], batch_size: int, *, balance: bool, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Draw the batches of one epoch; they depend on `seed` and `epoch` alone.

    Parameters
    ----------
    label
        Class of each tile, (n,).
    batch_size
        Tiles in a batch; the rest of an epoch that fills none is left out.
    balance
        Draw as many tiles of each class, n in all: a class of too few is passed through again
        and again, each time in a new order, and of a class of too many a part is drawn.

    Returns
    -------
    list of int64, (batch_size,)
        Rows of `label`.
    """
    rng = generator(seed, Stream.ORDER, epoch)
    order = _balanced(label, rng) if balance else rng.permutation(len(label))
    steps = steps_per_epoch(len(order), batch_size)
    return [order[i * batch_size : (i + 1) * batch_size] for i in range(steps)]


def _balanced(label: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    classes = np.unique(label)
    share, left = divmod(len(label), len(classes))
    drawn = [
        _passes(np.flatnonzero(label == name), share + (i < left), rng)
        for i, name in enumerate(classes)
    ]
    return rng.permutation(np.concatenate(drawn))


def _passes(rows: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw `count` of `rows`, each used once before any is used again."""
    passes = [rng.permutation(rows) for _ in range(-(-count // len(rows)))]
    return np.concatenate([*passes, np.empty(0, np.int64)])[:count]
