"""How far a tile's own pixels bear out that it was normalised by its slide's profile."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.stain.codes import unexplained
from wsi_specdec.stain.compiled import as_pixels
from wsi_specdec.stain.density import tissue_densities
from wsi_specdec.stain.profile import StainProfile, TileStatus

# Pixels of a tile that are looked at; evenly spaced, by an odd step so that columns take turns.
_MAX_LOOKED_AT: Final = 10_000
# Of those; what has less is glass.
_MIN_SHARE: Final = 0.01
# Share of the tissue's squared densities that non-negative amounts of the slide's stains leave
# over; tissue was seen to leave 0.011, a stroke of ink 0.023 and more.
_MOST_UNEXPLAINED: Final = 0.02


def tile_status(
    tiles: NDArray[np.uint8], source: StainProfile, target: StainProfile
) -> NDArray[np.uint8]:
    """Tell of every tile whether its own pixels are what the slide's profile speaks of.

    Tiles of a slide are all moved by one rule; this says where it may not fit: a tile with less
    than 1 % tissue is `TOO_LITTLE_TISSUE`, and one whose tissue the profile's stains do not
    explain (ink, noise, black) is `DEGENERATE`. Where a profile is unusable nothing was moved, and
    every tile has the profile's status.

    Parameters
    ----------
    tiles
        uint8, (n, T, T, 3), before normalisation; may be read-only or not contiguous.
    source, target
        As they were given to `normalise`.

    Returns
    -------
    NDArray[np.uint8]
        `TileStatus` codes, (n,).
    """
    for profile in (source, target):
        if profile.status != "ok":
            return np.full(len(tiles), TileStatus.of(profile.status), dtype=np.uint8)
    rule = StainConfig(method="macenko", min_od=source.min_od)
    return np.array([_status(tile, source, rule) for tile in tiles], dtype=np.uint8)


def _status(tile: NDArray[np.uint8], source: StainProfile, rule: StainConfig) -> TileStatus:
    pixels = as_pixels(tile)
    step = -(-len(pixels) // _MAX_LOOKED_AT) | 1
    looked_at = as_pixels(pixels[::step])
    tissue = tissue_densities(looked_at, rule)
    if len(tissue) < max(1, _MIN_SHARE * len(looked_at)):
        return TileStatus.TOO_LITTLE_TISSUE
    odd = unexplained(tissue, source.matrix()) > _MOST_UNEXPLAINED
    return TileStatus.DEGENERATE if odd else TileStatus.NORMALISED
