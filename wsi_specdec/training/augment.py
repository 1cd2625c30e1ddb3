"""Augmentation of a batch, on the device. Every one is named in the config, none is hidden."""

import numpy as np
import torch
from torch import Tensor

from wsi_specdec.config import TrainConfig


def augment(tiles: Tensor, config: TrainConfig, rng: np.random.Generator) -> Tensor:
    """Augment a batch as the config says, and turn it into fractions.

    Parameters
    ----------
    tiles
        uint8, (n, T, T, 3).
    rng
        Numbers are drawn on the CPU, so that they are the same on every device.

    Returns
    -------
    float32, (n, 3, T, T) in [0, 1], channels-last in memory.
    """
    if config.flips:
        tiles = turn(tiles, rng.integers(0, 8, len(tiles)))
    pixels = tiles.permute(0, 3, 1, 2).float().div_(255)
    if config.jitter > 0:
        low, high = 1 - config.jitter, 1 + config.jitter
        contrast, brightness = rng.uniform(low, high, (2, len(tiles)))
        pixels = jitter(pixels, contrast, brightness)
    return pixels


def turn(tiles: Tensor, symmetry: np.ndarray) -> Tensor:
    """Flip and turn each tile by one of the square's eight symmetries.

    Parameters
    ----------
    tiles
        (n, T, T, 3).
    symmetry
        0 to 7 for each tile, (n,): bit 0 flips rows, then bit 1 columns, then bit 2 swaps both.
    """
    bits = torch.from_numpy(symmetry).to(tiles.device)[:, None, None, None]
    tiles = torch.where((bits & 1).bool(), tiles.flip(1), tiles)
    tiles = torch.where((bits & 2).bool(), tiles.flip(2), tiles)
    return torch.where((bits & 4).bool(), tiles.transpose(1, 2), tiles).contiguous()


def jitter(pixels: Tensor, contrast: np.ndarray, brightness: np.ndarray) -> Tensor:
    """Scale each tile about its mean by `contrast`, then all of it by `brightness`; clip to [0, 1].

    Parameters
    ----------
    pixels
        (n, 3, T, T) in [0, 1].
    contrast, brightness
        Factors, (n,) each.
    """
    about = pixels.mean(dim=(1, 2, 3), keepdim=True)
    scale, gain = (
        torch.from_numpy(factor).to(pixels)[:, None, None, None]
        for factor in (contrast, brightness)
    )
    return ((pixels - about) * scale + about).mul_(gain).clamp_(0, 1)
