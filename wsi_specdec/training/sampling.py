"""The order of an epoch: which tiles, in which batches."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import TrainConfig
from wsi_specdec.training.data import TileSet
from wsi_specdec.training.seeds import Stream, generator

Rows = NDArray[np.int64]
DrawBy = Literal["tile", "slide", "patient"]


@dataclass(frozen=True, slots=True)
class Groups:
    """What each tile belongs to: class, slide and patient as numbers, int64, (n,) each.

    A tile of a negative class is never drawn.
    """

    label: Rows
    slide: Rows
    patient: Rows

    @classmethod
    def of(cls, tiles: TileSet) -> "Groups":
        """Tell the groups of a set of tiles."""
        _, number = np.unique(np.array(tiles.patients, dtype=str), return_inverse=True)
        patient = number.astype(np.int64)[tiles.store_index]
        return cls(tiles.label, tiles.store_index, patient)


def steps_per_epoch(n_tiles: int, batch_size: int) -> int:
    """Count the batches of an epoch: whole ones, or the single one there is."""
    return max(1, n_tiles // batch_size)


def epoch_length(groups: Groups, max_per_slide: int | None) -> int:
    """Count the tiles of an epoch, which are as many in each.

    Parameters
    ----------
    max_per_slide
        Different tiles of one class that a slide gives to an epoch, at most.
    """
    known = groups.label >= 0
    if max_per_slide is None:
        return int(known.sum())
    pairs = np.stack([groups.slide[known], groups.label[known]])
    _, counts = np.unique(pairs, axis=1, return_counts=True)
    return int(np.minimum(counts, max_per_slide).sum())


def draw_epoch(groups: Groups, config: TrainConfig, epoch: int) -> list[Rows]:
    """Draw the batches of one epoch; they depend on `config.seed` and `epoch` alone.

    The epoch is as long as there are tiles to draw (`epoch_length`). With `balance_classes` each
    class gets an equal part of it, else all tiles are of one pool. With `draw_by` slide (or
    patient) each slide (or patient, then each of its slides) gets an equal part of that. Parts
    that do not come out even differ by one, at random. What has too few tiles for its part is
    passed through again and again, each time in a new order; of what has too many, a part is
    drawn, another one in each epoch. What does not fill a last batch is left out.

    Returns
    -------
    list of int64, (batch_size,)
        Rows of `groups`.
    """
    rng = generator(config.seed, Stream.ORDER, epoch)
    length = epoch_length(groups, config.max_tiles_per_slide)
    rows = np.flatnonzero(groups.label >= 0)
    if config.max_tiles_per_slide is not None:
        rows = _capped(rows, groups, config.max_tiles_per_slide, rng)
    pools = _split(rows, groups.label) if config.balance_classes else [rows]
    drawn = [
        _draw(pool, share, groups, config.draw_by, rng)
        for pool, share in zip(pools, _shares(length, len(pools)), strict=True)
    ]
    order = rng.permutation(np.concatenate(drawn))
    steps, size = steps_per_epoch(length, config.batch_size), config.batch_size
    return [order[i * size : (i + 1) * size] for i in range(steps)]


def _draw(
    pool: Rows, count: int, groups: Groups, draw_by: DrawBy, rng: np.random.Generator
) -> Rows:
    """Draw `count` rows of a pool, as many of each slide or patient."""
    if draw_by == "tile":
        return _passes(pool, count, rng)
    parts = _split(pool, groups.patient if draw_by == "patient" else groups.slide)
    # Which parts get one more changes with the epoch.
    shares = rng.permutation(_shares(count, len(parts)))
    finer: DrawBy = "slide" if draw_by == "patient" else "tile"
    drawn = [
        _draw(part, int(share), groups, finer, rng)
        for part, share in zip(parts, shares, strict=True)
    ]
    return np.concatenate(drawn)


def _capped(rows: Rows, groups: Groups, most: int, rng: np.random.Generator) -> Rows:
    """Choose at most so many rows at random of each slide and class."""
    mixed = rng.permutation(rows)
    order = np.lexsort((groups.label[mixed], groups.slide[mixed]))
    mixed = mixed[order]
    pairs = np.stack([groups.slide[mixed], groups.label[mixed]])
    starts = np.concatenate([[True], (np.diff(pairs) != 0).any(axis=0)])
    first = np.flatnonzero(starts)
    rank = np.arange(len(mixed)) - np.repeat(first, np.diff([*first, len(mixed)]))
    return np.sort(mixed[rank < most])


def _split(rows: Rows, by: Rows) -> list[Rows]:
    """Split rows by a number of each, in the order of these."""
    values = by[rows]
    order = np.argsort(values, kind="stable")
    _, first = np.unique(values[order], return_index=True)
    return np.split(rows[order], first[1:])


def _shares(count: int, parts: int) -> list[int]:
    share, left = divmod(count, parts)
    return [share + (i < left) for i in range(parts)]


def _passes(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    """Draw `count` of `rows`, each used once before any is used again."""
    passes = [rng.permutation(rows) for _ in range(-(-count // len(rows)))]
    return np.concatenate([*passes, np.empty(0, np.int64)])[:count]
