"""Blurred and sharpened tiles."""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from wsi_specdec.training.augment.draws import Numbers, of_tiles

# Standard deviations at which the Gaussian is cut off.
_REACH: Final = 3.0


def blur(pixels: Tensor, sigma: Numbers) -> Tensor:
    """Convolve each tile with a Gaussian of its own; its edges are mirrored.

    Parameters
    ----------
    pixels
        (n, 3, T, T).
    sigma
        Standard deviations in pixels, (n,); 0 leaves a tile as it is.
    """
    # (reach + 1, n): the centre first, so that another tile's longer reach only adds zeros.
    weights = torch.from_numpy(_half_kernels(sigma)).to(pixels)
    for axis in (2, 3):
        pixels = _convolve(pixels, weights, axis)
    return pixels


def sharpen(pixels: Tensor, amount: Numbers, sigma: float) -> Tensor:
    """Unsharp mask: add `amount` (n,) times what a blur takes away; clip to [0, 1]."""
    taken = pixels - blur(pixels, np.full(len(pixels), sigma))
    return taken.mul_(of_tiles(amount, pixels)).add_(pixels).clamp_(0, 1)


def _half_kernels(sigma: Numbers) -> Numbers:
    """Weights at the distances 0, 1, … of each tile's Gaussian, which sums to 1: (reach + 1, n)."""
    reach = (_REACH * sigma + 0.5).astype(np.int64)
    distance = np.arange(reach.max() + 1)[:, None]
    # Under a sixth of a pixel the centre is all there is.
    width = np.where(reach > 0, sigma, 1.0)
    weights = np.where(distance > reach, 0.0, np.exp(-0.5 * (distance / width) ** 2))
    half: Numbers = weights / (weights[0] + 2 * weights[1:].sum(axis=0))
    return half


def _convolve(pixels: Tensor, weights: Tensor, axis: int) -> Tensor:
    size, reach = pixels.shape[axis], len(weights) - 1
    padded = pixels.index_select(axis, _mirrored(size, reach).to(pixels.device))
    at = weights[:, :, None, None, None]
    out, pair = pixels * at[0], torch.empty_like(pixels)
    for distance in range(1, reach + 1):
        before = padded.narrow(axis, reach - distance, size)
        after = padded.narrow(axis, reach + distance, size)
        out.addcmul_(torch.add(before, after, out=pair), at[distance])
    return out


def _mirrored(size: int, reach: int) -> Tensor:
    """Positions of a line of pixels continued by `reach` on both sides, its ends not repeated."""
    period = max(1, 2 * (size - 1))
    position = torch.arange(-reach, size + reach) % period
    return torch.minimum(position, period - position)
