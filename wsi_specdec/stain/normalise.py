"""Tiles brought to the stains of a target: uint8 to uint8."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.stain.compiled import as_pixels
from wsi_specdec.stain.methods import fit_pixels, method_of, mixing
from wsi_specdec.stain.profile import StainProfile, TileStatus
from wsi_specdec.threads import in_order

# Pixels that one thread takes at a time: 16 tiles of 256 px.
_PIXELS_A_PART: Final = 1 << 20


def normalise(
    tiles: NDArray[np.uint8], source: StainProfile, target: StainProfile, *, threads: int = 1
) -> NDArray[np.uint8]:
    """Give the pixels of a slide the stains of the target.

    By Macenko and Vahadane optical densities are mixed by one matrix (`mixing_matrix`); by
    Reinhard L*a*b* gets the target's means and deviations. Every pixel is moved by the same rule,
    whatever its tile holds, so that neighbouring tiles still join.

    Parameters
    ----------
    tiles
        RGB, shape (..., 3), uint8; may be read-only or not contiguous.
    source, target
        Profiles of the slide and of the target, by one method.
    threads
        How many work at a time; they are gone when this returns.

    Returns
    -------
    NDArray[np.uint8]
        A new array of the same shape; equal to `tiles` where either profile is unusable.

    Raises
    ------
    ValueError
        If the profiles are of different methods, or `tiles` is not uint8 RGB.
    """
    if source.status != "ok" or target.status != "ok":
        return np.array(tiles)
    matrix, offset = mixing(source, target)
    mix = method_of(target.method).mix
    pixels = as_pixels(tiles)
    out = np.empty(pixels.shape, dtype=np.uint8)

    def part(start: int) -> None:
        chosen = slice(start, start + _PIXELS_A_PART)
        mix(pixels[chosen], out[chosen], matrix, offset)

    starts = range(0, len(pixels), _PIXELS_A_PART)
    if threads == 1 or len(starts) == 1:
        for start in starts:
            part(start)
    else:
        for _ in in_order(part, starts, threads, waiting=threads):
            pass
    return out.reshape(tiles.shape)


def normalise_each(
    tiles: NDArray[np.uint8], target: StainProfile, config: StainConfig, *, threads: int = 1
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Normalise every tile by a profile of its own, as much of the literature does.

    Parameters
    ----------
    tiles
        uint8, (n, T, T, 3); may be read-only or not contiguous.
    target
        Profile to reach.
    config
        Settings of the fits, by the target's method.
    threads
        How many work at a time; they are gone when this returns.

    Returns
    -------
    tiles, statuses
        A new array (n, T, T, 3), tiles that cannot be fitted as they were; and `TileStatus`
        codes, uint8 (n,).
    """
    config = config.model_copy(update={"method": target.method})
    out = np.empty(tiles.shape, dtype=np.uint8)
    statuses = np.empty(len(tiles), dtype=np.uint8)

    def one(number: int) -> None:
        source = fit_pixels(as_pixels(tiles[number]), config)
        out[number] = normalise(tiles[number], source, target)
        worse = target if source.status == "ok" else source
        statuses[number] = TileStatus.of(worse.status)

    numbers = range(len(tiles))
    if threads == 1:
        for number in numbers:
            one(number)
    else:
        for _ in in_order(one, numbers, threads, waiting=threads):
            pass
    return out, statuses
