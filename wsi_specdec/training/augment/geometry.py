"""Tiles turned, mirrored, magnified and moved."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from wsi_specdec.training.augment.draws import Numbers

_SYMMETRIES: Final = 8


def turn(tiles: Tensor, symmetry: NDArray[np.int64]) -> Tensor:
    """Flip and turn each tile by one of the square's eight symmetries.

    Parameters
    ----------
    tiles
        (n, T, T, 3).
    symmetry
        0 to 7 for each tile, (n,): bit 0 flips rows, then bit 1 columns, then bit 2 swaps both.
    """
    order = np.argsort(symmetry, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(symmetry, minlength=_SYMMETRIES))[:-1])
    turned = [
        _turned(tiles.index_select(0, _index(rows, tiles)), number)
        for number, rows in enumerate(groups)
        if len(rows)
    ]
    # Put together and sorted back: several times as fast as writing each to its place.
    return torch.cat(turned).index_select(0, _index(np.argsort(order), tiles))


def _turned(tiles: Tensor, symmetry: int) -> Tensor:
    axes = [axis for axis in (1, 2) if symmetry & axis]
    flipped = tiles.flip(axes) if axes else tiles
    return flipped.transpose(1, 2) if symmetry & 4 else flipped


def _index(rows: NDArray[np.int64], like: Tensor) -> Tensor:
    return torch.from_numpy(rows).to(like.device)


def crop(pixels: Tensor, zoom: Numbers, shift: Numbers) -> Tensor:
    """Magnify tiles about a point near their centre, by bilinear interpolation.

    Parameters
    ----------
    pixels
        (n, 3, T, T).
    zoom
        Factor of magnification, (n,).
    shift
        The point's distance x, y from the centre, in sides of a tile: (n, 2).

    Returns
    -------
    (n, 3, T, T); what lies beyond a tile's edge is its mirror image.
    """
    size = pixels.shape[-1]
    # Pixel centres in grid_sample's own units, in which a tile reaches from -1 to 1.
    centres = (2 * torch.arange(size, device=pixels.device, dtype=pixels.dtype) + 1) / size - 1
    step = torch.from_numpy(1 / zoom).to(pixels)[:, None]
    x, y = (torch.from_numpy(2 * shift[:, axis]).to(pixels)[:, None] for axis in (0, 1))
    columns, rows = centres * step + x, centres * step + y
    shape = (len(pixels), size, size)
    grid = torch.stack([columns[:, None].expand(shape), rows[:, :, None].expand(shape)], dim=-1)
    return grid_sample(
        pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
