"""Random numbers of each tile, drawn from its key alone."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsi_specdec.training.seeds import uniforms

Numbers = NDArray[np.float64]
# Changes pixels (m, 3, T, T) of tiles, which it may overwrite, by their numbers (m, count).
Change = Callable[[Tensor, Numbers], Tensor]

# Numbers of four bytes, a few copies of which stay in a core's cache.
_CACHED: Final = 1 << 18


class Stream(IntEnum):
    """What a tile's random numbers are for; the numbers of one never change those of another."""

    FLIPS = 0
    CROP = 1
    STAIN = 2
    COLOUR = 3
    BLUR = 4
    SHARPEN = 5
    NOISE = 6
    JPEG = 7
    STRONG = 8
    STRONG_STRENGTH = 9


@dataclass(frozen=True, slots=True)
class Step:
    """A change that is made to a tile with a probability, by `count` numbers drawn for it.

    `known`, (n, k), are further numbers of each tile, which its change gets behind those drawn.
    """

    stream: Stream
    probability: float
    count: int
    change: Change
    known: Numbers | None = None


def take(step: Step, pixels: Tensor, keys: Tensor) -> Tensor:
    """Change those tiles that a step's chance falls on.

    Parameters
    ----------
    pixels
        (n, 3, T, T); may be written to.
    keys
        int64, (n,), on the CPU.
    """
    if step.probability == 0:
        return pixels
    numbers = uniforms(keys, step.stream, 1 + step.count)
    chosen = np.flatnonzero(numbers[:, 0] < step.probability)
    if step.known is not None:
        numbers = np.concatenate([numbers, step.known], axis=1)
    return on_rows(pixels, chosen, numbers[:, 1:], step.change)


def on_rows(pixels: Tensor, rows: NDArray[np.int64], numbers: Numbers, change: Change) -> Tensor:
    """Change the tiles `rows` (sorted), by their rows of `numbers`; `pixels` is written to."""
    on_all = len(rows) == len(pixels)
    size = _at_a_time(pixels)
    for own in (rows[start : start + size] for start in range(0, len(rows), size)):
        if on_all:
            part = pixels[own[0] : own[-1] + 1]
            changed = change(part, numbers[own])
            if changed is not part:
                part.copy_(changed)
        else:
            where = torch.from_numpy(own).to(pixels.device)
            # Several times as fast as index_copy_.
            pixels[where] = change(pixels.index_select(0, where), numbers[own])
    return pixels


def _at_a_time(pixels: Tensor) -> int:
    """Tiles that are changed at a time: on the CPU as many as stay in its cache, with copies."""
    if pixels.device.type != "cpu":
        return max(1, len(pixels))
    return max(1, _CACHED // max(1, pixels[:1].numel()))


def between(numbers: Numbers, bounds: tuple[float, float]) -> Numbers:
    """Turn numbers in [0, 1) into ones in a range."""
    low, high = bounds
    return low + numbers * (high - low)


def around(numbers: Numbers, centre: float, width: float) -> Numbers:
    """Turn numbers in [0, 1) into ones in centre ± width."""
    return centre + width * (2 * numbers - 1)


def of_tiles(values: Numbers, like: Tensor) -> Tensor:
    """Lift a number of each tile, (n,), to where it multiplies pixels: (n, 1, 1, 1)."""
    return torch.from_numpy(values).to(like)[:, None, None, None]
