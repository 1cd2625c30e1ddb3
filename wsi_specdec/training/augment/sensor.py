"""What a camera and a file add to tiles: noise and compression."""

from typing import Final

import imagecodecs
import numpy as np
import torch
from torch import Tensor

from wsi_specdec.training.augment.draws import Numbers, of_tiles

# Of a sum of four independent bytes.
_BYTES_MEAN: Final = 4 * 255 / 2
_BYTES_STD: Final = (4 * (256**2 - 1) / 12) ** 0.5
_WORD: Final = 1 << 32
_EVEN_BYTES: Final = 0x00FF00FF


def add_noise(pixels: Tensor, std: Numbers, seeds: Numbers) -> Tensor:
    """Add noise to each pixel and channel; clip to [0, 1].

    Its distribution is that of a sum of four uniform bytes: normal but for what lies beyond 3.4
    standard deviations. Whole numbers make it the same on every device.

    Parameters
    ----------
    pixels
        (n, 3, T, T).
    std
        Standard deviations, (n,); white is 1.
    seeds
        Two numbers in [0, 1) of each tile, (n, 2): all that its noise depends on.
    """
    noise = _normal(seeds, pixels)
    return noise.mul_(of_tiles(std, pixels)).add_(pixels).clamp_(0, 1)


def _normal(seeds: Numbers, like: Tensor) -> Tensor:
    shape = like.shape[1:]
    words = torch.from_numpy((seeds * _WORD).astype(np.uint32).view(np.int32)).to(like.device)
    first, second = (words[:, i, None, None, None] for i in (0, 1))
    number = torch.arange(shape.numel(), dtype=torch.int32, device=like.device).view(shape)
    # A 32-bit finaliser of low bias (Wellons, 2018), which takes in the second word on its way.
    mixed = number.mul_(_signed(0x9E3779B1)) ^ first
    buffer = torch.empty_like(mixed)
    _xor_shift(mixed, 16, buffer).add_(second).mul_(_signed(0x7FEB352D))
    _xor_shift(mixed, 15, buffer).mul_(_signed(0x846CA68B))
    _xor_shift(mixed, 16, buffer)
    # Bytes are added two and two within a word, then its halves.
    torch.bitwise_right_shift(mixed, 8, out=buffer).bitwise_and_(_EVEN_BYTES)
    total = mixed.bitwise_and_(_EVEN_BYTES).add_(buffer)
    torch.bitwise_right_shift(total, 16, out=buffer)
    total = total.bitwise_and_(0xFFFF).add_(buffer)
    return total.to(like.dtype).sub_(_BYTES_MEAN).div_(_BYTES_STD)


def _xor_shift(words: Tensor, by: int, buffer: Tensor) -> Tensor:
    # torch's shift of signed numbers repeats the sign, which the mask takes away.
    shifted = torch.bitwise_right_shift(words, by, out=buffer).bitwise_and_((1 << (32 - by)) - 1)
    return words.bitwise_xor_(shifted)


def _signed(word: int) -> int:
    return word - _WORD if word >= _WORD >> 1 else word


def compress(pixels: Tensor, quality: Numbers) -> Tensor:
    """Encode each tile as a JPEG of a quality (n,), rounded, and decode it again, on the CPU.

    Colour has half the resolution (4:2:0), as most software writes it.
    """
    rounded = (pixels * 255).round_().permute(0, 2, 3, 1).to(torch.uint8)
    tiles = rounded.contiguous().cpu().numpy()
    for tile, level in zip(tiles, quality.round().astype(int).tolist(), strict=True):
        data = imagecodecs.jpeg8_encode(tile, level=level, colorspace="RGB", subsampling="420")
        imagecodecs.jpeg8_decode(data, outcolorspace="RGB", out=tile)
    decoded = torch.from_numpy(tiles).to(pixels.device).permute(0, 3, 1, 2)
    return decoded.to(pixels.dtype).div_(255)
