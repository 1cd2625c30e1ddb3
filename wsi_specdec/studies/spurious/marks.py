"""Spurious marks: small changes of pixels that can be made to go with a class.

Pure functions of tiles, uint8 (n, T, T, 3), which give new arrays.
"""

from typing import Final, Literal

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.stain import StainProfile, normalise

Tiles = NDArray[np.uint8]
Setting = Literal["trained", "independent", "reversed"]

_CORNER_PX: Final = 2


def sharpened(tiles: Tiles, amount: float, sigma: float = 1.0) -> Tiles:
    """Apply an unsharp mask: add `amount` times what a Gaussian blur of `sigma` pixels takes."""
    out = np.empty_like(tiles)
    for tile, into in zip(tiles, out, strict=True):
        sharp = tile.astype(np.float32)
        sharp += amount * (sharp - cv2.GaussianBlur(sharp, (0, 0), sigma))
        into[...] = np.clip(np.rint(sharp), 0, 255)
    return out


def stain_shifted(tiles: Tiles, source: StainProfile, target: StainProfile, amount: float) -> Tiles:
    """Move the stains of tiles a part of the way to those of a target.

    Parameters
    ----------
    source
        The tiles' own stains.
    amount
        0 leaves tiles as they are, 1 gives them the target's stains.
    """
    moved = normalise(tiles, source, target).astype(np.float32)
    mixed = tiles + np.float32(amount) * (moved - tiles)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def recompressed(tiles: Tiles, quality: int) -> Tiles:
    """Encode each tile as a JPEG of this quality, colour at half the resolution, and decode it."""
    out = np.empty_like(tiles)
    for tile, into in zip(np.ascontiguousarray(tiles), out, strict=True):
        data = imagecodecs.jpeg8_encode(tile, level=quality, colorspace="RGB", subsampling="420")
        imagecodecs.jpeg8_decode(data, outcolorspace="RGB", out=into)
    return out


def cornered(tiles: Tiles, side: int, colour: tuple[int, int, int] = (0, 0, 0)) -> Tiles:
    """Put a small square near the top-left corner."""
    out = tiles.copy()
    out[:, _CORNER_PX : _CORNER_PX + side, _CORNER_PX : _CORNER_PX + side] = colour
    return out


def marked(
    label: NDArray[np.integer], probability: float, setting: Setting, seed: int
) -> NDArray[np.bool_]:
    """Draw which tiles carry a mark that goes with the positive class.

    Of the positive tiles a share of `probability` carries it, of the others the rest to 1, so that
    at 0.5 the mark says nothing. Where it is `independent` both shares are 0.5, where it is
    `reversed` they are exchanged. Shares are exact, but for rounding.

    Parameters
    ----------
    label
        0 or 1 of each tile, (n,).
    probability
        In [0, 1].
    setting
        How the mark goes with the class in this set of tiles.
    seed
        All that the draw depends on, beside the labels.

    Returns
    -------
    bool, (n,).

    Raises
    ------
    ValueError
        If the probability is none.
    """
    if not 0 <= probability <= 1:
        msg = f"a probability is 0 to 1, got {probability:g}"
        raise ValueError(msg)
    share = {"trained": probability, "independent": 0.5, "reversed": 1 - probability}[setting]
    rng = np.random.default_rng(seed)
    out = np.zeros(len(label), np.bool_)
    for positive, part in ((True, share), (False, 1 - share)):
        rows = rng.permutation(np.flatnonzero((label == 1) == positive))
        out[rows[: round(part * len(rows))]] = True
    return out
