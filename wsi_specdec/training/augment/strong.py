"""A few random operations of random strengths, out of many."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wsi_specdec.config.augment import Operation, StrongAugment
from wsi_specdec.training.augment import colour
from wsi_specdec.training.augment.draws import Numbers, Stream, between, on_rows
from wsi_specdec.training.augment.focus import blur, sharpen
from wsi_specdec.training.augment.sensor import add_noise, compress
from wsi_specdec.training.augment.stain import restain
from wsi_specdec.training.seeds import uniforms

# Numbers that an operation may take: its strength, a second one, and two more.
_NUMBERS: Final = 4
# The blur whose loss sharpening gives back, as the kernel of 3 x 3 of StrongAugment has it.
_SHARPEN_SIGMA: Final = 0.8
# Changes tiles by their strengths (m,), of the range given, and further numbers (m, 3) in [0, 1).
Strengthened = Callable[[Tensor, Numbers, Numbers, tuple[float, float]], Tensor]


def strong(pixels: Tensor, keys: Tensor, config: StrongAugment) -> Tensor:
    """Change tiles by a few operations each, drawn without replacement and in random order.

    As StrongAugment (Pohjonen et al., "Augment like there's no tomorrow", arXiv:2206.15274):
    how many is drawn by given chances, which ones and how strong they are uniformly.

    Parameters
    ----------
    pixels
        (n, 3, T, T) in [0, 1]; may be written to.
    keys
        int64, (n,), on the CPU.
    """
    pool = config.pool()
    numbers = uniforms(keys, Stream.STRONG, 2 + len(pool))
    chosen = np.flatnonzero(numbers[:, 0] < config.probability)
    turns = _operations(numbers[:, 1], numbers[:, 2:], config)
    strengths = uniforms(keys, Stream.STRONG_STRENGTH, _NUMBERS * turns.shape[1])
    for turn, of_turn in enumerate(turns.T):
        own = strengths[:, _NUMBERS * turn : _NUMBERS * (turn + 1)]
        for number, (name, bounds) in enumerate(pool.items()):
            rows = chosen[of_turn[chosen] == number]
            pixels = on_rows(pixels, rows, own, partial(_apply, name=name, bounds=bounds))
    return pixels


def _operations(number: Numbers, order: Numbers, config: StrongAugment) -> NDArray[np.int64]:
    """Operation of each tile and turn, -1 where it has had its number of them: (n, turns)."""
    steps = np.cumsum(config.chances)[:-1]
    count = np.array(config.operations)[np.searchsorted(steps, number, side="right")]
    turns = np.argsort(order, axis=1)[:, : max(config.operations)]
    return np.where(np.arange(turns.shape[1]) < count[:, None], turns, -1)


def _apply(
    pixels: Tensor, numbers: Numbers, *, name: Operation, bounds: tuple[float, float]
) -> Tensor:
    strength = between(numbers[:, 0], bounds)
    return OPERATIONS[name](pixels, strength, numbers[:, 1:], bounds)


def _by(change: Callable[[Tensor, Numbers], Tensor]) -> Strengthened:
    return lambda pixels, strength, _more, _bounds: change(pixels, strength)


def _channel(channel: int) -> Strengthened:
    return _by(partial(colour.scale_channel, channel=channel))


def _stain(position: int) -> Strengthened:
    def change(pixels: Tensor, strength: Numbers) -> Tensor:
        alpha = np.ones((len(strength), 2))
        alpha[:, position] = strength
        return restain(pixels, alpha, np.zeros_like(alpha))

    return _by(change)


OPERATIONS: Final[Mapping[Operation, Strengthened]] = {
    "red": _channel(0),
    "green": _channel(1),
    "blue": _channel(2),
    "hue": _by(colour.turn_hue),
    "saturation": _by(colour.saturate),
    "brightness": _by(colour.brighten),
    "contrast": _by(lambda pixels, factor: colour.relight(pixels, factor, np.ones_like(factor))),
    "gamma": _by(colour.gamma),
    "solarize": _by(colour.solarize),
    "posterize": _by(colour.posterize),
    "sharpen": _by(partial(sharpen, sigma=_SHARPEN_SIGMA)),
    "blur": _by(blur),
    "noise": lambda pixels, std, more, _bounds: add_noise(pixels, std, more[:, :2]),
    "jpeg": _by(compress),
    "tone": lambda pixels, first, more, bounds: colour.tone(
        pixels, first, between(more[:, 0], bounds)
    ),
    "autocontrast": _by(lambda pixels, _strength: colour.stretch(pixels)),
    "grayscale": _by(lambda pixels, strength: colour.saturate(pixels, 1 - strength)),
    "haematoxylin": _stain(0),
    "eosin": _stain(1),
}
