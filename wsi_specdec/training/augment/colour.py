"""Colour of tiles, pixel by pixel: pixels are (n, 3, T, T) in [0, 1], factors (n,).

Pixels may be overwritten: fresh memory costs more than most of what is done here.
"""

from typing import Final

import torch
from torch import Tensor

from wsi_specdec.training.augment.draws import Numbers, of_tiles

# ITU-R BT.601.
_LUMA: Final = (0.299, 0.587, 0.114)
_SECTORS: Final = 6


def luma(pixels: Tensor) -> Tensor:
    """Brightness of each pixel, (n, 1, T, T)."""
    red, green, blue = (pixels[:, i : i + 1] for i in range(3))
    return red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]


def brighten(pixels: Tensor, factor: Numbers) -> Tensor:
    """Scale each tile; clip to [0, 1]."""
    return pixels.mul_(of_tiles(factor, pixels)).clamp_(0, 1)


def relight(pixels: Tensor, contrast: Numbers, brightness: Numbers) -> Tensor:
    """Scale each tile about the mean of its luma, then all of it; clip to [0, 1].

    Parameters
    ----------
    contrast, brightness
        The factors of the one and the other.
    """
    mean = mean_luma(pixels)
    scale, shift = of_tiles(contrast * brightness, pixels), (1 - contrast) * brightness
    return pixels.mul_(scale).add_(mean.mul_(of_tiles(shift, pixels))).clamp_(0, 1)


def saturate(pixels: Tensor, factor: Numbers) -> Tensor:
    """Scale each pixel about its luma; clip to [0, 1]. The factor 0 leaves shades of grey."""
    grey = luma(pixels)
    return pixels.sub_(grey).mul_(of_tiles(factor, pixels)).add_(grey).clamp_(0, 1)


def mean_luma(pixels: Tensor) -> Tensor:
    """Mean brightness of each tile, (n, 1, 1, 1)."""
    # Rows of pixels in float64, that the order of adding does not show: it differs by batch.
    channels = pixels.mean(dim=3).double().mean(dim=2)
    weights = torch.tensor(_LUMA, dtype=torch.float64, device=pixels.device)
    return (channels * weights).sum(dim=1).to(pixels.dtype)[:, None, None, None]


def turn_hue(pixels: Tensor, turns: Numbers) -> Tensor:
    """Turn each tile's hue on the circle of HSV; value and saturation stay.

    Parameters
    ----------
    turns
        Shares of a whole turn, from red over green.
    """
    red, green, blue = pixels.unbind(dim=1)
    top = torch.maximum(torch.maximum(red, green), blue)
    spread = top - torch.minimum(torch.minimum(red, green), blue)
    hue = _hue(pixels, top, spread).add_(of_tiles(_SECTORS * turns, pixels)[:, 0])
    hue.sub_((hue / _SECTORS).floor_().mul_(_SECTORS))
    low = top.sub_(spread)
    # A channel is full within a sector of its own hue, and gone from two sectors on.
    torch.addcmul(low, spread, (hue - 3).abs_().sub_(1).clamp_(0, 1), out=red)
    for channel, own in ((green, 2), (blue, 4)):
        torch.addcmul(low, spread, (hue - own).abs_().neg_().add_(2).clamp_(0, 1), out=channel)
    return pixels.clamp_(0, 1)


def _hue(pixels: Tensor, top: Tensor, spread: Tensor) -> Tensor:
    """Hue in sectors of 60°, in [-1, 5], 0 of greys: (n, T, T)."""
    red, green, blue = pixels.unbind(dim=1)
    is_red, is_green = red == top, green == top
    difference = torch.where(is_red, green - blue, torch.where(is_green, blue - red, red - green))
    start = torch.where(is_green, 2.0, 4.0).masked_fill_(is_red, 0.0).to(pixels.dtype)
    return difference.div_(torch.where(spread > 0, spread, 1)).add_(start)


def gamma(pixels: Tensor, exponent: Numbers) -> Tensor:
    """Raise each pixel to a power."""
    return pixels.pow(of_tiles(exponent, pixels)).clamp_(0, 1)


def scale_channel(pixels: Tensor, factor: Numbers, channel: int) -> Tensor:
    """Scale one channel, 0 to 2; clip to [0, 1]."""
    pixels[:, channel : channel + 1].mul_(of_tiles(factor, pixels)).clamp_(0, 1)
    return pixels


def solarize(pixels: Tensor, threshold: Numbers) -> Tensor:
    """Invert what is as bright as a threshold or brighter."""
    return torch.where(pixels < of_tiles(threshold, pixels), pixels, 1 - pixels)


def posterize(pixels: Tensor, bits: Numbers) -> Tensor:
    """Keep the highest of the 8 bits of each value: `bits` of them, rounded to a whole number."""
    step = of_tiles(2 ** (8 - bits.round()), pixels)
    levels = (pixels * 255).round_()
    return (levels - levels.remainder(step)).div_(255)


def stretch(pixels: Tensor) -> Tensor:
    """Stretch each channel of a tile to all of [0, 1]; a flat one is left as it is."""
    low, high = pixels.amin(dim=(2, 3), keepdim=True), pixels.amax(dim=(2, 3), keepdim=True)
    flat = high <= low
    scale = torch.where(flat, 1, high - low)
    return torch.where(flat, pixels, (pixels - low) / scale)


def tone(pixels: Tensor, first: Numbers, second: Numbers) -> Tensor:
    """Map values by a Bézier curve from (0, 0) to (1, 1), of two inner heights in [0, 1]."""
    rest = 1 - pixels
    a, b = of_tiles(3 * first, pixels), of_tiles(3 * second, pixels)
    return (rest * rest * pixels * a + rest * pixels * pixels * b + pixels**3).clamp_(0, 1)
