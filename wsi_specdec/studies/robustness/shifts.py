"""Shifts of images at five strengths, in the manner of ImageNet-C, on which models are tested.

The operations are those of `training.augment`; what is shifted here is whole test sets, each tile
by the same strength.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsi_specdec.config import Shift
from wsi_specdec.training.augment import colour, focus, sensor

__all__ = ["STRENGTHS", "Shift", "shifted"]

Tiles = NDArray[np.uint8]
Numbers = NDArray[np.float64]

# As StrongAugment has it (arXiv:2206.15274), whose ranges bound those of colour and sharpness.
_SHARPEN_SIGMA: Final = 0.8
# From the first strength to the fifth.
STRENGTHS: Final[Mapping[Shift, tuple[float, float, float, float, float]]] = {
    # Standard deviation, pixels.
    "blur": (0.5, 1.0, 1.5, 2.0, 3.0),
    # Times what a blur takes.
    "sharpening": (0.5, 1.0, 2.0, 4.0, 8.0),
    # Factors.
    "brighter": (1.1, 1.2, 1.35, 1.5, 2.0),
    "darker": (0.9, 0.75, 0.6, 0.45, 0.3),
    "contrast": (0.8, 0.65, 0.5, 0.35, 0.2),
    # Share of a turn.
    "hue": (0.02, 0.04, 0.08, 0.14, 0.25),
    # Quality.
    "jpeg": (80, 50, 25, 15, 7),
    # Times as many µm in a pixel.
    "resolution": (1.5, 2.0, 3.0, 4.0, 6.0),
    # Standard deviation; white is 1.
    "noise": (0.02, 0.04, 0.06, 0.1, 0.15),
}
_Change = Callable[[Tensor, Numbers], Tensor]
_BY_TORCH: Final[Mapping[str, _Change]] = {
    "blur": focus.blur,
    "sharpening": partial(focus.sharpen, sigma=_SHARPEN_SIGMA),
    "brighter": colour.brighten,
    "darker": colour.brighten,
    "contrast": lambda pixels, factor: colour.relight(pixels, factor, np.ones_like(factor)),
    "hue": colour.turn_hue,
    "jpeg": sensor.compress,
}


def shifted(
    tiles: Tiles, shift: Shift, strength: int, numbers: NDArray[np.int64], seed: int = 0
) -> Tiles:
    """Shift tiles by one of the strengths.

    Parameters
    ----------
    tiles
        uint8, (n, T, T, 3).
    shift
        What is shifted.
    strength
        0, which leaves them as they are, or 1 to 5.
    numbers
        Number of each tile in its set, (n,): its noise depends on it and on `seed`, and not on
        which tiles it is read with.

    Returns
    -------
    uint8, (n, T, T, 3), a new array.

    Raises
    ------
    ValueError
        If there is no such shift or strength.
    """
    if shift not in get_args(Shift) or not 0 <= strength <= len(STRENGTHS[shift]):
        msg = f"there is no shift {shift!r} of strength {strength}; strengths are 0 to 5"
        raise ValueError(msg)
    if strength == 0 or not len(tiles):
        return tiles.copy()
    value = STRENGTHS[shift][strength - 1]
    if shift == "resolution":
        return _coarsened(tiles, value)
    pixels = torch.from_numpy(tiles.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    values = np.full(len(tiles), value)
    if shift == "noise":
        seeds = np.stack([np.random.default_rng([seed, n]).random(2) for n in numbers.tolist()])
        pixels = sensor.add_noise(pixels, values, seeds)
    else:
        pixels = _BY_TORCH[shift](pixels, values)
    levels = pixels.mul(255).round_().clamp_(0, 255).to(torch.uint8)
    return np.ascontiguousarray(levels.permute(0, 2, 3, 1).numpy())


def _coarsened(tiles: Tiles, factor: float) -> Tiles:
    """Average to a coarser resolution and interpolate back."""
    size = tiles.shape[1]
    small = max(1, round(size / factor))
    out = np.empty_like(tiles)
    for tile, into in zip(tiles, out, strict=True):
        coarse = cv2.resize(tile, (small, small), interpolation=cv2.INTER_AREA)
        into[...] = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)
    return out
